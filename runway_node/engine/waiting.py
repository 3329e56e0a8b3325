"""Waiting for one task: when to look again and when to give up. The rules are pure; the loop below only follows them.

A failed look says nothing about the task, so it never ends a paid one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..client import Client, Later
from ..errors import RunwayNodeError, StillRunning, TaskGone, Unreachable
from ..wire import Task, task_error
from .report import Report

GRACE = 60.0
"""Seconds for which "no such task" is waited out: CometAPI says it of fresh tasks, a proxy may of any."""

DENIALS = 3
"""Times that it must be said in a row, however far apart the looks are."""

LONGEST_PAUSE = 60.0
GONE_AFTER = 3
"""Looks in a row that nobody answered, after which a sandbox of an earlier day is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: between two looks, in the provider's queue, and running."""

    interval: float
    queue: float
    running: float


def pause(interval: float, failures: int, retry_after: float | None, jitter: float) -> float:
    """Seconds until the next look: doubled by each failure in a row; jitter (0 to 1) lengthens it, by a quarter."""
    doubled = min(max(interval, LONGEST_PAUSE), interval * 2 ** min(failures, 10))
    return float(max(doubled, min(retry_after or 0.0, 600.0)) * (1 + jitter / 4))


@dataclass(slots=True)
class Denials:
    """How often in a row, and since when by a monotonic clock, the provider said that it knows no such task."""

    since: float = 0.0
    count: int = 0

    def see(self, now: float, *, denied: bool) -> None:
        """Take in one look; one without an answer breaks the row: who knows what was behind it."""
        if not denied:
            self.count = 0
            return
        self.since = self.since if self.count else now
        self.count += 1

    def for_good(self, now: float) -> bool:
        """Whether that is more than a hiccup."""
        return self.count >= DENIALS and now - self.since >= GRACE


@dataclass(slots=True)
class Watch:
    """What has been seen of a task so far, by a monotonic clock."""

    began: float
    status: str = "queued"
    since: float = 0.0
    failures: int = 0
    denials: Denials = field(default_factory=Denials)

    def __post_init__(self) -> None:
        self.since = self.began

    def fail(self, now: float) -> None:
        """Take in a look that brought no answer."""
        self.failures += 1
        self.denials.see(now, denied=False)

    def see(self, task: Task | None, now: float) -> None:
        """Take in one answer."""
        self.failures = 0
        self.denials.see(now, denied=task is None)
        if task is None:
            return
        # An unknown word counts as running: its deadline is the nearer one.
        status = "queued" if task.status == "queued" else "running"
        if status != self.status:
            self.status, self.since = status, now

    def overdue(self, deadlines: Deadlines, now: float) -> bool:
        """Whether it has been in its state for longer than allowed."""
        return now - self.since > (deadlines.queue if self.status == "queued" else deadlines.running)


class Stopped(RunwayNodeError):
    """The wait was stopped from outside; what becomes of the task is the caller's to decide."""


def wait(
    client: Client,
    task_id: str,
    deadlines: Deadlines,
    stop: threading.Event,
    report: Report,
    *,
    missed: Callable[[], None] = lambda: None,
    gone_at_once: bool = False,
) -> Task:
    """Look at the task until it succeeded.

    Args:
        missed: Called where the provider does not list the task; what it raises ends the wait.
        gone_at_once: Whoever has it is a server of ours that may be gone: not reached a few times, the task is too.

    Raises:
        TaskFailed, TaskCancelled: It ended otherwise.
        TaskGone: The provider no longer knows it.
        StillRunning: A limit passed; it was left running.
        Stopped: `stop` was set.

    """
    watch = Watch(time.monotonic())
    retry_after: float | None = None
    while True:
        delay = pause(deadlines.interval, watch.failures, retry_after, random.random())  # noqa: S311 - spreads looks
        if stop.wait(delay):
            raise Stopped("Stopped", task_id=task_id)
        retry_after = None
        try:
            task = client.task(task_id)
        except Later as error:
            watch.fail(time.monotonic())
            retry_after = error.retry_after
            if gone_at_once and watch.failures > GONE_AFTER and isinstance(error.cause, Unreachable):
                raise task_gone(task_id) from error
            report("retrying", f"{error.what}; the task is not affected")
        else:
            watch.see(task, time.monotonic())
            if task is None:
                missed()
                if watch.denials.for_good(time.monotonic()):
                    raise task_gone(task_id)
            if task is not None and task.ended:
                return _result(task)
            _tell(task, watch, report)
        now = time.monotonic()
        if watch.overdue(deadlines, now):
            raise StillRunning(
                f"Task {task_id} is still {watch.status} after {now - watch.since:.0f} s and was left running",
                "The same order again, or runway-node resume, collects it; timeout (--timeout) is how long a run waits",
                task_id=task_id,
            )


def task_gone(task_id: str) -> TaskGone:
    """The error for a task that is denied for good."""
    return TaskGone(
        f"The provider no longer knows task {task_id}",
        "Look at the account's usage: it may have been billed; reorder (--reorder) orders, and pays, it again",
        task_id=task_id,
    )


def _result(task: Task) -> Task:
    if task.status != "succeeded":
        raise task_error(task)
    return task


def _tell(task: Task | None, watch: Watch, report: Report) -> None:
    seconds = time.monotonic() - watch.since
    if task is None:
        report("queued", "the provider does not list the task yet", seconds=seconds)
    elif task.status == "queued":
        report("queued", f"in the provider's queue, {seconds:.0f} s", seconds=seconds, credits=task.estimated)
    else:
        percent = f"the model is at {task.progress:.0%}, " if task.progress is not None else ""
        report("running", f"{percent}{seconds:.0f} s", fraction=task.progress, seconds=seconds, credits=task.estimated)
