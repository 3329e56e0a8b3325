"""Preparing a cut of a long 1080p file, beside one ffmpeg process that a person would have typed.

Both must write the same bytes: that is how "the same settings" is known to be true.
"""

from __future__ import annotations

from pathlib import Path

from runway_node.media.prepare import prepare
from runway_node.media.probe import probe
from runway_node.media.shapes import Cut

from .footage import bare, make
from .measure import Row, Sample, Sizes, in_turn, taken, versus

FPS = 24
INLINE = 780_000
"""Bytes a second that CometAPI's inline limit leaves of 5 s: the cap binds, and the slower preset is used."""

UPLOAD = 40_000_000
"""The same for Runway's 200 MB upload: the cap never binds."""


def by_hand(source: Path, out: Path, sizes: Sizes, budget: int, preset: str) -> None:
    """The bare command; its rate cap is media.md's formula (section 3c), worked out on paper."""
    cap = int(8 * budget * 0.99 / (sizes.cut_seconds + 0.45))
    bare(
        "-ss", f"{sizes.cut_start - 0.5 / FPS:.9f}", "-i", source, "-map", "0:v:0",
        "-vf", f"setpts=N/({FPS})/TB,scale=1280:720:flags=lanczos+accurate_rnd:out_range=tv,setsar=1,format=yuv420p",
        "-frames:v", sizes.cut_seconds * FPS, "-c:v", "libx264", "-preset", preset, "-crf", 18,
        "-maxrate", cap, "-bufsize", cap // 2, "-x264-params", "sliced-threads=1:threads=4", "-pix_fmt", "yuv420p",
        "-fps_mode", "cfr", "-r", FPS, "-an", "-sn", "-dn", "-map_metadata", -1, "-map_chapters", -1,
        "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4", out,
    )  # fmt: skip


def rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Wall and CPU, under either provider's budget."""
    source = make(folder / "long.mp4", width=1920, height=1080, fps=FPS, seconds=sizes.long_seconds)
    return [
        *_under(source, folder, sizes, UPLOAD * sizes.cut_seconds, "veryfast"),
        *_under(source, folder, sizes, INLINE * sizes.cut_seconds, "medium"),
    ]


def _under(source: Path, folder: Path, sizes: Sizes, budget: int, preset: str) -> list[Row]:
    clip, ours, theirs = probe(source), folder / "ours.mp4", folder / "theirs.mp4"
    first = sizes.cut_start * FPS
    cut = Cut(first=first, last=first + sizes.cut_seconds * FPS, width=1280, height=720, budget=budget)
    found = in_turn(
        {
            "theirs": lambda: taken(lambda: by_hand(source, theirs, sizes, budget, preset)),
            "ours": lambda: taken(lambda: prepare(source, clip, cut, ours)),
        },
        sizes.repeats,
    )
    same = "" if ours.read_bytes() == theirs.read_bytes() else " (OTHER BYTES: not the same settings)"
    name = f"prepare {sizes.cut_seconds} of {sizes.long_seconds} s, 1080p to 720p, {preset}"
    return [_row(f"{name}: wall{same}", found, "wall"), _row(f"{name}: CPU", found, "cpu")]


def _row(name: str, found: dict[str, list[Sample]], figure: str) -> Row:
    ours, theirs = ([getattr(sample, figure) for sample in found[who]] for who in ("ours", "theirs"))
    return versus(name, ours, theirs, 1.15)
