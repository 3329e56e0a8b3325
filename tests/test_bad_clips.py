"""Clips that are not what they seem: what is there is transformed, frame for frame, and what is odd is said."""

from __future__ import annotations

import re

import pytest

from runway_node.engine import plan, run
from runway_node.media.probe import probe
from runway_node.models import Step

from .media_clips import X264, barcode, ffmpeg, numbers

pytestmark = pytest.mark.slow

FRAMES = 325
"""Thirteen seconds at 25: three calls."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The whole clip, numbered, and what became of it."""
    made = tmp_path_factory.mktemp("bad")
    whole = barcode(made / "whole.mp4", "25", FRAMES, *X264, "-g", "25", "-bf", "0")
    ffmpeg("-i", whole, "-c", "copy", "-frames:v", 150, made / "1.ts")
    grown = ["-vf", "trim=start_frame=150,setpts=PTS-STARTPTS,scale=640:360", *X264, "-bf", "0"]
    ffmpeg("-i", whole, *grown, "-output_ts_offset", 6, made / "2.ts")
    (made / "size.ts").write_bytes((made / "1.ts").read_bytes() + (made / "2.ts").read_bytes())
    ffmpeg("-i", whole, "-vf", "select='not(between(n,100,149))'", "-fps_mode", "vfr", *X264, made / "gap.mp4")
    halved = ["-vf", "select='lt(n,150)+not(mod(n,2))'", "-fps_mode", "vfr", *X264]
    ffmpeg("-i", whole, *halved, made / "rate.mp4")
    ffmpeg("-i", whole, "-c", "copy", "-movflags", "+frag_keyframe+empty_moov", made / "tail.mp4")
    data = (made / "tail.mp4").read_bytes()
    (made / "tail.mp4").write_bytes(data[: len(data) * 9 // 10])
    ffmpeg("-i", whole, "-c", "copy", made / "lies.mkv")
    data = (made / "lies.mkv").read_bytes()
    at = data.index(b"\x44\x89\x88")  # Segment/Info/Duration, a float of eight bytes
    (made / "lies.mkv").write_bytes(data[: at + 3] + b"\x40\xf3\x88\x00\x00\x00\x00\x00" + data[at + 11 :])
    return made


@pytest.mark.parametrize(
    ("name", "words", "held"),
    [
        ("size.ts", r"changes size midway \(320x180, 640x360\)", 0),
        ("gap.mp4", "the rate varies; the result is constant at 25", 50),
        ("rate.mp4", "the rate varies; the result is constant at 25", 1),
        ("tail.mp4", "cut off or damaged; what can be read of it is used", 0),
        ("lies.mkv", r"the file says 80.0 s but its frames last 13\.0 s", 0),
    ],
)
def test_what_is_there_is_transformed(runway_sandbox, folder, tmp_path, name, words, held):
    """Every frame stays where it was; one that is missing is what was shown before it; it is said before it is paid."""
    settings, step = runway_sandbox.settings("cometapi"), Step(prompt="autumn")
    said = plan(folder / name, step, settings=settings).warnings
    result = run(folder / name, step, tmp_path / "out.mp4", settings=settings)
    assert any(_matches(words, line) for line in said)
    assert set(said) <= set(result.warnings)
    shown = numbers(result.path)
    assert len(shown) == probe(folder / name).frames
    assert all(-held - 2 <= number - frame <= 2 for frame, number in enumerate(shown))


def _matches(words, line):
    return re.search(words, line) is not None
