"""Frames are cut exactly out of every container we open: those without an index, late ones, torn ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runway_node.errors import MediaError
from runway_node.media.prepare import complies, prepare
from runway_node.media.probe import probe
from runway_node.media.shapes import Cut

from .media_clips import HEIGHT, WIDTH, X264, barcode, ffmpeg, numbers

pytestmark = pytest.mark.slow

FRAMES = 60
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3", "-bf", "2")
OPEN_GOP = (*X264, "-x264-params", "open-gop=1:keyint=12:bframes=3")


def cut(first: int, last: int, **others: int) -> Cut:
    return Cut(**{"first": first, "last": last, "width": WIDTH, "height": HEIGHT, "budget": 4_000_000, **others})


def sent(path: Path, wanted: Cut, folder: Path) -> list[int]:
    prepare(path, probe(path), wanted, folder / "sent.mp4")
    return numbers(folder / "sent.mp4")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module")
def film(clips):
    return barcode(clips / "film.mp4", "24000/1001", FRAMES, *X264, "-video_track_timescale", "24000")


@pytest.mark.parametrize(
    ("name", "rate", "encoder"),
    [
        ("ts", "25", X264),
        ("mpg", "25", MPEG2),
        ("avi", "30000/1001", X264),
        ("avi", "25", MPEG4),
        ("flv", "25", X264),
        ("mov", "25", (*X264, "-video_track_timescale", "25")),
        ("mp4", "25", OPEN_GOP),
    ],
)
def test_every_container(tmp_path, name, rate, encoder):
    """A cut begins and ends at its frames, whatever the container's index and clock are worth."""
    clip = barcode(tmp_path / f"clip.{name}", rate, FRAMES, *encoder)
    for first, last in ((0, FRAMES), (1, 5), (41, 47), (FRAMES - 1, FRAMES)):
        assert sent(clip, cut(first, last), tmp_path) == list(range(first, last)), (first, last)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_picture_later_than_sound(tmp_path, film, suffix):
    """A picture that starts half a second after the sound is cut by its own clock."""
    late = tmp_path / f"late.{suffix}"
    tone = ["-f", "lavfi", "-i", "sine=d=3", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac"]
    ffmpeg("-itsoffset", "0.517", "-i", film, *tone, late)
    assert sent(late, cut(0, 5), tmp_path) == list(range(5))
    assert sent(late, cut(31, 36), tmp_path) == list(range(31, 36))


def test_cover_first(tmp_path, film):
    """A cover picture is not the video."""
    cover = tmp_path / "cover.jpg"
    covered = tmp_path / "covered.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", cover)
    ffmpeg("-i", cover, "-i", film, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic", covered)
    assert sent(covered, cut(5, 9), tmp_path) == [5, 6, 7, 8]


def test_hidden_frames_are_not_sent(tmp_path):
    """Frames that an edit list hides are cut off, not copied: a decoder without edit lists would show them."""
    whole = barcode(tmp_path / "open.mp4", "25", FRAMES, *OPEN_GOP)
    hiding = tmp_path / "hiding.mp4"
    ffmpeg("-ss", "1.0", "-i", whole, "-c", "copy", hiding)
    found = probe(hiding)
    everything = cut(0, found.frames)
    assert complies(found, everything)
    assert sent(hiding, everything, tmp_path) == numbers(hiding) == list(range(25, FRAMES))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_in_every_clock(tmp_path, suffix):
    """A cut inside a variable rate shows what was showing then; the nominal rate is not lowered by dropped frames."""
    dropping = "select='not(eq(mod(n,7),3)+eq(mod(n,11),5)+between(n,20,29))'"
    clip = barcode(tmp_path / f"clip.{suffix}", "30", FRAMES, "-vf", dropping, "-fps_mode", "vfr", *X264)
    kept, found = numbers(clip), probe(clip)
    assert found.variable
    assert round(found.fps) == 30
    for first, last in ((0, FRAMES - 1), (17, 35), (23, 40), (30, 35)):
        shown = [max(number for number in kept if number <= tick) for tick in range(first, last)]
        assert sent(clip, cut(first, last), tmp_path) == shown, (first, last)


def test_clones_stop_at_the_cut(tmp_path, film):
    """What lengthens a cut is its last frame, not the frames after it."""
    assert sent(film, cut(5, 15, clones=4), tmp_path) == [*range(5, 15), 14, 14, 14, 14]


def test_length_that_lies(tmp_path, film):
    """A file that ends before its own count gives its last frame, so that the count stays exact."""
    promising = replace(probe(film), frames=FRAMES + 20)
    prepare(film, promising, cut(50, 70), tmp_path / "sent.mp4")
    assert numbers(tmp_path / "sent.mp4") == [*range(50, FRAMES), *[FRAMES - 1] * 10]


def test_nothing_there_is_an_error(tmp_path, film):
    """A range of which no frame can be had is an error, and no file."""
    promising = replace(probe(film), frames=900)
    with pytest.raises(MediaError, match="0 frames"):
        prepare(film, promising, cut(700, 720), tmp_path / "sent.mp4")
    assert not list(tmp_path.glob("*sent*"))


@pytest.mark.parametrize("name", ["-a:b %d.mp4", "q'uo te.mp4", "concat:x.mp4", "ünï [1].mp4"])
def test_awkward_names(tmp_path, film, name):
    """A name with a colon, a leading dash or a quote is only a name."""
    clip = tmp_path / name
    clip.write_bytes(film.read_bytes())
    assert sent(clip, cut(3, 6), tmp_path) == [3, 4, 5]
