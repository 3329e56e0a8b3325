"""Rows on the durable queue: what a worker does for one, and a batch's name, by which the same command is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..engine import Stop
from ..errors import Interrupted, LedgerError, OutputError, SettingsError
from ..ledger import opened
from ..media.opener import cores
from ..models import Event
from ..settings import Settings
from ..storage import is_remote
from .durable import BEGAN, CANCELLED, LEFT, Durable, Work
from .halting import MAX_REFUSALS, too_many
from .jobs import Job, Outcome
from .starts import Starts
from .work import render_row

BATCH, MOST = "batch", "max_refusals"
"""What a queued job holds beside its row's own fields."""

WORD = "word"
"""In what a row came to: its outcome's own status, where the queue has another word for it."""

SETTLE = 0.5
"""Seconds in which the rows that were taken from the queue at once are all begun: its threads race."""


def batch_name(template: str, outputs: str, jobs: Sequence[Job]) -> str:
    """The name of a batch of these rows: the same rows into the same folder are the same batch, on any machine."""
    told = "\0".join([outputs, *(f"{job.row} {job.output} {job.fingerprint}" for job in jobs)])
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in template)[:40].strip("-")
    return f"{plain or 'batch'}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"


def queued(batch: str, jobs: Sequence[Job], max_refusals: int = MAX_REFUSALS) -> list[dict[str, Any]]:
    """The jobs as the queue keeps them."""
    more = {BATCH: batch, MOST: max_refusals}
    return [{**job.model_dump(mode="json"), **more} for job in jobs]


def make_folder(outputs: str) -> None:
    """Make the folder of results, by which workers tell whether they have it.

    Raises:
        OutputError: It cannot be made.

    """
    try:
        None if is_remote(outputs) else Path(outputs).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{outputs} cannot be made ({error.strerror})", "Choose another folder") from error


def work_of(
    settings: Settings,
    durable: Durable,
    tell: Callable[[str, int, Event], None] | None = None,
    unfit: Callable[[str], None] | None = None,
) -> Work:
    """What a worker does for a row.

    Args:
        tell: Called with batch, row and each event, from several threads.
        unfit: Called with why this machine can do no such row: it is left to others.

    """
    starts = Starts(cores(), SETTLE)

    def work(told: dict[str, Any], stop: Stop) -> dict[str, Any]:
        batch, most = str(told.pop(BATCH, "")), int(told.pop(MOST, MAX_REFUSALS))
        began = told.pop(BEGAN, None)
        job = Job.model_validate(told)
        if unfit is not None and not is_remote(job.outputs) and not Path(job.outputs).is_dir():
            unfit(f"The folder {job.outputs} is not there: make it, or mount the share")
            raise Interrupted("This worker has not the folder of results")
        rank = (job.row, int(1000 * (began or 0)))  # the queue's own order
        starts.wait(rank, stop)
        with starts.under_way(rank, _teller(tell, batch, job.row)) as heard, opened(settings):
            outcome = render_row(job, settings, stop, heard, began=began)
        if outcome.kind == LedgerError.__name__:  # the database's fault: the row is not over, and others go on with it
            return ended(outcome, over=True) | {"status": LEFT}
        if unfit is not None and outcome.kind == SettingsError.__name__:  # no key: it is the worker's, not the row's
            unfit(outcome.error)
            raise Interrupted(outcome.error)
        return ended(_judged(durable, batch, most, outcome), over=stop.is_set())

    return work


def _teller(
    tell: Callable[[str, int, Event], None] | None, batch: str, row: int
) -> Callable[[Event], None] | None:
    return None if tell is None else lambda event: tell(batch, row, event)


def _judged(durable: Durable, batch: str, most: int, outcome: Outcome) -> Outcome:
    """The outcome, and whether the refusals of its prompt, on all machines, are too many."""
    if not outcome.refusal or outcome.halt:
        return outcome
    same = [one for one in durable.outcomes(batch) if one.get("refusal") == outcome.refusal]
    tasks = {*outcome.refused, *(task for one in same for task in one.get("refused") or ())}
    return outcome.model_copy(update={"halt": too_many(len(tasks), most)})


def ended(outcome: Outcome, *, over: bool) -> dict[str, Any]:
    """In the queue's words: a row that the batch's stop kept from being sent, all or in part, is "cancelled".

    One whose task runs on after its time has "failed".

    Args:
        over: This worker ends: what it did not send is left to others.

    """
    told = outcome.model_dump(mode="json") | {WORD: outcome.status}
    held = outcome.status == "left" and outcome.kind == Interrupted.__name__
    if outcome.status == "not sent" or held:
        return {**told, "status": LEFT if over else CANCELLED, "exit_code": 1}
    if outcome.status == "left" and not over:
        return {**told, "status": "failed"}
    return told

