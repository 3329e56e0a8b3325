"""The rest of a clip kept around a transformed range: frame-exact, copied where the stream allows, sound untouched."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from runway_node import errors
from runway_node.engine import run
from runway_node.media import avcc
from runway_node.media.opener import ffmpeg_exe
from runway_node.media.probe import plain, probe
from runway_node.media.shapes import Frames
from runway_node.models import Step

from .media_clips import CLICKS, VP9, X264, barcode, clicks, ffmpeg, numbers

pytestmark = pytest.mark.slow

SECONDS, START, END = 12, 5.3, 8.1
KINDS = {
    "closed": ("25", ".mp4", (*X264, "-g", "25")),
    "open": ("24", ".mp4", (*X264, "-x264-params", "open-gop=1:keyint=24", "-bf", "3")),
    "no-b": ("30000/1001", ".mkv", (*X264, "-g", "30", "-bf", "0")),
    "vp9": ("24", ".webm", (*VP9, "-pix_fmt", "yuv420p", "-g", "24")),
}


@pytest.fixture(scope="module", params=KINDS)
def kept(request, tmp_path_factory, serving):
    """A clip, and that clip with a range of it transformed."""
    rate, suffix, encoder = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param.replace("-", ""))
    frames = round(SECONDS * Fraction(rate))
    pictures = barcode(folder / f"pictures{suffix}", rate, frames, *encoder)
    source = folder / f"source{suffix}"
    tone = ["-f", "lavfi", "-i", CLICKS.format(seconds=SECONDS), "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    ffmpeg("-i", pictures, *tone, "-c:a", "libopus" if suffix == ".webm" else "aac", source)
    result = run(
        source, Step(prompt="autumn"), folder / f"out{suffix}", start=START, end=END, keep_rest=True,
        settings=serving(folder),
    )  # fmt: skip
    return source, result


@pytest.fixture(scope="module")
def serving():
    """Settings for a sandbox, by data folder."""
    from runway_node.sandbox import serve
    from runway_node.settings import load_settings

    with serve() as served:
        yield lambda folder: load_settings(
            data_dir=folder / "data", provider="runway", runway_key="sandbox-key", runway_base_url=served.url,
            poll_interval=0.05,
        )  # fmt: skip


def packets(path):
    """The bytes of the video's packets, in order."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_every_frame_is_where_it_was(kept):
    """The whole clip's frames, each with its number; the range transformed, the rest as it was."""
    source, result = kept
    shown = numbers(result.path)
    fps, frames = probe(source).fps, probe(source).frames
    first, last = round(Fraction(START) * fps), round(Fraction(END) * fps)
    assert [frame for frame, number in enumerate(shown) if number != frame and not first <= frame < last] == []
    assert (len(shown), result.frames, max(abs(n - i) for i, n in enumerate(shown)) <= 1) == (frames, frames, True)
    with av.open(str(source)) as before, av.open(str(result.path)) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        off = [np.abs(a.to_ndarray(format="gray").astype(int) - b.to_ndarray(format="gray")).mean() for a, b in pairs]
    assert max(off[:first] + off[last:]) < 3
    assert min(off[first:last]) > 3


def test_the_rest_is_copied(kept):
    """Not encoded again, but for the few frames before the range and those after it up to the next keyframe.

    An open GOP has no frame that stands alone after the first: what follows the range is encoded then, and it is said.
    """
    source, result = kept
    before, after = set(packets(source)), packets(result.path)
    copied = sum(packet in before for packet in after)
    fps = probe(source).fps
    first, last = round(Fraction(START) * fps), round(Fraction(END) * fps)
    said = [warning for warning in result.warnings if "encoded again" in warning]
    follows = 0 if said else len(after) - last - 30
    assert copied >= first - 5 + follows
    assert len(said) == (source.parent.name.startswith("open"))


def test_the_sound_is_the_whole_one_untouched(kept):
    """Every packet of it."""
    source, result = kept
    sounds = []
    for path in (source, result.path):
        with av.open(str(path)) as container:
            sounds.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert sounds[0] == sounds[1]
    assert clicks(result.path) == pytest.approx(clicks(source), abs=0.001)


def test_it_is_one_clean_stream(kept):
    """Ffmpeg decodes it without a word; every frame lies on the grid."""
    source, result = kept
    decode = [ffmpeg_exe(), "-v", "warning", "-xerror", "-i", str(result.path), "-f", "null", "-"]
    assert subprocess.run(decode, capture_output=True, text=True, check=True).stderr == ""
    assert plain(result.path, probe(source).fps)


@pytest.mark.parametrize(
    ("name", "args", "why"),
    [("a.mov", ("-c:v", "mpeg4", "-q:v", "3"), "it is mpeg4"), ("b.mkv", ("-c:v", "ffv1"), "it is ffv1")],
)
def test_what_cannot_be_copied_is_encoded_once_and_said(tmp_path, serving, name, args, why):
    """Frame-exact all the same."""
    source = barcode(tmp_path / name, "25", 200, *args)
    step = Step(prompt="autumn")
    out, settings = tmp_path / f"out{source.suffix}", serving(tmp_path)
    result = run(source, step, out, start=2, end=5, keep_rest=True, settings=settings)
    assert numbers(result.path) == list(range(200))
    assert any(f"encoded again: {why}" in warning for warning in result.warnings)


def test_hidden_frames_stay_hidden(tmp_path, serving):
    """Those that an edit list hides, as a phone's trimming does, are no packets to be copied."""
    whole = barcode(tmp_path / "whole.mp4", "25", 200, *X264, "-g", "25")
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", 1.2, "-i", whole, "-c", "copy", trimmed)
    before = numbers(trimmed)
    result = run(trimmed, "autumn", tmp_path / "out.mp4", start=2, end=4, keep_rest=True, settings=serving(tmp_path))
    after = numbers(result.path)
    assert len(after) == probe(trimmed).frames
    assert (after[:50], after[100:]) == (before[:50], before[100:])
    assert any("hidden" in warning for warning in result.warnings)


def test_another_shape_has_no_rest(tmp_path, serving):
    """It is told before anything is paid."""
    source = barcode(tmp_path / "a.mp4", "25", 100)
    with pytest.raises(errors.StepError, match="Leave aspect or keep_rest out"):
        run(source, Step(prompt="autumn", aspect="1:1"), end=2, keep_rest=True, settings=serving(tmp_path))


def test_range_and_whole_are_two_files_of_one_order(tmp_path, serving):
    """The second costs nothing; neither passes for the other."""
    source, settings = barcode(tmp_path / "a.mp4", "25", 200), serving(tmp_path)
    whole = run(source, "autumn", tmp_path / "whole.mp4", start=2, end=5, keep_rest=True, settings=settings)
    part = run(source, "autumn", tmp_path / "part.mp4", start=2, end=5, settings=settings)
    assert (whole.frames, part.frames, part.spent, part.digest) == (200, 75, 0, whole.digest)
    with pytest.raises(errors.OutputError, match="is not this order's result"):
        run(source, "autumn", tmp_path / "part.mp4", start=2, end=5, keep_rest=True, settings=settings)


def test_without_a_range_there_is_no_rest(tmp_path, serving):
    """The whole clip is transformed, whoever asks for the rest."""
    source = barcode(tmp_path / "a.mp4", "25", 75)
    result = run(source, "autumn", tmp_path / "out.mp4", keep_rest=True, settings=serving(tmp_path))
    assert (result.frames, result.warnings) == (75, ())


def test_frames_from_python_have_no_rest(tmp_path, serving):
    """It is said before anything is sent."""
    frames = Frames(width=64, height=36, fps=Fraction(25), count=50, read=lambda: iter(()))
    with pytest.raises(errors.SourceError, match="keep_rest"):
        run(frames, "autumn", keep_rest=True, settings=serving(tmp_path))


def test_two_encoders_parameter_sets_stand_side_by_side(tmp_path):
    """Each keeps its id; the level is the higher one."""
    setups = []
    for name, params in (("a", "sps-id=0:level=3.1"), ("b", "sps-id=31:level=4.0")):
        path = barcode(tmp_path / f"{name}.mp4", "25", 5, *X264, "-x264-params", params)
        with av.open(str(path)) as container:
            setups.append(container.streams.video[0].codec_context.extradata)
    both = avcc.read(avcc.joined(*setups))
    assert (both.ids, len(both.sps), len(both.pps), both.header[3]) == ({0, 31}, 2, 2, 40)
    assert avcc.joined(setups[0], setups[0]) is None
    assert avcc.read(b"\x00\x00\x00\x01\x67") is None
