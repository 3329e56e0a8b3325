"""The moviepy host and the ledger: a script that is run again pays nothing again, whatever its clips are made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from moviepy import ColorClip, CompositeVideoClip, VideoClip, VideoFileClip

from runway_node.hosts.moviepy import RunwayVideoToVideo

from ..conftest import PREFIXES

# moviepy leaves its sound reader's pipes to the garbage collector, also when the clip is closed.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from moviepy import ColorClip, CompositeVideoClip, VideoFileClip
from runway_node import RunwayVideoToVideo
with VideoFileClip(sys.argv[1]) as shot:
    title = ColorClip((40, 20), (255, 0, 0), duration=1).with_position((10, 10))
    film = CompositeVideoClip([shot.subclipped(0, 2), title])
    with film.with_effects([RunwayVideoToVideo("dusk", logger=None)]) as dusk:
        print(dusk.runway_result.spent, dusk.runway_result.owned, dusk.runway_result.digest)
"""


@pytest.fixture
def effect(runway_sandbox):
    """Makes effects that order from the sandbox."""

    def make(prompt="dusk", **values):
        return RunwayVideoToVideo(prompt, settings=runway_sandbox.settings("runway"), logger=None, **values)

    return make


@pytest.fixture
def shot(clip):
    """Two seconds from a file."""
    with VideoFileClip(str(clip)) as opened:
        yield opened


def noisy(drawn=None):
    """Two seconds of a ramp under noise that no rendering repeats; *drawn* gets the time of each frame that is."""
    ramp = np.linspace(40, 200, 160)[None, :, None]
    random = np.random.default_rng()

    def draw(t):
        if drawn is not None:
            drawn.append(t)
        return (ramp + random.integers(0, 16, (90, 160, 3))).astype(np.uint8)

    return VideoClip(draw, duration=2).with_fps(25)


def results(*clips):
    """Their results; the clips are closed."""
    for clip in clips:
        clip.close()
    return [clip.runway_result for clip in clips]


def test_a_rerun_spends_nothing(effect, shot, runway_sandbox):
    """The same effect on the same clip again: nothing is sent, and the result says so."""
    first, again = results(shot.with_effects([effect()]), shot.with_effects([effect()]))
    assert (first.spent, first.owned) == (56, 0)
    assert (again.spent, again.owned, again.cost) == (0, 1, 56)
    assert again.digest == first.digest
    assert runway_sandbox.sandbox.counters.creates == 1


def test_a_composite_in_a_new_process_is_the_same_order(clip, runway_sandbox, tmp_path):
    """A composite, rendered anew by another process, makes no second create."""
    honest = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIXES)}
    env = {**honest, **runway_sandbox.env("runway"), "PYTHONPATH": str(ROOT), "RUNWAY_NODE_POLL_INTERVAL": "0.05"}
    env |= {"RUNWAY_NODE_DATA_DIR": str(tmp_path / "data"), "RUNWAY_NODE_SETTINGS": str(tmp_path / "none.toml")}
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(clip)], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [words[:2] for words in said] == [["56.0", "0"], ["0.0", "1"]]
    assert said[0][2] == said[1][2]
    assert runway_sandbox.sandbox.counters.creates == 1


def test_another_title_is_another_order(effect, shot, runway_sandbox):
    """What a rendered clip shows decides, not what it is made of."""

    def film(colour):
        title = ColorClip((40, 20), colour, duration=1).with_position((10, 10))
        return CompositeVideoClip([shot.subclipped(0, 2), title]).with_effects([effect()])

    red, blue = results(film((255, 0, 0)), film((0, 0, 255)))
    assert red.digest != blue.digest
    assert runway_sandbox.sandbox.counters.creates == 2


def test_a_noisy_clip_is_told(effect, runway_sandbox):
    """A clip that renders differently a second time is another order, and the warning names the take that was paid."""
    first, second = results(noisy().with_effects([effect()]), noisy().with_effects([effect()]))
    assert first.warnings == ()
    (told,) = [warning for warning in second.warnings if "renders differently" in warning]
    assert all(word in told for word in (first.digest[:12], str(first.takes[0].path), first.takes[0].task_id, "key"))
    assert runway_sandbox.sandbox.counters.creates == 2


def test_a_key_makes_a_noisy_clip_one_order(effect, runway_sandbox):
    """Under a key of its own a noisy clip is paid once, and is not even rendered a second time."""
    drawn = []
    first = noisy().with_effects([effect(key="shot-12-v3")])
    second = noisy(drawn).with_effects([effect(key="shot-12-v3")])
    first, second = results(first, second)
    assert len(drawn) < 5
    assert (second.digest, second.spent, second.warnings) == (first.digest, 0, ())
    assert runway_sandbox.sandbox.counters.creates == 1


def test_equal_clips_in_map_are_paid_once(effect, shot, runway_sandbox):
    """Two equal clips at once: one is paid, both get the result."""
    one, other = results(*effect().map([shot.subclipped(0, 2), shot.subclipped(0, 2)]))
    assert one.takes == other.takes
    assert sorted([one.spent, other.spent]) == [0, 56]
    assert runway_sandbox.sandbox.counters.creates == 1


def test_the_plan_says_what_is_owned(effect, shot):
    """Before it is paid and after; of a rendered clip it says that only rendering can tell."""
    dusk = effect()
    before = dusk.plan(shot)
    results(shot.with_effects([dusk]))
    after = dusk.plan(shot)
    assert (before.standing, before.to_pay_credits) == (("to pay",), 56)
    assert (after.standing, after.to_pay, after.digest) == (("owned",), 0, before.digest)
    assert dusk.plan(shot.image_transform(lambda picture: picture)).standing == ("unknown",)
