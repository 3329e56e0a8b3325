"""What will be done for a clip, decided before anything is sent. Pure: no file, no clock, no key."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, isfinite
from typing import Literal

from .errors import SourceError
from .media.shapes import Cut, Fit, Probe
from .models import Frozen, Model, Policy, Rational, Step, dollars_of
from .settings import Provider

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

    """

    index: int
    first: int
    last: int
    sent_first: int
    sent_last: int
    clones: int
    seconds: Rational
    why: str


class Plan(Frozen):
    """What will be done for a clip, and what it costs; made without sending anything.

    Args:
        provider, model: Who would make it.
        source: The file's name, never its folder.
        fps, width, height, first, last: Of the result: its rate, size, and the source frames [first, last) it covers.
        seconds: How long the result is.
        segments: The paid calls.
        sent_width, sent_height, sent_fps: What the model is given.
        delivery: "inline", or "upload" where an upload carries what does not fit inline.
        billed_seconds: Seconds that are paid, minimums included.
        credits, dollars: Their price, None where the provider publishes none.
        warnings: What is lost or changed on the way, a line each.
        digest: The order's identity; None where it is known only once the clip is rendered.
        standing: For each segment "owned" (a take is there), "under way" (it is paid, or a live run pays it), "to pay",
            or "unknown" (it may have been paid: see `runway-node tasks`; or the clip is not rendered yet).
        to_pay, to_pay_credits: Seconds and credits that a run would order; None where the price is unknown.
        over: Why a run would refuse it for its cost, one line; "" where it would not.

    The last five are the ledger's word of the moment, and no part of the plan that an order freezes.

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
    digest: str | None = None
    standing: tuple[Standing, ...] = ()
    to_pay: Rational = Fraction(0)
    to_pay_credits: float | None = None
    over: str = ""

    def frozen(self) -> str:
        """What an order keeps of it, as JSON."""
        return self.model_dump_json(exclude={"digest", "standing", "to_pay", "to_pay_credits", "over"})


def frame_range(probe: Probe, start: float | Fraction | None, end: float | Fraction | None) -> tuple[int, int]:
    """Source frames [round(start*fps), round(end*fps)), within the clip.

    Raises:
        SourceError: There is no frame in it.

    """
    if not all(time is None or isfinite(time) for time in (start, end)):
        raise SourceError("start and end are seconds", "Give numbers")
    first = 0 if start is None else round(Fraction(start) * probe.fps)
    last = probe.frames if end is None else min(probe.frames, round(Fraction(end) * probe.fps))
    seconds = float(probe.duration)
    if first < 0 or (end is not None and end < 0):
        raise SourceError("start and end count from the clip's beginning, in seconds", f"It is {seconds:.2f} s long")
    if first >= probe.frames:
        raise SourceError(f"There is no frame from {float(start or 0):g} s on", f"The clip is {seconds:.2f} s long")
    if first >= last:
        raise SourceError(
            f"There is no frame from {float(start or 0):g} s to {float(end or 0):g} s", "Give an end after the start"
        )
    return first, last


def make_plan(
    probe: Probe,
    step: Step,
    model: Model,
    policy: Policy,
    *,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
) -> Plan:
    """The plan for one clip that fits one call.

    Raises:
        SourceError: The range is empty, too long for one call, or HDR without `allow_sdr`.

    """
    first, last = frame_range(probe, start, end)
    if probe.hdr and not policy.allow_sdr:
        raise SourceError(
            f"The clip is HDR ({probe.hdr.upper()}) and the model answers in standard range",
            "Accept that with allow_sdr (--allow-sdr), or grade it to standard range first",
        )
    divide = ceil(probe.fps / model.fps_max)
    segment = _segment(probe, model, first, last, divide)
    width, height = target_size(probe, step)
    sent_width, sent_height = sent_size(probe, model)
    price = model.price(segment.seconds)
    uploads = model.upload_bytes is not None and policy.delivery != "inline"
    return Plan(
        provider=model.provider,
        model=model.name,
        source=probe.path.name if probe.path else "frames",
        fps=probe.fps,
        width=width,
        height=height,
        first=first,
        last=last,
        seconds=(last - first) / probe.fps,
        segments=(segment,),
        sent_width=sent_width,
        sent_height=sent_height,
        sent_fps=probe.fps / divide,
        delivery="upload" if uploads else "inline",
        billed_seconds=segment.seconds,
        credits=price,
        dollars=dollars_of(price, model.provider),
        warnings=(
            *probe.warnings, *_beyond(probe, end), *_losses(probe, divide, (sent_width, sent_height), (width, height)),
        ),
    )


def _segment(probe: Probe, model: Model, first: int, last: int, divide: int) -> Segment:
    rate = probe.fps / divide
    sent = ceil(Fraction(last - first, divide))
    if sent / rate > model.seconds_max:
        most = float((first + int(model.seconds_max * rate) * divide) / probe.fps)
        raise SourceError(
            f"The range is {float((last - first) / probe.fps):.2f} s long, {model.name} takes "
            f"{float(model.seconds_max):g} s a call",
            f"Use an end of at most {most:g} s (--end {most:g})",
        )
    wanted = ceil(model.seconds_min * rate) * divide
    sent_last = min(probe.frames, max(last, first + wanted))
    # Ahead of the range only whole sent frames fit, or the range would start between two of them.
    ahead = min(first, max(0, wanted - (sent_last - first))) // divide * divide
    sent = ceil(Fraction(sent_last - first + ahead, divide))
    clones = max(0, ceil(model.seconds_min * rate) - sent)
    lengthened = sent_last > last or ahead or clones
    return Segment(
        index=0,
        first=first,
        last=last,
        sent_first=first - ahead,
        sent_last=sent_last,
        clones=clones,
        seconds=(sent + clones) / rate,
        why="lengthened to the model's minimum for the call" if lengthened else "the range ends there",
    )


def target_size(probe: Probe, step: Step) -> tuple[int, int]:
    """The result's size: the source's, or the asked shape at the source's short side (square pixels, even)."""
    if step.aspect is None:
        return probe.width, probe.height
    wide, high = (int(part) for part in step.aspect.split(":"))
    short = min(_displayed(probe))
    if wide >= high:
        return _even(Fraction(short * wide, high)), _even(Fraction(short))
    return _even(Fraction(short)), _even(Fraction(short * high, wide))


def sent_size(probe: Probe, model: Model) -> tuple[int, int]:
    """The largest even size of the source's shape, square pixels, that the model takes; never scaled up."""
    width, height = _displayed(probe)
    scale = min(
        Fraction(1), Fraction(model.long_side) / max(width, height), Fraction(model.short_side) / min(width, height)
    )
    return _even(width * scale), _even(height * scale)


def _displayed(probe: Probe) -> tuple[Fraction, Fraction]:
    if probe.sar >= 1:
        return probe.width * probe.sar, Fraction(probe.height)
    return Fraction(probe.width), probe.height / probe.sar


def _even(pixels: Fraction) -> int:
    return max(2, int(pixels / 2) * 2)


def _beyond(probe: Probe, end: float | Fraction | None) -> tuple[str, ...]:
    """What is said of an end that lies well behind the clip's (a sound that is a little longer is usual)."""
    if end is None or Fraction(end) <= probe.duration + Fraction(1, 2):
        return ()
    return (f"the end, {float(end):g} s, is after the clip's, which is {float(probe.duration):.2f} s long",)


def _losses(probe: Probe, divide: int, sent: tuple[int, int], target: tuple[int, int]) -> tuple[str, ...]:
    said: list[str] = []
    if probe.variable:
        said.append(f"the rate varies; the result is constant at {float(probe.fps):.3f} fps")
    if divide > 1:
        said.append(f"every {divide}. frame is sent ({float(probe.fps / divide):g} fps), the rest is repeated")
    if sent[0] < target[0] - 1 or sent[1] < target[1] - 1:
        said.append(f"sent at {sent[0]}x{sent[1]}, the result is scaled up to {target[0]}x{target[1]}")
    if probe.hdr:
        said.append("HDR becomes standard range")
    elif probe.depth > 8:
        said.append(f"{probe.depth} bits become 8")
    if probe.alpha:
        said.append("transparency is lost")
    if target[0] % 2 or target[1] % 2:
        said.append("an odd size is kept as 4:4:4, which some players do not show")
    return tuple(said)


def cut_of(plan: Plan, segment: Segment, probe: Probe, budget: int) -> Cut:
    """What is sent for *segment*, in at most *budget* bytes."""
    return Cut(
        first=segment.sent_first,
        last=segment.sent_last,
        divide=int(probe.fps / plan.sent_fps),
        clones=segment.clones,
        width=plan.sent_width,
        height=plan.sent_height,
        budget=budget,
    )


def fit_of(plan: Plan, segment: Segment, probe: Probe, step: Step, policy: Policy) -> Fit:
    """What the answer to *segment* must become."""
    return Fit(
        frames=segment.last - segment.first,
        fps=plan.fps,
        width=plan.width,
        height=plan.height,
        sar=probe.sar if step.aspect is None else Fraction(1),
        color=probe.color if not probe.hdr else type(probe.color)(),
        skip=segment.first - segment.sent_first,
        span=segment.seconds,
        retime=policy.conform == "retime",
    )
