"""The whole step on a 720p clip, beside the two ffmpeg commands it cannot do without: the cut sent, the answer fitted.

Nothing is subtracted: the one poll pause (10 ms) and the sandbox's own work (it checks the clip) count as ours.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections import defaultdict
from pathlib import Path

from runway_node import Event, Settings, Step, run
from runway_node.settings import Provider, load_settings

from .footage import BT709, bare, make
from .measure import Row, Sizes, in_turn, server, shown, taken, versus
from .preparing import INLINE, UPLOAD, Budget
from .preparing import by_hand as prepare_by_hand

FPS, ANSWER_FPS, START = 30, 24, 2
POLL = 0.01
KINDS: dict[Provider, Budget] = {"runway": UPLOAD, "cometapi": INLINE}
"""What each lets the clip weigh: the same for 4 s and for 5 s, so that both are sent with these presets."""


TAKES = itertools.count(1)


def by_hand(source: Path, ready: Path, folder: Path, seconds: int, provider: Provider) -> None:
    """Prepare, then conform, each as a person would type it with the same settings."""
    prepare_by_hand(source, folder / "sent.mp4", fps=FPS, start=START, seconds=seconds, budget=KINDS[provider])
    bare(
        "-i", ready, "-map", "0:v:0",
        "-vf", f"{BT709},fps={FPS}:round=near:start_time=0,"
        "scale=1280:720:flags=lanczos+accurate_rnd:out_range=tv,setsar=1,format=yuv420p",
        "-frames:v", seconds * FPS, "-c:v", "libx264", "-preset", "veryfast", "-crf", 14, "-bf", 2, "-g", 48,
        "-video_track_timescale", FPS, "-movflags", "+faststart", "-pix_fmt", "yuv420p", "-fps_mode", "cfr",
        "-r", FPS, "-an", "-sn", "-dn", "-map_metadata", -1, "-map_chapters", -1, folder / "fitted.mp4",
    )  # fmt: skip


class Clock:
    """Where a run's seconds go: from each phase's first event to the next one's."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)
        self._phase, self._since = "looking", time.perf_counter()

    def begin(self) -> None:
        """A run begins: settled, looked at and planned before its first event."""
        self._phase, self._since = "looking", time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if event.phase == self._phase:
            return
        now = time.perf_counter()
        self.spent[self._phase].append(now - self._since)
        self._phase, self._since = event.phase, now

    def told(self) -> str:
        """The phases' medians."""
        return ", ".join(f"{phase} {shown(statistics.median(spent), 's')}" for phase, spent in self.spent.items())


def rows(folder: Path, sizes: Sizes) -> tuple[list[Row], list[str]]:
    """Both providers' roads; and where the time goes, a line each."""
    seconds = sizes.clip_seconds
    source = make(folder / "clip.mp4", width=1280, height=720, fps=FPS, seconds=START + seconds + 1)
    ready = make(folder / "ready.mp4", width=1280, height=720, fps=ANSWER_FPS, seconds=seconds, sound=False)
    with server("ready", ready) as url:
        roads = [_road(source, ready, folder, sizes, provider, url) for provider in KINDS]
    return [row for found, _ in roads for row in found], [note for _, note in roads]


def _road(source: Path, ready: Path, folder: Path, sizes: Sizes, provider: Provider, url: str) -> tuple[list[Row], str]:
    settings, clock, seconds = _settings(provider, url, folder), Clock(), sizes.clip_seconds
    ours = functools.partial(_ours, source, folder / f"{provider}.mp4", seconds, settings, clock)
    rivals = {
        "theirs": lambda: taken(lambda: by_hand(source, ready, folder, seconds, provider)),
        "ours": lambda: taken(ours),
    }
    found = in_turn(rivals, sizes.repeats)
    name = f"the whole step, {seconds} s of 720p, {provider} ({KINDS[provider].preset})"
    wall, cpu = ([[getattr(s, of) for s in found[who]] for who in ("ours", "theirs")] for of in ("wall", "cpu"))
    rows = [versus(f"{name}: wall", *wall, 1.3), versus(f"{name}: CPU", *cpu, None)]
    return rows, f"{provider}: {clock.told()}"


def _ours(source: Path, out: Path, seconds: int, settings: Settings, clock: Clock) -> None:
    clock.begin()
    # Each round is another take: the same order again would be owned, and cost nothing.
    step = Step(prompt="the street at dusk", take=next(TAKES))
    result = run(source, step, out, start=START, end=START + seconds, settings=settings, on_progress=clock, force=True)
    if (result.frames, result.owned) != (seconds * FPS, 0):
        raise RuntimeError(f"the step gave {result.frames} frames of {seconds * FPS}, {result.owned} takes owned")


def _settings(provider: Provider, url: str, folder: Path) -> Settings:
    options = {"provider": provider, "data_dir": folder / "data", "poll_interval": POLL}
    if provider == "runway":
        return load_settings(runway_key="sandbox-key", runway_base_url=url, **options)
    return load_settings(cometapi_key="sandbox-key", cometapi_base_url=url, **options)
