"""What a clip is: one pass over its packets, one picture decoded. Nothing is believed that can be counted."""

from __future__ import annotations

import contextlib
import itertools
import re
import statistics
from array import array
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error

from ..errors import SourceError
from .changes import set_of, sizes
from .opener import open_container
from .shapes import Color, Probe, Sound

STANDARD_RATES = tuple(
    Fraction(n, d)
    for n, d in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1))
)
LARGEST_SIDE = 16_384
_HDR = {16: "pq", 18: "hlg"}
# ffmpeg's numbers for the tags (ISO/IEC 23091-2), by the names its setparams filter takes.
_PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    9: "bt2020",
    11: "smpte431",
    12: "smpte432",
}
_TRANSFER = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4",
    13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 18: "arib-std-b67",
}  # fmt: skip
_MATRIX = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc", 10: "bt2020c"}
_RANGE = {1: "tv", 2: "pc"}


class Times(NamedTuple):
    """When each shown frame is, in order: whole *ticks* of `tick` seconds (an hour of Fractions would be 30 MB)."""

    ticks: array[int]
    tick: Fraction

    def at(self, index: int) -> Fraction:
        """A frame's time in seconds."""
        return self.ticks[index] * self.tick

    @property
    def lasting(self) -> Fraction:
        """Seconds from the first frame to the last."""
        return self.at(-1) - self.at(0)


def probe(path: Path) -> Probe:
    """Look at *path*.

    Raises:
        SourceError: It is not a video that can be used; one line, with the mend.

    """
    with open_container(path) as container:
        video = next((s for s in container.streams.video if not _is_cover(s)), None)
        if video is None:
            what = "only sound" if container.streams.audio else "no video"
            raise SourceError(f"{path.name} holds {what}", "Give a file with a video track")
        times, last, clean, sets = _times(container, video)
        if not times.ticks:
            raise SourceError(f"{path.name} has no frames", "It may be cut off: try to play it")
        claimed = _claimed(container, video)
        begun = Fraction(container.start_time or 0, 1_000_000)
    with open_container(path) as container:  # afresh: not every container can be rewound
        video = next(stream for stream in container.streams.video if not _is_cover(stream))
        frame = _first_frame(container, video)
        if frame is None:
            raise SourceError(f"{path.name} has no frame that decodes", "It may be damaged: try to play it")
        found = _describe(path, container, video, frame, begun, claimed, times, last, clean=clean)
    if len(sets) > 1 and len(seen := sizes(path)) > 1:
        told = ", ".join(f"{width}x{height}" for width, height in seen)
        said = f"its picture changes size midway ({told}); all of it is scaled to {found.width}x{found.height}"
        return replace(found, warnings=(*found.warnings, said))
    return found


def plain(path: Path, fps: Fraction) -> bool:
    """Whether every packet of *path* is shown, the first one is a keyframe, and all lie on the grid from zero."""
    with open_container(path) as container:
        video = container.streams.video[0]
        packets = [packet for packet in container.demux(video) if packet.size]
        base = video.time_base or Fraction(0)
        stamps = sorted(packet.pts * base for packet in packets if packet.pts is not None)
    shown = len(stamps) == len(packets) and not any(packet.is_discard for packet in packets)
    tick = base * fps
    near = max(Fraction(2, 100), tick if tick < Fraction(1, 4) else 0)  # of a frame: one tick of a millisecond clock
    return shown and packets[0].is_keyframe and all(abs(t * fps - i) <= near for i, t in enumerate(stamps))


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _times(container: Any, video: Any) -> tuple[Times, Fraction, bool, set[bytes]]:
    """The shown frames' times in seconds, in order; how long the last one shows; whether all is there; the sets."""
    codec, sets = video.codec_context.codec.canonical_name, set()
    stamps, latest, duration = array("q"), None, 0
    key = None
    clean, read = True, 0
    try:
        for packet in container.demux(video):
            stamp = packet.pts if packet.pts is not None else packet.dts
            sets.add(set_of(packet, codec))
            read += bool(packet.size)
            if packet.size and stamp is not None:
                if key is None and packet.is_keyframe:
                    key = stamp
                if not packet.is_discard:
                    stamps.append(stamp)
                    if latest is None or stamp >= latest:
                        latest, duration = stamp, packet.duration or 0
            clean = clean and not packet.is_corrupt
    except av.error.FFmpegError:
        clean = False
    # An mp4 says how many frames it has; a cut-off one has fewer. (An avi counts the empty ones it dropped.)
    clean = clean and (read >= video.frames or "mp4" not in container.format.name)
    # What comes before the first keyframe, as in a stream recorded from its middle, no decoder shows.
    shown = (stamp for stamp, _ in itertools.groupby(sorted(stamps)) if key is None or stamp >= key)
    times = Times(array("q", shown), video.time_base or Fraction(0))
    return times, duration * times.tick, clean, sets - {b""}


def _claimed(container: Any, video: Any) -> Fraction | None:
    """Seconds of video that the file says it has; None where it says nothing of the video alone."""
    if video.duration:
        return Fraction(video.duration * video.time_base)
    if container.duration and not container.streams.audio:
        return Fraction(container.duration, 1_000_000)
    return None


def _first_frame(container: Any, video: Any) -> Any:
    with contextlib.suppress(av.error.FFmpegError, OSError):
        return next(container.decode(video), None)
    return None


def _describe(
    path: Path,
    container: Any,
    video: Any,
    frame: Any,
    begun: Fraction,
    claimed: Fraction | None,
    times: Times,
    last: Fraction,
    *,
    clean: bool,
) -> Probe:
    context = video.codec_context
    if not context.width or not context.height or max(context.width, context.height) > LARGEST_SIDE:
        raise SourceError(
            f"{path.name} has a picture of {context.width}x{context.height}", f"Up to {LARGEST_SIDE} a side is read"
        )
    fps, variable = _rate(video, times)
    frames = round((times.lasting + (last or 1 / fps)) * fps) if variable else len(times.ticks)
    rotation = round(-frame.rotation) % 360  # PyAV gives the display matrix on frames only, counter-clockwise
    width, height = (context.height, context.width) if rotation in {90, 270} else (context.width, context.height)
    sar = Fraction(video.sample_aspect_ratio or 1) or Fraction(1)
    layout = frame.format
    return Probe(
        path=path,
        container=container.format.name,
        codec=context.codec.canonical_name,
        pix_fmt=layout.name,
        width=width,
        height=height,
        rotation=rotation,
        sar=1 / sar if rotation in {90, 270} else sar,
        fps=fps,
        frames=max(1, frames),
        variable=variable,
        times=tuple((one - times.ticks[0]) * times.tick for one in times.ticks) if variable else (),
        offset=max(Fraction(0), times.at(0) - begun),
        start=times.at(0),
        interlaced=frame.interlaced_frame,
        size=path.stat().st_size,
        depth=max((component.bits for component in layout.components), default=8),
        alpha=_alpha(video, layout),
        hdr=_HDR.get(context.color_trc, ""),  # type: ignore[arg-type]
        color=_color(context),
        timecode=_timecode(container),
        sounds=tuple(_sound(stream) for stream in container.streams.audio if stream.codec_context),
        whole=clean,
        warnings=(*_warnings(claimed, frames / fps, clean=clean), *_unknown(container)),
    )


def _rate(video: Any, times: Times) -> tuple[Fraction, bool]:
    """The nominal rate, and whether the frames leave its grid by more than half a frame."""
    stated = [Fraction(rate) for rate in (video.guessed_rate, video.base_rate, video.average_rate) if rate]
    if len(times.ticks) > 1:
        stated.append((len(times.ticks) - 1) / times.lasting)
    for rate in dict.fromkeys(snapped(rate) for rate in stated):
        if rate <= 240 and _on_grid(times, rate):
            return rate, False
    # The middle of all gaps is what the recorder aimed at: an average counts the frames it dropped.
    gaps = [later - earlier for earlier, later in itertools.pairwise(times.ticks)]
    if not gaps:  # one frame, in a container that tells only its clock's rate
        return Fraction(25), False
    aimed = 1 / (Fraction(statistics.median(gaps)) * times.tick)
    return min(STANDARD_RATES, key=lambda rate: abs(rate - aimed)), True


def snapped(rate: Fraction) -> Fraction:
    """*rate*, or the standard one it is within a thousandth of (24 and 24000/1001 lie exactly that far apart)."""
    near = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return near if abs(near - rate) * 2000 <= near else rate.limit_denominator(1001)


def _on_grid(times: Times, rate: Fraction) -> bool:
    """Whether each frame is less than half a frame from its place; in whole numbers, which are exact and quick."""
    begun, per = times.ticks[0], times.tick * rate
    up, down = per.numerator, per.denominator
    return all(abs(2 * ((tick - begun) * up - index * down)) < down for index, tick in enumerate(times.ticks))


def _alpha(video: Any, layout: Any) -> bool:
    """In the pixels, or beside them (VP8 and VP9 in webm)."""
    return any(part.is_alpha for part in layout.components) or video.metadata.get("alpha_mode") == "1"


def _color(context: Any) -> Color:
    return Color(
        primaries=_PRIMARIES.get(context.color_primaries, ""),
        transfer=_TRANSFER.get(context.color_trc, ""),
        matrix=_MATRIX.get(context.colorspace, ""),
        range=_RANGE.get(context.color_range, ""),
    )


def _timecode(container: Any) -> str:
    holders = [container, *container.streams]
    told = (str(value) for h in holders for name, value in h.metadata.items() if name.lower() == "timecode")
    return next((text for text in told if re.fullmatch(r"\d\d:\d\d:\d\d[:;.]\d\d", text)), "")


def _unknown(container: Any) -> tuple[str, ...]:
    return tuple(
        f"sound track {number} is of a kind that ffmpeg does not know and is left out"
        for number, stream in enumerate(container.streams.audio, 1)
        if stream.codec_context is None
    )


def _sound(stream: Any) -> Sound:
    context = stream.codec_context
    return Sound(
        index=stream.index,
        codec=context.codec.canonical_name,
        rate=context.sample_rate,
        channels=context.channels,
        language=str(stream.language or ""),
    )


def _warnings(claimed: Fraction | None, seconds: Fraction, *, clean: bool) -> tuple[str, ...]:
    said: list[str] = []
    if not clean:
        said.append(f"the file is cut off or damaged; what can be read of it is used, {float(seconds):.2f} s")
    if claimed is not None and abs(claimed - seconds) > Fraction(1, 2):
        said.append(f"the file says {float(claimed):.1f} s but its frames last {float(seconds):.1f} s")
    return tuple(said)
