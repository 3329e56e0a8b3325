"""Rows on the durable queue: what a worker does for one, and a batch's name, by which the same command is the same."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..engine import Stop
from ..errors import Interrupted, LedgerError, OutputError, SettingsError
from ..ledger import opened
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
    holds: dict[str, threading.Event] = {}
    guard, starts = threading.Lock(), Starts(SETTLE)

    def work(told: dict[str, Any], over: threading.Event) -> dict[str, Any]:
        batch, most = str(told.pop(BATCH, "")), int(told.pop(MOST, MAX_REFUSALS))
        began = told.pop(BEGAN, None)
        job = Job.model_validate(told)
        if unfit is not None and not is_remote(job.outputs) and not Path(job.outputs).is_dir():
            unfit(f"The folder {job.outputs} is not there: make it, or mount the share")
            raise Interrupted("This worker has not the folder of results")
        with guard:
            hold = holds.setdefault(batch, threading.Event())
            _forget(hold, durable, batch)
        stop = Stop(over)
        stop.hold, stop.detached = hold, True  # whoever ends a worker leaves what is paid running
        rank = (job.row, int(1000 * (began or 0)))  # the queue's own order
        starts.wait(rank, stop)
        with opened(settings), starts.under_way(rank, _teller(tell, batch, job.row)) as heard:
            outcome = render_row(job, settings, stop, heard, began=began)
        if outcome.kind == LedgerError.__name__:  # the database's fault: the row is not over, and others go on with it
            return ended(outcome, over=True) | {"status": LEFT}
        if unfit is not None and outcome.kind == SettingsError.__name__:  # no key: it is the worker's, not the row's
            unfit(outcome.error)
            raise Interrupted(outcome.error)
        outcome = _judged(durable, batch, most, outcome)
        if outcome.halt:
            with guard:  # in one go, or a row that begins in between would take it for a batch that goes on
                hold.set()
                durable.halt(batch, outcome.halt)
        return ended(outcome, over=over.is_set())

    return work


def _forget(hold: threading.Event, durable: Durable, batch: str) -> None:
    """A batch that was let go on sends again."""
    if hold.is_set() and not durable.store.stopped(batch):
        hold.clear()


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
    """In the queue's words: a row that was not sent is "cancelled", one whose task runs on after its time "failed".

    Args:
        over: This worker ends: what it did not send is left to others.

    """
    told = outcome.model_dump(mode="json")
    if outcome.status == "not sent":
        return {**told, "status": LEFT if over else CANCELLED, "exit_code": 1}
    if outcome.status == "left" and not over:
        return {**told, "status": "failed"}
    return told

