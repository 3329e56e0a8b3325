"""What comes back: Event while an order runs, Take for what was paid for, Result for what the caller gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from ..settings import Provider
from .base import Frozen

Phase = Literal[
    "planned", "owned", "waiting", "claimed", "preparing", "delivering", "intent", "submitting", "submitted", "queued",
    "running", "succeeded", "fetching", "stored", "conforming", "joining", "done", "warning", "retrying", "refused",
    "failed", "cancelled", "expired", "ambiguous", "interrupted",
]  # fmt: skip


class Event(Frozen):
    """One thing that happened while an order runs; what `on_progress` is called with.

    Args:
        phase: Where the order, or the call, is. A change of its state in the ledger is an event of that state's name;
            "queued" and "running" are the provider's word; "retrying" and "warning" may come in any phase.
        message: One line for a person.
        fraction: How much of this phase is done, 0 to 1; None where nobody knows.
        overall: How much of the whole order is done, 0 to 1, never falling.
        segment_overall: How much of this call is; the same where the order is one call.
        task_id: The remote task, once there is one.
        digest: The order, once it is known.
        attempt: Which paid call for this segment it is, from 1.
        segment, segments: Which of how many paid calls this is about, from 0; 0 of 1 where it is about the whole order.
        seconds: How long the task has been queued or running, in those phases.
        credits: The cost the provider stated so far, if it did.
        step: Which paid step of a template it is about; None outside of one.

    """

    phase: Phase
    message: str = ""
    fraction: float | None = None
    overall: float = 0.0
    segment_overall: float = 0.0
    task_id: str | None = None
    digest: str | None = None
    attempt: int | None = None
    segment: int = 0
    segments: int = 1
    seconds: float | None = None
    credits: float | None = None
    step: str | None = None


OnProgress = Callable[[Event], Awaitable[None] | None]
"""Called with each event, on the caller's loop where there is one. What it raises is logged and goes no further."""


class Take(Frozen):
    """One paid result, exactly as the provider made it.

    Args:
        path: The file, in the data folder.
        sha256: Of its bytes, hexadecimal.
        task_id: The remote task.
        credits: What the provider says it cost; None where it does not say.

    """

    path: Path
    sha256: str
    task_id: str
    credits: float | None = None


class Result(Frozen):
    """What one run gives.

    Args:
        path: The finished file; where it was to go into a bucket, the one that is kept in the data folder.
        url: Where in a bucket it was put, if it was to be.
        frames: How many frames it has: those of the range that was asked for, with `keep_rest` the whole clip's.
        takes: What was paid for, as the providers made it.
        cost: Credits the provider says were charged for its takes; None where it does not say.
        spent: What of that this run added: 0 where all takes were owned before; None where the provider does not say.
        owned: How many of the takes were owned before.
        digest: The order's, as the ledger lists it.
        seed: The seed that was sent.
        provider, model: Who made it.
        warnings: What was lost or changed on the way, a line each.

    """

    path: Path
    frames: int
    takes: tuple[Take, ...]
    cost: float | None
    spent: float | None
    owned: int
    digest: str
    seed: int
    provider: Provider
    model: str
    warnings: tuple[str, ...] = ()
    url: str = ""
