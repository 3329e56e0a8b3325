"""Where a moviepy clip's pixels come from: only this file knows how moviepy nests its frame functions.

Every copy and every effect keeps a `VideoFileClip`'s class, `filename` and `reader`, so those prove nothing. What
changes with the pixels is `frame_function` alone. Each link is known by its code object, taken from the moviepy
installed here: one that isn't known (another moviepy, a function of yours) ends the walk, and the clip is rendered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from moviepy import VideoFileClip
from moviepy.Clip import Clip

from ..errors import SourceError
from ..media.probe import probe, snapped
from ..media.shapes import Probe

LONGEST_CHAIN = 1000
"""Subclips of subclips; a longer chain is rendered."""


class Origin(NamedTuple):
    """What a clip plays a stretch of.

    Args:
        base: The clip under all the subclipping; itself where there was none.
        offset: Seconds in *base* at the clip's time 0.
        file: Whether *base* shows a file's frames as they are.

    """

    base: Any
    offset: float
    file: bool


def played_from(clip: Any, seconds: float, last: float) -> Any:
    """*clip* played from *seconds* on, as `subclipped`; but what it shows at *last* seconds is held from there on."""
    start_time = seconds
    return clip.time_transform(lambda t: min(t + start_time, last))


def origin(clip: Any) -> Origin:
    """Walk down from *clip* through its subclips."""
    offset = 0.0
    for _ in range(LONGEST_CHAIN):
        if type(clip).get_frame is not Clip.get_frame:
            break
        function = clip.__dict__.get("frame_function")
        if _code(function) in _FILE:
            return Origin(_cells(function)["self"], offset, file=True)
        link = _subclip(function)
        if link is None:
            break
        clip, seconds = link
        offset += seconds
    return Origin(clip, offset, file=False)


def file_probe(clip: Any, origin: Origin) -> Probe | None:
    """The file that holds exactly the frames *clip* shows; None where that is not sure.

    Raises:
        SourceError: The clip was closed.

    """
    root = origin.base
    if not origin.file:
        return None
    if root.reader is None:
        raise SourceError("The clip was closed", "Close it when you are done with what was made of it")
    path = Path(root.filename)
    if not path.is_file() or root.reader.pixel_format not in {"rgb24", "rgba"}:
        return None
    try:
        found = probe(path)
    except SourceError:
        return None
    sizes = {tuple(map(int, size)) for size in (clip.size, root.reader.size, (found.width, found.height))}
    same = len(sizes) == 1 and clip.fps == root.fps and snapped(Fraction(float(root.fps))) == snapped(found.fps)
    straight = not (found.rotation or found.variable) and found.offset * found.fps < 0.5
    within = origin.offset + clip.duration <= float(root.reader.duration) + 0.001
    begun = int(origin.offset * clip.fps + 1e-5) < found.frames
    # The file may have been replaced since: one that moviepy took to be shorter or much longer is another.
    seen = float(found.duration) <= float(root.reader.duration) + 0.5 / clip.fps + 0.01
    return found if same and straight and within and begun and seen else None


def _subclip(function: Any) -> tuple[Any, float] | None:
    """The clip that *function* plays a part of, and from which second; None where it does anything else."""
    if _code(function) not in _TRANSFORM:
        return None
    outer = _cells(function)
    if _code(outer["func"]) not in _TIME_TRANSFORM:
        return None
    time = _cells(outer["func"])["time_func"]
    if _code(time) not in _SUBCLIP:
        return None
    return outer["self"], float(_cells(time)["start_time"])


def _code(function: Any) -> CodeType | None:
    return function.__code__ if isinstance(function, FunctionType) else None


def _cells(function: FunctionType) -> dict[str, Any]:
    return {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    }


def _lambdas(function: Callable[..., Any]) -> set[CodeType]:
    constants = inspect.unwrap(function).__code__.co_consts
    return {code for code in constants if isinstance(code, CodeType) and code.co_name == "<lambda>"}


_FILE = _lambdas(VideoFileClip.__init__)
_TRANSFORM = _lambdas(Clip.transform)
_TIME_TRANSFORM = _lambdas(Clip.time_transform)
_SUBCLIP = _lambdas(Clip.subclipped) | _lambdas(played_from)
