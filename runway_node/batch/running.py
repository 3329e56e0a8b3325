"""A batch in one process: rows begun in their order on threads, as many as keep the slots busy; and what came of each.

Waiting is most of the work, so threads do. The ledger alone limits what is under way at the provider.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from ..engine import Stop
from ..engine.side_by_side import WORST_FIRST
from ..ledger import opened
from ..media.opener import cores
from ..models import Event
from ..settings import Settings
from .halting import Halting
from .jobs import Job, Outcome
from .starts import Starts
from .work import failed, not_sent, render_row, unforeseen

Told = queue.SimpleQueue["tuple[int, Event] | Outcome"]
HEARD_EVERY = 0.1
"""Seconds between two looks of the caller's thread, which alone tells what happens."""


def at_once(settings: Settings) -> int:
    """Rows worked at a time: those in a slot, and some that are ready for the next one."""
    return settings.max_concurrency + 2 * cores()


def run_rows(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    halting: Halting,
    stop: Stop,
    on_event: Callable[[int, Event], None],
    on_outcome: Callable[[Outcome], None],
    most: int | None = None,
) -> str:
    """Render the rows; events and outcomes are told in the caller's thread.

    Args:
        most: Rows worked at a time; unset: `at_once`.

    Returns:
        Why the batch stopped sending, "" where it did not.

    """
    told: Told = queue.SimpleQueue()
    why, left = "", len(jobs)
    with opened(settings) as ledger:  # held open from the first row to the last
        crew = _crew(jobs, settings, halting, stop, told, ledger.now(), most or at_once(settings))
        while left:
            try:
                what = told.get(timeout=HEARD_EVERY)
            except queue.Empty:
                continue
            if isinstance(what, Outcome):
                left -= 1
                why = why or what.halt
                on_outcome(what)
            else:
                on_event(*what)
        for thread in crew:
            thread.join()
    return why


def _crew(
    jobs: Sequence[Job], settings: Settings, halting: Halting, stop: Stop, told: Told, began: float, most: int
) -> list[threading.Thread]:
    """Threads at work, each on one row after another."""
    todo, guard, starts = iter(jobs), threading.Lock(), Starts(cores())

    def work() -> None:
        while True:
            with guard:  # while it waits too: no later row comes before it
                job = next(todo, None)
                if job is None:
                    return
                starts.wait((job.row,), stop)
            try:
                with starts.under_way((job.row,), _teller(told, job.row)) as tell:
                    held = stop.hold.is_set()
                    outcome = not_sent(job) if held else render_row(job, settings, stop, tell, began=began)
            except BaseException as error:  # noqa: BLE001 - a row without an end would be waited for for ever
                outcome = failed(job.row, unforeseen(error))
            why = halting.judge(outcome)
            if why:  # here, not where it is told: in the gap another row would be sent
                stop.hold.set()
            told.put(outcome.model_copy(update={"halt": why}))

    count = min(len(jobs), most)
    crew = [threading.Thread(target=work, name=f"runway-row-{number}", daemon=True) for number in range(count)]
    for thread in crew:
        thread.start()
    return crew


def _teller(told: Told, row: int) -> Callable[[Event], None]:
    return lambda event: told.put((row, event))


def worst(codes: Sequence[int]) -> int:
    """The exit code of several."""
    return next((code for code in WORST_FIRST if code in codes), 0)
