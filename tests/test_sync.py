"""In sync to the frame, at any rate and length, whatever the answers' length: every frame carries its number.

Each frame of the result shows its source frame within one returned frame and half a source frame, and k returned ones
more where every answer is k frames off, and one more where only every second frame can be sent; the sound's clicks stay
within a millisecond; the count is exact.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from runway_node.engine import run
from runway_node.media.probe import probe
from runway_node.models import Policy, Step
from runway_node.sandbox import serve
from runway_node.settings import load_settings

from .media_clips import CLICKS, barcode, clicks, ffmpeg, numbers

ANSWERS = 24
"""Frames per second of every answer."""

RATES = ("24000/1001", "24", "25", "30000/1001", "30", "50", "60", "variable")
LENGTHS = (1, 5, 31, 61)
ERRORS = (-2, -1, 1, 2, 6)
KINDS = {"tail": "trim", "stretch": "retime"}
"""How an answer is off, and what it is judged with."""


class Case(NamedTuple):
    """One clip sent to one model, and how every answer to it is off."""

    rate: str
    seconds: int
    provider: str = "cometapi"
    error: int = 0
    kind: str = "tail"

    def __str__(self):
        return f"{self.rate.replace('/', '_')}-{self.seconds}s-{self.provider}-{self.kind}{self.error:+}"


class Found(NamedTuple):
    """What came of a case: frames off, at the worst and from start to end, what is allowed of each; clicks; counts."""

    worst: float
    drift: float
    allowed: float
    steady: float
    heard: float
    frames: int
    wanted: int
    calls: int


def made(folder, rate, seconds):
    """The numbered clip, with its clicks."""
    fps = "30" if rate == "variable" else rate
    path = folder / f"{rate.replace('/', '_')}-{seconds}.mp4"
    if not path.exists():
        frames = round(seconds * Fraction(fps))
        pictures = barcode(folder / "pictures.mp4", fps, frames, *FAST)
        tone = ["-f", "lavfi", "-i", CLICKS.format(seconds=float(frames / Fraction(fps)))]
        # A camera in the dark: frames missing, five in a row now and then; each keeps its own time.
        thinned = ["-vf", "select='not(eq(mod(n,7),3))*not(between(mod(n,90),40,44))'", "-fps_mode", "vfr"]
        how = [*thinned, *FAST] if rate == "variable" else ["-c:v", "copy"]
        ffmpeg("-i", pictures, *tone, "-map", "0:v", "-map", "1:a", *how, "-c:a", "aac", path)
    return path


FAST = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "ultrafast", "-g", "120")


def carried(case, folder, clips):
    """Transform the case's clip and look at every frame of what comes back."""
    source = made(clips, case.rate, case.seconds)
    options = {"fps": ANSWERS, "length_error": case.error, "length_kind": case.kind}
    with serve(**options) as served:
        key, url = (f"{case.provider}_{name}" for name in ("key", "base_url"))
        where = {key: "sandbox-key", url: served.url, "provider": case.provider}
        settings = load_settings(data_dir=folder / "data", poll_interval=0.05, **where)
        policy = Policy(conform=KINDS[case.kind])
        result = run(source, Step(prompt="red"), folder / "out.mp4", policy=policy, settings=settings)
    found = probe(source)
    shown = np.array(numbers(result.path))
    off = shown - np.arange(len(shown))
    tail = max(1, len(off) // 10)
    returned = float(found.fps / ANSWERS)
    # Models take 30 frames a second at most: of two frames at 50 or 60, the answer can only know one.
    unsent = math.ceil(found.fps / 30) - 1
    # What a varying rate shows is as old as its gaps are long: six frames of the grid at the most.
    held = 6.0 if case.rate == "variable" else 0.0
    # Where nothing is off but the rate, and there is enough to average over, the whole may not move by a frame.
    plain = case.error == 0 and case.rate != "variable" and case.seconds > 30
    allowed = returned + 0.5 + abs(case.error) * returned + unsent + held
    heard = max((abs(a - b) for a, b in zip(clicks(result.path), clicks(source), strict=True)), default=0.0)
    return Found(
        worst=float(np.abs(off).max()),
        drift=float(off[-tail:].mean() - off[:tail].mean()),
        allowed=allowed,
        steady=0.5 if plain else allowed / 2 + 0.5,
        heard=heard,
        frames=len(shown),
        wanted=found.frames,
        calls=len(result.takes),
    )


def judged(found):
    """The promise, in one place."""
    assert found.frames == found.wanted
    assert found.worst <= found.allowed
    assert abs(found.drift) <= found.steady
    assert found.heard < 0.001


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Where numbered clips are made, once each."""
    return tmp_path_factory.mktemp("numbered")


@pytest.mark.parametrize(
    "case", [pytest.param(Case("25", 13), marks=pytest.mark.slow), Case("30000/1001", 13, error=-2)], ids=str
)
def test_in_sync(case, tmp_path, clips):
    """Three calls, joined; frame for frame and click for click."""
    found = carried(case, tmp_path, clips)
    assert found.calls == 3
    judged(found)


@pytest.mark.slow
@pytest.mark.parametrize("case", [Case(rate, seconds, "runway") for rate in RATES for seconds in LENGTHS], ids=str)
def test_at_every_rate_and_length(case, tmp_path, clips):
    """From a second to several calls of the longest."""
    judged(carried(case, tmp_path, clips))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [Case(rate, 9, "cometapi", *off) for rate in RATES for off in itertools.product(ERRORS, KINDS)],
    ids=str,
)
def test_whatever_the_answers_lengths_are(case, tmp_path, clips):
    """Frames missing or added at every answer's end, or every answer retimed: the error stays the answer's own."""
    judged(carried(case, tmp_path, clips))


LONG = (
    Case("24000/1001", 600, "runway"), Case("30000/1001", 600, "cometapi", 6), Case("60", 600, "runway", -2, "stretch"),
    Case("variable", 600, "runway"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG, ids=str)
def test_ten_minutes(case, tmp_path, clips):
    """No drift: what holds at the first frame holds at the last of thirty thousand."""
    found = carried(case, tmp_path, clips)
    assert found.calls > 20
    judged(found)
