"""A clip on its way through a template: by reference to a file while nothing touches its frames, else as moviepy's.

All lengths are whole frames at the piece's own rate, so that nothing drifts. Nothing here writes a file of the user's.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SourceError
from ..media.probe import plain, probe, snapped
from ..media.rest import encode_range
from ..media.shapes import Fit, Probe
from .values import LONGEST

MOST_READERS = 4
"""Files that are open for their frames at once, an ffmpeg process each."""

MOST_PIXELS = 64_000_000
LONGEST_SIDE = 16384

DEEPER = 50
TOO_MANY = ("Too many steps lie on one another here to be drawn", "Make two templates of it")

SLACK = 1e-5
"""Frames; moviepy's own, against i / fps lying a hair under it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames [first, last) of a file, as they are in it."""

    path: Path
    probe: Probe
    first: int
    last: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the file."""
        return self.first == 0 and self.last == self.probe.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Pictures and sound.

    Args:
        picture: A stretch of a file, or a moviepy clip without sound.
        sound: A stretch of a file: its sound, as it is; a moviepy AudioClip; or None.
        fps: Frames per second.
        frames: How many.
        width, height: Pixels, as seen (square ones).

    """

    picture: Any
    sound: Any
    fps: Fraction
    frames: int
    width: int
    height: int

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return self.frames / self.fps

    @property
    def own_sound(self) -> bool:
        """Whether its sound is what belongs to its pictures in their file, be it none."""
        part = self.picture
        return isinstance(part, Stretch) and (part == self.sound or (self.sound is None and not part.probe.sounds))

    def frame(self, seconds: Fraction) -> int:
        """The frame at which *seconds* lie; half a frame is enough to be the next one."""
        return math.floor(seconds * self.fps + Fraction(1, 2))


def from_file(path: Path, found: Probe | None = None) -> Piece:
    """A whole file.

    Raises:
        SourceError: It is no video that can be used.

    """
    found = found or probe(path)
    stretch = Stretch(path, found, 0, found.frames)
    width, height = seen_size(found)
    return Piece(
        picture=stretch, sound=stretch if found.sounds else None, fps=found.fps, frames=found.frames,
        width=width, height=height,
    )  # fmt: skip


def seen_size(found: Probe) -> tuple[int, int]:
    """A file's size with square pixels."""
    if found.sar == 1:
        return found.width, found.height
    return max(2, round(found.width * found.sar / 2) * 2), found.height


class Readers:
    """Frames of files for moviepy, a few files open at a time; and stand-ins for them where only shapes matter.

    Safe from several threads: each has a place of its own in a file.

    Args:
        folder: For what had to be made readable first; gone with the render.
        blank: Nothing is opened: every file is black and silent.
        stop: Heard while a file is made readable.

    """

    def __init__(self, folder: Path, *, blank: bool = False, stop: threading.Event | None = None) -> None:
        self.folder, self.blank, self.stop = folder, blank, stop
        self._open: OrderedDict[tuple[int, Path], Any] = OrderedDict()
        self._guard = threading.Lock()
        self._straight: dict[Path, Path] = {}

    def beside(self, folder: Path) -> Readers:
        """Others with a folder of their own, which count the same open files."""
        other = Readers(folder, blank=self.blank, stop=self.stop)
        other._open, other._guard = self._open, self._guard
        return other

    def clip(self, stretch: Stretch) -> Any:
        """A moviepy clip of a stretch, without sound; its file is opened when a frame is asked for."""
        found, size = stretch.probe, seen_size(stretch.probe)
        if found.hdr:
            raise SourceError(
                f"{stretch.path.name} is HDR: its frames cannot be drawn over",
                "Transform it first, with allow_sdr, or make an SDR copy of it",
            )
        fps, count = float(found.fps), stretch.last - stretch.first
        if self.blank:
            return blank(size, found.fps, count)
        last = (stretch.last - 0.5) / fps
        path = self._readable(stretch)

        def frame(t: float) -> Any:
            with self._guard:
                return self._reader(path, found.fps).get_frame(min(t + stretch.first / fps, last))

        return made(frame, size, found.fps, count)

    def close(self) -> None:
        """Close all files."""
        with self._guard:
            for reader in self._open.values():
                reader.close()
            self._open.clear()

    def _reader(self, path: Path, fps: Fraction) -> Any:
        key = threading.get_ident(), path
        if key not in self._open:
            self._open[key] = _reader(path, float(snapped(fps)))
            while len(self._open) > MOST_READERS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key]

    def _readable(self, stretch: Stretch) -> Path:
        """The file, or what is made of one that moviepy would show turned, late, squeezed or at another rate."""
        found, path = stretch.probe, stretch.path
        if path not in self._straight and _straight(found) and plain(path, found.fps):
            self._straight[path] = path
        if path not in self._straight:
            width, height = seen_size(found)
            fit = Fit(frames=found.frames, fps=found.fps, width=width, height=height, span=found.duration)
            out = self.folder / f"straight-{len(self._straight)}.mp4"
            encode_range(path, found, fit, ".mp4", 0, found.frames, out, self.stop)
            self._straight[path] = out
        return self._straight[path]


def _reader(path: Path, fps: float) -> Any:
    """A reader of a file that was looked at before; moviepy's own leaves the pipes of an ended ffmpeg open."""
    from moviepy.video.io.ffmpeg_reader import FFMPEG_VideoReader

    class Reader(FFMPEG_VideoReader):  # type: ignore[misc]  # moviepy ships no types
        def close(self, delete_lastread: bool = True) -> None:
            process = self.proc
            super().close(delete_lastread)
            for pipe in (process.stdout, process.stderr) if process else ():
                pipe.close()
            if process:
                process.wait()

    reader = Reader(str(path), decode_file=False)
    reader.fps = fps  # moviepy knows 59.94 only as that, and would seek beside the frame
    return reader


def _straight(found: Probe) -> bool:
    """Whether ffmpeg, asked for frames as moviepy asks it, gives them as they are seen."""
    turned = found.rotation or found.variable or found.interlaced or found.sar != 1
    return not turned and found.container != "avi" and found.offset * found.fps < Fraction(1, 2)


def made(frame: Callable[[float], Any], size: tuple[int, int], fps: Fraction, count: int) -> Any:
    """A moviepy clip of so many frames; none is asked for yet."""
    from moviepy import VideoClip

    clip = VideoClip(duration=float(count / fps))
    clip.frame_function, clip.size, clip.fps = frame, tuple(size), float(fps)
    return clip


def blank(size: tuple[int, int], fps: Fraction, count: int) -> Any:
    """A black clip."""
    black = np.zeros((size[1], size[0], 3), np.uint8)
    return made(lambda _: black, size, fps, count)


def drawn(clip: Any, sound: Any, fps: Fraction) -> Piece:
    """A piece of a moviepy clip that something was done to.

    Raises:
        SourceError: It has no end, or no frame.

    """
    if clip.duration is None:
        raise SourceError("It has no end", "Give it a duration")
    count = round(float(clip.duration) * float(fps))
    if count < 1:
        raise SourceError("No frame is left of it", "Make it longer")
    if clip.duration > LONGEST:
        raise SourceError(f"It would last {float(clip.duration):.0f} s", "Make it shorter than a day")
    width, height = (int(side) for side in clip.size)
    if min(width, height) < 1:
        raise SourceError(f"Nothing of the picture is left ({width}x{height})", "Keep to a part that lies within it")
    bounded(width, height)
    return Piece(picture=clip.without_audio(), sound=sound, fps=fps, frames=count, width=width, height=height)


def tried(piece: Piece) -> None:
    """Draw the first frame, a little further down the stack than a render does: what is looked at can be drawn.

    Raises:
        SourceError: It cannot.

    """

    def deeper(left: int) -> Any:
        return deeper(left - 1) if left else piece.picture.get_frame(0)

    try:
        if not isinstance(piece.picture, Stretch):
            deeper(DEEPER)
    except RecursionError:
        raise SourceError(*TOO_MANY) from None


def bounded(width: float, height: float) -> None:
    """Refuse a picture that no memory holds.

    Raises:
        SourceError: It is too large.

    """
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        raise SourceError(f"A picture of {width:.0f}x{height:.0f} is too large to draw", "Make it smaller")


def cut(piece: Piece, first: int, last: int) -> Piece:
    """Frames [first, last) of a piece, and the sound that belongs to them."""
    if (first, last) == (0, piece.frames):
        return piece

    def part(of: Any) -> Any:
        if of is None:
            return None
        if isinstance(of, Stretch):
            return replace(of, first=of.first + first, last=of.first + last)
        return later(of, first / piece.fps, (last - first) / piece.fps)

    return replace(piece, picture=part(piece.picture), sound=part(piece.sound), frames=last - first)


def later(clip: Any, start: Fraction, seconds: Fraction) -> Any:
    """A moviepy clip, picture or sound, from *start* on and for so long."""
    shift = float(start)
    return clip.time_transform(lambda t: t + shift).with_duration(float(seconds))
