"""The judge of what is sent: opens clips and pictures as strictly as the provider does. Keeps nothing."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path as File
from typing import NamedTuple

import av

from ..models.table import Model
from .refusal import Issue, Path, Refusal, bad_body

# A playlist dressed as a clip must open nothing: containers are named, and nothing but this file may be read.
_VIDEO_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,avi,flv,mpeg",
    "protocol_whitelist": "file",
}
_PICTURE_OPTIONS = {
    "format_whitelist": "png_pipe,jpeg_pipe,webp_pipe,webp,webp_anim,image2,mov,mp4,m4a,3gp,3g2,mj2,gif",
    "protocol_whitelist": "file",
}
_CODECS = frozenset(
    {"h264", "hevc", "av1", "libdav1d", "libaom-av1", "vp8", "vp9", "libvpx-vp9", "prores", "theora", "mpeg4", "mjpeg"}
)
_PICTURE_CODECS = {"image/png": "png", "image/jpeg": "mjpeg", "image/webp": "webp"}


class Clip(NamedTuple):
    """What a clip is.

    Args:
        path: The file.
        width, height: Pixels as shown, after the turn a phone may have noted.
        frames: How many pictures it holds.
        rate: Frames per second, the mean.
        seconds: Length, first picture's start to last one's end.

    """

    path: File
    width: int
    height: int
    frames: int
    rate: Fraction
    seconds: Fraction


class Colour(NamedTuple):
    """A picture's mean colour, each part 0 to 255."""

    red: int
    green: int
    blue: int


def _bad(path: Path, message: str) -> Refusal:
    return bad_body(Issue("custom", path, message))


def _times(container: av.container.InputContainer, stream: av.VideoStream) -> list[tuple[int, int]]:
    """(Start, duration) of every picture in ticks of the stream, in order of showing."""
    return sorted(
        (packet.pts, packet.duration or 0)
        for packet in container.demux(stream)
        if packet.pts is not None and packet.size and not packet.is_discard
    )


def open_clip(file: File, path: Path) -> Clip:
    """What *file* is, if it is a video that decodes.

    Raises:
        Refusal: It is not; *path* is the body's field it was sent in.

    """
    try:
        with av.open(str(file), options=_VIDEO_OPTIONS) as container:
            if not container.streams.video:
                raise _bad(path, "Invalid asset: it holds no video stream")
            stream = container.streams.video[0]
            width, height, codec = stream.width, stream.height, stream.codec_context.name
            tick = stream.time_base or Fraction(1, 1000)
            times = _times(container, stream)
            container.seek(0)
            first = next(container.decode(stream), None)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _bad(path, f"Invalid asset: the video cannot be decoded ({type(error).__name__})") from None
    if codec not in _CODECS:
        raise _bad(path, f"Invalid asset: video codec {codec} is not supported")
    if first is None or not times:
        raise _bad(path, "Invalid asset: the video holds no frames")
    span = (times[-1][0] - times[0][0]) * tick
    last = times[-1][1] * tick or (span / (len(times) - 1) if len(times) > 1 else tick)
    seconds = span + last
    if getattr(first, "rotation", 0) % 180:
        width, height = height, width
    return Clip(file, width, height, len(times), _rate(len(times), span, last, tick), seconds)


def _rate(frames: int, span: Fraction, last: Fraction, tick: Fraction) -> Fraction:
    """Frames per second; a standard rate where the file's ticks are too coarse to tell the difference."""
    if frames < 2 or not span:
        return 1 / last
    measured = (frames - 1) / span
    for base in (24, 25, 30, 48, 50, 60, 12, 15):
        for standard in (Fraction(base), Fraction(base * 1000, 1001)):
            if abs((frames - 1) / standard - span) <= tick:
                return standard
    return measured.limit_denominator(1001)


def check_clip(clip: Clip, row: Model, path: Path) -> None:
    """Refuse a *clip* outside what Runway takes for the model of *row*.

    Two seconds are the least for both models; `gen4_aleph` uses the first five of a longer clip, `aleph2` refuses
    what is longer than thirty or faster than 30 frames per second.
    """
    if clip.seconds < row.seconds_min:
        raise _bad(path, f"Asset duration must be at least {row.seconds_min} seconds")
    if row.name != "aleph2":
        return
    if clip.seconds > row.seconds_max:
        raise _bad(path, f"Asset duration must be at most {row.seconds_max} seconds")
    if clip.rate > row.fps_max:
        raise _bad(path, f"Asset frame rate must be at most {row.fps_max} FPS")


def picture_colour(data: bytes, mime: str, path: Path) -> Colour:
    """The mean colour of a picture that decodes as the *mime* it was sent as.

    Raises:
        Refusal: It does not.

    """
    codec = _PICTURE_CODECS.get(mime)
    if codec is None:
        raise _bad(path, f"Invalid asset: {mime} is not supported; use PNG, JPEG or WebP")
    try:
        with av.open(io.BytesIO(data), "r", options=_PICTURE_OPTIONS) as container:
            found = container.streams.video[0].codec_context.name
            frame = next(container.decode(video=0))
    except (av.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        raise _bad(path, "Invalid asset: the picture cannot be decoded") from None
    if found != codec:
        raise _bad(path, f"Invalid asset: sent as {mime}, it is {found}")
    mean = frame.to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
    return Colour(*(round(float(part)) for part in mean))
