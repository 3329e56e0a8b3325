"""Where a clip changes its scene: ffmpeg's scdet, on small pictures, within given frames only."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from ..errors import MediaError
from .opener import cores, run_ffmpeg, source_args
from .prepare import entry_args, on_grid
from .shapes import Probe

THRESHOLD = 10
"""scdet's score from which a change is a cut: its own default; it found every hard cut of a montage (measured)."""

APART = Fraction(3, 10)
"""Seconds: of several cuts closer than this, a flash or a shaking, only the strongest counts."""

_SEEN = re.compile(r"frame:(\d+).*?\nlavfi\.scd\.score=([0-9.]+)")
QUICK = ["-skip_loop_filter", "all", "-threads", "1"]
"""Decoding for looking only: what the loop filter smooths, a picture of 160 pixels does not show."""


def scene_cuts(
    source: Path, probe: Probe, spans: Sequence[tuple[int, int]], *, stop: threading.Event | None = None
) -> list[int]:
    """First frames of new scenes within the frame ranges *spans* [from, to); on a damaged stretch, none.

    Raises:
        Interrupted: `stop` was set.

    """

    def look(span: tuple[int, int]) -> list[int]:
        try:
            return _cuts_within(source, probe, *span, stop)
        except MediaError:
            return []  # where to cut is a matter of taste: the encode will say what is wrong with the clip

    with ThreadPoolExecutor(cores(), thread_name_prefix="runway-scenes") as pool:
        return sorted({frame for found in pool.map(look, _shared(spans)) for frame in found})


def _shared(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """A single long span, as so many as there are cores."""
    if len(spans) != 1:
        return list(spans)
    first, last = spans[0]
    marks = [first + (last - first) * index // cores() for index in range(cores() + 1)]
    return [pair for pair in pairwise(marks) if pair[0] < pair[1]]


def _cuts_within(source: Path, probe: Probe, first: int, last: int, stop: threading.Event | None) -> list[int]:
    # A score is a change beside the one before it: without both frames before, fast motion would look like a cut.
    before = max(0, first - 2)
    chain = [
        on_grid(probe, before), f"trim=end_frame={last - before}", "scale=160:-2:flags=fast_bilinear", "format=yuv420p",
        f"scdet=threshold={THRESHOLD}",
        f"metadata=mode=print:key=lavfi.scd.score:value={THRESHOLD}:function=greater:file=scores.txt",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        decode = [*QUICK, *entry_args(probe, before), *source_args(source)]
        run_ffmpeg(
            [*decode, "-map", "0:V:0", "-vf", ",".join(chain), "-frames:v", str(last - before), "-f", "null", "-"],
            stop=stop, folder=folder,
        )  # fmt: skip
        told = Path(folder, "scores.txt")
        text = told.read_text() if told.exists() else ""
    scores = {before + int(number): float(score) for number, score in _SEEN.findall(text)}
    return _strongest({frame: score for frame, score in scores.items() if first <= frame < last}, probe.fps)


def _strongest(scores: dict[int, float], fps: Fraction) -> list[int]:
    kept: list[int] = []
    for frame in sorted(scores, key=lambda frame: (-scores[frame], frame)):
        if all(abs(frame - other) > APART * fps for other in kept):
            kept.append(frame)
    return kept
