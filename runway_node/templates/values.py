"""The values that templates are written with: times, gains, places, colours. Each knows how it is written."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from PIL import ImageColor
from pydantic import BeforeValidator, WithJsonSchema

from .problems import nearest, said

_TIME = re.compile(r"(\d{1,9}(?:\.\d{0,18})?|\.\d{1,18}|\d{1,30}/\d{1,30})\s*(ms|s|m|min|h)?")
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:\.\d{0,9})?)")
_UNITS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "min": Fraction(60), "h": Fraction(3600)}
LONGEST = Fraction(24 * 3600)
"""Seconds; a template's times are those of an edit, not of an archive."""


def seconds(value: object) -> Fraction:
    """Seconds from 1.5, "1.5s", "500ms", "2m", "1/3s", "1:02.5" or "00:01:02.500".

    Raises:
        ValueError: It is none of these.

    """
    found: Fraction | None = None
    if isinstance(value, Fraction):
        found = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST:
        found = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    elif isinstance(value, str):
        found = _written(value.strip().lower())
    if found is None or not 0 <= found <= LONGEST:
        raise ValueError(f'{said(value)} is no time: write seconds, such as 1.5, "500ms", "2m" or "1:02.5"')
    return found


def _written(text: str) -> Fraction | None:
    try:
        if match := _TIME.fullmatch(text):
            return Fraction(match[1]) * _UNITS[match[2] or "s"]
        if (match := _CLOCK.fullmatch(text)) and float(match[3]) < 60 and not (match[1] and int(match[2]) >= 60):
            return int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])
    except ZeroDivisionError:
        pass
    return None


def _gain(value: object) -> float:
    match = re.fullmatch(r"([-+]?\d{1,3}(?:\.\d+)?)\s*(?:db)?", str(value).strip().lower())
    if match is None or isinstance(value, bool) or not -120 <= float(match[1]) <= 60:
        raise ValueError(f"{said(value)} is no gain: write decibels from -120 to 60, such as -6 or -6dB")
    return float(match[1])


def color(value: object) -> str:
    """A colour's name, or #rrggbb.

    Raises:
        ValueError: It is neither.

    """
    text = str(value)
    try:
        ImageColor.getrgb(text)
    except ValueError:
        hint = nearest(text, ImageColor.colormap) or ": write a name such as white, or #rrggbb"
        raise ValueError(f"{said(value)} is no colour{hint}") from None
    return text


class Spot(NamedTuple):
    """Where something stands in a frame, each way: a word, pixels, or a share of the frame ("10%")."""

    x: str | float
    y: str | float


_ACROSS, _DOWN = ("left", "center", "right"), ("top", "center", "bottom")
_CORNERS = [f"{down}-{across}" for down in _DOWN for across in _ACROSS if down != across]
SPOTS = tuple(dict.fromkeys([*_CORNERS, *_DOWN, *_ACROSS]))


def spot(value: object) -> Spot:
    """A place from "bottom-left", [x, y], ["center", "80%"].

    Raises:
        ValueError: It is none of these.

    """
    if isinstance(value, Spot):
        return value
    if isinstance(value, str):
        parts = value.strip().lower().split("-")
        x = next((part for part in parts if part in {"left", "right"}), "center")
        y = next((part for part in parts if part in {"top", "bottom"}), "center")
        if "-".join(parts) in SPOTS or "-".join(reversed(parts)) in SPOTS:
            return Spot(x, y)
        raise ValueError(f"{said(value)} is no place: write top-left, center, [x, y] or [center, 80%]")
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return Spot(_side(value[0], _ACROSS), _side(value[1], _DOWN))
    raise ValueError(f"{said(value)} is no place: write top-left, center, [x, y] or [center, 80%]")


def _side(value: object, words: tuple[str, ...]) -> str | float:
    if isinstance(value, str) and (value in words or re.fullmatch(r"-?\d{1,3}(\.\d+)?%", value)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e5:
        return float(value)
    raise ValueError(f"{said(value)} is no place: write {', '.join(words)}, pixels, or a share such as 80%")


def _length(value: object) -> str | float:
    """Pixels, or a share of the frame."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d+)?%", value.strip()) and float(value.strip()[:-1]) > 0:
        return value.strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 16384:
        return float(value)
    raise ValueError(f"{said(value)} is no length: write pixels, or a share of the frame such as 30%")


def pixels(length: str | float, whole: int) -> float:
    """A length in pixels, of a frame's side of so many."""
    return float(length[:-1]) / 100 * whole if isinstance(length, str) else length


def file(value: object) -> Path | str:
    """A file's name.

    Raises:
        ValueError: It is none, or longer than any.

    """
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 4096:
        raise ValueError(f"{said(value)} is no file's name")
    return value


def written(value: Any) -> str:
    """A value as text: a file by its name without ending, a time in seconds."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (float, Fraction)):
        return f"{float(value):g}"
    return value.stem if isinstance(value, Path) else str(value)


def _words(value: Any) -> Any:
    return written(value) if isinstance(value, (int, float, Fraction, Path)) and not isinstance(value, bool) else value


_NUMBER, _STRING = {"type": "number"}, {"type": "string"}
def _share(value: Any) -> Any:
    """A share as a number; 50% is 0.5."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", value.strip()) if isinstance(value, str) else None
    share = float(match[1]) / 100 if match else value
    if isinstance(share, bool) or not isinstance(share, (int, float, Fraction)) or not 0 <= share <= 1:
        raise ValueError(f"{said(value)} is no share: write 0 to 1, such as 0.5 or 50%")
    return float(share)


def _lufs(value: Any) -> Any:
    match = re.fullmatch(r"(-\d{1,2}(?:\.\d+)?)\s*(?:lufs)?", str(value).strip().lower())
    if match is None or not -70 <= float(match[1]) <= -5:
        raise ValueError(f"{said(value)} is no loudness: write LUFS from -70 to -5, such as -16")
    return float(match[1])


Words = Annotated[str, BeforeValidator(_words)]
"""Text; a var of another type is written out."""

Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"anyOf": [{**_NUMBER, "minimum": 0, "maximum": 1}, {**_STRING, "pattern": r"^\d+(\.\d+)?%$"}]}),
]
Loudness = Annotated[
    float,
    BeforeValidator(_lufs),
    WithJsonSchema({"anyOf": [{**_NUMBER, "minimum": -70, "maximum": -5}, {**_STRING, "pattern": r"^-\d+.*LUFS$"}]}),
]
Duration = Annotated[
    Fraction,
    BeforeValidator(seconds),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, _STRING], "description": 'Seconds: 1.5, "500ms", "1:02.5".'}
    ),
]
Gain = Annotated[
    float, BeforeValidator(_gain), WithJsonSchema({"anyOf": [_NUMBER, _STRING], "description": "Decibels: -6 or -6dB."})
]
Color = Annotated[
    str, BeforeValidator(color), WithJsonSchema({**_STRING, "description": "A colour's name, or #rrggbb."})
]
Position = Annotated[
    Any,
    BeforeValidator(spot),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(SPOTS)},
                {"type": "array", "minItems": 2, "maxItems": 2, "items": {"anyOf": [_NUMBER, _STRING]}},
            ],
            "description": "top-left, center, bottom, ...; or [x, y] in pixels, words, or shares such as 80%.",
        }
    ),
]
Length = Annotated[
    Any,
    BeforeValidator(_length),
    WithJsonSchema({"anyOf": [_NUMBER, _STRING], "description": "Pixels, or a share of the frame such as 30%."}),
]
File = Annotated[
    Any, BeforeValidator(file), WithJsonSchema({**_STRING, "description": "A file, from the template's own folder."})
]
