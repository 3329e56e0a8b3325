"""A clip of many calls beside the bare ffmpeg work it cannot do without; its join, its memory, its waits.

The prepares and conforms are the very commands that the package runs, typed by hand and run two at a time by xargs.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import httpx

from runway_node import Settings, Step, run
from runway_node.media.join import Film
from runway_node.media.sound import finish
from runway_node.settings import load_settings

from .footage import BT709, QUIET, bare, make
from .measure import ROOT, Row, Sample, Sizes, in_turn, server, shown, taken, versus, watched

FPS, CALL = 24, 5
ROW = {"provider": "runway", "name": "aleph2", "seconds_max": 5.05}
"""aleph2 as if it took five seconds and a frame to spare, so that two minutes are 24 calls of 120 frames."""

TAKES = itertools.count(1)
SLOTS = 5


def rows(folder: Path, sizes: Sizes) -> tuple[list[Row], list[str]]:
    """All figures of long clips."""
    width, height = (1920, 1080) if sizes.film_seconds >= 120 else (640, 360)
    source = make(folder / "film.mp4", width=width, height=height, fps=FPS, seconds=sizes.film_seconds)
    ready = make(folder / "answer.mp4", width=width, height=height, fps=FPS, seconds=CALL, sound=False)
    with server("ready", ready) as url:
        found = _whole(source, ready, folder, sizes, url, (width, height))
    found += _join(folder, sizes)
    found += _memory(folder, sizes)
    return [*found, _waits(folder, sizes)], []


def _settings(url: str, folder: Path, **values: object) -> Settings:
    where = {"provider": "runway", "runway_key": "sandbox-key", "runway_base_url": url, "models": (ROW,)}
    return load_settings(**where, data_dir=folder / "data", poll_interval=0.05, **values)


# --- the whole ---


def by_hand(source: Path, ready: Path, folder: Path, calls: int, size: tuple[int, int]) -> None:
    """The same prepares and conforms, as many at once as there are cores."""
    width, height = size
    cap = int(8 * 200_000_000 * 0.99 / (CALL + 0.45))
    scale = f"scale={width}:{height}:flags=lanczos+accurate_rnd:out_range=tv,setsar=1,format=yuv420p"
    lines = []
    for call in range(calls):
        seek = max(0.0, (call * CALL * FPS - 0.5) / FPS)
        prepare = [
            *QUIET, *(["-ss", f"{seek:.9f}"] if call else []), "-i", source, "-map", "0:V:0", "-vf",
            scale, "-frames:v", CALL * FPS, "-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-maxrate", cap,
            "-bufsize", cap // 2, "-x264-params", "threads=1", "-pix_fmt", "yuv420p", "-an",
            "-movflags", "+faststart", folder / f"sent-{call}.mp4",
        ]  # fmt: skip
        conform = [
            *QUIET, "-i", ready, "-map", "0:V:0", "-vf",
            f"{BT709},fps={FPS}:round=near:start_time=0,{scale}",
            "-frames:v", CALL * FPS, "-c:v", "libx264", "-preset", "veryfast", "-crf", 14, "-bf", 2, "-g", 48,
            "-pix_fmt", "yuv420p", "-an", folder / f"fitted-{call}.mp4",
        ]  # fmt: skip
        lines += [shlex.join(map(str, command)) for command in (prepare, conform)]
    fed = "\n".join(lines).encode()
    subprocess.run(["xargs", "-P", str(_cores()), "-I{}", "sh", "-c", "{}"], input=fed, check=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(source: Path, ready: Path, folder: Path, sizes: Sizes, url: str, size: tuple[int, int]) -> list[Row]:
    calls = sizes.film_seconds // CALL
    settings = _settings(url, folder)
    first: list[Sample] = []
    again: list[Sample] = []
    asked: list[int] = []
    fullest: list[float] = []

    def ours() -> Sample:
        step = Step(prompt="the street at dusk", overlap=0, cut_at="equal", take=next(TAKES))

        def order() -> None:
            result = run(source, step, folder / "out.mp4", settings=settings, force=True)
            if (result.frames, len(result.takes)) != (sizes.film_seconds * FPS, calls):
                raise RuntimeError(f"{result.frames} frames in {len(result.takes)} calls")

        with watched(folder / "data" / "work") as most:
            first.append(taken(order))
        fullest.append(most[0] / 1e6)
        before = _requests(url)
        again.append(taken(order))
        asked.append(_requests(url) - before)
        return first[-1]

    rivals = {"theirs": lambda: taken(lambda: by_hand(source, ready, folder, calls, size)), "ours": ours}
    found = in_turn(rivals, sizes.heavy)
    wall, cpu = ([[getattr(s, of) for s in found[who]] for who in ("ours", "theirs")] for of in ("wall", "cpu"))
    name = f"{sizes.film_seconds} s of {size[1]}p24, {calls} calls answered at once"
    second = versus("the same order again: CPU", [s.cpu for s in again], [s.cpu for s in first], 0.05)
    requests = Row(name="the same order again: requests", ours=f"{max(asked)}", value=max(asked), bound=0, unit="")
    film = [(folder / "out.mp4").stat().st_size / 1e6] * len(fullest)
    disk = versus("the work folder at its fullest, beside the film", fullest, film, 1.25, "MB")
    return [versus(f"{name}: wall", *wall, 1.25), versus(f"{name}: CPU", *cpu, None), disk, second, requests]


def _requests(url: str) -> int:
    counters = httpx.get(f"{url}/_sandbox/state", timeout=30).json()["counters"]
    return sum(value for name, value in counters.items() if name not in {"accepted", "billed", "credits"})


# --- the join ---


def _join(folder: Path, sizes: Sizes) -> list[Row]:
    part = make(folder / "part.mp4", width=1280, height=720, fps=FPS, seconds=CALL, sound=False)
    parts = [part] * 24
    listing = folder / "list.txt"
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    film = Film(parts, Fraction(FPS), 24 * CALL * FPS)
    concat = ("-f", "concat", "-safe", 0, "-i", listing, "-c", "copy", "-movflags", "+faststart", folder / "bare.mp4")
    rivals = {
        "ours": lambda: taken(lambda: finish(film, None, 0, 24 * CALL * FPS, folder / "joined.mp4")).wall,
        "bare": lambda: taken(lambda: bare(*concat)).wall,
    }
    found = in_turn(rivals, sizes.repeats)
    count = sizes.moviepy_parts
    theirs = taken(lambda: _moviepy([part] * count, folder / "moviepy.mp4")).wall * 24 / count
    return [
        versus("the join of 24 parts, 120 s of 720p, without seams", found["ours"], found["bare"], 1.5),
        Row(name=f"moviepy's concatenate and write of them ({count} done)", ours=shown(theirs, "s")),
    ]


def _moviepy(parts: list[Path], out: Path) -> None:
    from moviepy import VideoFileClip, concatenate_videoclips

    clips = [VideoFileClip(str(part)) for part in parts]
    concatenate_videoclips(clips).write_videofile(str(out), preset="veryfast", logger=None)
    for clip in clips:
        clip.close()


# --- memory ---

PROGRAM = """
import json, sys
from runway_node.cli import main
try:
    main(sys.argv[1:])
finally:
    # Not getrusage: its figure outlives an exec, and so is at least that of whoever started this.
    peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
    print(json.dumps({"peak": peak}), file=sys.stderr)
"""
EFFECT = """
import json, sys
from moviepy import VideoFileClip
from runway_node import RunwayVideoToVideo
import runway_node.engine, runway_node.client, runway_node.ledger
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
clip = VideoFileClip(sys.argv[1])
idle = peak()
clip.with_effects([RunwayVideoToVideo("dusk", logger=None)])
print(json.dumps({"peak": peak() - idle}), file=sys.stderr)
"""


def _memory(folder: Path, sizes: Sizes) -> list[Row]:
    if not Path("/proc/self/status").exists():
        return []
    peaks = {}
    ready = make(folder / "small.mp4", width=640, height=360, fps=FPS, seconds=CALL, sound=False)
    with server("ready", ready) as url:
        for seconds in (sizes.short_film, sizes.short_film * 10):
            clip = make(folder / f"{seconds}.mp4", width=640, height=360, fps=FPS, seconds=seconds)
            words = ["run", clip, "-p", "dusk", "-o", folder / f"{seconds}-out.mp4"]
            peaks["program", seconds] = _peak(PROGRAM, words, url, folder / f"{seconds}-data")
            peaks["effect", seconds] = _peak(EFFECT, [clip], url, folder / f"{seconds}-effect")
    short, long = sizes.short_film, sizes.short_film * 10
    told = [f"{who}'s peak memory, {long} s beside {short} s of 360p" for who in ("the program", "the effect")]
    return [
        versus(told[0], [peaks["program", long]], [peaks["program", short]], 1.1, "MB"),
        Row(name="the program's peak memory", ours="", value=peaks["program", long], bound=150, unit="MB"),
        Row(name="the effect's growth over idle", ours=shown(peaks["effect", short], "MB"), value=peaks["effect", long],
            unit="MB"),
    ]  # fmt: skip


def _peak(code: str, words: list[object], url: str, data: Path) -> float:
    """Megabytes, of the process itself: its ffmpeg children are not counted."""
    env = {
        **os.environ, "RUNWAYML_API_SECRET": "sandbox-key", "RUNWAYML_BASE_URL": url, "RUNWAY_NODE_DATA_DIR": str(data),
        "RUNWAY_NODE_POLL_INTERVAL": "0.05", "RUNWAY_NODE_PROVIDER": "runway", "COMETAPI_KEY": "",
    }  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(json.loads(done.stderr.splitlines()[-1])["peak"])


# --- the queue ---


def _waits(folder: Path, sizes: Sizes) -> Row:
    """24 calls at a provider that takes its time and five at once, beside the ideal of its queue."""
    answer = make(folder / "tiny.mp4", width=320, height=180, fps=FPS, seconds=CALL, sound=False)
    source = make(folder / "queue.mp4", width=320, height=180, fps=FPS, seconds=24 * CALL)
    ideal = -(-24 // SLOTS) * sizes.task_seconds
    with server("ready", answer, sizes.task_seconds) as url:
        settings = _settings(url, folder / "queue", max_concurrency=SLOTS).model_copy(update={"poll_interval": 0.5})
        began = time.perf_counter()
        run(source, Step(prompt="dusk", overlap=0, cut_at="equal"), folder / "queued.mp4", settings=settings)
        wall = time.perf_counter() - began
    name = f"24 calls of {sizes.task_seconds:g} s, 5 at once, beside the ideal of the queue"
    return versus(name, [wall], [float(ideal)], 1.1 if sizes.task_seconds >= 20 else None)
