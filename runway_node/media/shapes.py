"""The values that the media rooms and the planner share: what a clip is, what is sent of it, what the answer must fit.

Times are seconds as `Fraction`, counts are whole frames, sizes are pixels. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One sound track: its stream index in the file, ffmpeg's codec name, rate in Hz, channels, language or ""."""

    index: int
    codec: str
    rate: int
    channels: int
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Color:
    """Colour tags in ffmpeg's own names ("bt709", "tv"); "" where the file says nothing."""

    primaries: str = ""
    transfer: str = ""
    matrix: str = ""
    range: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a clip is.

    Args:
        path: The file; None for frames that come through Python.
        container: ffmpeg's format name, "mov,mp4,m4a,3gp,3g2,mj2" for mp4.
        codec, pix_fmt: ffmpeg's names of the video stream's.
        width, height: As displayed (rotation applied), in stored pixels.
        rotation: Degrees the player turns it, 0, 90, 180 or 270.
        sar: Sample aspect ratio; 1 for square pixels.
        fps: Nominal rate: the file's own where it is constant, else the nearest standard one up to 60.
        frames: How many frames at `fps`; for a variable rate, the clip's duration on that grid.
        variable: The frames do not lie on a constant grid.
        times: For a variable rate, each frame's time from the first one's; else empty.
        offset: Seconds from the container's start (what ffmpeg's -ss counts from) to the first frame.
        start: The first frame's own time stamp, seconds; what -copyts keeps.
        interlaced: Its frames hold two moments each.
        size: Bytes of the file, 0 for frames.
        depth: Bits per component.
        alpha: It has an alpha channel.
        hdr: "pq" or "hlg", "" for standard range.
        color: Its colour tags.
        timecode: The start timecode, "01:00:00:00", or "".
        sounds: Its sound tracks.
        whole: Every frame that the file promises is there.
        warnings: What is odd about the file, a line each (a broken tail, a length that lies).

    """

    path: Path | None
    container: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    rotation: int = 0
    sar: Fraction = Fraction(1)
    fps: Fraction
    frames: int
    variable: bool = False
    times: tuple[Fraction, ...] = field(default=(), repr=False)
    offset: Fraction = Fraction(0)
    start: Fraction = Fraction(0)
    interlaced: bool = False
    size: int = 0
    depth: int = 8
    alpha: bool = False
    hdr: Literal["", "pq", "hlg"] = ""
    color: Color = Color()
    timecode: str = ""
    sounds: tuple[Sound, ...] = ()
    whole: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> Fraction:
        """Seconds, from the frames: not what the container says."""
        return self.frames / self.fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A clip whose pixels exist only as Python frames: streamed once, straight into the encoder.

    Args:
        width, height: Pixels, as given; may be odd.
        fps: Frames per second.
        count: How many frames `read` gives.
        read: Starts reading from the first frame; each buffer is height x width x 3 bytes of RGB.
        read_from: Starts reading from a given one, where that can be had without reading those before it.

    """

    width: int
    height: int
    fps: Fraction
    count: int
    read: Callable[[], Iterator[Buffer]]
    read_from: Callable[[int], Iterator[Buffer]] | None = None

    def begin(self, first: int) -> Iterator[Buffer]:
        """The frames from *first* on."""
        return self.read_from(first) if self.read_from else self._skipped(first)

    def _skipped(self, first: int) -> Iterator[Buffer]:
        frames = self.read()
        try:
            yield from islice(frames, first, None)
        finally:
            if isinstance(frames, Generator):
                frames.close()  # what it holds, a lock or a reader, must not wait to be forgotten

    def probe(self) -> Probe:
        """The same clip as a `Probe`."""
        return Probe(
            path=None, container="rawvideo", codec="rawvideo", pix_fmt="rgb24",
            width=self.width, height=self.height, fps=self.fps, frames=self.count,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is sent of a clip for one paid call.

    Args:
        first, last: Source frames [first, last), on the grid of `Probe.fps`.
        divide: Every divide-th of them is sent (60 fps for a model of at most 30: 2).
        clones: Copies of the last sent frame added at the end, to reach the model's minimum.
        width, height: Even, square pixels.
        budget: Bytes the file may have.

    """

    first: int
    last: int
    divide: int = 1
    clones: int = 0
    width: int
    height: int
    budget: int

    @property
    def frames(self) -> int:
        """Frames in the file that is sent."""
        return -(-(self.last - self.first) // self.divide) + self.clones


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What an answer is made into: exactly `frames` frames of this size, rate and colour.

    Args:
        skip: Frames at `fps` dropped from the answer's start (neighbours sent ahead of the range).
        span: Seconds the whole answer should last; what "retime" stretches it to.
        retime: Stretch a wrong length over the span, instead of trimming or cloning its tail.
        head, tail: Frames at its start and end that it shares with its neighbours, kept apart for the cross-fade.
        alone: Nothing is joined to it, so that an answer which fits already may be copied.
        sps_id: The id that an H.264 encoder's parameter sets bear, where it stands beside another's; else None.
        quality: What the model was asked to answer with, and the pictures are kept as (see `codecs.codec_for`).

    """

    frames: int
    fps: Fraction
    width: int
    height: int
    sar: Fraction = Fraction(1)
    color: Color = Color()
    skip: int = 0
    span: Fraction
    retime: bool = False
    head: int = 0
    tail: int = 0
    alone: bool = True
    sps_id: int | None = None
    quality: str = "mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One answer made to fit, ready to be joined.

    Args:
        body: Its frames, but for those that are shared.
        frames: How many these are.
        head, tail: The shared ones, lossless, for the cross-fade; None where there are none.

    """

    body: Path
    frames: int
    head: Path | None = None
    tail: Path | None = None
