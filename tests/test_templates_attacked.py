"""Templates and batches of several paid steps, attacked."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from runway_node.batch import Halting, run_rows
from runway_node.engine import Stop, gc, paying
from runway_node.engine.side_by_side import worst_of
from runway_node.errors import TaskFailed, all_of
from runway_node.sandbox import Fault
from runway_node.settings import load_settings
from runway_node.templates import TemplateError, pieces

from .batches import desk_fixture
from .edits import edit_fixture
from .media_clips import barcode, numbers

__all__ = ["desk_fixture", "edit_fixture"]

pytestmark = pytest.mark.slow


def test_ctrl_c_cancels_every_shot(edit, clip):
    """In a script, as with one step: what was sent is cancelled, and the interrupt goes on."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"seconds_per_task": 20.0})
    sent = []

    def hear(event):
        sent.extend([event.task_id] if event.phase == "submitted" else [])
        if event.phase == "submitted" and len(sent) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    paid = {"type": "runway.video_to_video", "in": clip}
    steps = [{"id": "a", **paid, "prompt": "dusk"}, {"id": "b", **paid, "prompt": "snow"}]
    with pytest.raises(KeyboardInterrupt):
        edit(*steps, {"type": "concat", "in": ["a", "b"]}, how={"on_progress": hear})
    assert (edit.sandbox.counters.creates, edit.sandbox.counters.deletes) == (2, 2)


SHOTS = """
version: 1
vars:
  clip: {type: path}
  one: {type: string, default: dusk}
  two: {type: string, default: snow}
  try: {type: integer, default: 1}
output: {name: "${clip}"}
steps:
  - {id: a, type: runway.video_to_video, in: "${clip}", prompt: "${one}"}
  - {id: b, type: runway.video_to_video, in: "${clip}", prompt: "${two}", take: "${try}"}
  - {type: concat, in: [a, b]}
"""


def slowly(desk, seconds):
    """Each task takes so long."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": seconds})


def test_a_batch_that_stops_sending_was_not_interrupted(desk, monkeypatch):
    """Exit 1, and a row of which a part was sent tells what to do."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.template.write_text(SHOTS)
    slowly(desk, 1.0)
    desk.sandbox.add(Fault(where="create", kind="status", status=401, skip=1, times=None))
    code, results = desk(("a.mp4",), ("b.mp4",), heads=("clip",))
    assert sorted(row["status"] for row in results) == ["failed", "left"]
    assert "the same command goes on with it" in next(row["error"] for row in results if row["status"] == "left")
    assert (code, desk.creates) == (1, 1)


def test_every_refused_shot_of_a_row_counts(desk):
    """Two of one row are two refusals, each charged."""
    desk.template.write_text(SHOTS)
    slowly(desk, 3.0)
    desk.sandbox.add(Fault(where="create", kind="failed", code="SAFETY.INPUT.TEXT", times=None))
    heads = ("clip", "one", "two", "try")
    code, _ = desk(("a.mp4", "rude", "rude", 2), heads=heads, flags=["--max-refusals", "2"])
    assert (code, desk.creates) == (1, 2)
    assert "refused one prompt 2 times" in desk.noted


def test_a_refused_shot_is_remembered_beside_another_failure(desk):
    """The same command again sends nothing that moderation refused, whatever else failed."""
    desk.template.write_text(SHOTS)
    slowly(desk, 3.0)
    desk.sandbox.add(Fault(where="create", kind="failed", code="INTERNAL"))
    desk.sandbox.add(Fault(where="create", kind="failed", code="SAFETY.INPUT.TEXT"))
    assert desk(("a.mp4",), heads=("clip",))[0] == 1
    assert desk.creates == 2
    assert desk(("a.mp4",), heads=("clip",))[0] == 1
    assert desk.creates == 2


@pytest.mark.parametrize("name", ["take", "output", "cost"])
def test_a_var_that_no_row_can_give_is_told(desk, name):
    """A column that is results.csv's own never reaches a var: its default would be paid for in every row."""
    desk.template.write_text(SHOTS.replace("one:", f"{name}:").replace("${one}", f"${{{name}}}"))
    code, _ = desk(("a.mp4", "rain"), heads=("clip", name))
    assert (code, desk.creates) == (2, 0)
    assert f"{name!r}" in desk.noted


def test_steps_that_draw_one_clip_at_once_do_not_disturb_each_other(edit, tmp_path, monkeypatch):
    """Each is sent every frame once, in its place, while the other one looks at frames of the same files."""
    sent, honest = [], paying.prepare

    def prepare(source, found, cut, out, **how):
        honest(source, found, cut, out, **how)
        sent.append(numbers(out))

    monkeypatch.setattr(paying, "prepare", prepare)
    film, paid = barcode(tmp_path / "source.mp4", "25", 75), {"type": "runway.video_to_video"}
    names = ["first", *(f"effect{number}" for number in range(12))]
    edit(
        {"id": "drawn", "type": "text", "text": "x", "size": 12, "position": "top-left", "in": film},
        {"id": "first", **paid, "prompt": "dusk", "range": {"start": 0.4, "end": 2.4}},
        {"id": "words", "type": "text", "text": "a", "size": 12, "position": "top-left", "in": "first"},
        {"id": "p", **paid, "in": "words", "prompt": "snow"},
        *({"id": name, "type": "effect", "in": before, "name": "MultiplySpeed", "with": {"factor": 1}}
          for before, name in itertools.pairwise(names)),
        {"id": "q", **paid, "in": names[-1], "prompt": "rain"},
        {"type": "concat", "in": ["p", "q"]},
    )  # fmt: skip
    assert [one[:10] + one[60:] for one in sent[1:]] == [[*range(10), *range(60, 75)]] * 2


def test_shots_that_are_drawn_keep_few_files_open(edit, clips, monkeypatch):
    """However many there are: each open file is an ffmpeg, and a batch renders many rows at once."""
    honest, readers, most = pieces._reader, [], []

    def reader(*args):
        readers.append(honest(*args))
        most.append(sum(one.proc is not None for one in readers))
        return readers[-1]

    monkeypatch.setattr(pieces, "_reader", reader)
    steps, film = [], clips(3)
    for number in range(6):
        drawn = {"id": f"drawn{number}", "type": "text", "text": str(number), "in": film}
        paid = {"id": f"shot{number}", "type": "runway.video_to_video", "prompt": "dusk", "range": {"end": 2.2}}
        steps += [drawn, paid]
    edit(*steps, {"type": "concat", "in": [f"shot{number}" for number in range(6)]})
    assert edit.sandbox.counters.creates == 6
    assert max(most) <= pieces.MOST_READERS + 1
    assert not any(one.proc for one in readers)


def test_every_task_that_is_left_is_told(desk):
    """Of two shots under way when a batch is stopped, both tasks are named."""
    desk.template.write_text(SHOTS)
    slowly(desk, 60.0)
    stop, came = Stop(), []

    def hear(_, event):
        if event.phase == "submitted" and desk.creates == 2:
            stop.detach()

    jobs = desk.jobs(("a.mp4", ""))
    run_rows(jobs, load_settings(), halting=Halting(), stop=stop, on_event=hear, on_outcome=came.append)
    tasks = {task for task in desk.sandbox.tasks if task in came[0].error}
    assert (len(tasks), came[0].status) == (2, "left")


def test_rows_that_share_a_first_shot_go_on_from_it(desk):
    """The row that gets the shot later does not put another file under the row that goes on from it already."""
    desk.template.write_text(SHOTS.replace('id: b, type: runway.video_to_video, in: "${clip}"',
                                           "id: b, type: runway.video_to_video, in: a")
                             .replace('"${clip}"}', '"${two}"}'))  # fmt: skip
    slowly(desk, 2.0)
    code, results = desk(*(("a.mp4", f"snow {number}") for number in range(3)), heads=("clip", "two"))
    assert [row["status"] for row in results] == ["done"] * 3, results
    assert (code, desk.creates) == (0, 4)


def test_gc_leaves_alone_what_a_next_step_is_made_of(edit, clip, clips):
    """Freed while the second of two chained steps is under way, all else goes, and the render ends well."""
    edit.sandbox.options = edit.sandbox.options.model_copy(update={"ready": clips(3)})
    paid = {"type": "runway.video_to_video"}

    def hear(event):
        if (event.step, event.phase) == ("b", "submitted"):
            gc(dry_run=False, settings=edit.settings)

    steps = [{"id": "a", **paid, "in": clip, "prompt": "dusk"}, {"id": "b", **paid, "prompt": "snow"}]
    assert edit(*steps, how={"on_progress": hear}).path.exists()
    assert edit.sandbox.counters.creates == 2


def test_a_crop_beside_the_picture_is_told_before_anything_is_paid(edit, clip):
    """By its step, at the look already."""
    paid = {"type": "runway.video_to_video", "in": clip, "prompt": "dusk"}
    crop = {"type": "effect", "name": "Crop", "with": {"x_center": 5000, "width": 100}}
    with pytest.raises(TemplateError, match=r"steps\[1\].*Crop from x 4950 to 5050 is not within .* 320x180"):
        edit.look(paid, crop)
    assert edit.sandbox.counters.creates == 0


def test_the_worst_of_several_keeps_what_it_brought():
    """A step of several calls, of which two went wrong, beside another step that failed: all three are known."""
    inner = worst_of({0: TaskFailed("no", task_id="a"), 1: TaskFailed("no", task_id="b")})
    assert [one.task_id for one in all_of(worst_of({0: inner, 1: TaskFailed("no", task_id="c")}))] == ["a", "b", "c"]
