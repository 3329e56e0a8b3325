"""What a clip is: counted, not believed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from runway_node.errors import SourceError
from runway_node.media.probe import probe

from .media_clips import VP9, X264, barcode, ffmpeg, made_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60", "25/2"])
@pytest.mark.parametrize(("suffix", "encoder"), [(".mp4", X264), (".mkv", X264), (".webm", VP9)])
def test_rate_and_count(folder, rate, suffix, encoder):
    """A constant rate is exact and the frames are counted, in containers with millisecond clocks too."""
    clip = barcode(folder / f"c{suffix}", rate, 40, *encoder)
    assert made_of(clip) == (40, Fraction(rate), False)


def test_variable(folder):
    """A variable rate lies on the grid its recorder aimed at, for as long as the clip lasts."""
    drop = ("-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr")
    found = probe(barcode(folder / "v.mp4", "60", 180, *drop, *X264))
    assert (found.variable, found.fps, found.frames) == (True, 60, 180)


def test_rotation(folder):
    """A phone's portrait clip is as tall as it is shown."""
    ffmpeg("-display_rotation", 90, "-i", barcode(folder / "flat.mp4", "25", 5), "-c", "copy", folder / "turned.mp4")
    found = probe(folder / "turned.mp4")
    assert (found.width, found.height, found.rotation) == (180, 320, 270)


def test_sample_aspect(folder):
    """Anamorphic pixels are told."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=720x576:d=0.2", "-vf", "setsar=64/45", *X264, folder / "wide.mp4")
    assert probe(folder / "wide.mp4").sar == Fraction(64, 45)


def test_depth_and_hdr(folder):
    """Ten bits and the PQ curve are told."""
    pq = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    x265 = ("-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:d=0.2", *x265, *pq, folder / "hdr.mov")
    found = probe(folder / "hdr.mov")
    assert (found.depth, found.hdr) == (10, "pq")


def test_late_video(folder):
    """A picture that starts after the sound says how much later."""
    ffmpeg("-f", "lavfi", "-i", "sine=d=2", "-itsoffset", 0.4, "-f", "lavfi", "-i", "testsrc2=s=320x180:d=1", *X264,
           "-c:a", "aac", folder / "late.mp4")  # fmt: skip
    assert probe(folder / "late.mp4").offset == Fraction(2, 5)


def test_timecode_and_sounds(folder):
    """The start timecode and every sound track with its language are told."""
    sound = ("-f", "lavfi", "-i", "sine=d=0.4", "-map", 0, "-map", 1, "-map", 1)
    named = ("-metadata:s:a:1", "language=deu", "-timecode", "01:00:00:00")
    ffmpeg("-i", barcode(folder / "p.mp4", "25", 10), *sound, *named, folder / "t.mp4")
    found = probe(folder / "t.mp4")
    assert found.timecode == "01:00:00:00"
    assert [sound.language for sound in found.sounds] == ["und", "deu"]


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{clip}'\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    "<Period>"
    '<AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>file://{clip}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)


@pytest.mark.parametrize("disguise", [HLS, CONCAT, DASH])
def test_disguise(folder, disguise):
    """A playlist dressed as .mp4 is refused and what it names is not read."""
    clip = barcode(folder / "bait.mp4", "25", 5)
    dressed = folder / "dressed.mp4"
    dressed.write_text(disguise.format(clip=clip.as_posix()), encoding="utf-8")
    with pytest.raises(SourceError, match="cannot be read"):
        probe(dressed)


def test_unusable(folder):
    """A missing, empty, cut-off or soundless-picture file is one clear line each."""
    whole = barcode(folder / "whole.mp4", "25", 50).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.3", folder / "sound.m4a")
    wrong = {
        "none.mp4": "There is no file",
        "cut.mp4": "cannot be read",
        "empty.mp4": "is empty",
        "sound.m4a": "only sound",
    }
    for name, words in wrong.items():
        with pytest.raises(SourceError, match=words):
            probe(folder / name)
