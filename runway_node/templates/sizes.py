"""What an effect makes of a picture's size, decided before it is applied: whole pixels, in pairs, within the picture.

moviepy's own Crop passes over what it does not understand, and its Resize makes odd sides, which H.264 keeps only in a
form that many players refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems import TemplateError

Size = tuple[int, int]

SIDES = ("left", "right", "top", "bottom")

ODD = "{}x{} is an odd size: such a film is H.264 4:4:4, which many players refuse; let an effect EvenSize be last"


def scaled(size: Size, *, factor: float | None = None, width: float | None = None, height: float | None = None) -> Size:
    """The size in another scale, its shape kept: what is given is kept, what follows is even."""
    if width is not None:
        return max(1, int(width)), _even(size[1] * width / size[0])
    if height is not None:
        return _even(size[0] * height / size[1]), max(1, int(height))
    return _even(size[0] * (factor or 1)), _even(size[1] * (factor or 1))


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def fields_for(name: str, fields: Mapping[str, Any], size: Size) -> Mapping[str, Any]:
    """An effect's fields for a picture of that size.

    Raises:
        TemplateError: It is a Crop that cuts nothing out of that picture.

    """
    if name == "Crop":
        _check_crop(fields, size)
    if name != "Resize":
        return fields
    whole, width, height = (fields.get(side) for side in ("new_size", "width", "height"))
    if isinstance(whole, (int, float)) and whole > 0:
        whole = scaled(size, factor=whole)
    elif whole is None and width is not None and height is not None:  # moviepy passes over the width then
        whole = (width, height)
    elif whole is None and (width is not None or height is not None):
        whole = scaled(size, width=width, height=height)
    return fields if whole is None else {**fields, "new_size": whole, "width": None, "height": None}


def grown(name: str, fields: Mapping[str, Any], size: Size) -> tuple[float, float]:
    """The size of what is drawn by an effect that enlarges; moviepy draws a first frame when it is applied."""
    if name == "Margin":
        left, right, top, bottom = (fields.get("margin_size") or fields.get(side) or 0 for side in SIDES)
        return size[0] + left + right, size[1] + top + bottom
    whole = fields.get("new_size") if name == "Resize" else None
    return (whole[0], whole[1]) if isinstance(whole, tuple) and len(whole) == 2 else size


def _check_crop(fields: Mapping[str, Any], size: Size) -> None:
    for side, whole, axis in (("width", size[0], "x"), ("height", size[1], "y")):
        first, last = _kept(fields, side, axis, whole)
        if not 0 <= first < last <= whole:
            raise TemplateError(
                f"Crop from {axis} {first:g} to {last:g} is not within the picture, which is {size[0]}x{size[1]}",
                "Keep to a part of it", place=("with",),
            )  # fmt: skip


def _kept(fields: Mapping[str, Any], side: str, axis: str, whole: int) -> tuple[float, float]:
    """Where a crop begins and ends on one axis, read as moviepy reads it."""
    long, first, last, center = (fields.get(name) for name in (side, f"{axis}1", f"{axis}2", f"{axis}_center"))
    if center is not None and long is None:
        raise TemplateError(f"Crop's {axis}_center needs a {side}", f"Give {side}, in pixels", place=("with",))
    if long is not None and center is None and first is None and last is None:
        raise TemplateError(
            f"Crop's {side} alone cuts nothing",
            f"Give {axis}1, {axis}2 or {axis}_center too: {whole // 2} is the middle",
            place=("with",),
        )
    if center is not None and long is not None:
        return center - long / 2, center + long / 2
    if long is not None and first is not None:
        return first, first + long
    if long is not None and last is not None:
        return last - long, last
    return first or 0, whole if last is None else last
