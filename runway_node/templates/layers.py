"""Pictures and words over a clip, and clips one after another: drawn by moviepy, placed and timed in whole frames."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps, UnidentifiedImageError

from ..errors import SourceError
from ..media.pictures import STILLS
from ..models.words import counted
from .letters import face as face_for
from .pieces import SLACK, Piece, bounded, made
from .problems import TemplateError
from .steps import Overlay, Text, Timed
from .values import Spot, pixels


def joined(clips: Sequence[Any], counts: Sequence[int], overlap: int, first: Piece, fit: str) -> Any:
    """Clips one after another, in the size and rate of *first*; neighbours share *overlap* frames, cross-faded.

    The later one's share rises in equal steps, 1/(n+1) to n/(n+1), as where two answers are joined.
    """
    size, fps = (first.width, first.height), first.fps
    starts = [0, *itertools.accumulate(count - overlap for count in counts[:-1])]
    total = starts[-1] + counts[-1]

    def picture(index: int, t: float) -> Any:
        return fitted(clips[index].get_frame(max(0.0, t - float(starts[index] / fps))), size, fit)

    def frame(t: float) -> Any:
        place = min(int(t * float(fps) + SLACK), total - 1)
        index = bisect.bisect_right(starts, place) - 1
        into = place - starts[index]
        if not index or into >= overlap:
            return picture(index, t)
        share = (into + 1) / (overlap + 1)
        before, after = picture(index - 1, t).astype(np.float32), picture(index, t)
        return (before + (after - before) * share + 0.5).astype(np.uint8)

    return made(frame, size, fps, total)


def fitted(frame: Any, size: tuple[int, int], fit: str) -> Any:
    """A frame in another size: whole, with black bars ("contain"), or cut to it ("cover")."""
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    scales = (size[0] / width, size[1] / height)
    scale = min(scales) if fit == "contain" else max(scales)
    scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(frame).resize(scaled, Image.Resampling.LANCZOS)
    ground = Image.new("RGB", size)
    ground.paste(picture, ((size[0] - scaled[0]) // 2, (size[1] - scaled[1]) // 2))
    return np.asarray(ground)


def over(base: Any, layer: Any, step: Timed, piece: Piece) -> Any:
    """*layer* over *base*, where, when and how the step says.

    Raises:
        SourceError: It would not be seen at all.

    """
    from moviepy import CompositeVideoClip, vfx

    start, count = shown(layer, step, piece)
    seconds = float(count / piece.fps)
    layer = layer.with_duration(seconds)
    fades = [float(fade) * min(1.0, seconds / float(sum(step.fades))) if fade else 0.0 for fade in step.fades]
    kinds = zip((vfx.CrossFadeIn, vfx.CrossFadeOut), fades, strict=True)
    layer = layer.with_effects([kind(fade) for kind, fade in kinds if fade])
    if step.opacity < 1:
        layer = layer.with_opacity(step.opacity)
    # A hair early: sums of times must not begin it a frame late.
    begin = max(0.0, float(start / piece.fps) - SLACK / float(piece.fps))
    layer = layer.with_start(begin).with_position(corner(step.position, layer.size, base.size))
    made_of = CompositeVideoClip([base, layer], size=base.size, use_bgclip=True)
    return made_of.with_duration(base.duration).with_fps(float(piece.fps))


def shown(layer: Any, step: Timed, piece: Piece) -> tuple[int, int]:
    """The first frame, and the number of frames, for which *layer* is seen.

    Raises:
        SourceError: It would not be seen at all.

    """
    return window(step.at, step.duration, piece, step.duration is None and layer.duration is not None and layer)


def too_long(fades: Sequence[Fraction], seconds: Fraction) -> str:
    """What to tell of fades that last longer than what they are of; a snapped time may miss a frame."""
    if sum(fades) <= seconds + Fraction(1, 20):
        return ""
    return f"fades of {' and '.join(f'{float(fade):g} s' for fade in fades if fade)} do not fit {float(seconds):.3g} s"


def beyond(ink: Sequence[int], at: Sequence[int], frame: Sequence[int]) -> str:
    """What to tell of what is drawn within the box *ink* of a layer that lies *at* a pixel, and leaves the frame.

    Raises:
        TemplateError: Nothing of it would be seen.

    """
    (left, top, right, bottom), (x, y), (width, height) = ink, at, frame
    beside = x + left >= width or y + top >= height or x + right <= 0 or y + bottom <= 0
    if right > left and beside:
        raise TemplateError(f"It lies beside the frame of {width}x{height}", "Place it within", place=("position",))
    out = {"left": -x - left, "top": -y - top, "right": x + right - width, "bottom": y + bottom - height}
    sides = [f"{counted(count, 'pixel')} on the {side}" for side, count in out.items() if count > 0]
    return f"it runs out of the frame, {', '.join(sides)}: mind its size and position" if sides else ""


def window(at: Fraction, duration: Fraction | None, piece: Piece, layer: Any = None) -> tuple[int, int]:
    """The first frame, and the number of frames, for which something is seen."""
    start = piece.frame(at)
    if start >= piece.frames:
        raise SourceError(
            f"It would begin at {float(at):g} s, where no frame is left of the clip's {float(piece.seconds):g} s",
            "Begin it earlier",
        )
    most = piece.frames - start
    if duration is not None:
        most = min(most, max(1, piece.frame(duration)))
    if layer:
        most = min(most, max(1, round(layer.duration * float(piece.fps))))
    return start, most


def corner(spot: Spot, size: Sequence[int], frame: Sequence[int]) -> tuple[int, int]:
    """The pixel of the frame at which the layer's top left is."""

    def side(where: str | float, own: int, whole: int) -> int:
        shares = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}
        if isinstance(where, str) and where in shares:
            return round((whole - own) * shares[where])
        # A share counts for the layer's middle, so that 50% is the center whatever its size.
        return round(pixels(where, whole) - own / 2) if isinstance(where, str) else round(where)

    return side(spot.x, int(size[0]), int(frame[0])), side(spot.y, int(size[1]), int(frame[1]))


def is_picture(path: Path) -> bool:
    """Whether a file is a still."""
    try:
        with _opened(path):
            return True
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError, UnidentifiedImageError):
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
        with Image.open(path, formats=STILLS) as opened:
            yield opened


def still(path: Path, step: Overlay, frame: Sequence[int]) -> Any:
    """A picture as a moviepy clip, in the step's width.

    Raises:
        SourceError: It cannot be read.

    """
    from moviepy import ImageClip

    try:
        with _opened(path) as opened:
            bounded(opened.width, opened.height)
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path.name} is no picture that can be read ({error})", "Use PNG, JPEG or WebP") from None
    if step.width is not None:
        width = max(1, round(pixels(step.width, int(frame[0]))))
        height = max(1, round(picture.height * width / picture.width))
        bounded(width, height)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return ImageClip(np.asarray(picture))


def words(step: Text, font: Path | None, frame: Sequence[int]) -> tuple[Any, tuple[int, int, int, int]]:
    """The step's text as a moviepy clip, and the box in it that is drawn on.

    Drawn by Pillow, for moviepy 2.2.1 cuts off what hangs below a line.

    Raises:
        TemplateError: The font cannot be used, or has not all its letters.

    """
    from moviepy import ImageClip

    width, height = int(frame[0]), int(frame[1])
    size = min(4096, max(4, round(pixels(step.size, height))))
    try:
        face = face_for(font, size, step.text)
    except SourceError as error:
        raise TemplateError(error.what, error.mend, place=("font",)) from None
    text = wrapped(step.text, face, min(16384, max(size, round(pixels(step.wrap, width)))))
    how = {"font": face, "spacing": size / 4, "align": step.align, "stroke_width": step.stroke_width}
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, **how)
    edge = max(2, size // 5)
    box = (math.ceil(right - left) + 2 * edge, math.ceil(bottom - top) + 2 * edge)
    bounded(*box)
    ground = Image.new("RGBA", box, step.background or (*ImageColor.getrgb(step.color)[:3], 0))
    ImageDraw.Draw(ground).multiline_text(
        (edge - left, edge - top), text, fill=step.color, stroke_fill=step.stroke_color or step.color, **how
    )
    return ImageClip(np.asarray(ground)), ground.getbbox() or (0, 0, 0, 0)


def wrapped(text: str, face: Any, width: int) -> str:
    """The text in lines no wider than *width* pixels, parted between words; a word that is wider stays whole."""
    lines = []
    for line in text.splitlines():
        held = ""
        for word in line.split():
            longer = f"{held} {word}".strip()
            if held and face.getlength(longer) > width:
                lines.append(held)
                longer = word
            held = longer
        lines.append(held)
    return "\n".join(lines)
