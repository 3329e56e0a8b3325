"""Paid steps of templates: what is looked at is paid, once; a file goes to the engine as a file."""

from __future__ import annotations

import pytest

from runway_node.engine import Stop, run
from runway_node.errors import Interrupted, OutputError, TaskFailed
from runway_node.ledger import opened
from runway_node.models import Step
from runway_node.sandbox import Fault

from .edits import edit_fixture, packets, pictures, plain, with_sound
from .media_clips import barcode, numbers

__all__ = ["edit_fixture"]

pytestmark = pytest.mark.slow
TEXT = {"type": "text", "text": "x", "size": 12, "position": "top-left"}
"""Words that hide no number."""


@pytest.fixture(scope="module", name="room")
def room_fixture(tmp_path_factory):
    """A folder for clips that all tests here share."""
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module", name="film")
def film_fixture(room):
    """Seventy-five numbered frames at 25 a second, with a tone."""
    return with_sound(barcode(room / "pictures.mp4", "25", 75), room / "film.mp4")


@pytest.fixture(scope="module", name="silent")
def silent_fixture(room):
    """Seventy-five numbered frames at 25 a second, without sound."""
    return barcode(room / "silent.mp4", "25", 75)


def test_the_engines_own_file_is_the_film(edit, silent, film):
    """A template of nothing but a paid step gives, byte for byte, what the engine gives."""
    edit.answer(silent)
    made = edit({"type": "runway.video_to_video", "in": film, "prompt": "dusk"})
    assert made.path.read_bytes() == run(film, Step(prompt="dusk"), settings=edit.settings).path.read_bytes()
    assert edit.sandbox.counters.creates == 1


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".webm"])
def test_the_engines_own_file_in_each_container(edit, silent, film, suffix):
    """So it does in other containers, and leaves nothing beside it."""
    edit.answer(silent)
    made = edit({"type": "runway.video_to_video", "in": film, "prompt": "dusk"}, out=f"film{suffix}")
    other = run(film, Step(prompt="dusk"), edit.folder / f"own{suffix}", settings=edit.settings).path
    assert packets(made.path) == packets(other)
    assert numbers(made.path) == list(range(75))
    assert not [path for path in edit.folder.iterdir() if path.name.startswith(".")]
    assert edit.sandbox.counters.creates == 1


@pytest.mark.parametrize("sound", [True, False])
def test_a_range_of_a_file_is_the_engines(edit, silent, film, sound):
    """Of a file, the engine transforms a range and keeps the rest by copying it, with sound or without."""
    source = film if sound else silent
    edit.answer(silent)
    made = edit({"type": "runway.video_to_video", "in": source, "prompt": "dusk", "range": {"end": 2}})
    kept = run(source, Step(prompt="dusk"), start=0, end=2, keep_rest=True, settings=edit.settings)
    assert made.path.read_bytes() == kept.path.read_bytes()
    assert edit.sandbox.counters.creates == 1


def test_a_range_of_an_edit_keeps_the_rest(edit, room, silent):
    """Of what is drawn, the range is sent alone, and the frames around it stay."""
    edit.answer(plain(room / "answer.mp4", 200, 50))
    part = {"start": 0.4, "end": 2.4}
    made = edit({**TEXT, "in": silent}, {"type": "runway.video_to_video", "prompt": "dusk", "range": part}).path
    assert len(numbers(made)) == 75
    assert numbers(made)[:10] == list(range(10))
    assert numbers(made)[60:] == list(range(60, 75))
    assert [number for number, one in enumerate(pictures(made)) if one[150, 5, 1] > 150] == list(range(10, 60))


def test_only_sound_copies_the_pictures(edit, film):
    """Where only the sound changes, the pictures' packets are the source's."""
    made = edit({"type": "audio", "in": film, "gain": -6}).path
    assert packets(made) == packets(film)


def test_a_chain_pays_what_it_planned(edit, silent, film):
    """Two paid steps around words are two calls, at the price that the look told."""
    edit.answer(silent)
    paid = {"type": "runway.video_to_video", "prompt": "dusk"}
    steps = [{**paid, "in": film}, TEXT, {**paid, "prompt": "snow"}]
    plans = [plan for _, plan in edit.look(*steps).plans]
    made = edit(*steps)
    assert edit.sandbox.counters.creates == sum(len(plan.segments) for plan in plans) == 2
    assert made.cost == sum(plan.credits for plan in plans)
    assert numbers(made.path) == list(range(75))


def test_the_same_again_costs_nothing(edit, silent, film):
    """Rendered once more, a chain finds its takes."""
    edit.answer(silent)
    paid = {"type": "runway.video_to_video", "prompt": "dusk"}
    steps = [{**paid, "in": film}, TEXT, {**paid, "prompt": "snow"}]
    edit(*steps)
    again = edit(*steps, out="again.mp4")
    assert edit.sandbox.counters.creates == 2
    assert again.spent == 0


def test_what_is_drawn_is_known_before_it_is_drawn(edit, silent, film):
    """A paid step behind drawn frames is owned by the look already, whatever comes after it."""
    edit.answer(silent)
    paid = {"type": "runway.video_to_video", "prompt": "dusk"}
    edit({**TEXT, "in": film}, paid)
    _, plan = edit.look({**TEXT, "in": film}, paid, {**TEXT, "text": "later"}).plans[0]
    assert (plan.standing, plan.to_pay) == (("owned",), 0)


def test_another_drawing_is_another_order(edit, silent, film):
    """What is drawn before a paid step is part of what is ordered."""
    edit.answer(silent)
    paid = {"type": "runway.video_to_video", "prompt": "dusk"}
    edit({**TEXT, "in": film}, paid)
    _, plan = edit.look({**TEXT, "in": film, "text": "y"}, paid).plans[0]
    assert plan.standing == ("to pay",)


@pytest.mark.parametrize("name", ["there.mp4", "film.avi", "film"])
def test_where_it_cannot_be_written_nothing_is_paid(edit, film, name):
    """A film that exists, or an ending that is none, is refused before anything is ordered."""
    (edit.folder / "there.mp4").write_bytes(b"mine")
    with pytest.raises(OutputError):
        edit({"type": "runway.video_to_video", "in": film, "prompt": "dusk"}, out=name)
    assert edit.sandbox.counters.creates == 0
    assert (edit.folder / "there.mp4").read_bytes() == b"mine"


def test_a_look_touches_nothing(edit, film, silent, room, monkeypatch, tmp_path):
    """Looking starts no ffmpeg, writes no file, and sends nothing."""
    from runway_node.media import opener

    edit.answer(silent)
    recipe = edit.recipe(
        {"id": "one", "type": "runway.video_to_video", "in": film, "prompt": "dusk"},
        {"id": "two", **TEXT, "range": {"end": 1}},
        {"id": "three", "type": "concat", "in": ["two", silent, film], "transition": {"duration": 0.2}},
        {"id": "four", "type": "audio", "in": "three", "file": film, "mode": "mix", "loudness": -14},
        {"id": "five", "type": "effect", "in": "four", "name": "MultiplySpeed", "with": {"factor": 2}},
        {"id": "six", "type": "overlay", "in": "five", "file": film, "width": 100},
        {"id": "seven", "type": "runway.video_to_video", "in": "six", "prompt": "snow"},
    )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    started = []
    monkeypatch.setattr(opener.subprocess, "Popen", lambda *args, **how: started.append(args))
    from runway_node.templates import look

    looked = look(recipe, edit.settings)
    assert [name for name, _ in looked.plans] == ["one", "seven"]
    assert started == []
    assert edit.sandbox.counters.creates == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def shots(*clips, transition=None):
    """A paid step for each clip, and all in a row."""
    paid = [
        {"id": f"shot{number}", "type": "runway.video_to_video", "in": clip, "prompt": f"dusk {number}"}
        for number, clip in enumerate(clips)
    ]
    return [*paid, {"type": "concat", "in": [step["id"] for step in paid], "transition": transition}]


def test_steps_that_need_no_other_are_ordered_side_by_side(edit, silent, film):
    """Three shots are all under way before the first one is done; each event tells its step."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"ready": silent, "seconds_per_task": 6.0})
    heard = []
    made = edit(*shots(film, film, film), how={"on_progress": heard.append})
    paid = [(event.step, event.phase) for event in heard if event.phase in {"submitted", "succeeded"}]
    assert {step for step, phase in paid[:3] if phase == "submitted"} == {"shot0", "shot1", "shot2"}
    tasks = {event.step: event.task_id for event in heard if event.task_id}
    assert [result.takes[0].task_id for result in made.results] == [tasks[f"shot{number}"] for number in range(3)]
    assert (edit.sandbox.counters.creates, made.frames) == (3, 225)
    assert made.spent == sum(result.cost for result in made.results)


def test_what_is_drawn_is_ordered_side_by_side_too(edit, room, silent, film):
    """Shots that are drawn first give the film that they give one after another."""
    edit.answer(silent)
    drawn = [{"id": f"drawn{number}", **TEXT, "in": film, "text": f"{number}"} for number in range(2)]
    steps = [*drawn, *shots("drawn0", "drawn1", transition={"duration": 0.2})]
    seen = numbers(edit(*steps).path)
    assert (seen[:70], seen[75:]) == (list(range(70)), list(range(5, 75)))
    assert edit.sandbox.counters.creates == 2


def test_a_step_waits_for_what_it_needs(edit, silent, film):
    """A paid step over two paid shots is ordered when both are there, and all three are paid once."""
    edit.answer(silent)
    steps = [*shots(film, silent), {**TEXT, "text": "y"}, {"type": "runway.video_to_video", "prompt": "snow"}]
    made = edit(*steps)
    assert (edit.sandbox.counters.creates, len(made.results), made.frames) == (3, 3, 150)
    assert edit(*steps, out="again.mp4").spent == 0


def test_the_same_shot_twice_is_paid_once(edit, silent, film):
    """Two steps that order the same thing side by side share one order."""
    edit.answer(silent)
    paid = {"type": "runway.video_to_video", "in": film, "prompt": "dusk"}
    made = edit({"id": "a", **paid}, {"id": "b", **paid}, {"type": "concat", "in": ["a", "b"]})
    assert (edit.sandbox.counters.creates, made.spent) == (1, made.results[0].cost)


def test_where_one_shot_fails_the_others_are_kept(edit, silent, film):
    """What is under way is finished; the same again pays only for the one that failed."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"ready": silent, "seconds_per_task": 3.0})
    edit.sandbox.add(Fault(where="poll", kind="failed", code="INTERNAL"))
    with pytest.raises(TaskFailed):
        edit(*shots(film, film, film))
    assert edit.sandbox.counters.accepted == 3
    edit(*shots(film, film, film), out="again.mp4")
    assert edit.sandbox.counters.accepted == 4


def test_after_a_failed_shot_no_other_is_sent(edit, silent, film):
    """With one slot, the shots behind the one that failed are not paid."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"ready": silent, "seconds_per_task": 1.0})
    edit.settings = edit.settings.model_copy(update={"max_concurrency": 1})
    edit.sandbox.add(Fault(where="poll", kind="failed", code="INTERNAL"))
    with pytest.raises(TaskFailed):
        edit(*shots(film, film, film))
    assert edit.sandbox.counters.accepted == 1


def test_a_stop_leaves_every_shot_as_the_policy_says(edit, silent, film):
    """Detached, two shots are left running, and the same again collects both."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"ready": silent, "seconds_per_task": 4.0})
    stop, sent = Stop(), []

    def hear(event):
        sent.extend([event.task_id] if event.phase == "submitted" else [])
        if len(sent) == 2:
            stop.detach()

    with pytest.raises(Interrupted):
        edit(*shots(film, film), how={"on_progress": hear, "stop": stop})
    made = edit(*shots(film, film), out="again.mp4")
    assert (edit.sandbox.counters.creates, edit.sandbox.counters.deletes) == (2, 0)
    assert {take.task_id for result in made.results for take in result.takes} == set(sent)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_where_the_folder_cannot_be_written_nothing_is_paid(edit, film, suffix):
    """A place under a file is refused before anything is ordered."""
    (edit.folder / "file").write_bytes(b"mine")
    with pytest.raises(OutputError, match="no folder"):
        edit({"type": "runway.video_to_video", "in": film, "prompt": "dusk"}, out=f"file/film{suffix}")
    assert edit.sandbox.counters.creates == 0


def test_a_name_as_long_as_a_name_may_be(edit, film):
    """Nothing that is made beside the film has a longer one."""
    name = "é" * 125 + ".mov"
    assert edit({"type": "audio", "in": film, "gain": -6}, out=name).path.name == name


def test_what_a_killed_render_left_goes_with_the_next(edit, film):
    """Beside the output and in the data folder."""
    with opened(edit.settings) as ledger, ledger.holder() as token:
        pass
    left = [edit.folder / f".film-{token}-runway.mov", edit.settings.data_dir / "work" / token / "step0.mov"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    edit({"type": "audio", "in": film, "gain": -6}, out="film.mov")
    assert [path for path in left if path.exists()] == []
