"""What a plan is: the paid calls, why each ends where it does, and what they cost."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from ..models import Frozen, Rational
from ..settings import Provider

MAX_SECONDS = 60.0
"""Paid seconds one run may order unless told otherwise, on a server that is not this machine."""

Standing = Literal["owned", "under way", "to pay", "unknown"]


class Segment(Frozen):
    """A run of source frames that becomes one paid call.

    Args:
        index: Its place, from 0.
        first, last: Source frames [first, last) that it gives to the result.
        sent_first, sent_last: Source frames that are sent: more than these where the model's minimum asks for it.
        clones: Copies of the last sent frame added behind them.
        seconds: What is billed.
        why: Why it ends where it does.
        overlap: Frames at its end that the next one begins with too: both are paid, and cross-faded.

    """

    index: int
    first: int
    last: int
    sent_first: int
    sent_last: int
    clones: int
    seconds: Rational
    why: str
    overlap: int = 0


class Plan(Frozen):
    """What will be done for a clip, and what it costs; made without sending anything.

    Args:
        provider, model: Who would make it.
        source: The file's name, never its folder.
        fps, width, height, first, last: Of the result: its rate, size, and the source frames [first, last) it covers.
        seconds: How long the result is.
        segments: The paid calls, in order.
        sent_width, sent_height, sent_fps: What the model is given.
        delivery: "inline", or "upload" where an upload carries what does not fit inline, or "storage" where a store
            that the provider can read does.
        billed_seconds: Seconds that are paid, minimums and overlaps included.
        credits, dollars: Their price, None where the provider publishes none.
        warnings: What is lost or changed on the way, a line each.
        overlap_seconds, overlap_credits: What of that the overlaps are.
        chained: Each call waits for the one before it, whose last picture it begins with.
        digest: The order's identity; None where it is known only once the clip is rendered.
        standing: For each segment "owned" (a take is there), "under way" (it is paid, or a live run pays it), "to pay",
            or "unknown" (it may have been paid: see `runway-node tasks`; or the clip is not rendered yet).
        to_pay, to_pay_credits: Seconds and credits that a run would order; None where the price is unknown.
        over: Why a run would refuse it for its cost, one line; "" where it would not.
        at_once: Calls that may be under way together.
        prices: Credits of each call, at today's price.

    The last seven are the moment's word, and no part of the plan that an order freezes.

    """

    provider: Provider
    model: str
    source: str
    fps: Rational
    width: int
    height: int
    first: int
    last: int
    seconds: Rational
    segments: tuple[Segment, ...]
    sent_width: int
    sent_height: int
    sent_fps: Rational
    delivery: str
    billed_seconds: Rational
    credits: float | None
    dollars: float | None
    warnings: tuple[str, ...] = ()
    overlap_seconds: Rational = Fraction(0)
    overlap_credits: float | None = None
    chained: bool = False
    digest: str | None = None
    standing: tuple[Standing, ...] = ()
    to_pay: Rational = Fraction(0)
    to_pay_credits: float | None = None
    over: str = ""
    at_once: int = 1
    prices: tuple[float | None, ...] = ()

    @property
    def rounds(self) -> int:
        """How many calls long the wait is: what is not under way together comes after one another."""
        waiting = sum(word != "owned" for word in self.standing) if self.standing else len(self.segments)
        return waiting if self.chained else -(-waiting // max(1, self.at_once))

    def frozen(self) -> str:
        """What an order keeps of it, as JSON."""
        momentary = {"digest", "standing", "to_pay", "to_pay_credits", "over", "at_once", "prices"}
        return self.model_dump_json(exclude=momentary)
