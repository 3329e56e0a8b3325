"""Killed with SIGKILL, or stopped with SIGSTOP, at every arrow of an order's way: paid once, nothing lost, no litter.

With `pytest -s` the table of all points is printed at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import runway_node
from runway_node.media.probe import probe
from runway_node.models import Step
from runway_node.sandbox import Fault, Sandbox, serve
from runway_node.settings import load_settings

from .conftest import PREFIXES

ROOT = Path(__file__).resolve().parent.parent
POSIX = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGSTOP are POSIX's")
PATIENCE = 60.0
"""Seconds in which anything here happens, on a machine with other work to do."""

HELD = 3.0
"""Seconds for which a process stays stopped: six looks of whoever waits for it."""

WHERE = {
    "claimed": ("claimed", "encoding", "uploading"),
    "intent": ("intent written", "POST unanswered"),
    "submitted": ("id stored", "polling"),
    "succeeded": ("succeeded", "downloading", "before stored"),
    "stored": ("stored", "conforming", "before noted", "before rename", "amid rename", "after rename"),
}
"""All points by the state that the ledger has there."""

UNCLEAR = WHERE["intent"]
"""Where the id is lost of an order that the provider may have: a person must look."""

AT_THE_SERVER = {
    "POST unanswered": (
        Fault(where="create", kind="stall", seconds=2), lambda shop: shop.sandbox.counters.accepted,
    ),
    "downloading": (
        Fault(where="download", kind="trickle", seconds=4),
        lambda shop: any(part.stat().st_size for part in shop.data.glob("takes/*.part")),
    ),
}  # fmt: skip
"""Points that only the server makes: the fault it takes, and what tells that one is reached. All others: crash.py."""

LITTER = ("work/*", "holders/*", "rescue/*", "**/*.part", "**/*.etag", "**/.*")


def until(true, what):
    """Wait until it is."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.01)


class Run:
    """One process of the program; what it says goes to a file, which can be read while it lives."""

    def __init__(self, shop, point, sign, out):
        self.said = shop.folder / f"said-{time.monotonic_ns()}.txt"
        script = [sys.executable, str(ROOT / "tests" / "crash.py"), point, sign]
        order = ["run", str(shop.source), "--prompt", "dusk", "--end", "2", "-o", str(out)]
        upload = ["--delivery", "upload"] if point == "uploading" else []
        with self.said.open("wb") as said:
            # No group of its own, to be killed whole: an ffmpeg that outlives its run is part of what is tested.
            self.process = subprocess.Popen(
                [*script, *order, *upload],
                env=shop.env, cwd=shop.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip

    @property
    def text(self):
        return self.said.read_text(encoding="utf-8")

    def end(self):
        """The exit code."""
        return self.process.wait(PATIENCE)

    @property
    def stopped(self):
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED


class Shop:
    """One order and its files, in a folder; at a sandbox that starts anew.

    Args:
        postgres: The server of its ledger; unset: SQLite.

    """

    def __init__(self, served, clip, folder, postgres=None):
        served.sandbox.reset()
        self.sandbox, self.folder, self.data = served.sandbox, folder, folder / "data"
        self.source, self.out = folder / "source.mp4", folder / "outputs" / "out.mp4"
        shutil.copyfile(clip, self.source)
        self.key, self.url = served.env("runway").values()
        honest = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIXES)}
        ours = {"DATA_DIR": str(self.data), "SETTINGS": str(folder / "settings.toml"), "POLL_INTERVAL": "0.05"}
        self.env = {**honest, **served.env("runway"), "PYTHONPATH": str(ROOT)}
        self.env |= {f"RUNWAY_NODE_{name}": value for name, value in ours.items()}
        self.postgres, self.database = postgres, postgres.fresh() if postgres else None
        if self.database:
            self.env["RUNWAY_NODE_DATABASE_URL"] = self.database
        self.runs = []

    def start(self, point="", sign="", *, out=None):
        """Start the program."""
        self.runs.append(Run(self, point, sign, out or self.out))
        return self.runs[-1]

    def reach(self, point, sign):
        """Start it, and see that it gets the signal, at the point if it can."""
        fault, reached = AT_THE_SERVER.get(point, (None, None))
        self.sandbox.add(*filter(None, [fault]))
        run = self.start(point, sign)
        if reached:
            until(lambda: reached(self), point)
            run.process.send_signal(getattr(signal, sign))
        if sign == "SIGSTOP":
            until(lambda: run.stopped, point)
        return run

    def order(self, out):
        """The same order by way of Python; gives the file."""
        where = {"runway_base_url": self.url, "data_dir": self.data, "database_url": self.database}
        settings = load_settings(runway_key=self.key, poll_interval=0.05, **where)
        return runway_node.run(self.source, Step(prompt="dusk"), out, end=2, settings=settings).path

    @property
    def paid(self):
        """Orders that were sent, accepted, and are billed."""
        counted = self.sandbox.counters
        return counted.creates, counted.accepted, counted.billed

    def states(self):
        """All calls' states; from a copy, for to open a dead run's ledger is to mend it."""
        query = "SELECT state FROM runway_node_attempts"
        if self.postgres:
            return [state for (state,) in self.postgres.rows(query, url=self.database)]
        with tempfile.TemporaryDirectory() as folder:
            for file in self.data.glob("ledger.db*"):
                shutil.copy(file, folder)
            with closing(sqlite3.connect(Path(folder, "ledger.db"))) as ledger:
                return [state for (state,) in ledger.execute(query)]

    def litter(self):
        """What nobody needs any more: work, unfinished files, locks, rescue records."""
        found = {path for pattern in LITTER for path in [*self.data.glob(pattern), *self.out.parent.glob(pattern)]}
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def made(self):
        return self.out.read_bytes() if self.out.exists() else None

    def close(self):
        """End what a failed test left."""
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        if self.postgres:
            self.postgres.drop(self.database)


@pytest.fixture(scope="module")
def served(clips, tmp_path_factory):
    """A sandbox whose answer has another rate and size than the order: it must be conformed."""
    sandbox = Sandbox(
        folder=tmp_path_factory.mktemp("sandbox"), ready=clips(2, "30", "640x360"), seconds_per_task=0.3
    )  # fmt: skip
    with serve(sandbox) as server:
        yield server
    sandbox.close()


@pytest.fixture(scope="module")
def shops(served, clips, tmp_path_factory):
    """Opens shops, one after the other; the clip is longer than what is ordered of it: it must be encoded."""
    opened = []

    def new(postgres=None):
        opened.append(Shop(served, clips(3), tmp_path_factory.mktemp("shop"), postgres))
        return opened[-1]

    yield new
    for shop in opened:
        shop.close()


@pytest.fixture(params=["sqlite", "postgres"])
def shop(shops, request):
    """A new one, its ledger on each kind of database."""
    return shops(request.getfixturevalue("postgres") if request.param == "postgres" else None)


@pytest.fixture(scope="module")
def honest(shops):
    """The file of an undisturbed run."""
    shop = shops()
    assert shop.start().end() == 0, shop.runs[-1].text
    made = probe(shop.out)
    assert (made.frames, made.fps, made.width, shop.paid, shop.litter()) == (50, 25, 320, (1, 1, 1), [])
    return shop.made()


HEADS = (
    "ledger",
    "killed at",
    "row then",
    "creates",
    "accepted",
    "billed",
    "2nd exits",
    "3rd exits",
    "row at last",
    "outcome",
)


@pytest.fixture(scope="module")
def table():
    """A row for each point; printed at the end."""
    rows = []
    yield rows
    for row in (HEADS, *rows):
        print("\n{:<8} {:<16} {:<10} {:>7} {:>8} {:>6} {:>9} {:>9}  {:<11} {}".format(*row), end="")  # noqa: T201


@dataclass(frozen=True)
class Moment:
    """What there is after a run."""

    code: int
    paid: tuple[int, int, int]
    states: list[str]
    litter: list[str]
    made: bytes | None
    said: str


class Story:
    """A run that is killed, the same command again, and the same order a third time, by way of Python."""

    def __init__(self, shop, state, point):
        self.shop, self.state, self.point = shop, state, point
        self.killed = self._now(shop.reach(point, "SIGKILL").end())
        self.again = self._now(shop.start().end())
        self.third = self._now(self._order())

    def _order(self):
        try:
            return 0 if self.shop.order(self.shop.out) == self.shop.out else 1
        except runway_node.RunwayNodeError as error:
            return error.exit_code

    def _now(self, code):
        shop = self.shop
        return Moment(code, shop.paid, shop.states(), shop.litter(), shop.made(), shop.runs[-1].text)

    def row(self, honest):
        """It as a row of the table."""
        file = {None: "no file", honest: "the same file"}.get(self.again.made, "ANOTHER FILE")
        codes = self.again.code, self.third.code
        store = "postgres" if self.shop.postgres else "sqlite"
        return (
            store,
            self.point,
            "+".join(self.killed.states),
            *self.third.paid,
            *codes,
            "+".join(self.third.states),
            file,
        )


STORIES = [
    pytest.param((store, state, point), id=f"{store}-{point}")
    for store in ("sqlite", "postgres")
    for state, points in WHERE.items()
    for point in points
]


@pytest.fixture(scope="module", params=STORIES)
def story(request, shops, honest, table):
    """One point's story."""
    store, *point = request.param
    told = Story(shops(request.getfixturevalue("postgres") if store == "postgres" else None), *point)
    table.append(told.row(honest))
    return told


@POSIX
@pytest.mark.slow
def test_it_is_killed_at_its_point(story):
    """The ledger shows how far it came."""
    assert (story.killed.code, story.killed.states) == (-signal.SIGKILL, [story.state]), story.killed.said


@POSIX
@pytest.mark.slow
def test_killed_anywhere_it_is_paid_once(story):
    """One POST, accepted once and billed once; where it was killed just before the POST left, none ever leaves."""
    sent = (0, 0, 0) if story.point == "intent written" else (1, 1, 1)
    assert story.again.paid == sent, story.again.said


@POSIX
@pytest.mark.slow
def test_the_same_command_again_ends_as_it_must(story):
    """It exits with 0 and owns the take; where nobody knows whether it was ordered, with 4, and the row says so."""
    wanted = (4, ["ambiguous"]) if story.point in UNCLEAR else (0, ["stored"])
    assert (story.again.code, story.again.states) == wanted, story.again.said


@POSIX
@pytest.mark.slow
def test_the_file_is_as_if_nothing_had_happened(story, honest):
    """Its bytes are those of an undisturbed run's; where there is no answer there is no file."""
    assert story.again.made == (None if story.point in UNCLEAR else honest)


@POSIX
@pytest.mark.slow
def test_the_same_command_again_leaves_no_litter(story):
    """No work folder, unfinished file, lock or rescue record of either run is left."""
    assert story.again.litter == []


@POSIX
@pytest.mark.slow
def test_a_third_time_costs_nothing(story):
    """It ends as the second did: nothing is sent, the file stays, nothing is left."""
    again, third = story.again, story.third
    assert (third.code, third.paid, third.litter) == (again.code, again.paid, [])
    assert third.made == again.made


STOPPED_AT = ("claimed", "intent written", "POST unanswered", "polling", "before stored")
STOPS = [(store, HELD, point) for store in ("sqlite", "postgres") for point in STOPPED_AT]
STOPS.append(("sqlite", 60.0, "POST unanswered"))


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize(("shop", "seconds", "point"), STOPS, indirect=["shop"])
def test_a_stopped_run_is_waited_for(shop, honest, seconds, point):
    """Whoever has the same order neither sends nor takes over while its run only sleeps; then both have the file."""
    first = shop.reach(point, "SIGSTOP")
    before = shop.paid
    second = shop.start()
    until(lambda: "waiting: another run" in second.text, "the second run's wait")
    time.sleep(seconds)
    assert (shop.paid, second.process.poll()) == (before, None), second.text
    first.process.send_signal(signal.SIGCONT)
    assert [first.end(), second.end()] == [0, 0], first.text + second.text
    assert (shop.paid, shop.made() == honest, shop.litter()) == ((1, 1, 1), True, [])


OUTPUTS = pytest.mark.parametrize("outputs", [("out", "out"), ("out", "other")], ids=["one output", "two outputs"])


@POSIX
@pytest.mark.slow
@OUTPUTS
def test_of_two_runs_at_once_one_pays(shop, honest, outputs):
    """Both end with the same file."""
    paths = [shop.out.with_stem(name) for name in outputs]
    runs = [shop.start(out=path) for path in paths]
    assert [run.end() for run in runs] == [0, 0], [run.text for run in runs]
    assert (shop.paid, shop.litter()) == ((1, 1, 1), [])
    assert [path.read_bytes() == honest for path in paths] == [True, True]


@pytest.mark.slow
@OUTPUTS
def test_of_two_threads_at_once_one_pays(shop, outputs):
    """Both end with the same file."""
    paths = [shop.out.with_stem(name) for name in outputs]
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(shop.order, paths))
    assert (made, shop.paid, shop.litter()) == (paths, (1, 1, 1), [])
    assert len({path.read_bytes() for path in paths}) == 1
