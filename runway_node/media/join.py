"""Answers joined into one film: their packets are copied, the seams alone are encoded.

Every part begins with a keyframe and lies on the film's grid, so a frame's time is its number, and nothing drifts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MediaError
from . import avcc
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


class Span(NamedTuple):
    """Packets [first, last) of a file in the order of decoding, which are its frames [first, last) too."""

    path: Path
    first: int
    last: int


Part = Path | Span
"""A file of pictures, or a stretch of one."""


class Film(NamedTuple):
    """Parts of one codec, to be joined.

    Args:
        parts: In order.
        fps: Their rate.
        frames: How many they must have together.
        delay: Places between decoding and showing that the packets of a `Span` need.
        done: Called with each part when it is not needed any more.

    """

    parts: Sequence[Part]
    fps: Fraction
    frames: int
    delay: int = 0
    done: Callable[[Path], None] = lambda _: None


def add_film(made: Any, film: Film) -> tuple[Any, Iterator[tuple[Fraction, Any]]]:
    """A video stream in the container *made*, and its packets, each with the second it is decoded at."""
    stretch = next((part for part in film.parts if isinstance(part, Span)), None)
    with open_container(_path(stretch or film.parts[0])) as container:
        stream = container.streams.video[0]
        copy = made.add_stream_from_template(stream)
        setup = stream.codec_context.extradata
    copy.metadata.clear()
    copy.time_base = 1 / film.fps
    ours, delay = None, film.delay
    for part in film.parts:
        if isinstance(part, Path):
            # Of a very short part an encoder needs to hold back less; the film needs the most of all.
            with open_container(part, packets_only=True) as container:
                stream = container.streams.video[0]
                ours = ours or stream.codec_context.extradata
                delay = max(delay, _delay(container, stream, film.fps))
    if stretch is not None and (both := avcc.joined(setup, ours)) is not None:
        copy.codec_context.extradata = both
    return copy, _packets(film, copy, delay, ours)


def _path(part: Part) -> Path:
    return part.path if isinstance(part, Span) else part


def _delay(container: Any, stream: Any, fps: Fraction) -> int:
    """Places between decoding and showing in an encoder's file."""
    first = next((packet for packet in container.demux(stream) if packet.size and packet.pts is not None), None)
    if first is None or first.dts is None:
        return 0
    tick: Fraction = stream.time_base or Fraction(0)
    places: Fraction = (first.pts - first.dts) * tick * fps
    return round(places)


def _packets(film: Film, copy: Any, delay: int, setup: bytes | None) -> Iterator[tuple[Fraction, Any]]:
    sent, tick = 0, 1 / film.fps
    for part in film.parts:
        before = sent
        with open_container(_path(part), packets_only=isinstance(part, Path)) as container:
            stream = container.streams.video[0]
            if isinstance(part, Path) and stream.codec_context.extradata != setup:
                raise MediaError(f"{part.name} was encoded otherwise than the parts before it", "Run it again")
            for packet, rank in _ranked(container, stream, part, film.fps):
                packet.pts, packet.dts = before + rank, sent - delay
                packet.duration, packet.time_base, packet.stream = 1, tick, copy
                sent += 1
                yield packet.dts * tick, packet
        if isinstance(part, Path):
            film.done(part)
    if sent != film.frames:
        raise MediaError(f"The parts have {sent} frames together, not {film.frames}", "Run it again")


def _ranked(container: Any, stream: Any, part: Part, fps: Fraction) -> Iterator[tuple[Any, int]]:
    """The part's packets, each with its place among the part's frames as they are shown."""
    frames: Fraction = (stream.time_base or Fraction(0)) * fps
    packets = (packet for packet in container.demux(stream) if packet.size and packet.pts is not None)
    begin, end = (part.first, part.last) if isinstance(part, Span) else (0, None)
    first = None
    for packet in islice(packets, begin, end):
        first = packet.pts if first is None else first
        yield packet, round((packet.pts - first) * frames)
