"""Calls in flight that no live run polls: whoever waits for a slot looks after them, for their end frees one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..client import Later
from ..errors import RunwayNodeError, TaskEnded, Unreachable
from ..ledger import Attempt
from ..wire import task_error
from . import waiting
from .collecting import ended
from .desk import Desk, interval_of, orphaned_sandbox
from .report import Report
from .waiting import Denials, task_gone


@dataclass(slots=True)
class Looks:
    """What one wait has seen of one orphan, monotonic seconds."""

    looked: float | None = None
    denials: Denials = field(default_factory=Denials)
    unanswered: int = 0


class Orphans:
    """The orphans of one wait for a slot."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._quiet = desk.beside(report=Report(None))
        self._seen: dict[str, Looks] = {}

    def look_after(self, row: Attempt) -> None:
        """One look at each orphan on this call's account, no sooner than its provider may be asked again."""
        for other in self._desk.ledger.orphans(row):
            seen, now = self._seen.setdefault(other.segment, Looks()), time.monotonic()
            if seen.looked is not None and now - seen.looked < interval_of(self._desk, other):
                continue
            seen.looked = now
            held = self._desk.ledger.adopt(other, self._desk.token)
            if held is None:
                continue
            try:
                self._look(held, seen)
            except RunwayNodeError:
                continue  # it says nothing about the task
            finally:
                self._desk.ledger.let_go(held)

    def _look(self, row: Attempt, seen: Looks) -> None:
        assert row.task_id is not None
        try:
            task = self._desk.client(row).task(row.task_id)
        except Later as error:
            seen.denials.see(time.monotonic(), denied=False)
            seen.unanswered += isinstance(error.cause, Unreachable)
            if orphaned_sandbox(self._desk, row) and seen.unanswered > waiting.GONE_AFTER:
                self._ended(row, task_gone(row.task_id))
            return
        seen.unanswered = 0
        seen.denials.see(time.monotonic(), denied=task is None)
        if task is None:
            if seen.denials.for_good(time.monotonic()):
                self._ended(row, task_gone(row.task_id))
            return
        if task.status == "succeeded":
            done = self._quiet.move(row, "succeeded", cost=task.credits)
            self._desk.lender.take_away(done, self._desk.report)
        elif task.ended:
            self._ended(row, task_error(task))

    def _ended(self, row: Attempt, error: TaskEnded) -> None:
        ended(self._quiet, row, error)
