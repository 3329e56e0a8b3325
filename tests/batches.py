"""A template, rows, a sandbox whose answers are ready, and the command that renders them; imported by name."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from runway_node.batch import Asked, Row, check
from runway_node.settings import load_settings
from runway_node.templates import Places, load

TEMPLATE = """
version: 1
vars:
  clip: {type: path}
  look: {type: string, default: dusk}
  seconds: {type: duration, default: 2s}
output: {name: "${clip}-${look}"}
steps:
  - {id: cut, type: trim, in: "${clip}", duration: "${seconds}"}
  - {id: dusk, type: runway.video_to_video, in: cut, prompt: "${look}"}
"""


class Desk:
    """One folder with a template and clips; `desk(*rows)` renders a table of (clip, look) rows."""

    def __init__(self, served, clip, others, folder, program, monkeypatch):
        self.served, self.sandbox, self.folder, self.program = served, served.sandbox, folder, program
        self.template = folder / "look.yaml"
        self.template.write_text(TEMPLATE)
        self.out = folder / "out"
        for name, path in zip(("a.mp4", "b.mp4", "c.mp4"), (clip, *others), strict=True):
            shutil.copyfile(path, folder / name)
        self.sandbox.options = self.sandbox.options.model_copy(update={"ready": clip})
        for name, value in served.env("runway").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "0.05")

    def table(self, *rows, heads=("clip", "look")):
        path = self.folder / "rows.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([heads, *rows])
        return path

    def __call__(self, *rows, flags=(), heads=("clip", "look")):
        """Render; gives the exit code and the lines of results.csv by row."""
        table = self.table(*rows, heads=heads)
        code, self.said, self.noted = self.program("render", self.template, "--rows", table, "-o", self.out, *flags)
        return code, self.results()

    def jobs(self, *rows):
        """The rows as jobs, checked, and none rendered."""
        table = list(csv.DictReader(self.table(*rows).read_text().splitlines()))
        asked = Asked(
            source=load(self.template), rows=[Row(number, number, cells) for number, cells in enumerate(table, 1)],
            places=Places(base=self.folder), outputs=str(self.out), settings=load_settings(),
        )  # fmt: skip
        self.out.mkdir(exist_ok=True)
        return [one.job for one in check(asked)]

    def results(self):
        path = self.out / "results.csv"
        return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []

    def events(self):
        return [json.loads(line) for line in self.said.splitlines()]

    @property
    def creates(self):
        return self.sandbox.counters.accepted


@pytest.fixture(name="desk")
def desk_fixture(runway_sandbox, clip, clips, tmp_path, program, monkeypatch):
    """A template, three clips and a sandbox."""
    folder = tmp_path / "here"
    folder.mkdir()
    return Desk(runway_sandbox, clip, (clips(3), clips(4)), folder, program, monkeypatch)
