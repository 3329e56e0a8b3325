"""Fonts: which one letters are drawn with, and whether it has them all. A letter is never a box."""

from __future__ import annotations

import io
import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import ImageFont

from ..errors import SourceError
from .problems import said

MOST_FONT = 64 << 20
"""Bytes."""

NO_LETTER = "\uffff"
"""A noncharacter: every font shows its stand-in for what it has not."""


_DRAWN = frozenset("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Co Cn".split())  # noqa: SIM905
"""Unicode's categories of what is seen."""

LOOKED_AT = 64
"""Pixels: large enough to tell letters apart, and nothing to draw."""


def face(font: Path | None, size: int, text: str) -> Any:
    """A font's face for *text*, in *size* pixels; without a font DejaVu Sans, which comes along.

    Raises:
        SourceError: The font cannot be used, or has not all the letters.

    """
    try:
        found = ImageFont.truetype(_bytes(font), size)
        missing = _missing(ImageFont.truetype(_bytes(font), LOOKED_AT), text)
    except (OSError, ValueError) as error:
        raise SourceError(f"{font} cannot be used as a font ({error})", "Name a .ttf or .otf file") from None
    if missing:
        name = "The font that comes along" if font is None else f"The font {font.name}"
        one = f"{said(missing)} ({unicodedata.name(missing, f'U+{ord(missing):04X}')})"
        raise SourceError(f"{name} has no letter {one}", "Name one that has it: `font`, a .ttf or .otf file")
    return found


def _bytes(font: Path | None) -> io.BytesIO:
    """A font's bytes: given a name that it cannot open, Pillow looks for another file of that name."""
    if font is None:
        return io.BytesIO(resources.files(__package__).joinpath("fonts", "DejaVuSans.ttf").read_bytes())
    if font.stat().st_size > MOST_FONT:
        raise ValueError("it is too large")
    return io.BytesIO(font.read_bytes())


def _missing(found: Any, text: str) -> str:
    """The first character that would be drawn as the font's stand-in; spaces and controls are not drawn."""

    def box(one: str) -> bool:
        before = "a" if unicodedata.category(one).startswith("M") else ""  # a mark is drawn on a letter
        return bytes(found.getmask(before + one)) == bytes(found.getmask(before + NO_LETTER))

    drawn = (one for one in dict.fromkeys(text) if unicodedata.category(one) in _DRAWN)
    return next((one for one in drawn if box(one)), "")
