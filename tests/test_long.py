"""A clip of several calls: side by side, stopped by the first failure, gone on with by the next run, joined once."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from fractions import Fraction

import pytest
from PIL import Image

import runway_node
from runway_node import errors
from runway_node.engine import Stop, run, run_async
from runway_node.engine.report import Report
from runway_node.engine.side_by_side import side_by_side
from runway_node.media.probe import probe
from runway_node.media.shapes import Frames
from runway_node.models import Event, Keyframe, Step
from runway_node.sandbox import Fault

from .media_clips import clicks, numbers
from .studio import SHORT, answer_fixture, fail, film_fixture, quick_fixture, studio_fixture, until  # noqa: F401

pytestmark = pytest.mark.slow

# --- one film out of several calls ---


def test_frame_for_frame_and_click_for_click(studio):
    """The film is as long as the clip, shows what it showed, and its sound is the clip's own, once."""
    result = studio(out=studio.folder / "out.mp4")
    shown = numbers(result.path)
    assert (len(shown), result.frames, len(result.takes)) == (325, 325, 3)
    assert max(abs(number - frame) for frame, number in enumerate(shown)) <= 1
    assert clicks(result.path) == pytest.approx(clicks(studio.film), abs=0.001)


def test_the_takes_are_the_providers_files_untouched(studio):
    """One for each call, in order, as the provider made it."""
    result = studio()
    made = [task.output.read_bytes() for task in studio.sandbox.tasks.values()]
    assert sorted(take.path.read_bytes() for take in result.takes) == sorted(made)
    first = [numbers(take.path)[0] for take in result.takes]
    assert first == [0, 106, 213]


def test_all_calls_share_one_seed(quick):
    """The look is held by it; it is told."""
    result = quick()
    assert {task["body"]["seed"] for task in quick.sandbox.state()["tasks"]} == {result.seed}


def test_the_same_order_again_sends_nothing(quick):
    """Not one request, and the file is the same."""
    one = quick()
    before = quick.sandbox.state()["counters"]
    two = quick()
    assert (two.spent, two.owned, two.path) == (0, 3, one.path)
    assert quick.sandbox.state()["counters"] == before


def test_the_whole_does_not_fall_where_two_calls_tell_at_once():
    """A call that reckoned first may tell last: what the listener hears still only grows."""
    heard = []
    report = Report(heard.append)
    for overall in (0.1, 0.4, 0.3, 0.5):
        report._waiting.put(Event(phase="running", overall=overall))
    report.drain()
    assert [event.overall for event in heard] == [0.1, 0.4, 0.4, 0.5]


def test_progress_is_each_calls_and_the_wholes(quick):
    """Every call tells its phases with its place; the whole never falls, and comes to its end."""
    quick()
    for phase in ("preparing", "submitted", "stored", "conforming"):
        assert set(quick.phases(phase)) == {0, 1, 2}
    overall = [event.overall for event in quick.events]
    assert overall == sorted(overall)
    assert (overall[-1], quick.events[-1].phase) == (1.0, "done")
    assert {event.segments for event in quick.events if event.phase == "stored"} == {3}


def test_events_are_told_by_the_thread_that_runs_the_order(quick):
    """A host's progress bar knows no locks."""
    threads = set()

    def hear(_):
        threads.add(threading.get_ident())

    run(quick.film, Step(prompt="dusk"), settings=quick.settings(), on_progress=hear)
    assert threads == {threading.get_ident()}


async def _awaited(studio):
    return await run_async(studio.film, Step(prompt="dusk"), settings=studio.settings())


def test_awaited_it_is_the_same(quick):
    """`run_async` gives the same film."""
    assert asyncio.run(_awaited(quick)).frames == 325


@pytest.mark.parametrize("key", [None, "shot-1"])
def test_frames_from_python_are_rendered_once(quick, key):
    """Read in order, each frame once, those that two calls share too; with a key or without, and known again."""
    read = []

    def frames():
        for index in range(200):
            read.append(index)
            yield bytes([index]) * (64 * 36 * 3)

    clip = Frames(width=64, height=36, fps=Fraction(20), count=200, read=frames)
    result = quick(source=clip, key=key)
    assert (result.frames, len(result.takes), read) == (200, 3, list(range(200)))
    assert quick(source=clip, key=key).spent == 0


# --- what goes wrong ---


def test_a_failed_call_stops_what_was_not_sent(quick):
    """One at a time, the first fails: the two others are not sent; the next run pays for all three."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    quick.sandbox.add(Fault(where="poll", kind="failed"))
    with pytest.raises(errors.TaskFailed, match=r"Call \d of 3: .*; 0 of 3 takes are here, 2 calls were not sent"):
        quick(values={"max_concurrency": 1})
    assert quick.creates == 1
    assert (quick().owned, quick.creates) == (0, 4)


def test_in_flight_calls_are_stored_though_another_failed(quick):
    """Three are sent before one fails: the two others' takes are here, and only the third is paid again."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 3.0})
    helper = threading.Thread(target=lambda: fail(quick, 3))
    helper.start()
    with pytest.raises(errors.TaskFailed, match="2 of 3 takes are here, 0 calls were not sent"):
        quick()
    helper.join()
    result = quick()
    assert (result.owned, quick.creates) == (2, 4)


def test_an_unclear_call_stops_new_sends_and_is_never_sent_again(quick):
    """Exit code 4; the next run fetches what is paid and sends nothing; `attach` by the call's name mends it."""
    quick.sandbox.add(Fault(where="create", kind="reset"))
    with pytest.raises(errors.Ambiguous) as caught:
        quick(values={"max_concurrency": 1})
    assert (quick.creates, caught.value.exit_code) == (1, 4)
    with pytest.raises(errors.Ambiguous, match="attach"):
        quick()
    assert quick.creates == 1
    unclear = next(one for one in runway_node.orders(settings=quick.settings()) if one.state == "ambiguous")
    (task_id,) = quick.sandbox.tasks
    name = f"{unclear.digest[:12]}:{unclear.segment + 1}"
    assert f"attach {name} TASK_ID" in unclear.advice
    runway_node.attach(name, task_id, settings=quick.settings())
    result = quick()
    assert (result.owned, quick.creates, result.frames) == (1, 3, 325)


def test_what_is_paid_is_fetched_though_another_call_is_unclear(quick):
    """A run that may order nothing still brings home what was ordered."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 3600.0})
    quick.sandbox.add(Fault(where="create", kind="reset", skip=2))
    with pytest.raises(errors.Ambiguous):
        quick(timeout=6.0)
    assert quick.creates == 3
    clock = quick.sandbox.clock
    quick.sandbox.clock = lambda: clock() + 7200
    with pytest.raises(errors.Ambiguous):
        quick()
    assert (quick.creates, len(runway_node.takes(settings=quick.settings()))) == (3, 2)


def test_a_refused_key_is_told_once(quick):
    """All calls meet it; one is sent, none is paid."""
    with pytest.raises(errors.KeyRefused):
        run(quick.film, Step(prompt="dusk"), settings=quick.settings(cometapi_key="wrong", max_concurrency=1))
    assert quick.sandbox.counters.accepted == 0


def test_over_a_limit_nothing_is_sent(quick):
    """All calls count together, overlaps too."""
    with pytest.raises(errors.OverLimit, match=r"13\.48 paid seconds"):
        quick(max_seconds=13)
    assert quick.creates == 0
    assert quick(max_seconds=13.48).frames == 325


def test_ctrl_c_cancels_every_task_that_is_under_way(studio, answer):
    """Each is cancelled where the provider can; what was stored stays, and is not paid again."""
    studio.at_once(answer)
    studio.sandbox.options = studio.sandbox.options.model_copy(update={"seconds_per_task": 3600.0})
    stop = Stop()
    threading.Thread(target=lambda: (until(lambda: len(studio.sandbox.tasks) == 3), stop.set())).start()
    with pytest.raises(errors.Interrupted, match="was cancelled"):
        studio(provider="runway", stop=stop, values={"models": SHORT})
    assert studio.sandbox.counters.deletes == 3


def test_a_stop_before_the_first_send_orders_nothing(quick):
    """Set from the start, it is heard before any money moves."""
    stop = Stop()
    stop.set()
    with pytest.raises(errors.Interrupted):
        quick(stop=stop)
    assert quick.creates == 0


def test_two_runs_of_one_order_pay_once(quick):
    """The second waits for the first, call by call."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 0.5})
    results = []
    crew = [threading.Thread(target=lambda: results.append(quick())) for _ in range(2)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert ([result.frames for result in results], quick.creates) == ([325, 325], 3)


def test_left_calls_are_resumed_into_one_file(quick):
    """`resume` fetches them all, and makes the film once the last one is here."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 3600.0})
    with pytest.raises(errors.StillRunning):
        quick(timeout=5.0)
    sent = quick.creates
    clock = quick.sandbox.clock
    quick.sandbox.clock = lambda: clock() + 7200
    done = runway_node.resume(settings=quick.settings())
    assert len(done) == sent == 3
    assert len({one.path for one in done}) == 1
    assert probe(done[0].path).frames == 325


def test_export_joins_the_takes_again(quick):
    """Where the finished file is gone; one take alone is had by its call's name."""
    result = quick()
    result.path.unlink()
    digest = result.digest[:12]
    again = runway_node.export(digest, quick.folder / "again.mp4", settings=quick.settings())
    assert (again.frames, len(again.takes)) == (325, 3)
    with pytest.raises(errors.WrongUse, match=f"Say which: {digest}:1, {digest}:2, {digest}:3"):
        runway_node.export(digest, quick.folder / "take.mp4", untouched=True, settings=quick.settings())
    runway_node.export(f"{digest}:2", quick.folder / "take.mp4", untouched=True, settings=quick.settings())
    assert (quick.folder / "take.mp4").read_bytes() == result.takes[1].path.read_bytes()


def test_gc_frees_a_film_only_while_all_its_takes_are_here(quick):
    """A film of three takes with one of them missing could not be made again."""
    result = quick()
    result.takes[1].path.rename(quick.folder / "elsewhere.mp4")
    assert runway_node.gc(settings=quick.settings()).kept == 1
    (quick.folder / "elsewhere.mp4").rename(result.takes[1].path)
    assert [one.path for one in runway_node.gc(settings=quick.settings()).files] == [result.path]


def test_nothing_but_takes_and_results_is_left(quick):
    """Clips that were sent, fitted takes and seams go when they are not needed any more."""
    quick()
    data = quick.settings().data_dir
    assert [path for path in (data / "work").rglob("*") if path.is_file()] == []
    assert {path.parent.name for path in data.rglob("*.mp4")} == {"takes", "results"}


def test_the_worker_that_fails_sets_the_halt_itself():
    """Not whoever collects the outcomes: in the gap another call would be sent (five of four slots, once measured)."""
    halt, seen = threading.Event(), []

    class Desk:
        stop = threading.Event()
        report = Report(None)

        def beside(self, report):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def work(_, index):
        if index == 0:
            raise errors.TaskFailed("no", task_id="t")
        until(halt.is_set)
        seen.append(halt.is_set())
        return index

    with pytest.raises(errors.TaskFailed, match="Call 1 of 3: no; 2 of 3 takes are here"):
        side_by_side(Desk(), [1.0] * 3, work, halt, 3)
    assert seen == [True, True]


# --- chained by keyframes ---


def test_chained_calls_begin_with_the_last_picture_of_the_one_before(studio):
    """A keyframe at 0, one after another: none is sent before its forerunner is here."""
    result = studio(provider="runway", continuity="keyframe", values={"models": SHORT})
    tasks = sorted(studio.sandbox.tasks.values(), key=lambda task: task.created)
    bodies = [task.body.get("keyframes", []) for task in tasks]
    assert [[frame["seconds"] for frame in body] for body in bodies] == [[], [0.0], [0.0]]
    assert all(one.ended <= two.created for one, two in itertools.pairwise(tasks))
    assert (result.frames, len(numbers(result.path))) == (325, 325)


def test_a_chain_goes_on_from_what_is_owned(studio):
    """The next run takes the last picture out of the take it has, and pays only for the rest."""
    studio.sandbox.options = studio.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    helper = threading.Thread(target=lambda: fail(studio, 2))
    helper.start()
    with pytest.raises(errors.TaskFailed, match="1 of 3 takes are here, 1 call was not sent"):
        studio(provider="runway", continuity="keyframe", values={"models": SHORT})
    helper.join()
    result = studio(provider="runway", continuity="keyframe", values={"models": SHORT})
    assert (result.frames, result.owned, studio.creates) == (325, 1, 4)


def test_keyframes_of_a_person_reach_their_calls(quick):
    """With moments counted from what is sent."""
    still = Image.new("RGB", (64, 36), "red")
    frames = (Keyframe(picture=still, seconds=1.0), Keyframe(picture=still, seconds=12.0))
    quick(provider="runway", keyframes=frames, values={"models": SHORT})
    told = [task.body.get("keyframes", []) for task in quick.sandbox.tasks.values()]
    moments = sorted(frame["seconds"] for given in told for frame in given)
    assert (moments, len(told)) == (pytest.approx([1.0, 12.0 - 213 / 25]), 3)


# --- killed, and on Postgres ---


def _program(studio, out, **values):
    """The program, ordering the film in a process of its own."""
    settings = studio.settings(**values)
    env = {
        **os.environ, **studio.served.env("cometapi"), "RUNWAY_NODE_DATA_DIR": str(settings.data_dir),
        "RUNWAY_NODE_POLL_INTERVAL": "0.2", "RUNWAY_NODE_PROVIDER": "cometapi",
    }  # fmt: skip
    command = [sys.executable, "-m", "runway_node", "run", str(studio.film), "-p", "dusk", "-o", str(out)]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_in_the_middle_it_goes_on_from_what_is_paid(quick):
    """Without a word of warning, all three calls under way: the next run fetches them, and sends nothing."""
    quick.sandbox.options = quick.sandbox.options.model_copy(update={"seconds_per_task": 3600.0})
    out = quick.folder / "out.mp4"
    with _program(quick, out) as program:
        until(lambda: [one.state for one in runway_node.orders(settings=quick.settings())] == ["submitted"] * 3)
        program.kill()
    clock = quick.sandbox.clock
    quick.sandbox.clock = lambda: clock() + 7200
    result = quick(out=out)
    assert (result.frames, result.owned, quick.creates) == (325, 3, 3)
    assert [path.name for path in (quick.settings().data_dir / "work").iterdir()] == []


def test_on_postgres_it_is_paid_once_too(quick, database):
    """Side by side, again, and by two runs at once."""
    values = {"database_url": database}
    results = []
    crew = [threading.Thread(target=lambda: results.append(quick(values=values))) for _ in range(2)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert ([result.frames for result in results], quick.creates) == ([325, 325], 3)
    assert quick(values=values).spent == 0
