"""The step types of a template, as data: what each is written with. Nothing here makes a frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from ..models import Policy, Step
from .effects import check_effect
from .problems import Unfit
from .values import Color, Duration, File, Gain, Length, Loudness, Position, Share, Words

ID = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"


class Written(BaseModel):
    """What a template is written with: nothing that is not known, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False, arbitrary_types_allowed=True)


class Range(Written):
    """A part of a clip: from `start` to `end`, or for a `duration`."""

    start: Duration = Field(default=0, validate_default=True)
    end: Duration | None = None
    duration: Duration | None = None

    @model_validator(mode="after")
    def _some(self) -> Range:
        if self.end is not None and self.duration is not None:
            raise Unfit("it has an end or a duration, not both", hangs_on="nothing")
        if self.duration == 0 or (self.end is not None and self.end <= self.start):
            raise ValueError("no time lies between its start and its end")
        return self


class Common(Written):
    """What every step has."""

    id: Annotated[str, Field(pattern=f"^{ID}$")] | None = None
    """Its name for other steps and for `render`; unset: it feeds the step after it."""
    range: Range | None = None
    """Apply it to that part of its input only; the rest is kept as it is."""


class OneIn(Common):
    """A step with one input."""

    source: File | None = Field(default=None, alias="in")
    """A step's id, or a file; unset: the step before it."""


class Trim(OneIn):
    """A part of a clip."""

    type: Literal["trim"]
    start: Duration = Field(default=0, validate_default=True)
    end: Duration | None = None
    duration: Duration | None = None

    @model_validator(mode="after")
    def _part(self) -> Trim:
        Range(start=self.start, end=self.end, duration=self.duration)
        if self.range is not None:
            raise Unfit("a trim is a range itself; leave it out", "range", hangs_on="nothing")
        return self


class Transition(Written):
    """What is between two clips: a cut, or a cross-fade in which both are seen."""

    type: Literal["cut", "crossfade"] = "crossfade"
    duration: Duration = Field(default="0.5s", validate_default=True)


class Concat(Common):
    """Clips one after another; the first one's size and rate hold for all."""

    type: Literal["concat"]
    source: list[File] = Field(alias="in", min_length=1, max_length=500)
    transition: Transition | None = None
    fit: Literal["contain", "cover"] = "contain"
    """How a clip of another shape fills the frame: whole, with bars; or cut to it."""

    @field_validator("range")
    @classmethod
    def _no_range(cls, value: Range | None) -> Range | None:
        if value is not None:
            raise Unfit("a concat has several inputs; give `range` to a step of one", hangs_on="nothing")
        return value


class Timed(OneIn):
    """Something that is seen for a while."""

    at: Duration = Field(default=0, validate_default=True)
    """When it appears."""
    duration: Duration | None = Field(default=None, alias="for")
    """How long it stays; unset: to the end."""
    fade: Duration = Field(default=0, validate_default=True)
    """How long it takes to appear, and to go: `fade_in` and `fade_out` in one."""
    fade_in: Duration = Field(default=0, validate_default=True)
    fade_out: Duration = Field(default=0, validate_default=True)
    opacity: Share = 1.0
    position: Position = Field(default="center", validate_default=True)

    @model_validator(mode="after")
    def _fades_once(self) -> Timed:
        given = self.model_fields_set
        if "fade" in given and given & {"fade_in", "fade_out"}:
            raise Unfit("it is `fade_in` and `fade_out` in one; leave it out, or them", "fade", hangs_on="nothing")
        return self

    @property
    def fades(self) -> tuple[Fraction, Fraction]:
        """How long it takes to appear, and to go."""
        return self.fade_in or self.fade, self.fade_out or self.fade


class Overlay(Timed):
    """A picture or a clip over a clip."""

    type: Literal["overlay"]
    file: File
    """A picture, a clip, or a step's id."""
    width: Length | None = None
    """How wide it is drawn; its height follows. Unset: as it is."""


class Text(Timed):
    """Words over a clip."""

    type: Literal["text"]
    text: Words = Field(min_length=1, max_length=2000)
    font: File | None = None
    """A .ttf or .otf file; unset: DejaVu Sans, which comes along (Latin, Greek, Cyrillic, and more)."""
    size: Length = Field(default="8%", validate_default=True)
    """Of the letters: pixels, or a share of the frame's height."""
    color: Color = "white"
    background: Color | None = None
    stroke_color: Color | None = None
    stroke_width: int = Field(default=0, ge=0, le=100)
    wrap: Length = Field(default="90%", validate_default=True)
    """Lines are no longer than this: pixels, or a share of the frame's width."""
    align: Literal["left", "center", "right"] = "center"
    position: Position = Field(default=["center", "80%"], validate_default=True)


class Audio(OneIn):
    """The sound of a clip: replaced or mixed, its gain, fades and loudness."""

    type: Literal["audio"]
    file: File | None = None
    """A sound file, or a step's id; unset: the clip's own sound is treated."""
    mode: Literal["replace", "mix", "mute"] = "replace"
    at: Duration = Field(default=0, validate_default=True)
    """When the file begins to sound."""
    loop: bool = False
    """Begin it again until the clip ends."""
    gain: Gain = 0.0
    """Of the file, or where there is none, of the clip's own sound."""
    own_gain: Gain = 0.0
    """Of the clip's own sound, where a file is mixed with it."""
    fade_in: Duration = Field(default=0, validate_default=True)
    fade_out: Duration = Field(default=0, validate_default=True)
    loudness: Loudness | None = None
    """What the whole is brought to, in LUFS: -14 for most platforms, -23 for European broadcast."""

    @model_validator(mode="after")
    def _fits(self) -> Audio:
        if self.mode == "mix" and self.file is None:
            raise Unfit("a mix has a file", "mode")
        if self.mode == "mute" and (self.file is not None or self.loudness is not None):
            raise Unfit("mute has neither file nor loudness", "mode")
        return self


class Effect(OneIn):
    """A moviepy effect, by its name."""

    type: Literal["effect"]
    name: str
    fields: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Its own fields, as in moviepy."""

    @model_validator(mode="after")
    def _known(self) -> Effect:
        check_effect(self.name, self.fields)
        return self


class KeyframeAt(Written):
    """A still for a moment of the clip: see `models.Keyframe`."""

    picture: File
    seconds: float | None = Field(default=None, ge=0)
    at: float | None = Field(default=None, ge=0, le=1)
    range: tuple[int, int] | None = None


_STILLS: dict[str, Any] = {"references": (list[File], []), "keyframes": (list[KeyframeAt], [])}
_TEXTS: dict[Any, Any] = {str: Words, str | None: Words | None}
_FIELDS: dict[str, Any] = {"type": (Literal["runway.video_to_video"], ...)} | {
    name: _STILLS.get(name) or (_TEXTS.get(info.annotation, info.annotation), info)
    for kind in (Step, Policy)
    for name, info in kind.model_fields.items()
}
VideoToVideo: Any = create_model(
    "VideoToVideo",
    __base__=OneIn,
    __doc__="Transform a clip with Runway: all fields of `Step` and `Policy`, under the same names.",
    **_FIELDS,
)

KINDS: dict[str, Any] = {
    "runway.video_to_video": VideoToVideo, "trim": Trim, "concat": Concat, "overlay": Overlay, "text": Text,
    "audio": Audio, "effect": Effect,
}  # fmt: skip

AnyStep = Annotated[VideoToVideo | Trim | Concat | Overlay | Text | Audio | Effect, Field(discriminator="type")]
