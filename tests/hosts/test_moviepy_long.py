"""A moviepy clip of several calls: as a file and rendered, its bar, its several shots at once."""

from __future__ import annotations

import proglog
import pytest
from moviepy import VideoFileClip

from runway_node import RunwayVideoToVideo

from ..media_clips import numbers
from ..studio import answer_fixture, film_fixture, quick_fixture, studio_fixture  # noqa: F401

pytestmark = [
    # moviepy leaves its sound reader's pipes to the garbage collector, also when the clip is closed.
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Heard(proglog.ProgressBarLogger):
    """What a user's logger hears."""

    def __init__(self):
        super().__init__()
        self.bars_heard, self.told = [], []

    def bars_callback(self, bar, attr, value, old_value=None):
        self.bars_heard += [value] if (bar, attr) == ("runway", "index") else []

    def callback(self, **changes):
        self.told += [changes["message"]] if "message" in changes else []


@pytest.fixture
def clip(film):
    """The film of thirteen seconds, opened."""
    opened = VideoFileClip(str(film))
    yield opened
    opened.close()


def test_a_long_file_takes_its_place(studio, clip):
    """Three calls, one clip of the same length, frame for frame; the bar is the whole's, the lines are the calls'."""
    heard = Heard()
    effect = RunwayVideoToVideo("autumn", settings=studio.settings(), logger=heard)
    done = clip.with_effects([effect])
    assert (done.duration, done.fps, tuple(done.size)) == (clip.duration, clip.fps, tuple(clip.size))
    assert len(done.runway_result.takes) == 3
    assert max(abs(number - frame) for frame, number in enumerate(numbers(done.runway_result.path))) <= 1
    assert heard.bars_heard == sorted(heard.bars_heard)
    assert heard.bars_heard[-1] == 100
    assert sum("call" in line and "stored" in line for line in heard.told) == 3
    done.close()


def test_a_long_rendered_clip_does_too(studio, clip):
    """Cropped, it exists as frames only: rendered once, three calls; the same again costs nothing."""
    cropped = clip.cropped(x2=160)
    effect = RunwayVideoToVideo("autumn", settings=studio.settings(), logger=None)
    done = cropped.with_effects([effect])
    again = cropped.with_effects([effect])
    assert (done.runway_result.frames, tuple(done.size), len(done.runway_result.takes)) == (325, (160, 180), 3)
    assert (again.runway_result.spent, studio.creates) == (0, 3)
    done.close()
    again.close()


def test_the_plan_tells_the_calls(quick, clip):
    """Fields of a long clip's step are the effect's too."""
    effect = RunwayVideoToVideo("dusk", overlap=0, cut_at="equal", settings=quick.settings())
    plan = effect.plan(clip)
    assert [piece.overlap for piece in plan.segments] == [0, 0, 0]
    assert (plan.standing, plan.at_once) == (("to pay",) * 3, 5)


def test_several_long_shots_at_once(quick, clip):
    """Each is its own order; equal ones are paid once."""
    effect = RunwayVideoToVideo("dusk", settings=quick.settings(), logger=None)
    results = effect.map([clip, clip, clip.subclipped(0, 6)])
    assert [result.runway_result.frames for result in results] == [325, 325, 150]
    assert quick.creates == 3 + 2
    for result in results:
        result.close()
