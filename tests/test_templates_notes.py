"""What a template's steps lose or shorten is told before it is rendered, by the step's place."""

from __future__ import annotations

import pytest
from PIL import Image

from runway_node.templates import TemplateError

from .edits import edit_fixture, pictures, plain
from .media_clips import barcode

__all__ = ["edit_fixture"]


@pytest.fixture(scope="module", name="clip")
def clip_fixture(tmp_path_factory):
    """Two seconds at 25 frames, 320x180."""
    return barcode(tmp_path_factory.mktemp("room") / "clip.mp4", "25", 50)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"type": "text", "text": "x", "fade": 5},
         "fades of 5 s and 5 s do not fit 2 s, for which it is seen: they are shortened"),
        ({"type": "text", "text": "x", "at": 1, "fade_in": 2}, "fades of 2 s do not fit 1 s, for which"),
        ({"type": "text", "text": "x" * 80}, "it runs out of the frame, "),
        ({"type": "text", "text": "x", "position": [0, 175]}, "it runs out of the frame, "),
        ({"type": "audio", "file": "tone", "fade_in": 2, "fade_out": "1s"}, "fades of 2 s and 1 s do not fit 2 s of"),
        ({"type": "audio", "gain": 3}, "the clip has no sound: nothing was done to it"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_fit_is_noted(edit, clip, tmp_path, step, told):
    """The step's place comes first."""
    if step.get("file"):
        from .edits import tone

        step = {**step, "file": tone(tmp_path / "tone.wav")}
    (note,) = edit.look({**step, "in": clip}).warnings
    assert note.startswith(f"steps[0], line 1: {told}")


@pytest.mark.parametrize(
    "step",
    [
        {"text": "x", "fade_in": "1s", "fade_out": "1s"},
        {"text": "x", "fade": 1},
        {"text": "a line of words that is as long as others", "position": "bottom-right"},
    ],
    ids=str,
)
def test_a_step_that_fits_is_not_noted(edit, clip, step):
    """Fades as long as the clip fit, and so do words up to the frame's edge."""
    assert edit.look({"type": "text", "in": clip, **step}).warnings == ()


@pytest.mark.slow
def test_a_fade_in_alone_does_not_go(edit, tmp_path):
    """What fades in stays to the end where it does not fade out."""
    dark, light = plain(tmp_path / "dark.mp4", 16, 50), plain(tmp_path / "light.mp4", 235, 50)
    made = edit({"type": "overlay", "in": dark, "file": light, "fade_in": "1s"}).path
    levels = [int(picture[90, 160, 1]) for picture in pictures(made)]
    assert levels[0] < 30
    assert levels[12] < levels[24] < levels[30]
    assert min(levels[30:]) > 200


@pytest.mark.parametrize(("place", "told"), [([-9, 5], "it runs out of the frame, 9 pixels on the"), ([400, 5], "")])
def test_an_overlay_beside_the_frame_is_told(edit, clip, tmp_path, place, told):
    """Cut off it is noted, and refused where nothing of it would be seen."""
    path = tmp_path / "logo.png"
    Image.new("RGB", (40, 20)).save(path)
    step = {"type": "overlay", "in": clip, "file": path, "position": place}
    if told:
        assert any(told in note for note in edit.look(step).warnings)
    else:
        with pytest.raises(TemplateError, match="It lies beside the frame of 320x180"):
            edit.look(step)
