"""ProRes and ten bits: asked for, paid for, and kept at that quality through conforming and joining."""

from __future__ import annotations

import pytest

import runway_node
from runway_node import errors
from runway_node.engine import plan, run
from runway_node.media.probe import probe
from runway_node.models import Step

from .media_clips import barcode, ffmpeg, numbers
from .studio import SHORT

pytestmark = pytest.mark.slow

FORMATS = {"prores": ("prores", ".mov"), "sdr_rec709_10bit": ("hevc", ".mp4")}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight numbered seconds."""
    return barcode(tmp_path_factory.mktemp("film") / "film.mp4", "25", 200)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("models", [(), SHORT], ids=["one call", "two calls"])
def test_the_quality_is_kept(runway_sandbox, film, name, models):
    """The result is of the answer's codec and depth, frame for frame; the data folder's file has its ending."""
    codec, suffix = FORMATS[name]
    settings = runway_sandbox.settings("runway", models=models)
    result = run(film, Step(prompt="autumn", output_format=name), settings=settings)
    found = probe(result.path)
    assert (found.codec, result.path.suffix, found.frames) == (codec, suffix, 200)
    assert found.depth >= 10
    assert {probe(take.path).codec for take in result.takes} == {codec}
    assert max(abs(number - frame) for frame, number in enumerate(numbers(result.path))) <= 1
    again = run(film, Step(prompt="autumn", output_format=name), settings=settings)
    assert (again.spent, again.path) == (0, result.path)


@pytest.mark.parametrize(("name", "credits"), [("mp4", 224), ("prores", 264), ("sdr_rec709_10bit", 384)])
def test_the_surcharge_is_in_the_plan_and_what_is_billed(runway_sandbox, film, name, credits):
    """Eight seconds at 28 credits, and five or twenty more a second."""
    settings, step = runway_sandbox.settings("runway"), Step(prompt="autumn", output_format=name)
    assert plan(film, step, settings=settings).credits == credits
    assert run(film, step, settings=settings).cost == credits


def test_prores_wants_a_container_that_holds_it(runway_sandbox, film, tmp_path):
    """Told before anything is paid; .mov and .mkv do."""
    settings, step = runway_sandbox.settings("runway"), Step(prompt="autumn", output_format="prores")
    with pytest.raises(errors.OutputError, match=r"out\.mp4 cannot hold ProRes\. Name it out\.mov"):
        run(film, step, tmp_path / "out.mp4", settings=settings)
    assert runway_sandbox.sandbox.counters.creates == 0
    for suffix in (".mov", ".mkv"):
        assert probe(run(film, step, tmp_path / f"out{suffix}", settings=settings).path).codec == "prores"


def test_a_model_without_the_format_says_which_it_has(runway_sandbox, film):
    """CometAPI's answers are mp4."""
    step = Step(prompt="autumn", output_format="prores")
    with pytest.raises(errors.StepError, match="output_format 'prores'"):
        run(film, step, settings=runway_sandbox.settings("cometapi"))


def test_ten_bits_are_kept_in_webm_too(runway_sandbox, film, tmp_path):
    """As VP9 of ten bits."""
    step = Step(prompt="autumn", output_format="sdr_rec709_10bit")
    result = run(film, step, tmp_path / "out.webm", end=2, settings=runway_sandbox.settings("runway"))
    assert (probe(result.path).codec, probe(result.path).depth) == ("vp9", 10)


def test_an_odd_size_is_kept_in_ten_bits(runway_sandbox, tmp_path):
    """As 4:4:4: chroma in pairs of pixels would not fit."""
    odd = tmp_path / "odd.mkv"
    size = ["-vf", "scale=321:181,format=yuv444p", "-c:v", "ffv1"]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", *size, odd)
    step = Step(prompt="autumn", output_format="sdr_rec709_10bit")
    found = probe(run(odd, step, settings=runway_sandbox.settings("runway")).path)
    assert (found.width, found.height, found.depth, found.codec) == (321, 181, 10, "hevc")


def test_an_export_of_prores_wants_such_a_container_too(runway_sandbox, film, tmp_path):
    """Not an error of the muxer's."""
    settings, step = runway_sandbox.settings("runway"), Step(prompt="autumn", output_format="prores")
    digest = run(film, step, end=2, settings=settings).digest
    with pytest.raises(errors.OutputError, match="cannot hold ProRes"):
        runway_node.export(digest, tmp_path / "out.mp4", settings=settings)
