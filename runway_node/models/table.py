"""Model rows: what each provider's model accepts and costs. Every number about a model lives in this table.

A row is data: models change faster than releases, so the settings file can add rows or lay them over these.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

from pydantic import Field, ValidationError

from ..errors import SettingsError, StepError
from ..settings import Provider, Settings
from .base import Frozen, Rational
from .step import Step
from .words import complaint

DOLLARS_PER_CREDIT = 0.01
"""Runway's price of one credit (docs.dev.runwayml.com, pricing, 2026-10). CometAPI names no price per credit."""

DATA_URI_CHARS = 5 * 1024 * 1024
"""Longest data URI, prefix included, that Runway takes since 2026-08-31 (SDK 5.17.1; older specs say 16 MiB)."""

UPLOAD_BYTES = 200_000_000
"""Largest upload Runway documents ("200 MB"; read as decimal, the smaller)."""

URL_BYTES = 32_000_000
"""Largest clip Runway documents for a URL ("32 MB", its inputs page; read as decimal, the smaller)."""

URL_CHARS = 2048
"""Longest URL, Runway's description of 2026-08."""


class Model(Frozen):
    """What one model of one provider accepts and costs.

    Args:
        provider: Whose route it is called on.
        name: The name that is sent.
        clip_field: The body's name for the clip; models differ.
        required: Fields of `Step` that must be set.
        takes: Fields of `Step` beyond prompt, model, provider and take that it accepts.
        seconds_min: A shorter clip is lengthened for the call, and billed as this.
        seconds_max: What one call takes, seconds.
        fps_max: A faster clip is sent at a whole fraction of its rate.
        long_side, short_side: A larger clip is scaled down to these, pixels.
        inline_chars: Longest data URI for the clip, characters.
        upload_bytes: Largest upload, bytes; None where the provider has no upload.
        url_bytes: Largest clip that it fetches from a URL, bytes.
        picture_chars: Longest data URI for a picture, characters.
        ratios: Values of the body's `ratio`, "width:height"; empty where the model has no such field.
        shapes: Values of `aspect` it can be asked for.
        formats: Values of `output_format` that this package supports.
        prompt_units: Longest prompt, UTF-16 code units.
        references, keyframes: How many it takes at most.
        credits_per_second, credits_min: Price; None where the provider publishes none.
        surcharges: Credits per second on top, by `output_format`.
        retired: Why it can no longer be ordered, and the mend; empty while it can.

    """

    provider: Provider
    name: str
    clip_field: str = "videoUri"
    required: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset({"seed"})
    seconds_min: Rational = Fraction(0)
    seconds_max: Rational
    fps_max: Rational = Fraction(30)
    long_side: int = 1920
    short_side: int = 1080
    inline_chars: int = DATA_URI_CHARS
    upload_bytes: int | None = None
    url_bytes: int = URL_BYTES
    picture_chars: int = DATA_URI_CHARS
    ratios: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("mp4",)
    prompt_units: int = 1000
    references: int = 0
    keyframes: int = 0
    credits_per_second: float | None = Field(default=None, gt=0)
    credits_min: float = 0
    surcharges: dict[str, float] = Field(default_factory=dict)
    retired: str = ""

    def price(self, seconds: Fraction, output_format: str = "mp4") -> float | None:
        """Credits for *seconds* billed in one call, None where unknown.

        Whole ones, rounded up: how providers round is undocumented, and limits are to hold at the dearer reading.
        """
        if self.credits_per_second is None:
            return None
        a_second = self.credits_per_second + self.surcharges.get(output_format, 0.0)
        return max(self.credits_min, float(ceil(round(float(seconds) * a_second, 6))))


_ALEPH_RATIOS = ("1280:720", "720:1280", "1104:832", "960:960", "832:1104", "1584:672", "848:480", "640:480")

MODELS: tuple[Model, ...] = (
    Model(
        # CometAPI's page for /runwayml/v1/video_to_video (2026): prompt and clip required, `ratio` is sent because its
        # schema asks for one. Length and sizes are Runway's for this model: CometAPI documents none. The two seconds
        # are those below which Runway answers "Asset duration must be at least 2 seconds".
        provider="cometapi",
        name="gen4_aleph",
        required=frozenset({"prompt"}),
        takes=frozenset({"seed", "references", "aspect", "moderation"}),
        seconds_min=Fraction(2),
        seconds_max=Fraction(5),
        # "less than 16MB" say the guides of this model's time; the smaller of the two.
        url_bytes=16_000_000,
        ratios=_ALEPH_RATIOS,
        shapes=("16:9", "9:16", "4:3", "1:1", "3:4", "21:9"),
        references=1,
    ),
    Model(
        # Runway's OpenAPI description of 2026-08-08 and its inputs and pricing pages; the formats' surcharges are those
        # of its notes of 2026-10-08 (10 bits cost 40 above four megapixels, which no clip that is sent here has).
        provider="runway",
        name="aleph2",
        takes=frozenset({"seed", "keyframes", "aspect", "moderation"}),
        seconds_min=Fraction(2),
        seconds_max=Fraction(30),
        upload_bytes=UPLOAD_BYTES,
        shapes=("16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "21:9"),
        keyframes=5,
        formats=("mp4", "prores", "sdr_rec709_10bit"),
        credits_per_second=28,
        credits_min=56,
        surcharges={"prores": 5, "sdr_rec709_10bit": 20},
    ),
    Model(
        provider="runway",
        name="gen4_aleph",
        seconds_max=Fraction(5),
        retired="Runway retired gen4_aleph on 2026-07-30: use aleph2",
    ),
)

DEFAULT_MODELS: dict[Provider, str] = {"cometapi": "gen4_aleph", "runway": "aleph2"}


def model_table(settings: Settings) -> tuple[Model, ...]:
    """The built-in rows with the settings file's laid over or added.

    Raises:
        SettingsError: A row in the settings file is wrong; says which field.

    """
    rows = {(row.provider, row.name): row for row in MODELS}
    for raw in settings.models:
        known = next(
            (row for row in rows.values() if (row.provider, row.name) == (raw.get("provider"), raw.get("name"))), None
        )
        row = _row({**(known.model_dump() if known else {}), **raw})
        rows[row.provider, row.name] = row
    return tuple(rows.values())


def _row(raw: dict[str, Any]) -> Model:
    try:
        return Model(**raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"models row {raw.get('name', '?')}: {where}: {complaint(first)}", "Mend the row in the settings file"
        ) from None


def find_model(step: Step, provider: Provider, settings: Settings) -> Model:
    """The row for *step* on *provider*; an unknown or retired name is an error that lists what there is.

    Raises:
        StepError: No such model there, or it was retired.

    """
    table = model_table(settings)
    name = step.model or DEFAULT_MODELS[provider]
    for row in table:
        if (row.provider, row.name) == (provider, name):
            if row.retired:
                raise StepError(f"{name} is not offered by {provider} any more", row.retired)
            return row
    here = [row.name for row in table if row.provider == provider and not row.retired]
    there = [row.provider for row in table if row.name == name and not row.retired]
    mend = f"{provider} has {', '.join(here)}"
    if there:
        mend += f"; {name} is on {there[0]}"
    raise StepError(f"{provider} has no model {name!r} in the table", f"{mend}; add rows in the settings file")


def check(step: Step, model: Model, table: tuple[Model, ...] = MODELS) -> None:
    """Refuse what *model* would refuse, before anything is sent.

    Raises:
        StepError: The first field that the model does not take, naming a model that does.

    """
    _check_prompt(step, model)
    used = {
        "references": bool(step.references),
        "keyframes": bool(step.keyframes),
        "aspect": step.aspect is not None,
        "moderation": step.moderation is not None,
        "seed": step.seed is not None,
    }
    if step.continuity == "keyframe" and "keyframes" not in model.takes:
        able = [f"{row.name} ({row.provider})" for row in table if "keyframes" in row.takes and not row.retired]
        mend = f'Use continuity="seed"{" or " if able else ""}{" or ".join(able)}'
        raise StepError(f"{model.name} on {model.provider} takes no keyframes to chain calls by", mend)
    for field, is_used in used.items():
        if is_used and field not in model.takes:
            others = [f"{row.name} ({row.provider})" for row in table if field in row.takes and not row.retired]
            mend = f"Leave it out, or use {' or '.join(others)}" if others else "Leave it out"
            raise StepError(f"{model.name} on {model.provider} does not take {field}", mend)
    if (given := len(step.references)) > model.references:
        raise StepError(f"{given} references given, {model.name} takes {model.references} at most", "Leave some out")
    if len({frame.range is None for frame in step.keyframes}) > 1:
        raise StepError("Some keyframes have a range and some have none", "Give all of them a range, or none")
    if step.aspect is not None and step.aspect not in model.shapes:
        raise StepError(f"{model.name} has no aspect {step.aspect}", f"It has {', '.join(model.shapes)}")
    if step.output_format not in model.formats:
        able = [f"{r.name} ({r.provider})" for r in table if step.output_format in r.formats and not r.retired]
        raise StepError(
            f"{model.name} on {model.provider} has no output_format {step.output_format!r}",
            f"Use {' or '.join([*model.formats, *able])}",
        )


def _check_prompt(step: Step, model: Model) -> None:
    guided = bool(step.keyframes) or step.aspect is not None
    if not step.prompt.strip() and ("prompt" in model.required or not guided):
        raise StepError("The prompt is empty", "Say what the clip should become, for example: the street at dusk")
    units = len(step.prompt.encode("utf-16-le", "surrogatepass")) // 2
    if units > model.prompt_units:
        raise StepError(
            f"The prompt is {units} UTF-16 units long, {model.name} takes {model.prompt_units}",
            f"Shorten it by {units - model.prompt_units} (an emoji counts as two)",
        )
