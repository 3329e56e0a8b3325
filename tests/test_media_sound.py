"""The source's own sound is put back where it was, to the millisecond."""

from __future__ import annotations

from fractions import Fraction

import pytest

from runway_node.media.join import Film
from runway_node.media.probe import probe
from runway_node.media.sound import finish, shifted

from .media_clips import CLICKS, VP9, X264, clicks, ffmpeg

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    picture = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=4"]
    sound = ["-f", "lavfi", "-i", CLICKS.format(seconds=4)]
    ffmpeg(*picture, *sound, *X264, "-c:a", "aac", "-b:a", "192k", "-timecode", "01:00:00:00", folder / "aac.mp4")
    ffmpeg(*picture, *sound, *X264, "-c:a", "libopus", folder / "opus.mkv")
    ffmpeg(*picture, *sound, *X264, "-c:a", "pcm_s16le", folder / "pcm.mov")
    ffmpeg("-itsoffset", 0.4, *picture, *sound, *X264, "-c:a", "aac", "-b:a", "192k", folder / "late.mp4")
    return folder


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("first", "last"), [(0, 100), (30, 80)])
@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv", "pcm.mov", "late.mp4"])
def test_in_sync(tmp_path, folder, name, first, last, suffix):
    """Every click is heard within a millisecond of its picture, whole or cut, in every container."""
    source = probe(folder / name)
    pictures = tmp_path / ("p.webm" if suffix == ".webm" else "p.mp4")
    seconds = (last - first) / 25
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=160x90:r=25:d={seconds}", *(VP9 if suffix == ".webm" else X264), pictures)
    out = tmp_path / f"o{suffix}"
    finish(Film([pictures], Fraction(25), last - first), source, first, last, out)
    begin = float(source.offset + Fraction(first, 25))
    end = begin + seconds if last < 100 else 99
    wanted = [heard - begin for heard in clicks(folder / name) if begin <= heard < end]
    assert clicks(out) == pytest.approx(wanted, abs=0.001)
    assert (probe(out).frames, probe(out).offset) == (last - first, 0)


def test_copied_where_it_can_be(tmp_path, folder):
    """Sound that the container holds is not encoded again; sound that it does not is, and is named."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", *X264, tmp_path / "p.mp4")
    film = Film([tmp_path / "p.mp4"], Fraction(25), 50)
    assert finish(film, probe(folder / "aac.mp4"), 25, 75, tmp_path / "o.mp4") == ()
    said = finish(film, probe(folder / "pcm.mov"), 25, 75, tmp_path / "o.mp4")
    assert said == ("sound track 1 was encoded again, from pcm_s16le to aac",)


def test_timecode_moves(tmp_path, folder):
    """The start timecode is that of the first frame."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", *X264, tmp_path / "p.mp4")
    film = Film([tmp_path / "p.mp4"], Fraction(25), 50)
    finish(film, probe(folder / "aac.mp4"), 30, 80, tmp_path / "o.mov")
    assert probe(tmp_path / "o.mov").timecode == "01:00:01:05"


@pytest.mark.parametrize(("start", "moved"), [("00:00:59;28", "00:01:00;04"), ("00:09:59;28", "00:10:00;02")])
def test_drop_frame(start, moved):
    """Drop-frame numbers skip two each minute but every tenth."""
    assert shifted(start, 4, Fraction(30000, 1001)) == moved
