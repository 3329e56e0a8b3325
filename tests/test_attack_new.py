"""Templates and batches of several paid steps, attacked."""

from __future__ import annotations

import os
import signal

import pytest

from runway_node.sandbox import Fault

from .batches import desk_fixture
from .edits import edit_fixture

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
