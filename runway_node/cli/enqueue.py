"""`render --engine dbos`: rows are enqueued, and followed until all are over; without a server they are worked here."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RunwayNodeError, WrongUse
from ..models.words import counted
from .output import Show

if TYPE_CHECKING:
    from ..batch import Asked, Job, Outcome
    from ..batch.durable import Durable, Row
    from ..engine import Stop
    from ..models import Event

LOOK_EVERY = 1.0
"""Seconds between two looks at what became of the rows."""

Told = queue.SimpleQueue["tuple[int, Event]"]


def through_queue(
    show: Show,
    asked: Asked,
    every: Sequence[Job],
    jobs: Sequence[Job],
    *,
    stop: Stop,
    max_refusals: int,
    most: int | None,
    detach: bool,
    on_event: Callable[[int, Event], None],
    on_outcome: Callable[[Outcome], None],
) -> str:
    """Enqueue *jobs*, the rows of *every* that are not done, and wait for them.

    Returns:
        Why the batch stopped sending, "" where it did not.

    Raises:
        WrongUse: DBOS is not installed.
        LedgerError: The database cannot be used.

    """
    from ..batch.durable import Durable
    from ..batch.queued import batch_name, make_folder, queued

    batch = batch_name(asked.source.name, asked.outputs, every)
    make_folder(asked.outputs)
    with Durable(asked.settings) as durable, contextlib.ExitStack() as there:
        if not detach and durable.store.file is not None:
            there.enter_context(durable.present())  # before the rows are: else another `render` takes them for nobody's
        before = [one for one in durable.status().batches if one.id == batch and one.stopped]
        count = durable.enqueue(batch, queued(batch, jobs, max_refusals), anew=True)
        show.line({"phase": "enqueued", "batch": batch, "rows": count}) if show.json else None
        again = f", which was {before[0].stopped}, goes on" if before else ""
        helpers = _helpers(durable, asked, detach=detach)
        show.note(f"Batch {batch}{again}: {counted(count, 'row')} enqueued{helpers}")
        for line in () if detach or asked.settings.database_url else _held_back(durable, batch):
            show.note(line)
        if detach:
            return ""
        told: Told = queue.SimpleQueue()
        with _worked_here(asked, batch, most, stop, told):
            return _followed(durable, batch, {job.row for job in jobs}, stop, told, on_event, on_outcome)


def _helpers(durable: Durable, asked: Asked, *, detach: bool) -> str:
    if asked.settings.database_url is None:
        return "; nobody works them until there is one: runway-node worker" if detach else ", to be worked here"
    alive = sum(worker.alive for worker in durable.status().workers)
    if not alive:
        return "; no worker is there yet: start one with runway-node worker"
    return f"; {counted(alive, 'worker')} there"


def _held_back(durable: Durable, batch: str) -> list[str]:
    """Keep back older batches that nobody works: the worker in this process would pay for them too."""
    found = durable.status()
    going = [one for one in found.batches if one.open and not one.stopped and one.id != batch]
    if sum(worker.alive for worker in found.workers) > 1:
        return []  # another's: whoever waits for them wants them
    for one in going:
        with contextlib.suppress(WrongUse):  # it came to its end meanwhile
            durable.cancel(one.id)
    return [
        f"Batch {one.id}, whose {counted(one.open, 'row')} nobody works, is kept back; it goes on with its own render "
        f"command, or: runway-node batch resume {one.id}"
        for one in going
    ]


@contextlib.contextmanager
def _worked_here(asked: Asked, batch: str, most: int | None, stop: Stop, told: Told) -> Iterator[None]:
    """A worker in a thread, where no other machine could be one."""
    if asked.settings.database_url is not None:
        yield
        return
    from ..batch import at_once
    from ..batch.durable import Durable, serve
    from ..batch.queued import work_of

    failed: list[BaseException] = []

    def hear(of: str, row: int, event: Event) -> None:
        if of == batch:  # the queue may hold others' rows too
            told.put((row, event))

    def work() -> None:
        try:
            with Durable(asked.settings) as durable:
                doing = work_of(asked.settings, durable, hear)
                serve(durable, doing, at_once=most or at_once(asked.settings), stop=stop, until_done=batch)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failed.append(error)
            stop.detach()

    worker = threading.Thread(target=work, name="runway-worker")
    worker.start()
    try:
        yield
    finally:
        worker.join()
    if failed:
        raise failed[0]


def _followed(
    durable: Durable,
    batch: str,
    rows: set[int],
    stop: Stop,
    told: Told,
    on_event: Callable[[int, Event], None],
    on_outcome: Callable[[Outcome], None],
) -> str:
    from ..batch.durable import OPEN, WAITING

    over: set[int] = set()
    while True:
        stopped = stop.wait(LOOK_EVERY)
        with contextlib.suppress(queue.Empty):
            while True:
                on_event(*told.get_nowait())
        found = durable.status(batch).batches[0]
        for row in found.rows:
            if row.number in rows - over and row.state not in OPEN:
                over.add(row.number)
                on_outcome(outcome_of(row))
        if rows <= over or stopped:
            begun = {row.number for row in found.rows if row.state in OPEN - {WAITING}}
            for number in sorted(rows - over):
                on_outcome(_left(number, batch, here=durable.store.file is not None, begun=number in begun))
            return found.reason


def outcome_of(row: Row) -> Outcome:
    """What became of a queued row, as of any other."""
    from ..batch import Outcome
    from ..batch.queued import WORD

    told: dict[str, Any] = {name: value for name, value in (row.outcome or {}).items() if name in Outcome.model_fields}
    words = {"done": "done", "cancelled": (row.outcome or {}).get(WORD) or "not sent"}
    known = {"failed", "unknown", "refused", "invalid", "left"}
    status = words.get(row.state) or (row.state if row.state in known else "failed")
    plain = {name: value for name, value in told.items() if value is not None or name in {"cost", "spent"}}
    if status != "done":  # a row that was taken out of the queue has no outcome
        plain = {"error": "the batch was stopped before it", **plain, "exit_code": plain.get("exit_code") or 1}
    return Outcome.model_validate({**plain, "row": row.number, "status": status})


def _left(number: int, batch: str, *, here: bool, begun: bool) -> Outcome:
    from ..batch.work import failed

    mend = "The same command goes on with it" if here else f"See: runway-node batch status {batch}"
    what = "Stopped; a task that it has at the provider runs on and will be billed" if begun else "Stopped before it"
    error = RunwayNodeError(what if here else "The row is left to the workers", mend)
    status = "left" if begun or not here else "not sent"
    return failed(number, error, spent=None if begun else 0.0).model_copy(update={"status": status})
