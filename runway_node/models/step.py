"""Step and Policy: what is ordered, and how. Nothing here knows a provider's names or touches a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator

from ..errors import StepError
from ..settings import Provider
from .base import Frozen
from .picture import AnyPicture, Keyframe
from .words import complaint

MAX_SEED = 2**32 - 1
"""Both providers document 0 to 4294967295."""

OVERLAP = 6
"""Frames that two calls share unless told otherwise: a quarter of a second at 24 fps."""

MOST_OVERLAP = 240
"""Frames: ten seconds at 24 fps, more than any cross-fade wants."""

T = TypeVar("T")


class Step(Frozen):
    """What is ordered. Two equal steps on the same frames are the same order.

    Args:
        prompt: What the clip should become. At most 1,000 UTF-16 units for both Aleph models.
        model: The model's name; unset: the provider's default.
        provider: "cometapi" or "runway"; unset: the one whose key is set.
        seed: 0 to 4294967295; unset: derived from the order's digest, so that the same order asks for the same look.
        take: Another number is another try at the same step (with another derived seed).
        references: Stills whose style or content to follow, where the model takes them.
        keyframes: Stills for moments of the clip, where the model takes them.
        aspect: The result's shape, such as "9:16"; unset: the source's.
        moderation: "low" is less strict about recognisable public figures; unset: the provider's default.
        output_format: What the model is asked to answer with: "mp4", or where it has them, at a surcharge, "prores" and
            "sdr_rec709_10bit". The result keeps that quality.
        cut_at: Where a clip longer than one call is cut: "auto", at a scene cut where one lies near a wanted place;
            "scenes", at scene cuts wherever there are some; "equal", in calls of one length. For calls that are
            chained "auto" is "equal": the picture handed on must not be another scene's.
        overlap: Frames that two calls share, and that are cross-faded, where no scene cut parts them; unset: 6, or none
            where calls are chained by keyframes.
        continuity: How the look is held over several calls: "seed", the same one for all, side by side; or "keyframe",
            each begins with the last picture of the one before it, one after another, where the model takes keyframes.
        key: The user's own name for the clip, such as "shot-12-v3". It stands for the content in the order's identity:
            a clip that renders differently each time (noise, a clock) is the same order under the same key.

    """

    prompt: str = ""
    model: str | None = None
    provider: Provider | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    take: int = Field(default=1, ge=1)
    references: tuple[AnyPicture, ...] = ()
    keyframes: tuple[Keyframe, ...] = ()
    aspect: str | None = Field(default=None, pattern=r"^[1-9]\d{0,3}:[1-9]\d{0,3}$")
    moderation: Literal["auto", "low"] | None = None
    output_format: str = "mp4"
    cut_at: Literal["auto", "scenes", "equal"] = "auto"
    overlap: int | None = Field(default=None, ge=0, le=MOST_OVERLAP)
    continuity: Literal["seed", "keyframe"] = "seed"
    key: str | None = Field(default=None, min_length=1, max_length=200)

    @property
    def shared(self) -> int:
        """Frames that two calls share where no scene cut parts them."""
        if self.overlap is not None:
            return self.overlap
        return 0 if self.continuity == "keyframe" else OVERLAP

    @field_validator("references", "keyframes", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class Policy(Frozen):
    """How an order is carried out; never part of what is ordered.

    Args:
        max_seconds: Paid seconds this run may order; unset: the setting, else 60, and no limit on loopback.
        max_credits: Credits this run may order; refused where the model's price is unknown.
        max_credits_per_day: Credits all runs of this account label may order in a UTC day; unset: the setting.
        timeout: Seconds the task may run, the provider's queue apart; unset: the setting.
        queue_timeout: Seconds to wait for a free slot, and then in the provider's queue.
        on_timeout: "detach" leaves the task running and tells its id; "cancel" cancels it where the provider can.
        on_interrupt: The same for Ctrl-C and a host's Stop.
        delivery: "auto" inlines what fits and uploads the rest, or where the provider has no uploads puts it into the
            setting `delivery_store`; "inline" and "upload" insist; "storage" tries that store first. A store's link is
            tried before anything is ordered: what the provider could not read goes the other ways, with a warning.
        conform: "trim" cuts or extends a wrong tail; "retime" stretches the answer over the range.
        allow_sdr: Accept that an HDR (PQ or HLG) source comes back in standard range.
        reorder: Order again, and pay again, what cannot be had any more: a task that expired, a take that is lost.
        resubmit_ambiguous: Order again what may have been ordered, and may so be billed twice.
        delete_remote: "after_stored" deletes the remote task once its take is checked and on the disk (runway only).

    """

    max_seconds: float | None = Field(default=None, gt=0)
    max_credits: float | None = Field(default=None, gt=0)
    max_credits_per_day: float | None = Field(default=None, gt=0)
    timeout: float | None = Field(default=None, gt=0)
    queue_timeout: float = Field(default=24 * 3600.0, gt=0)
    on_timeout: Literal["detach", "cancel"] = "detach"
    on_interrupt: Literal["cancel", "detach"] = "cancel"
    delivery: Literal["auto", "inline", "upload", "storage"] = "auto"
    conform: Literal["trim", "retime"] = "trim"
    allow_sdr: bool = False
    reorder: bool = False
    resubmit_ambiguous: bool = False
    delete_remote: Literal["after_stored"] | None = None


def build(kind: Callable[..., T], **values: Any) -> T:
    """`kind(**values)` for `Step`, `Policy` or `Keyframe`, with a bad field as one clear line.

    Raises:
        StepError: The first field that is wrong, and why.

    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or kind.__name__.lower()
        raise StepError(f"{where}: {complaint(first)}") from None
