"""What an attack on long orders found: each was paid for, lost or hung once."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
from moviepy import VideoClip

import runway_node
from runway_node import errors
from runway_node.client import Client
from runway_node.engine import Stop, run, running
from runway_node.hosts.moviepy import frames_of
from runway_node.media.shapes import Frames
from runway_node.models import Step
from runway_node.sandbox import Fault

from .media_clips import barcode, ffmpeg, numbers
from .studio import SHORT, Studio, answer_fixture, film_fixture, quick_fixture, studio_fixture, until  # noqa: F401

pytestmark = pytest.mark.slow


def options(studio, **values):
    studio.sandbox.options = studio.sandbox.options.model_copy(update=values)


def test_the_slot_of_an_unclear_call_is_not_the_next_calls(quick, monkeypatch):
    """The commit that gives it back is looked at by the one that would send: asking for the balance may take long."""
    honest, first = Client.submit, []

    def slow(self, *args, **words):
        if not first:
            first.append(1)
            time.sleep(1.5)
        return honest(self, *args, **words)

    monkeypatch.setattr(Client, "submit", slow)
    quick.sandbox.add(
        Fault(where="create", kind="reset"), Fault(where="account", kind="stall", seconds=2, skip=2, times=None)
    )
    with pytest.raises(errors.Ambiguous):
        quick(provider="runway", values={"max_concurrency": 1, "models": SHORT})
    assert quick.creates == 1


def test_a_cancel_from_elsewhere_buys_no_further_call(quick):
    """The order's next call would have its slot before the run hears of it."""
    options(quick, seconds_per_task=3600.0)
    ends = []

    def order():
        values = {"max_concurrency": 1, "models": SHORT, "poll_interval": 5.0}
        with pytest.raises(errors.TaskCancelled) as caught:
            quick(provider="runway", values=values)
        ends.append(caught.value)

    thread = threading.Thread(target=order)
    thread.start()
    until(lambda: any(one.state == "submitted" for one in runway_node.orders(settings=quick.settings("runway"))))
    digest = runway_node.orders(settings=quick.settings("runway"))[0].digest
    assert [one.state for one in runway_node.cancel(digest, settings=quick.settings("runway"))] == ["cancelled"]
    thread.join()
    assert (quick.creates, len(ends)) == (1, 1)


@pytest.mark.parametrize(("bframes", "off"), [(0, 1), (0, 2), (2, 1)])
def test_a_range_that_begins_just_after_a_keyframe_is_joined(quick, tmp_path, bframes, off):
    """An encoder holds back less of one frame or two, and the copied rest has no such frames at all."""
    source = tmp_path / "source.mp4"
    picture = barcode(tmp_path / "plain.mp4", "25", 200)
    ffmpeg("-i", picture, "-c:v", "libx264", "-g", 25, "-sc_threshold", 0, "-bf", bframes, source)
    result = quick(source=source, start=Fraction(50 + off, 25), end=Fraction(100 - off, 25), keep_rest=True)
    shown = numbers(result.path)
    assert (len(shown), shown[: 50 + off], shown[100 - off :]) == (200, [*range(50 + off)], [*range(100 - off, 200)])


def test_calls_that_hold_slots_from_before_are_looked_at_first(runway_sandbox, answer, tmp_path, monkeypatch):
    """Though every thread of the run would else wait for the very slot that the last of them holds."""
    quick = Studio(runway_sandbox, barcode(tmp_path / "film.mp4", "25", 25 * 18), tmp_path).at_once(answer)
    options(quick, seconds_per_task=3600.0)
    with pytest.raises(errors.StillRunning):
        quick(values={"max_concurrency": 4}, timeout=3.0)
    state = {one.segment: one for one in runway_node.orders(settings=quick.settings())}
    for segment in (0, 1, 2):
        quick.sandbox.befall(quick.sandbox.tasks[state[segment].task_id], Fault(where="poll", kind="failed"))
    quick.sandbox.befall(quick.sandbox.tasks[state[3].task_id], Fault(where="poll", kind="hangs", seconds=5 * 3600))
    clock = quick.sandbox.clock
    quick.sandbox.clock = lambda: clock() + 7200
    with pytest.raises(errors.TaskFailed):
        quick(values={"max_concurrency": 4}, timeout=1.0)
    quick.sandbox.clock = lambda: clock() + 720_000
    options(quick, seconds_per_task=0)
    monkeypatch.setattr(running, "cores", lambda: 1)
    assert quick(values={"max_concurrency": 1}, queue_timeout=20.0).frames == 450


def test_the_wait_for_ones_own_calls_is_no_wait_in_vain(quick):
    """`queue_timeout` counts while others hold the slots."""
    options(quick, seconds_per_task=2.0)
    assert quick(values={"max_concurrency": 1}, queue_timeout=1.0).frames == 325


@pytest.mark.parametrize(("seconds", "calls"), [(4, 1), (12, 3)])
def test_a_keyed_clip_holds_no_renderers_lock_while_it_waits(quick, seconds, calls):
    """Another clip is rendered meanwhile, and its stop is heard."""
    options(quick, seconds_per_task=3600.0)
    stops, ends = (Stop(), Stop()), {}

    def order(name):
        clip = VideoClip(lambda t: np.full((36, 64, 3), int(t * 10) % 255, np.uint8), duration=seconds).with_fps(20)
        frames = frames_of(clip, 20 * seconds)
        with pytest.raises(errors.Interrupted) as caught:
            run(frames, Step(prompt="x", key=str(name)), settings=quick.settings(), stop=stops[name])
        ends[name] = caught.value

    crew = [threading.Thread(target=order, args=(name,)) for name in (0, 1)]
    crew[0].start()
    until(lambda: quick.creates == calls)
    crew[1].start()
    time.sleep(1.0)
    stops[1].set()
    crew[1].join(20)
    assert list(ends) == [1]
    stops[0].detach()
    crew[0].join()


def test_gc_leaves_takes_alone_that_a_long_run_counts_on(quick, monkeypatch):
    """They are the run's from its claim on, not from when a thread comes to them."""
    for path in [quick().path]:
        path.unlink()
    honest = running.side_by_side

    def late(*args):
        runway_node.gc(takes=True, older_than=timedelta(0), dry_run=False, settings=quick.settings())
        quick.sandbox.tasks.clear()
        return honest(*args)

    monkeypatch.setattr(running, "side_by_side", late)
    assert (quick().owned, quick.creates) == (3, 3)


def test_a_rendering_that_fails_stops_the_order(quick):
    """Its error is told once, whichever call waits for its frames; nothing is sent after it."""

    def frames():
        yield from [bytes(64 * 36 * 3)] * 150
        raise ValueError("the renderer broke")

    clip = Frames(width=64, height=36, fps=Fraction(20), count=240, read=frames)
    with pytest.raises(ValueError, match="the renderer broke"):
        quick(source=clip, key="broken")
    assert quick.creates <= 1
