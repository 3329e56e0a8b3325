"""What is sent: routes and request bodies, per provider and model. Nothing optional is sent unless it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from ..models import Frozen, Keyframe, Model, Rational, Step
from ..settings import Provider

API_VERSION = "2024-11-06"
"""`X-Runway-Version`: a constant of Runway's API that both providers require."""


class Route(Frozen):
    """Where a provider's verbs live below its base URL; None where it has no such verb."""

    create: str
    task: str
    upload: str | None = None
    account: str | None = None
    cancels: bool = False


ROUTES: dict[Provider, Route] = {
    "cometapi": Route(create="/runwayml/v1/video_to_video", task="/runwayml/v1/tasks/{id}"),
    "runway": Route(
        create="/v1/video_to_video",
        task="/v1/tasks/{id}",
        upload="/v1/uploads",
        account="/v1/organization",
        cancels=True,
    ),
}


class Clock(Frozen):
    """Where the range lies in what is sent, seconds: how far in it begins, how long it is, how long the whole is.

    For one of several calls, what is sent may begin long after the range: then *lead* is below zero.
    """

    lead: Rational
    span: Rational
    sent: Rational


SAME_SHAPE = Fraction(1, 200)
"""Ratios within half a percent count as one shape: 1104:832 is CometAPI's larger 4:3 beside 640:480."""


def create_body(
    step: Step,
    model: Model,
    *,
    width: int,
    height: int,
    seed: int,
    references: Sequence[str] = (),
    keyframes: Sequence[str] = (),
    clock: Clock | None = None,
) -> dict[str, Any]:
    """The create request's fields for *model*, all but the clip's own, which is streamed in after them.

    Args:
        step: What is ordered; already checked against the model.
        model: Whose body it is.
        width, height: The sent clip's size, pixels, for models that want a `ratio`.
        seed: Sent where the model takes one.
        references: A URI for each of the step's references.
        keyframes: A URI for each of the step's keyframes.
        clock: Where the range lies in what is sent; unset: it is all of it.

    """
    body: dict[str, Any] = {"model": model.name}
    if step.prompt.strip():
        body["promptText"] = step.prompt
    if "seed" in model.takes:
        body["seed"] = seed
    if references:
        body["references"] = [{"type": "image", "uri": uri} for uri in references]
    if keyframes:
        body["keyframes"] = [_keyframe(frame, uri, clock) for frame, uri in zip(step.keyframes, keyframes, strict=True)]
    if model.ratios:
        body["ratio"] = nearest_ratio(model.ratios, step.aspect, width, height)
    elif step.aspect is not None:
        body["targetAspectRatio"] = step.aspect
    if step.moderation is not None:
        body["contentModeration"] = {"publicFigureThreshold": step.moderation}
    if step.output_format != "mp4":
        body["outputFormat"] = step.output_format
    return body


def _keyframe(frame: Keyframe, uri: str, clock: Clock | None) -> dict[str, Any]:
    """A keyframe's moments count from the range's start, the provider's from the start of what is sent."""
    lead, stretch = (clock.lead, clock.span / clock.sent) if clock else (Fraction(0), Fraction(1))
    body: dict[str, Any] = {"uri": uri}
    if frame.seconds is not None:
        body["seconds"] = max(0.0, round(float(Fraction(frame.seconds) + lead), 6))
    elif frame.at is not None:
        body["at"] = min(1.0, max(0.0, float(Fraction(frame.at) * stretch + (lead / clock.sent if clock else 0))))
    if frame.range is not None:
        start, end = frame.range
        body["range"] = {"start_seconds": int(start + lead), "end_seconds": ceil(end + lead)}
    return body


def nearest_ratio(ratios: Sequence[str], aspect: str | None, width: int, height: int) -> str:
    """The allowed "width:height" nearest in shape to *aspect*, or else to the clip's own *width* x *height*.

    Among values of one shape: the smallest that the clip fits in, else the largest.
    """
    wanted = _shape(aspect) if aspect else Fraction(width, height)

    def distance(ratio: str) -> Fraction:
        shape = _shape(ratio)
        return max(shape, wanted) / min(shape, wanted) - 1

    best = min(distance(ratio) for ratio in ratios)
    alike = sorted((r for r in ratios if distance(r) <= best + SAME_SHAPE), key=_pixels)
    return next((r for r in alike if _pixels(r) >= width * height), alike[-1])


def _shape(ratio: str) -> Fraction:
    width, height = ratio.split(":")
    return Fraction(int(width), int(height))


def _pixels(ratio: str) -> int:
    width, height = ratio.split(":")
    return int(width) * int(height)


def upload_body(filename: str) -> dict[str, str]:
    """The request for an upload ticket."""
    return {"filename": filename, "type": "ephemeral"}
