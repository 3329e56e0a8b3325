"""A film of three calls, a sandbox, and runs of it; fixtures are imported by name."""

from __future__ import annotations

import time

import pytest

from runway_node.engine import run
from runway_node.models import Policy, Step
from runway_node.sandbox import Fault

from .media_clips import CLICKS, barcode, ffmpeg

SECONDS = 13
"""Three calls of gen4_aleph."""

SHORT = ({"provider": "runway", "name": "aleph2", "seconds_max": 5.0},)
"""aleph2 as if it took five seconds, so that a short film is several calls."""


def fail(studio, count):
    """Let the newest task fail once there are so many."""
    until(lambda: len(studio.sandbox.tasks) == count)
    studio.sandbox.befall(list(studio.sandbox.tasks.values())[-1], Fault(where="poll", kind="failed"))


def until(true):
    last = time.monotonic() + 30
    while not true() and time.monotonic() < last:
        time.sleep(0.02)


@pytest.fixture(scope="module", name="film")
def film_fixture(tmp_path_factory):
    """Thirteen numbered seconds at 25 frames per second, with a click each."""
    folder = tmp_path_factory.mktemp("film")
    pictures = barcode(folder / "pictures.mp4", "25", 25 * SECONDS)
    tone = ["-f", "lavfi", "-i", CLICKS.format(seconds=SECONDS)]
    ffmpeg("-i", pictures, *tone, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", folder / "film.mp4")
    return folder / "film.mp4"


@pytest.fixture(scope="module", name="answer")
def answer_fixture(tmp_path_factory):
    """Five seconds that answer every order at once."""
    return barcode(tmp_path_factory.mktemp("answer") / "answer.mp4", "24", 120)


class Studio:
    """Runs of one film at one sandbox."""

    def __init__(self, served, film, folder):
        self.served, self.sandbox, self.film, self.folder = served, served.sandbox, film, folder
        self.events = []

    def settings(self, provider="cometapi", **values):
        return self.served.settings(provider, **values)

    def __call__(self, prompt="dusk", out=None, *, provider="cometapi", stop=None, values=None, source=None, **how):
        fields = {name: how.pop(name) for name in list(how) if name in Step.model_fields}
        span = {name: how.pop(name) for name in ("start", "end", "keep_rest") if name in how}
        return run(
            source or self.film, Step(prompt=prompt, **fields), out, policy=Policy(**how), stop=stop,
            settings=self.settings(provider, **(values or {})), on_progress=self.events.append, **span,
        )  # fmt: skip

    def at_once(self, answer):
        self.sandbox.options = self.sandbox.options.model_copy(update={"ready": answer})
        return self

    def phases(self, phase):
        return [event.segment for event in self.events if event.phase == phase]

    @property
    def creates(self):
        return self.sandbox.counters.creates


@pytest.fixture(name="studio")
def studio_fixture(runway_sandbox, film, tmp_path):
    """Runs the film, its looks really made."""
    return Studio(runway_sandbox, film, tmp_path)


@pytest.fixture(name="quick")
def quick_fixture(studio, answer):
    """Runs the film, answered at once with a ready file."""
    return studio.at_once(answer)
