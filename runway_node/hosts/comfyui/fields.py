"""The widgets that the nodes share, in the order in which saved graphs hold their values: new ones go last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from ...errors import RunwayNodeError
from ...models import MAX_SEED, MODELS, Model, model_table
from ...planning import MAX_SECONDS
from ...settings import KEY_VARIABLES, load_settings
from .words import KEYFRAMES, UNSET

_ASIDE = {"advanced": True}
"""Folded away until it is wanted; older frontends show it like any other."""


def settings_inputs() -> list[Any]:
    """What the step and its plan are given."""
    table = _table()
    return [*_what(table), *_which(table), *_how_much(), *_where(), *_aside(table)]


def _table() -> tuple[Model, ...]:
    """The models to choose from; where the settings are wrong, the built-in ones: running says what is wrong."""
    try:
        return model_table(load_settings())
    except RunwayNodeError:
        return MODELS


def _what(table: tuple[Model, ...]) -> list[Any]:
    return [
        io.Video.Input("video", tooltip="The clip, of any length. Its file is used as it is, trims included."),
        io.String.Input("prompt", multiline=True, default="", tooltip="What the clip should become."),
        io.Combo.Input(
            "model", options=[UNSET["model"], *_names(row.name for row in table if not row.retired)],
            tooltip="auto: the provider's default. aleph2 is Runway's, gen4_aleph CometAPI's.",
        ),
        io.Int.Input(
            "seed", default=UNSET["seed"], min=UNSET["seed"], max=MAX_SEED,
            control_after_generate=io.ControlAfterGenerate.fixed,
            tooltip="-1: derived from the order. One that changes by itself makes, and pays, another order each time.",
        ),
        io.Int.Input(
            "take", default=1, min=1, max=9999,
            tooltip="Another number is another try at the same, and another payment.",
        ),
    ]  # fmt: skip


def _which(table: tuple[Model, ...]) -> list[Any]:
    shapes = _names(shape for row in table for shape in row.shapes)
    return [
        io.Combo.Input(
            "provider", options=[UNSET["provider"], *KEY_VARIABLES], tooltip="auto: the one whose key there is."
        ),
        io.Image.Input("references", optional=True, tooltip="Stills whose style to follow (gen4_aleph: one)."),
        io.Custom(KEYFRAMES).Input(
            "keyframes", optional=True, tooltip="What moments should look like, from Runway Keyframe (aleph2: five)."
        ),
        io.Combo.Input(
            "aspect", options=[UNSET["aspect"], *shapes],
            tooltip="The shape of what comes out. source: the clip's own.",
        ),
        io.Combo.Input(
            "moderation", options=[UNSET["moderation"], "auto", "low"],
            tooltip="low is less strict about recognisable public figures.",
        ),
    ]  # fmt: skip


def _how_much() -> list[Any]:
    return [
        io.Float.Input(
            "max_seconds", default=MAX_SECONDS, min=0.0, max=100_000.0, step=1.0,
            tooltip="Paid seconds that one run may order; more is refused before anything is sent. A setting that is "
            "lower holds; 0, linked too: the setting's.",
        ),
        io.Float.Input(
            "max_credits", default=0.0, min=0.0, max=1_000_000.0, step=1.0,
            tooltip="Credits that one run may order. 0, linked too: the setting's, or no limit.",
        ),
        io.Combo.Input(
            "continuity", options=["seed", "keyframe"],
            tooltip="How a long clip's look is held: one seed, side by side; or each call begins with the last picture "
            "of the one before it, one after another (aleph2).",
        ),
    ]  # fmt: skip


def _where() -> list[Any]:
    return [
        io.Float.Input("start", default=0.0, min=0.0, max=100_000.0, step=0.01, tooltip="Seconds: where to begin."),
        io.Float.Input(
            "end", default=0.0, min=0.0, max=100_000.0, step=0.01, tooltip="Seconds: where to end. 0: the clip's end."
        ),
        io.Boolean.Input(
            "keep_rest", default=False, tooltip="Give the whole clip: the range transformed, the rest as it is."
        ),
    ]


def _aside(table: tuple[Model, ...]) -> list[Any]:
    formats = _names(name for row in table for name in row.formats)
    return [
        io.Combo.Input(
            "output_format", options=formats, optional=True, extra_dict=_ASIDE,
            tooltip="What the model answers with (aleph2); the others than mp4 cost a surcharge.",
        ),
        io.Combo.Input(
            "cut_at", options=["auto", "scenes", "equal"], optional=True, extra_dict=_ASIDE,
            tooltip="Where a clip longer than one call is cut: at a scene cut near by, at any that fits, or evenly.",
        ),
        io.Int.Input(
            "overlap", default=UNSET["overlap"], min=UNSET["overlap"], max=240, optional=True, extra_dict=_ASIDE,
            tooltip="Frames that two calls share and that are cross-faded. -1: 6, or none with continuity keyframe.",
        ),
        io.Boolean.Input(
            "allow_sdr", default=False, optional=True, extra_dict=_ASIDE,
            tooltip="Accept that an HDR clip comes back in standard range.",
        ),
        io.String.Input(
            "clip_name", default="", optional=True, extra_dict=_ASIDE,
            tooltip="Your own name for the clip, such as shot-12-v3, for one that comes out a little differently each "
            "time: the same name with the same widgets is the same order, whatever its pixels.",
        ),
    ]  # fmt: skip


def _names(values: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(values))
