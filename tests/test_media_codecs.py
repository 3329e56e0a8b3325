"""Sound of every kind is put back at its own sample; what belongs to another picture is not kept."""

from __future__ import annotations

import pytest

from runway_node.media.conform import conform
from runway_node.media.join import Film
from runway_node.media.prepare import prepare
from runway_node.media.probe import probe
from runway_node.media.shapes import Cut, Fit
from runway_node.media.sound import finish

from .media_clips import CLICKS, HEIGHT, WIDTH, barcode, clicks, ffmpeg

pytestmark = pytest.mark.slow

FRAMES = 75
KINDS = [
    ("avi", "libmp3lame", ".mp4"),  # counts sound in packets of 24 ms
    ("mov", "alac", ".mp4"),  # packets of 85 ms
    ("mkv", "flac", ".mp4"),
    ("mkv", "libopus", ".mp4"),
    ("ts", "aac", ".mov"),
    ("flv", "aac", ".mp4"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return barcode(tmp_path_factory.mktemp("codecs") / "film.mp4", "25", FRAMES)


@pytest.mark.parametrize("first", [0, 20])
@pytest.mark.parametrize(("container", "codec", "suffix"), KINDS)
def test_every_kind_of_sound(tmp_path, film, container, codec, suffix, first):
    """Clicks stay within a millisecond of their frames, whatever the codec's packets and the container's clock."""
    clip = tmp_path / f"clip.{container}"
    tone = ["-f", "lavfi", "-i", CLICKS.format(seconds=3), "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", codec]
    ffmpeg("-i", film, *tone, clip)
    found = probe(clip)
    pictures, out = tmp_path / "pictures.mp4", tmp_path / f"out{suffix}"
    span = (found.frames - first) / found.fps
    conform(
        film, probe(film), Fit(frames=found.frames - first, fps=found.fps, width=64, height=36, span=span), pictures
    )
    lost = finish(Film([pictures], found.fps, found.frames - first), found, first, found.frames, out)
    begins = float(found.offset + first / found.fps)
    wanted = [moment - begins for moment in clicks(clip) if moment > begins]
    assert clicks(out) == pytest.approx(wanted, abs=0.001)
    assert not lost


def test_mastering_display_goes(tmp_path):
    """A clip made SDR for the call does not carry the HDR screen it was graded on."""
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    clip, out = tmp_path / "pq.mp4", tmp_path / "sent.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:d=0.2:r=25", "-vf", f"format=yuv420p10le,{tags}",
        "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", f"log-level=none:master-display={screen}", clip,
    )  # fmt: skip
    prepare(clip, probe(clip), Cut(first=0, last=5, width=WIDTH, height=HEIGHT, budget=1_000_000), out)
    assert b"mdcv" not in out.read_bytes()
