"""What the server remembers: accounts, uploads, tasks, counters. Status follows from the clock; nothing here sleeps."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..settings import Provider
from .render import Work

DAY = 24 * 3600.0

Status = Literal["PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]


@dataclass
class Counters:
    """What happened so far, in requests, tasks and credits."""

    creates: int = 0
    """Orders that came in, whatever the answer."""
    accepted: int = 0
    """Orders that became tasks."""
    billed: int = 0
    """Tasks whose credits are kept: paying twice shows here."""
    credits: int = 0
    """Credits that are kept."""
    refused: int = 0
    polls: int = 0
    uploads: int = 0
    upload_puts: int = 0
    downloads: int = 0
    deletes: int = 0
    accounts: int = 0
    leaked_keys: int = 0
    """Authorization headers on storage links, where none belongs."""
    faults: int = 0


@dataclass
class Account:
    """One key's account with one provider; the key itself is not kept."""

    provider: Provider
    name: str
    credits: int
    created: list[tuple[float, str]] = field(default_factory=list)
    """When each order was accepted, for which model."""

    def daily(self, model: str, now: float) -> int:
        """Orders for *model* in the last 24 hours."""
        return sum(1 for when, name in self.created if name == model and now - when < DAY)


@dataclass
class Upload:
    """A ticket for one file: used once, and readable until it expires."""

    ticket: str
    uri: str
    fields: dict[str, str]
    expires: float
    path: Path | None = None


@dataclass(eq=False)
class RemoteTask:
    """One task.

    Args:
        created, starts_after: Clock times: accepted at, and not run before.
        seconds: How long it runs at least.
        price: Credits taken when it was accepted.
        body: What was ordered, long URIs shortened.
        rendered: Clock time at which the answer was ready; None while ffmpeg works.
        ends: What is to become of it: "" is success, else "failed" or "cancelled".

    """

    id: str
    account: Account
    model: str
    created: float
    starts_after: float
    seconds: float
    price: int
    body: dict[str, Any]
    work: Work
    output: Path
    started: float | None = None
    ended: float | None = None
    rendered: float | None = None
    broken: str = ""
    ends: Literal["", "failed", "cancelled"] = ""
    failure: tuple[str, str, bool] = ("INTERNAL", "An unexpected error occurred.", True)
    end_status: Status | None = None
    cost: int | None = None
    gone: bool = False
    told_throttled: bool = False
    """Whether its wait is told as THROTTLED although a place is free."""
    changes: int = 0
    """How often "etag_changes" befell its answer."""

    @property
    def provider(self) -> Provider:
        """Whose task it is."""
        return self.account.provider

    def status(self, now: float) -> Status:
        """Where it is at *now*."""
        if self.end_status is not None:
            return self.end_status
        if self.started is not None:
            return "RUNNING"
        return "THROTTLED" if now >= self.starts_after or self.told_throttled else "PENDING"

    def progress(self, now: float) -> float:
        """Share that is done, 0 to 1, never falling; 1 only at the end."""
        if self.end_status is not None:
            return 1.0
        if self.started is None:
            return 0.0
        run = max(0.0, now - self.started)
        return round(min(0.99, run / (run + 2.0) if run > self.seconds else 0.9 * run / self.seconds), 4)

    def told(self, now: float) -> dict[str, Any]:
        """The task for `/_sandbox/state`."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "status": "GONE" if self.gone else self.status(now),
            "price": self.price,
            "cost": self.cost,
            "frames": self.work.clip.frames,
            "seconds": float(self.work.clip.seconds),
            "body": self.body,
        }


def shortened(value: Any) -> Any:  # JSON
    """JSON *value* with data URIs replaced by their length and hash, fit for a log."""
    if isinstance(value, dict):
        return {name: shortened(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value]
    if isinstance(value, str) and value.startswith("data:"):
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"{value[:24].partition(',')[0]},({len(value)} characters, sha256 {digest})"
    return value


def counted(counters: Counters) -> dict[str, int]:
    """The counters as JSON."""
    return asdict(counters)


class Lane:
    """The places in which one account's tasks for one model run, `concurrency` at once, in order of arrival.

    Everything that should have happened by *now* happens in `settle`, in the order and at the times at which it should
    have, however long nobody looked.
    """

    def __init__(self, places: int) -> None:
        self._free = [0.0] * places  # since when each place is free
        self.waiting: list[RemoteTask] = []
        self.running: list[RemoteTask] = []

    def settle(self, now: float) -> list[RemoteTask]:
        """Move tasks on; those that ended, each with `ended` set, are returned."""
        over: list[RemoteTask] = []
        moved = True
        while moved:
            ended = [task for task in self.running if _finish(task) <= now]
            for task in sorted(ended, key=_finish):
                task.ended = _finish(task)
                self.leave(task, task.ended)
            over += ended
            moved = bool(ended) or self._start(now)
        return over

    def _start(self, now: float) -> bool:
        moved = False
        for task in list(self.waiting):
            if not self._free:
                break
            start = max(min(self._free), task.starts_after)
            if start > now:
                continue
            self._free.remove(min(self._free))
            self.waiting.remove(task)
            task.started = start
            self.running.append(task)
            moved = True
        return moved

    def leave(self, task: RemoteTask, when: float) -> None:
        """Take *task* out, freeing its place at *when*."""
        if task in self.waiting:
            self.waiting.remove(task)
        elif task in self.running:
            self.running.remove(task)
            self._free.append(when)


def _finish(task: RemoteTask) -> float:
    """When a running task ends; never, while its answer is not ready."""
    started = task.started or 0.0
    if task.ends or task.broken:
        return started + task.seconds
    if task.rendered is None:
        return float("inf")
    return max(started + task.seconds, task.rendered)
