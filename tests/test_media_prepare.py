"""What is sent: exactly the frames that were cut, under the budget, and nothing else."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from runway_node.errors import Interrupted, MediaError
from runway_node.media.prepare import complies, prepare, preset, rate_cap
from runway_node.media.probe import probe
from runway_node.media.shapes import Cut, Frames

from .media_clips import HEIGHT, VP9, WIDTH, X264, barcode, ffmpeg, made_of, numbers

BUDGET = 3_900_000


@pytest.fixture
def cut_out(tmp_path):
    def cut_out(clip: Path, first: int, last: int, **more: int) -> Path:
        out = tmp_path / "sent.mp4"
        cut = Cut(**{"first": first, "last": last, "width": WIDTH, "height": HEIGHT, "budget": BUDGET, **more})
        prepare(clip, probe(clip), cut, out)
        return out

    return cut_out


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "30", "25/2"])
@pytest.mark.parametrize(("suffix", "encoder"), [(".mp4", X264), (".mkv", X264), (".webm", VP9)])
def test_exact_cut(tmp_path, cut_out, rate, suffix, encoder):
    """The sent frames are the cut ones, each once, at the source's rate."""
    clip = barcode(tmp_path / f"c{suffix}", rate, 60, *encoder)
    out = cut_out(clip, 13, 47)
    assert numbers(out) == list(range(13, 47))
    assert made_of(out) == (34, Fraction(rate), False)


@pytest.mark.parametrize("rate", ["50", "60", "60000/1001"])
def test_divided(tmp_path, cut_out, rate):
    """A rate over the model's is halved: every second frame, from the first."""
    out = cut_out(barcode(tmp_path / "c.mp4", rate, 60), 7, 47, divide=2)
    assert numbers(out) == list(range(7, 47, 2))
    assert made_of(out)[1] == Fraction(rate) / 2


def test_clones(tmp_path, cut_out):
    """A clip under the model's minimum is lengthened by its last frame."""
    out = cut_out(barcode(tmp_path / "c.mp4", "25", 20), 10, 20, clones=5)
    assert numbers(out) == [*range(10, 20), *[19] * 5]


def test_variable_by_the_clock(tmp_path, cut_out):
    """Of a variable rate, each tick shows what the source was showing then, within half a frame."""
    drop = ("-vf", "select='not(eq(mod(n,7),3))*not(between(n,70,90))'", "-fps_mode", "vfr")
    out = cut_out(barcode(tmp_path / "v.mp4", "60", 180, *drop, *X264), 80, 120, divide=2)
    shown = numbers(out)
    assert shown[:6] == [69] * 6
    assert all(abs(number - (80 + 2 * tick)) <= 1 for tick, number in enumerate(shown) if tick >= 6)


def test_same_bytes(tmp_path, cut_out):
    """The same clip and cut give the same bytes, with a cap that binds."""
    clip = barcode(tmp_path / "c.mp4", "25", 50)
    first = cut_out(clip, 1, 49, budget=40_000).read_bytes()
    assert cut_out(clip, 1, 49, budget=40_000).read_bytes() == first


@pytest.mark.parametrize("budget", [400_000, 120_000])
def test_under_budget(tmp_path, cut_out, budget):
    """A clip that will not compress stays under the budget all the same."""
    noise = tmp_path / "noise.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-vf", "noise=alls=60:allf=t", *X264, noise)
    assert cut_out(noise, 0, 49, budget=budget).stat().st_size <= budget


def test_copied_when_it_complies(tmp_path, cut_out):
    """A stream that the model takes as it is is not encoded again."""
    clip = barcode(tmp_path / "c.mp4", "25", 50)
    out = cut_out(clip, 0, 50)
    assert complies(probe(clip), Cut(first=0, last=50, width=WIDTH, height=HEIGHT, budget=BUDGET))
    assert numbers(out) == list(range(50))


@pytest.mark.parametrize("last", [50, 49])
def test_nothing_else(tmp_path, cut_out, last):
    """Title, place, timecode and sound stay here, whether the stream is copied or encoded."""
    clip = tmp_path / "private.mp4"
    ffmpeg("-i", barcode(tmp_path / "c.mp4", "25", 50), "-f", "lavfi", "-i", "sine=d=2", "-c:v", "copy", "-metadata",
           "title=Secret", "-metadata", "location=+52.5200+013.4050/", "-timecode", "01:00:00:00", clip)  # fmt: skip
    sent = cut_out(clip, 0, last).read_bytes()
    assert not [word for word in (b"Secret", b"52.52", b"mp4a", b"tmcd", b"private") if word in sent]


def test_turned_and_squared(tmp_path, cut_out):
    """A turned clip is sent upright."""
    ffmpeg("-display_rotation", 90, "-i", barcode(tmp_path / "c.mp4", "25", 10), "-c", "copy", tmp_path / "t.mp4")
    found = probe(cut_out(tmp_path / "t.mp4", 0, 10, width=180, height=320))
    assert (found.width, found.height, found.rotation, found.sar) == (180, 320, 0, 1)


def test_hdr_becomes_sdr(tmp_path, cut_out):
    """PQ is tone-mapped to an 8-bit picture that is neither black nor white."""
    pq = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    x265 = ("-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:d=0.4", *x265, *pq, tmp_path / "hdr.mov")
    found = probe(cut_out(tmp_path / "hdr.mov", 0, 10))
    assert (found.pix_fmt, found.hdr) == ("yuv420p", "")


def frames_of(count: int, promised: int) -> Frames:
    def read():
        for number in range(count):
            yield np.full((90, 160, 3), number * 10, np.uint8).tobytes()

    return Frames(width=160, height=90, fps=Fraction(25), count=promised, read=read)


def test_streamed_frames(tmp_path):
    """Frames that exist only in Python go straight into the encoder."""
    frames = frames_of(20, 20)
    prepare(frames, frames.probe(), Cut(first=0, last=20, width=160, height=90, budget=BUDGET), tmp_path / "o.mp4")
    assert made_of(tmp_path / "o.mp4") == (20, 25, False)


def test_too_few_frames(tmp_path):
    """A clip that gives fewer frames than it promised is an error, and nothing stays."""
    frames = frames_of(5, 20)
    with pytest.raises(MediaError, match="5 frames of 20"):
        prepare(frames, frames.probe(), Cut(first=0, last=20, width=160, height=90, budget=BUDGET), tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


def test_stop(tmp_path):
    """A stop ends the encode and leaves nothing."""
    clip = tmp_path / "in" / "c.mp4"
    clip.parent.mkdir()
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=8", *X264, "-preset", "ultrafast", clip)
    stop = threading.Event()
    stop.set()
    cut = Cut(first=1, last=200, width=1280, height=720, budget=BUDGET)
    with pytest.raises(Interrupted):
        prepare(clip, probe(clip), cut, tmp_path / "out" / "o.mp4", stop=stop)
    assert not list((tmp_path / "out").iterdir())


def test_cap_formula():
    """The cap spends the budget less the buffer that x264 starts with."""
    assert rate_cap(1_000_000, Fraction(5)) == int(8_000_000 * Fraction(99, 100) / (5 + Fraction(45, 100)))


def test_preset_by_pressure():
    """A tight budget is worth a slower preset, a roomy one is not."""
    tight, roomy = (Cut(first=0, last=120, width=1280, height=720, budget=b) for b in (3_900_000, 200_000_000))
    assert (preset(tight.budget, tight), preset(roomy.budget, roomy)) == ("medium", "veryfast")
