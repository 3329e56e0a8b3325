"""The clip and the pictures brought to the provider: only what costs nothing is repeated."""

from __future__ import annotations

import base64
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.nap import sleep_using_event

from ..client import Client, Later
from ..errors import Interrupted, StoreError, Unreachable
from ..ledger import Attempt
from ..media.pictures import data_uri_bytes, picture_bytes
from ..models import Model, Picture, Step
from ..planning import Plan, Segment
from ..wire import Clock, create_body
from .desk import Desk
from .order import Order
from .report import Report

T = TypeVar("T")
TRIES = 6
WITHIN = 120.0
"""The first try and five more, for two minutes at most."""

INLINE_PICTURE = 512 * 1024
"""Bytes; a larger picture is uploaded where the provider has uploads, so that bodies stay small."""

UPLOAD_FLOOR = 512
"""Bytes; Runway takes no smaller upload."""


def again(what: Callable[[], T], stop: threading.Event, report: Report, *, base: float = 1.0) -> T:
    """Do *what*, and again after each `Later`; a Retry-After beyond two minutes is not waited for.

    Raises:
        Refused, Unreachable: It stayed so; nothing was ordered.
        Interrupted: `stop` was set between two tries.

    """

    def once() -> T:
        if stop.is_set():
            raise Interrupted("Stopped before the order was placed", "Nothing was ordered")
        return what()

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        backoff = min(30.0, base * 2.0 ** (state.attempt_number - 1)) * (1 + random.random() / 4)  # noqa: S311
        return float(max(asked, backoff))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        report("retrying", f"{error}; trying again")

    try:
        return Retrying(
            retry=retry_if_exception_type(Later),
            stop=stop_after_attempt(TRIES) | stop_before_delay(WITHIN),
            wait=wait,
            sleep=sleep_using_event(stop),
            before_sleep=tell,
            reraise=True,
        )(once)
    except Later as error:
        raise error.cause or Unreachable(error.what, "Nothing was ordered; try again later") from error


def clip_budget(desk: Desk, order: Order) -> int:
    """Bytes the sent clip may have, by the way it will go: the link's, the upload's or the data URI's limit."""
    model = order.model
    if lends(desk, order):
        return model.url_bytes
    if order.plan.delivery != "inline" and model.upload_bytes:
        return model.upload_bytes
    return inline_bytes(model)


def inline_bytes(model: Model) -> int:
    """Bytes of the largest clip that goes into the order itself."""
    return data_uri_bytes("video/mp4", model.inline_chars)


def lends(desk: Desk, order: Order) -> bool:
    """Whether clips go by the store; why not, where they should, is told."""
    if order.plan.delivery != "storage":
        return False
    why = desk.lender.why_not(order.settings.base_url(order.plan.provider))
    if why:
        _tell_why(desk, order, why)
    return not why


def _tell_why(desk: Desk, order: Order, why: str) -> None:
    instead = "inlining" if order.model.upload_bytes is None else "uploading"
    desk.report.warn(f"not by storage: {why}; {instead} instead")


def lent_clip(desk: Desk, order: Order, row: Attempt, clip: Path) -> str | None:
    """The link to the clip in the store; None where it goes another way."""
    size = clip.stat().st_size
    wanted = order.policy.delivery == "storage" or size > inline_bytes(order.model)
    if not wanted or not lends(desk, order):
        return None
    desk.report("delivering", f"putting {size / 1e6:.1f} MB into {order.settings.delivery_store}")
    seconds = order.policy.queue_timeout + (order.policy.timeout or order.settings.timeout) + 3600.0
    try:
        return desk.lender.lend(row, clip, seconds)
    except StoreError as error:
        desk.lender.take_away(row, desk.report)
        _tell_why(desk, order, error.what)
        return None


def deliver_clip(
    client: Client, model: Model, clip: Path, *, insist: bool, stop: threading.Event, report: Report
) -> str | Path:
    """The clip as the order will carry it: itself, to be inlined, or the URI of its upload."""
    size = clip.stat().st_size
    fits = size <= inline_bytes(model)
    if model.upload_bytes is None or (fits and not insist) or size < UPLOAD_FLOOR:
        return clip
    report("delivering", f"uploading {size / 1e6:.1f} MB")
    return again(lambda: client.upload(clip, "video/mp4"), stop, report)


def deliver_pictures(
    client: Client, step: Step, model: Model, stop: threading.Event, report: Report
) -> tuple[list[str], list[str]]:
    """A URI for each reference and each keyframe."""

    def uri(picture: Picture) -> str:
        if picture.url:
            return picture.url
        mime, data = picture_bytes(picture, model.picture_chars)
        if model.upload_bytes is None or len(data) <= INLINE_PICTURE:
            return f"data:{mime};base64,{base64.b64encode(data).decode()}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"picture.{mime.partition('/')[2]}")
            path.write_bytes(data)
            return again(lambda: client.upload(path, mime), stop, report)

    return [uri(picture) for picture in step.references], [uri(frame.picture) for frame in step.keyframes]


def order_fields(
    step: Step, model: Model, plan: Plan, segment: Segment, seed: int, pictures: tuple[list[str], list[str]]
) -> dict[str, Any]:
    """The create request's fields, all but the clip's own."""
    lead = (plan.first - segment.sent_first) / plan.fps
    return create_body(
        step,
        model,
        width=plan.sent_width,
        height=plan.sent_height,
        seed=seed,
        references=pictures[0],
        keyframes=pictures[1],
        clock=Clock(lead=lead, span=plan.seconds, sent=segment.seconds),
    )
