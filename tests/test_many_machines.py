"""A batch over three machines on one Postgres: one worker killed, one stopped for a while, nothing restarted by hand.

Each machine has a data folder of its own; the template, the clips, the results and the takes' store are shared.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from runway_node.batch import Asked, Halting, Row, check, run_rows
from runway_node.engine import Stop
from runway_node.sandbox import Sandbox, serve
from runway_node.templates import Places, load

ROOT = Path(__file__).resolve().parent.parent
ROWS, TWINS, SLOTS = 60, 6, 5
PATIENCE = 240.0
TEMPLATE = """
version: 1
vars: {clip: {type: path}, look: {type: string}, name: {type: string}}
output: {name: "${name}"}
steps:
  - {id: shot, type: trim, in: "${clip}", duration: 2s}
  - {id: dusk, type: runway.video_to_video, in: shot, prompt: "${look}"}
  - {id: said, type: text, in: dusk, text: "${name}", at: 1s}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGSTOP are POSIX's"),
]


class Machines:
    """Workers, each as a machine of its own."""

    def __init__(self, served, database, folder):
        self.served, self.database, self.folder = served, database, folder
        self.workers = []

    def env(self, name):
        return {
            **os.environ, **self.served.env("runway"), "RUNWAY_NODE_DATABASE_URL": self.database,
            "RUNWAY_NODE_DATA_DIR": str(self.folder / name), "RUNWAY_NODE_POLL_INTERVAL": "0.2",
            "RUNWAY_NODE_MAX_CONCURRENCY": str(SLOTS), "PYTHONPATH": str(ROOT),
        }  # fmt: skip

    def start(self, name, *words):
        log = (self.folder / f"{name}.log").open("w")
        command = [sys.executable, "-m", "runway_node", *map(str, words)]
        process = subprocess.Popen(command, cwd=self.folder, env=self.env(name), stdout=log, stderr=log)
        log.close()
        self.workers.append(process)
        return process

    def end(self):
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def told(self):
        return {path.stem: path.read_text()[-1500:] for path in self.folder.glob("*.log")}


@pytest.fixture(scope="module")
def answer(clips):
    """Two seconds that answer every order."""
    return clips(2, sound=False)


@pytest.fixture
def shared(tmp_path, clip):
    """The folder that all machines see: a template, a clip, a table of rows; six rows order what others order too."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "edit.yaml").write_text(TEMPLATE)
    shutil.copyfile(clip, folder / "clip.mp4")
    with (folder / "rows.csv").open("w", newline="") as file:
        table = [("clip.mp4", f"dusk {max(number, TWINS)}", f"film {number}") for number in range(ROWS)]
        csv.writer(file).writerows([("clip", "look", "name"), *table])
    return folder


def intents(database):
    """Calls that are just being sent, of any machine."""
    url = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT count(*) FROM runway_node_attempts WHERE state = 'intent'").fetchone()[0]


def kill_between_orders(process, database):
    """SIGKILL at a moment when the worker sends nothing: what it was sending would be for a person to decide."""
    for _ in range(200):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # the others' orders are answered by then
        if not intents(database):
            process.kill()
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    raise AssertionError("it was always sending")


def until(true, machines):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, machines.told()
        time.sleep(0.05)


def most_at_once(tasks):
    """How many tasks were under way at one time, from accepted to ended, by the provider's clock."""
    moments = sorted([(task.created, 1) for task in tasks] + [(task.ended, -1) for task in tasks])
    under, most = 0, 0
    for _, change in moments:
        under += change
        most = max(most, under)
    return most


def films(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.mp4")}


def alone(shared, folder, answer):
    """The same batch in one process, with a ledger of its own."""
    with serve(Sandbox(ready=answer)) as served:
        from runway_node.settings import load_settings

        key, url = served.env("runway").values()
        settings = load_settings(
            provider="runway", runway_key=key, runway_base_url=url, data_dir=folder / "alone", poll_interval=0.1
        )
        table = list(csv.DictReader((shared / "rows.csv").read_text().splitlines()))
        rows = [Row(number, number, cells) for number, cells in enumerate(table, 1)]
        asked = Asked(
            source=load(shared / "edit.yaml"), rows=rows, places=Places(base=shared), outputs=str(folder / "one"),
            settings=settings,
        )  # fmt: skip
        jobs = [one.job for one in check(asked)]
        how = {"halting": Halting(), "stop": Stop(), "on_event": lambda *_: None, "on_outcome": lambda _: None}
        run_rows(jobs, settings, **how)
    return films(folder / "one")


def test_three_machines_render_each_row_once(shared, database, answer, tmp_path):
    """All rows are done, each order is accepted once, never more than five are under way, and the films are the same.

    The same as those of one process, byte for byte.
    """
    with serve(Sandbox(ready=answer, seconds_per_task=1.5, concurrency=50)) as served:
        machines = Machines(served, database, tmp_path)
        try:
            words = ("render", shared / "edit.yaml", "--rows", shared / "rows.csv", "-o", shared / "out")
            desk = machines.start("desk", *words, "--engine", "dbos")
            first, second, _ = (machines.start(name, "worker") for name in ("first", "second", "third"))
            done = shared / "out"
            until(lambda: len(list(done.glob("*.mp4"))) >= 8, machines)
            kill_between_orders(first, database)
            second.send_signal(signal.SIGSTOP)
            until(lambda: len(list(done.glob("*.mp4"))) >= 24, machines)
            second.send_signal(signal.SIGCONT)
            until(lambda: desk.poll() is not None, machines)
        finally:
            machines.end()
        tasks = list(served.sandbox.tasks.values())
        accepted = served.sandbox.counters.accepted
    results = list(csv.DictReader((shared / "out" / "results.csv").read_text().splitlines()))
    assert {row["error"] for row in results if row["status"] != "done"} == set()
    assert desk.returncode == 0, machines.told()
    assert accepted == ROWS - TWINS
    assert most_at_once(tasks) <= SLOTS
    assert films(shared / "out") == alone(shared, tmp_path, answer)
