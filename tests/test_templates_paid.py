"""Paid steps of templates: what is looked at is paid, once; a file goes to the engine as a file."""

from __future__ import annotations

import pytest

from runway_node.engine import run
from runway_node.errors import OutputError
from runway_node.models import Step

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
