"""An order's calls worked side by side: a few threads take one after another, each from its clip to its fitted take.

The call that fails sets `halt` itself, not whoever collects the outcomes: in the gap another would be sent, and paid.
What is in flight by then is finished and stored.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from ..errors import Interrupted, RunwayNodeError
from ..models.words import counted
from .desk import Desk

T = TypeVar("T")

TOLD_EVERY = 0.1
"""Seconds between two looks for what the threads told."""

LEFT_WITHIN = 3.0
"""Seconds that the threads have to end where everything is left at once."""

WORST_FIRST = (130, 4, 3, 1, 2)
"""Exit codes; of several the first one here is told."""


def side_by_side(
    desk: Desk, weights: Sequence[float], work: Callable[[Desk, int], T], halt: threading.Event, threads: int
) -> list[T]:
    """The outcomes of `work(desk, index)` for each call, in order; one call alone is worked right here.

    Args:
        weights: The calls' shares of the whole.
        halt: Set by the first that fails.
        threads: How many are worked at once.

    Raises:
        RunwayNodeError: The worst of what went wrong; it says what came of the others.

    """
    if len(weights) == 1:
        return [work(desk, 0)]
    reports = desk.report.calls(weights)

    def call(index: int) -> T:
        with desk.beside(report=reports[index]) as own:
            return work(own, index)

    works = [functools.partial(call, index) for index in range(len(weights))]
    got, errors = together(works, halt, threads, meanwhile=desk.report.drain)
    if errors:
        raise _told(errors, len(got), len(weights), stopped=desk.stop.is_set())
    return [got[index] for index in range(len(weights))]


def together(
    works: Sequence[Callable[[], T]], halt: threading.Event, threads: int, *, meanwhile: Callable[[], None]
) -> tuple[dict[int, T], dict[int, BaseException]]:
    """Do the works, some at once, each to its end; what each gave, and what went wrong.

    Args:
        halt: Set by the first that fails: nothing is taken back, but the others may look at it.
        threads: How many are done at once.
        meanwhile: Called in the caller's thread, again and again, and at last.

    """
    shift: _Shift[T] = _Shift(works, halt)
    crew = [
        threading.Thread(target=shift.run, name=f"runway-call-{number}", daemon=True)
        for number in range(min(threads, len(works)))
    ]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            while thread.is_alive():
                thread.join(TOLD_EVERY)
                meanwhile()
    except BaseException:
        # A second Ctrl-C: what the threads work with is about to be closed under them.
        halt.set()
        until = time.monotonic() + LEFT_WITHIN
        for thread in crew:
            thread.join(max(0.0, until - time.monotonic()))
        raise
    meanwhile()
    return shift.got, shift.errors


class _Shift(Generic[T]):
    """Works, and what came of each."""

    def __init__(self, works: Sequence[Callable[[], T]], halt: threading.Event) -> None:
        self._halt = halt
        self._left = iter(enumerate(works))
        self._guard = threading.Lock()
        self.got: dict[int, T] = {}
        self.errors: dict[int, BaseException] = {}

    def run(self) -> None:
        """Do one after another until none is left."""
        while (one := self._next()) is not None:
            index, work = one
            try:
                self.got[index] = work()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._halt.set()
                self.errors[index] = error

    def _next(self) -> tuple[int, Callable[[], T]] | None:
        with self._guard:
            return next(self._left, None)


def worst_first(errors: Mapping[int, BaseException]) -> list[int]:
    """The errors' places, by how bad they are."""
    rank = {code: place for place, code in enumerate(WORST_FIRST)}
    return sorted(errors, key=lambda index: (rank.get(getattr(errors[index], "exit_code", 1), 3), index))


def worst_of(errors: Mapping[int, BaseException]) -> BaseException:
    """The worst of several errors, which knows the others."""
    first, *others = (errors[index] for index in worst_first(errors))
    if isinstance(first, RunwayNodeError):
        more = [one for one in others if isinstance(one, RunwayNodeError) and one is not first]
        first.beside = tuple(dict.fromkeys([*first.beside, *more]))  # a step of several calls brings its own
    return first


def _told(errors: dict[int, BaseException], here: int, count: int, *, stopped: bool) -> BaseException:
    """The worst of the errors; calls that were only not sent for another's sake are counted, not told."""
    idle = {
        index for index, error in errors.items() if isinstance(error, Interrupted) and not (stopped and error.task_id)
    }
    told = {index: error for index, error in errors.items() if index not in idle} or errors
    order = worst_first(told)
    first = worst_of(told)
    if not isinstance(first, RunwayNodeError):
        return first
    said: dict[str, list[int]] = {}
    for index in order:
        said.setdefault(str(getattr(told[index], "what", told[index])).rstrip("."), []).append(index + 1)
    what = [f"call {', '.join(map(str, calls))} of {count}: {text}" for text, calls in said.items()]
    what[0] = what[0][0].upper() + what[0][1:]
    unsent = f"{counted(len(idle), 'call')} {'was' if len(idle) == 1 else 'were'} not sent"
    rest = f"{here} of {count} takes are here, {unsent}"
    first.what = f"{'; '.join(what)}; {rest}: the same order again pays only for what is missing"
    return first
