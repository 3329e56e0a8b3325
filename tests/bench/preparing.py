"""Preparing a cut of a long 1080p file, beside one ffmpeg process that a person would have typed.

Both must write the same bytes: that is how "the same settings" is known to be true. A third rival leaves x264 its own
threads: what the one thread costs that makes the bytes repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from runway_node.media.prepare import prepare
from runway_node.media.probe import probe
from runway_node.media.shapes import Cut

from .footage import bare, make
from .measure import Row, Sample, Sizes, in_turn, taken, versus


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that a provider leaves the clip, and the preset that this makes of some 5 s."""

    size: int
    preset: str

    def cap(self, seconds: int) -> int:
        """Bits a second at most: the formula of media.md, section 3c."""
        return int(8 * self.size * Fraction(99, 100) / (seconds + Fraction(9, 20)))

    def share(self, seconds: int) -> Budget:
        """As tight a one for a shorter clip."""
        return Budget(self.size * seconds // 5, self.preset)


UPLOAD = Budget(200_000_000, "veryfast")
"""Runway's upload: the cap never binds."""

INLINE = Budget(3_932_142, "medium")
"""CometAPI's data URI of 5 MiB: the cap binds, so the slower preset is used."""

FPS = 24
ONE_THREAD = ("-x264-params", "threads=1")


def by_hand(
    source: Path,
    out: Path,
    *,
    fps: int,
    start: int,
    seconds: int,
    budget: Budget,
    threads: tuple[str, ...] = ONE_THREAD,
) -> None:
    """The bare command."""
    cap = budget.cap(seconds)
    bare(
        "-ss", f"{start - 0.5 / fps:.9f}", "-i", source, "-map", "0:v:0",
        "-vf", f"setpts=N/({fps})/TB,scale=1280:720:flags=lanczos+accurate_rnd:out_range=tv,setsar=1,format=yuv420p",
        "-frames:v", seconds * fps, "-c:v", "libx264", "-preset", budget.preset, "-crf", 18,
        "-maxrate", cap, "-bufsize", cap // 2, *threads, "-pix_fmt", "yuv420p", "-fps_mode", "cfr", "-r", fps,
        "-an", "-sn", "-dn", "-map_metadata", -1, "-map_chapters", -1, "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-bsf:v", "filter_units=remove_types=6", "-movflags", "+faststart", "-f", "mp4", out,
    )  # fmt: skip


def rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Wall and CPU, under either provider's budget."""
    source = make(folder / "long.mp4", width=1920, height=1080, fps=FPS, seconds=sizes.long_seconds)
    return [
        row for budget in (UPLOAD, INLINE) for row in _under(source, folder, sizes, budget.share(sizes.cut_seconds))
    ]


def _under(source: Path, folder: Path, sizes: Sizes, budget: Budget) -> list[Row]:
    clip, start, seconds = probe(source), sizes.cut_start, sizes.cut_seconds
    ours, theirs, free = (folder / f"{name}.mp4" for name in ("ours", "theirs", "free"))
    cut = Cut(first=start * FPS, last=(start + seconds) * FPS, width=1280, height=720, budget=budget.size)

    def typed(out: Path, threads: tuple[str, ...]) -> Sample:
        return taken(
            lambda: by_hand(source, out, fps=FPS, start=start, seconds=seconds, budget=budget, threads=threads)
        )

    rivals = {
        "theirs": lambda: typed(theirs, ONE_THREAD),
        "ours": lambda: taken(lambda: prepare(source, clip, cut, ours)),
        "free": lambda: typed(free, ()),
    }
    found = in_turn(rivals, sizes.repeats)
    same = "" if ours.read_bytes() == theirs.read_bytes() else " (OTHER BYTES: not the same settings)"
    name = f"prepare {seconds} of {sizes.long_seconds} s, {budget.preset}"
    return [
        _row(f"{name}: wall{same}", found, "theirs", "wall", 1.15),
        _row(f"{name}: CPU", found, "theirs", "cpu", 1.15),
        _row(f"{name}: wall / x264's own threads", found, "free", "wall", None),
    ]


def _row(name: str, found: dict[str, list[Sample]], rival: str, figure: str, bound: float | None) -> Row:
    ours, theirs = ([getattr(sample, figure) for sample in found[who]] for who in ("ours", rival))
    return versus(name, ours, theirs, bound)
