"""Answers joined into one film: their packets are copied, the seams alone are encoded.

Every part begins with a keyframe and lies on the film's grid, so a frame's time is its number, and nothing drifts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import MediaError
from .codecs import codec_for
from .conform import output_args, tags
from .opener import open_container, run_ffmpeg, source_args, whole
from .shapes import Fit


def blend(tail: Path, head: Path, fit: Fit, out: Path, *, suffix: str, stop: threading.Event | None = None) -> None:
    """Cross-fade the `fit.tail` frames that two answers share, from *tail*, the earlier one's, to *head*.

    The shares of the later one rise in equal steps: after the last frame that is the earlier one's alone comes
    1/(n+1), before the first that is the later one's alone n/(n+1).

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    codec, count = codec_for(fit, suffix), fit.tail
    share = f"(N+1)/{count + 1}"
    mixed = f"[0:v][1:v]blend=all_expr='A+(B-A)*{share}+0.5',setsar={fit.sar.numerator}/{fit.sar.denominator}"
    graph = ",".join([mixed, *tags(fit.color)])
    with whole(out) as part:
        run_ffmpeg(
            [*source_args(tail), *source_args(head), "-filter_complex", f"{graph}[o]", "-map", "[o]",
             "-frames:v", str(count), *output_args(codec, codec.pix_fmts[0], fit.fps), str(part)],
            stop=stop,
        )  # fmt: skip


def add_film(
    made: Any, parts: Sequence[Path], fps: Fraction, frames: int, done: Callable[[Path], None] = lambda _: None
) -> tuple[Any, Iterator[tuple[Fraction, Any]]]:
    """A video stream in the container *made*, and its packets, each with the second it is decoded at.

    Args:
        parts: Files of one codec, in order.
        frames: How many they must have together.
        done: Called with each part when it is read to its end: it is not needed any more.

    """
    with open_container(parts[0]) as container:
        stream = container.streams.video[0]
        copy = made.add_stream_from_template(stream)
    copy.time_base = 1 / fps
    return copy, _packets(parts, copy, fps, frames, done)


def _packets(
    parts: Sequence[Path], copy: Any, fps: Fraction, frames: int, done: Callable[[Path], None]
) -> Iterator[tuple[Fraction, Any]]:
    shown = sent = 0
    delay, head = None, None
    for part in parts:
        first, before = None, sent
        with open_container(part) as container:
            stream = container.streams.video[0]
            setup = stream.codec_context.extradata
            head = setup if head is None else head
            if setup != head:
                raise MediaError(f"{part.name} was encoded otherwise than the parts before it", "Run it again")
            tick: Fraction = stream.time_base or Fraction(0)
            for packet in container.demux(stream):
                if packet.pts is None or not packet.size:
                    continue
                first = packet.pts if first is None else first
                if delay is None:
                    # Frames are decoded so many places before they are shown: the encoder's own, the same in all parts.
                    delay = 0 if packet.dts is None else round((packet.pts - packet.dts) * tick * fps)
                packet.pts = shown + round((packet.pts - first) * tick * fps)
                packet.dts = sent - delay
                packet.duration, packet.time_base, packet.stream = 1, 1 / fps, copy
                sent += 1
                yield packet.dts / fps, packet
        shown += sent - before
        done(part)
    if sent != frames:
        raise MediaError(f"The parts have {sent} frames together, not {frames}", "Run it again")
