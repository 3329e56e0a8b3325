"""The plan for one clip: its range in frames, its paid calls, what is sent, what it costs, what is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, isfinite
from typing import Any

from ..errors import SourceError, StepError
from ..media.shapes import Probe
from ..models import Model, Policy, Step, dollars_of, sum_known
from .cutting import Bounds, Piece, cut
from .shapes import Plan, Segment


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
    cuts: Sequence[int] | None = None,
    lends: bool = False,
) -> Plan:
    """The plan for one clip, of any length.

    Args:
        cuts: First frames of new scenes, where they were looked for (see `windows`); None: nobody looked.
        lends: Whether there is a store that the provider may read the clip from.

    Raises:
        SourceError: The range is empty, or HDR without `allow_sdr`.
        StepError: The overlap is too long, or a keyframe cannot be had in any of the calls.

    """
    first, last = frame_range(probe, start, end)
    if probe.hdr and not policy.allow_sdr:
        raise SourceError(
            f"The clip is HDR ({probe.hdr.upper()}) and the model answers in standard range",
            "Accept that with allow_sdr (--allow-sdr), or grade it to standard range first",
        )
    segments = segments_of(probe, step, model, first, last, cuts)
    rate = sent_rate(probe, model)
    width, height = target_size(probe, step)
    sent_width, sent_height = sent_size(probe, model)
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
        segments=segments,
        sent_width=sent_width,
        sent_height=sent_height,
        sent_fps=rate,
        delivery=delivery_of(model, policy, lends=lends),
        chained=step.continuity == "keyframe" and len(segments) > 1,
        warnings=(
            *probe.warnings,
            *_beyond(probe, end),
            *_losses(probe, int(probe.fps / rate), (sent_width, sent_height), (width, height), step),
            *_blind(probe, step, segments),
        ),
        **_priced(segments, probe, step, model),
    )


def delivery_of(model: Model, policy: Policy, *, lends: bool) -> str:
    """How a clip goes that is not to go inline."""
    if policy.delivery == "storage" or (policy.delivery == "auto" and lends and model.upload_bytes is None):
        return "storage"
    return "upload" if model.upload_bytes is not None and policy.delivery != "inline" else "inline"


def _priced(segments: Sequence[Segment], probe: Probe, step: Step, model: Model) -> dict[str, Any]:
    """What the calls cost, each and together, and what of that their overlaps are."""
    prices = [model.price(segment.seconds, step.output_format) for segment in segments]
    price = sum_known(prices)
    shared = [Fraction(segment.overlap) / probe.fps for segment in segments]
    bare = [model.price(s.seconds - over, step.output_format) for s, over in zip(segments, shared, strict=True)]
    return {
        "prices": tuple(prices),
        "billed_seconds": sum((segment.seconds for segment in segments), Fraction(0)),
        "credits": price,
        "dollars": dollars_of(price, model.provider),
        "overlap_seconds": sum(shared, Fraction(0)),
        "overlap_credits": None if price is None else price - (sum_known(bare) or 0.0),
    }


def sent_rate(probe: Probe, model: Model) -> Fraction:
    """The rate that is sent: the clip's, divided by the smallest whole number that brings it within the model's."""
    return probe.fps / ceil(probe.fps / model.fps_max)


def segments_of(
    probe: Probe, step: Step, model: Model, first: int, last: int, cuts: Sequence[int] | None
) -> tuple[Segment, ...]:
    """The paid calls for source frames [first, last)."""
    if _sent(last - first, probe, model) / sent_rate(probe, model) <= model.seconds_max:
        nothing = Bounds(least=1, most=last - first, overlap=0, cut_at="equal")
        return (_segment(probe, model, 0, Piece(first, last), nothing, last=True),)
    bounds = bounds_of(probe, step, model)
    if cuts is None:
        bounds = bounds._replace(cut_at="equal")
    pieces = cut(first, last, bounds, cuts or ())
    if any(earlier.overlap + later.overlap >= later.last - later.first for earlier, later in pairwise(pieces)):
        raise _too_long(bounds)
    final = len(pieces) - 1
    return tuple(
        _segment(probe, model, index, piece, bounds, last=index == final) for index, piece in enumerate(pieces)
    )


def bounds_of(probe: Probe, step: Step, model: Model) -> Bounds:
    """What one of several calls may hold: a sent frame less than the model's most, one more than its least.

    Providers measure a clip's length in ways of their own; so none is refused for a rounding.

    Raises:
        StepError: The overlap leaves no room for anything else.

    """
    rate = sent_rate(probe, model)
    divide = int(probe.fps / rate)
    most = max(1, floor(model.seconds_max * rate - 1)) * divide
    least = ceil(model.seconds_min * rate + 1) * divide if model.seconds_min else 1
    # The picture that a chained call begins with is the last one before it; a scene cut would make it another scene's.
    at = "equal" if step.continuity == "keyframe" and step.cut_at == "auto" else step.cut_at
    bounds = Bounds(least=least, most=most, overlap=step.shared, cut_at=at)
    if 2 * bounds.overlap >= bounds.most:
        raise _too_long(bounds)
    return bounds


def _too_long(bounds: Bounds) -> StepError:
    return StepError(
        f"An overlap of {bounds.overlap} frames is too long for calls of at most {bounds.most}",
        "Give a shorter one (--overlap 6)",
    )


def _sent(frames: int, probe: Probe, model: Model) -> int:
    """How many frames are sent of so many of the source's."""
    return ceil(Fraction(frames, int(probe.fps / sent_rate(probe, model))))


def _segment(probe: Probe, model: Model, index: int, piece: Piece, bounds: Bounds, *, last: bool) -> Segment:
    rate = sent_rate(probe, model)
    divide = int(probe.fps / rate)
    wanted = ceil(model.seconds_min * rate) * divide
    sent_last = min(probe.frames, max(piece.last, piece.first + wanted))
    # Ahead of the range only whole sent frames fit, or the range would start between two of them.
    ahead = min(piece.first, max(0, wanted - (sent_last - piece.first))) // divide * divide
    sent = _sent(sent_last - piece.first + ahead, probe, model)
    clones = max(0, ceil(model.seconds_min * rate) - sent)
    return Segment(
        index=index,
        first=piece.first,
        last=piece.last,
        sent_first=piece.first - ahead,
        sent_last=sent_last,
        clones=clones,
        seconds=(sent + clones) / rate,
        why=_why(piece, probe, bounds, last=last, longer=bool(sent_last > piece.last or ahead or clones)),
        overlap=piece.overlap,
    )


def _why(piece: Piece, probe: Probe, bounds: Bounds, *, last: bool, longer: bool) -> str:
    """Why the piece ends where it does."""
    if last:
        ends = "the range ends there"
    elif piece.scene:
        ends = f"a scene cut at {float(piece.last / probe.fps):.2f} s"
    else:
        near = "" if bounds.cut_at == "equal" else ", no scene cut near"
        shared = f"; {piece.overlap} frames are shared with the next" if piece.overlap else ""
        ends = f"calls of one length{near}{shared}"
    if longer:
        return "lengthened to the model's minimum for the call" + ("" if last else f"; {ends}")
    return ends


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


def _blind(probe: Probe, step: Step, segments: Sequence[Segment]) -> tuple[str, ...]:
    if step.cut_at != "scenes" or probe.path is not None or len(segments) == 1:
        return ()
    return ("frames from Python are not looked through for scene cuts: the calls are of one length",)


def _losses(probe: Probe, divide: int, sent: tuple[int, int], target: tuple[int, int], step: Step) -> tuple[str, ...]:
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
        kept = step.output_format != "mp4"
        said.append(f"{probe.depth} bits are sent as 8" if kept else f"{probe.depth} bits become 8")
    if probe.alpha:
        said.append("transparency is lost")
    if (target[0] % 2 or target[1] % 2) and step.output_format != "prores":
        said.append("an odd size is kept as 4:4:4, which some players do not show")
    return tuple(said)
