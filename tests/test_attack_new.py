"""Templates and batches of several paid steps, attacked."""

from __future__ import annotations

import os
import signal

import pytest

from .edits import edit_fixture

__all__ = ["edit_fixture"]

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
