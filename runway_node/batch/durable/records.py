"""What a batch is to its readers: rows, batches, workers; and the shape of the work that is done for a row.

Nothing here touches a database or a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ...engine import Stop

Outcome = dict[str, Any]
"""What a row came to: "status" ("done", "failed", "left" or another word), "output", "error", "exit_code", and perhaps
"halt": why the whole batch should stop sending."""

Work = Callable[[dict[str, Any], "Stop"], Outcome]
"""Does a row: gets its job and a stop. Once that is set it leaves what is paid running, and answers "left" where the
row is not over; once its `hold` is, it sends nothing more and finishes what is under way. It raises nothing for a row
that failed."""

OnChange = Callable[[dict[str, Any]], None]
"""Told what a worker does, a "phase" and its facts; from several threads, but one after another."""

DONE, FAILED, LEFT, CANCELLED, WAITING, RUNNING = "done", "failed", "left", "cancelled", "waiting", "running"
"""A row's states. `left` is a row that was begun and that nobody works on until a live worker takes it over."""

BEGAN = "began"
"""In a job: when it was enqueued, by the ledger's clock."""

OPEN = frozenset({WAITING, RUNNING, LEFT})
ALL = "*"
"""In the place of a batch's id: all of them."""

Stopped = Literal["", "cancelled", "halted"]


@dataclass(frozen=True)
class Row:
    """A row's last attempt.

    Args:
        worker: The token of the worker that has it, or had it last; "" before it is begun.
        version: The format it was written in: only workers of the same one take it.
        job: What it was enqueued with, where that was asked for.
        before: What earlier attempts came to.

    """

    batch: str
    number: int
    attempt: int
    state: str
    worker: str = ""
    version: str = ""
    outcome: Outcome | None = None
    job: dict[str, Any] | None = field(default=None, repr=False)
    before: tuple[Outcome, ...] = ()

    @property
    def key(self) -> str:
        """The workflow's id."""
        return key(self.batch, self.number, self.attempt)


@dataclass(frozen=True)
class Batch:
    """A batch, and what its rows came to.

    Args:
        job: Of one of its rows.

    """

    id: str
    created: float
    stopped: Stopped
    reason: str
    rows: tuple[Row, ...] = ()
    job: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each state."""
        return dict(Counter(row.state for row in self.rows))

    @property
    def open(self) -> int:
        """Rows that are not over."""
        return sum(row.state in OPEN for row in self.rows)


@dataclass(frozen=True)
class Worker:
    """A worker as it last told of itself; `alive` alone is not its own word, but its session's."""

    token: str
    host: str
    pid: int
    version: str
    since: float
    seen: float
    running: int
    alive: bool


@dataclass(frozen=True)
class Status:
    """Batches, newest first, and workers."""

    batches: tuple[Batch, ...] = ()
    workers: tuple[Worker, ...] = ()


def key(batch: str, number: int, attempt: int = 1) -> str:
    """A row's workflow id: "batch:7", and for another attempt "batch:7:2"."""
    return f"{batch}:{number}" if attempt == 1 else f"{batch}:{number}:{attempt}"


def parts(name: str) -> tuple[str, int, int]:
    """Batch, row and attempt of a workflow id."""
    batch, number, *attempt = name.split(":")
    return batch, int(number), int(attempt[0]) if attempt else 1


def latest(rows: Iterable[Row]) -> dict[int, Row]:
    """The last attempt of each row, by number."""
    found: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: (row.number, row.attempt)):
        one = found.get(row.number)
        before = () if one is None else (*one.before, *([one.outcome] if one.outcome else []))
        found[row.number] = replace(row, before=before)
    return found
