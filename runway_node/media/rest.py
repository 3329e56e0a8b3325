"""The rest of a clip around its transformed range: copied where the streams allow it.

Only the frames between the range and the nearest places where the stream can be parted are encoded. Where it cannot be
copied beside another encoder's, the rest is encoded once, and that is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from . import avcc
from .codecs import codec_for
from .conform import output_args, tags
from .join import Part, Span
from .opener import open_container, run_ffmpeg, source_args, whole
from .prepare import entry_args, on_grid
from .shapes import Fit, Probe

TIMED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers whose packets can be taken over as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """How a clip's frames outside [first, last) are had.

    Args:
        copied_to: Frames [0, copied_to) are copied, those up to the range encoded.
        copied_from: Frames from there to the end are copied, those after the range encoded.
        frames: How many the clip has.
        delay: Places between decoding and showing in the copied packets.
        sps_id: The id of the parameter sets that the encoded parts must bear, None where they need none.
        why: Why nothing could be copied, "" where it could.

    """

    first: int
    last: int
    copied_to: int
    copied_from: int
    frames: int
    delay: int = 0
    sps_id: int | None = None
    why: str = ""


def look_at_rest(source: Path, probe: Probe, fit: Fit, suffix: str, first: int, last: int) -> Rest:
    """What of the clip around frames [first, last) can be copied into a file with that ending."""

    def encoded(why: str) -> Rest:
        return Rest(first=first, last=last, copied_to=0, copied_from=probe.frames, frames=probe.frames, why=why)

    if first == 0 and last == probe.frames:
        return encoded("")
    if why := _unlike(probe, fit, suffix):
        return encoded(why)
    scan = _scan(source, probe)
    if scan is None:
        return encoded("some of its frames are hidden, or out of place")
    sps_id = None
    if probe.codec == "h264":
        setup = scan.setup
        free = [number for number in range(avcc.MOST_IDS) if setup and number not in setup.ids]
        if setup is None or not setup.whole_sizes or not free:
            return encoded("its stream is set up in an unusual way")
        sps_id = free[-1]
    copied_from = min(place for place in [*scan.begins, probe.frames] if place >= last)
    return Rest(
        first=first, last=last, copied_to=max(place for place in scan.ends if place <= first),
        copied_from=copied_from, frames=probe.frames, delay=scan.delay, sps_id=sps_id,
        why="what follows has no frame to begin at" if last < copied_from == probe.frames else "",
    )  # fmt: skip


def _unlike(probe: Probe, fit: Fit, suffix: str) -> str:
    """Why the clip's packets cannot stand beside ours; "" where nothing that its probe tells is against it."""
    codec = codec_for(fit, suffix)
    if probe.variable:
        return "its rate varies"
    if probe.rotation or probe.interlaced or not probe.whole or probe.container not in TIMED:
        return "it is turned, interlaced, damaged, or in a container without an index"
    if probe.codec != codec.name or probe.pix_fmt not in codec.pix_fmts or codec.name == "hevc":
        return f"it is {probe.codec} ({probe.pix_fmt}), the transformed part {codec.name} ({codec.pix_fmts[0]})"
    if (probe.width, probe.height, probe.sar) != (fit.width, fit.height, fit.sar):
        return "the transformed part has another shape"
    return ""


class _Scan(NamedTuple):
    """Where the stream can be parted.

    Args:
        ends: Places before which all is decoded that is shown before them, and no more: what follows may be another's.
        begins: Those of them that hold a keyframe which needs nothing before it.
        delay: Places between decoding and showing.
        setup: Of an H.264 track.

    """

    ends: list[int]
    begins: list[int]
    delay: int
    setup: avcc.Setup | None


def _scan(source: Path, probe: Probe) -> _Scan | None:
    with open_container(source) as container:
        stream = container.streams.video[0]
        setup = avcc.read(stream.codec_context.extradata)
        packets = [
            (packet.pts, packet.is_keyframe and (probe.codec != "h264" or avcc.refreshes(bytes(packet))))
            for packet in container.demux(stream)
            if packet.size
        ]
    # Frames that an edit list hides are packets too, and would be seen again.
    if len(packets) != probe.frames or any(pts is None for pts, _ in packets):
        return None
    ranks = {pts: rank for rank, pts in enumerate(sorted(pts for pts, _ in packets if pts is not None))}
    ends, begins, highest, delay = [0], [], -1, 0
    for place, (pts, fresh) in enumerate(packets):
        rank = ranks[pts or 0]
        if highest == place - 1:
            ends.append(place)
            begins += [place] if fresh and rank == place else []
        highest, delay = max(highest, rank), max(delay, place - rank)
    return _Scan([*ends, len(packets)], begins, delay, setup)


def around(
    source: Path,
    probe: Probe,
    fit: Fit,
    suffix: str,
    rest: Rest,
    parts: Sequence[Part],
    folder: Path,
    stop: threading.Event | None = None,
) -> list[Part]:
    """The whole film's parts: the rest before *parts*, those of the transformed range, the rest after it.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """

    def edge(name: str, first: int, last: int) -> list[Part]:
        if first == last:
            return []
        out = folder / f"{name}{codec_for(fit, suffix).part}"
        encode_range(source, probe, fit, suffix, first, last, out, stop)
        return [out]

    def span(first: int, last: int) -> list[Part]:
        return [Span(source, first, last)] if first < last else []

    return [
        *span(0, rest.copied_to),
        *edge("before", rest.copied_to, rest.first),
        *parts,
        *edge("after", rest.last, rest.copied_from),
        *span(rest.copied_from, rest.frames),
    ]


def encode_range(
    source: Path,
    probe: Probe,
    fit: Fit,
    suffix: str,
    first: int,
    last: int,
    out: Path,
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Write at *out* frames [first, last) of a file, in the size and colour of *fit*, without sound.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    codec, count = codec_for(fit, suffix), last - first
    chain = [
        on_grid(probe, first),
        "tpad=stop_mode=clone:stop=-1",
        f"trim=end_frame={count}",
        f"scale={fit.width}:{fit.height}:flags=lanczos+accurate_rnd",
        f"setsar={fit.sar.numerator}/{fit.sar.denominator}",
        f"format={codec.pix_fmts[0]}",
        *tags(fit.color),
    ]
    with whole(out) as part:
        run_ffmpeg(
            [*entry_args(probe, first), *source_args(source), "-map", "0:V:0", "-vf", ",".join(chain),
             "-frames:v", str(count), *output_args(codec, codec.pix_fmts[0], fit.fps), str(part)],
            stop=stop,
            on_frame=on_frame,
        )  # fmt: skip
