"""What the ledger's books say: what is open, what is owned, what was spent, what could be freed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ..settings import Provider
from .base import Frozen


class OpenOrder(Frozen):
    """A paid call that is not over, and what to do about it.

    Args:
        digest: The order's; `segment` counts its calls from 0.
        attempt: Which paid call for this segment, from 1.
        state: The ledger's word for where it is.
        busy: Whether a live run works on it.
        source: The clip's file name.
        seconds, credits: Reserved; credits None where the price is unknown.
        account: The label it belongs to.
        advice: What to do, one line.

    """

    digest: str
    segment: int
    attempt: int
    state: str
    busy: bool
    at: datetime
    source: str
    prompt: str
    provider: Provider
    model: str
    task_id: str | None
    seconds: float
    credits: float | None
    account: str
    advice: str


class OwnedTake(Frozen):
    """A paid result that is owned.

    Args:
        path: The file as the provider made it; `there` says whether it is.
        store: The machine and folder that have it.
        credits: What it cost; None where the provider did not say.

    """

    digest: str
    segment: int
    at: datetime
    source: str
    prompt: str
    seed: int
    take: int
    provider: Provider
    model: str
    task_id: str
    credits: float | None
    path: Path
    there: bool
    store: str
    account: str


class Finished(Frozen):
    """What became of one call that was resumed or cancelled.

    Args:
        path: The finished file; None where it is not made (yet).
        take: What was paid for, as the provider made it; None where it is not here (yet).
        error: Why one of them is not.

    """

    digest: str
    task_id: str | None
    state: str
    path: Path | None = None
    take: Path | None = None
    error: str = ""


class SpendLine(Frozen):
    """One provider's model: paid calls, paid seconds; credits charged, reserved (not known yet), of unknown price."""

    provider: Provider
    model: str
    calls: int
    seconds: float
    charged: float
    reserved: float
    unknown: int


class Spend(Frozen):
    """What was spent since a moment, by provider and model; sandbox orders are not in it."""

    since: datetime | None
    lines: tuple[SpendLine, ...]
    charged: float
    reserved: float
    dollars: float


class Garbage(Frozen):
    """One file that could be freed, and why; bytes."""

    path: Path
    size: int
    why: str


class Freed(Frozen):
    """What `gc` freed, or would; bytes. `kept` counts finished files that could not be made again here, and so stay."""

    files: tuple[Garbage, ...]
    size: int
    done: bool
    kept: int = 0
