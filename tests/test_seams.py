"""Where two calls meet: cross-faded where they share frames, untouched at a scene cut; one clean stream."""

from __future__ import annotations

import itertools
import subprocess

import av
import numpy as np
import pytest

from runway_node.engine import plan, run
from runway_node.media.opener import ffmpeg_exe
from runway_node.media.probe import plain, probe
from runway_node.media.scenes import scene_cuts
from runway_node.models import Step

from .media_clips import ffmpeg

pytestmark = pytest.mark.slow

SHIFT = 24.0
"""Levels by which every second answer is lighter."""


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Thirteen seconds of one scene that never rests."""
    path = tmp_path_factory.mktemp("moving") / "moving.mp4"
    noise = "nullsrc=s=320x180:r=24:d=13,geq=lum='128+60*sin((X+N*9)/7)*cos((Y+N*5)/9)':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", noise, "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", path)
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes of four and a half and five seconds, with a hard cut at frame 110."""
    path = tmp_path_factory.mktemp("scenes") / "scenes.mp4"
    one, two = ("testsrc2=s=320x180:r=24", "mandelbrot=s=320x180:r=24")
    join = "[0]trim=end_frame=110,setpts=PTS-STARTPTS[a];[1]trim=end_frame=110,setpts=PTS-STARTPTS[b];[a][b]concat[o]"
    inputs = ["-f", "lavfi", "-i", one, "-f", "lavfi", "-i", two]
    ffmpeg(*inputs, "-filter_complex", join, "-map", "[o]", "-c:v", "libx264", "-pix_fmt", "yuv420p", path)
    return path


def lumas(path):
    """Each frame's luma, small."""
    with av.open(str(path)) as container:
        frames = [frame.reformat(64, 36, "gray").to_ndarray().astype(float) for frame in container.decode(video=0)]
    return np.array(frames)


def jumps(path):
    """How far each frame is from the one before it."""
    shown = lumas(path)
    return np.abs(np.diff(shown, axis=0)).mean(axis=(1, 2))


def carried(served, source, out, **fields):
    """The plan and the result of one order at a sandbox whose looks differ from call to call."""
    served.sandbox.options = served.sandbox.options.model_copy(update={"shift": SHIFT})
    settings, step = served.settings("cometapi"), Step(prompt="noir", **fields)
    return plan(source, step, settings=settings), run(source, step, out, settings=settings)


def test_no_jump_at_a_cross_faded_seam(runway_sandbox, moving, tmp_path):
    """The largest jump at any seam is at most twice the median one inside the calls."""
    made, result = carried(runway_sandbox, moving, tmp_path / "out.mp4")
    found = jumps(result.path)
    seams = {frame for piece in made.segments[:-1] for frame in range(piece.last - piece.overlap - 1, piece.last)}
    inside = [jump for frame, jump in enumerate(found) if frame not in seams]
    assert len(seams) == 14
    assert max(found[frame] for frame in seams) <= 2 * np.median(inside)


def test_without_overlap_the_same_looks_jump(runway_sandbox, moving, tmp_path):
    """What the cross-fade is for: the judge above is not blind.

    Of three answers one is the lighter one, whichever call came second: a seam at least has a jump.
    """
    made, result = carried(runway_sandbox, moving, tmp_path / "out.mp4", overlap=0)
    found = jumps(result.path)
    light = lumas(result.path).mean(axis=(1, 2))
    steps = [abs(light[piece.last] - light[piece.last - 1]) for piece in made.segments[:-1]]
    assert max(steps) > 3 * np.median(np.abs(np.diff(light)))
    assert len(found) == 13 * 24 - 1


def test_at_a_scene_cut_nothing_is_blended(runway_sandbox, scenes, tmp_path):
    """The frame before the cut shows the one scene, the frame after it the other, as in the clip."""
    made, result = carried(runway_sandbox, scenes, tmp_path / "out.mp4")
    assert [(piece.last, piece.overlap) for piece in made.segments] == [(110, 0), (220, 0)]
    found, was = jumps(result.path), jumps(scenes)
    assert (found.argmax(), was.argmax()) == (109, 109)
    # A blended frame on either side would share the jump with it.
    assert max(found[107:109].max(), found[110:112].max()) < found[109] / 4


def test_motion_alone_is_no_scene_cut(moving):
    """However fast a picture moves, a window that begins in it has no cut at its beginning."""
    clip = probe(moving)
    assert scene_cuts(moving, clip, [(78, 120), (195, 230)]) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_film_is_one_clean_stream(runway_sandbox, moving, tmp_path, suffix):
    """It decodes in ffmpeg without a word and in PyAV, with times that strictly rise, each frame on the grid."""
    _, result = carried(runway_sandbox, moving, tmp_path / f"out{suffix}")
    decoded = subprocess.run(
        [ffmpeg_exe(), "-v", "warning", "-xerror", "-i", str(result.path), "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert decoded.stderr == ""
    with av.open(str(result.path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    with av.open(str(result.path)) as container:
        order = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert len(times) == 13 * 24
    assert all(one < two for one, two in itertools.pairwise(times))
    assert None in order or all(one < two for one, two in itertools.pairwise(order))
    assert plain(result.path, probe(moving).fps)
