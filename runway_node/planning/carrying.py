"""A segment as the media rooms take it: what is cut and sent for it, and what its answer must become."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil

from ..errors import SourceError, StepError
from ..media.shapes import Cut, Fit, Probe
from ..models import Keyframe, Model, Picture, Policy, Step
from .shapes import Plan, Segment


def step_for(plan: Plan, segment: Segment, step: Step, guide: Picture | None = None) -> Step:
    """The step as one of several calls is given it: with the keyframes that lie within the call.

    Args:
        guide: The picture that a chained call begins with.

    """
    if len(plan.segments) == 1:
        return step
    begins = (segment.first - plan.first) / plan.fps
    chain = () if guide is None else (Keyframe(picture=guide, seconds=float(begins)),)
    return step.model_copy(update={"keyframes": (*chain, *_within(plan, segment, step))})


def _within(plan: Plan, segment: Segment, step: Step) -> list[Keyframe]:
    begins, ends = ((frame - plan.first) / plan.fps for frame in (segment.first, segment.last))
    final = segment.last == plan.last
    moments = [
        (Fraction(frame.seconds) if frame.seconds is not None else Fraction(frame.at or 0) * plan.seconds, frame)
        for frame in step.keyframes
    ]
    return [frame for moment, frame in moments if begins <= moment and (moment < ends or final)]


def reach_back(plan: Plan) -> int:
    """How many frames, at most, a call begins before the end of the one before it."""
    return max((0, *(one.sent_last - two.sent_first for one, two in pairwise(plan.segments))))


def check_keyframes(plan: Plan, step: Step, model: Model) -> None:
    """Refuse keyframes that a call could not be given, before anything is sent.

    Raises:
        SourceError: One lies outside the range.
        StepError: There are too many for a call, or ranges over several calls, or a call without prompt and keyframe.

    """
    for frame in step.keyframes:
        latest = max(frame.seconds or 0, frame.range[0] if frame.range else 0)
        if latest > plan.seconds or (frame.range and frame.range[1] > ceil(plan.seconds)):
            raise SourceError(
                f"A keyframe lies outside the range, which is {float(plan.seconds):.2f} s long",
                "Keyframes count from the start of the range",
            )
    several = len(plan.segments) > 1
    if several and any(frame.range for frame in step.keyframes):
        raise StepError(
            f"A keyframe's range cannot be kept over {len(plan.segments)} calls",
            "Transform that part alone, and keep the rest: --start, --end and --keep-rest",
        )
    for segment in plan.segments:
        given = len(_within(plan, segment, step)) + (plan.chained and segment.index > 0)
        where = f" for call {segment.index + 1}" if several else ""
        if given > model.keyframes:
            told = f"{given} keyframes given{where}, {model.name} takes {model.keyframes} at most"
            raise StepError(told, "Leave some out")
        if several and not (given or step.prompt.strip() or step.aspect):
            raise StepError(f"There is neither a prompt nor a keyframe{where}", "Give a prompt")


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
        head=plan.segments[segment.index - 1].overlap if segment.index else 0,
        tail=segment.overlap,
        alone=len(plan.segments) == 1,
        quality=step.output_format,
    )
