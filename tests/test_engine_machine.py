"""Any order of commands, crashes and faults, with real processes, files and HTTP: paid once, whole, and all served.

What test_ledger_machine.py plays over the ledger alone, here the engine itself does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runway_node.ledger import FILE, may
from runway_node.media.conform import verify
from runway_node.sandbox import Fault, Sandbox, serve

from .conftest import Clips
from .crash import POINTS
from .forks import Forks

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="fork, SIGKILL and SIGSTOP are POSIX's")]

PATIENCE = 60.0
"""Seconds in which every command comes to its end, on a machine with other work to do."""

SLOTS, ORDERS, PRICE, CROWD = 2, 5, 56, 4
"""Calls at once; orders that the day's credits cover; credits of one; processes at once."""

PROMPTS, OUTS = ("dusk", "dawn"), (None, "one.mp4", "two.mp4")
KILLED_AT = [name for name, point in POINTS.items() if "_Work" not in point.name and name != "uploading"]
"""Points that every command may come to; ffmpeg is killed at its work by `kill`, at any moment."""

FREE = frozenset({"refused", "failed", "cancelled"})
AGAIN = {"reorder": "expired", "resubmit_ambiguous": "ambiguous"}
ENDS = frozenset({"stored", "ambiguous", "expired", "claimed", *FREE})
FAULTS = [
    Fault(where="create", kind="reset"), Fault(where="create", kind="status", status=429, retry_after=0.1),
    Fault(where="create", kind="status", status=502, html=True), Fault(where="create", kind="status", status=401),
    Fault(where="poll", kind="failed"), Fault(where="poll", kind="vanishes"), Fault(where="poll", kind="reset"),
    Fault(where="download", kind="expired"), Fault(where="download", kind="reset_mid_body", after_bytes=900),
    Fault(where="download", kind="not_video"), Fault(where="account", kind="reset"),
]  # fmt: skip
DAMAGED = b"damaged"
COMMAND = st.fixed_dictionaries({
    "verb": st.sampled_from(["run"] * 6 + ["resume", "gc"]), "prompt": st.sampled_from(PROMPTS),
    "out": st.sampled_from(OUTS), "again": st.sampled_from(["", "", "", *AGAIN]),
    "point": st.sampled_from([*[""] * 8, *KILLED_AT]), "fault": st.sampled_from([*[None] * 6, *FAULTS]),
    "then": st.sampled_from([0.0, 0.2, 0.5, None, None]),
})  # fmt: skip
"""`then`: seconds until something else happens; None: once everybody has come to an end."""

ACCIDENT = st.fixed_dictionaries({
    "what": st.sampled_from(["kill", "interrupt", "stop", "go on", "damage", "change"]), "which": st.integers(0, 9),
})  # fmt: skip
LOG = """
CREATE TABLE moves (before TEXT, after TEXT);
CREATE TRIGGER log_moves AFTER UPDATE OF state ON runway_node_attempts WHEN NEW.state <> OLD.state
BEGIN INSERT INTO moves VALUES (OLD.state, NEW.state); END;
"""


@functools.cache
def made():
    """Two clips to order for, and an answer of another rate."""
    clips = Clips(Path(tempfile.mkdtemp(prefix="engine-machine-clips-")))
    return clips(2, "25", "160x90"), clips(2, "25", "160x90", sound=False), clips(2, "30", "160x90")


class Machine(RuleBasedStateMachine):
    """The world: one data folder, one sandbox, some processes, some outputs."""

    @initialize()
    def begin_world(self):
        """An empty ledger that logs its moves, and a clip."""
        *self.clips, answer = made()
        self.world = contextlib.ExitStack()
        self.folder = Path(self.world.enter_context(tempfile.TemporaryDirectory(prefix="engine-machine-")))
        self.sandbox = Sandbox(ready=answer, seconds_per_task=0.2, folder=self.folder / "sandbox")
        self.world.callback(self.sandbox.close)
        self.url = self.world.enter_context(serve(self.sandbox)).url
        self.said = self.folder / "said.txt"
        self.forks = self.world.enter_context(Forks(self.said))
        self.data, self.source = self.folder / "data", self.folder / "clip.mp4"
        self.change(0)
        self.commands, self.words = Counter(), defaultdict(Counter)
        self.running, self.stopped, self.known = {}, [], {}
        assert self.ended(self.start("resume")) == 0
        self.ledger = self.world.enter_context(
            contextlib.closing(sqlite3.connect(self.data / FILE, isolation_level=None))
        )
        self.ledger.executescript(LOG)
        self.ledger.row_factory = sqlite3.Row

    def rows(self):
        """Every call, with its order's clip and prompt."""
        query = "SELECT a.*, o.content, o.step FROM runway_node_attempts a JOIN runway_node_orders o"
        found = self.ledger.execute(f"{query} ON o.scope = a.scope AND o.digest = a.order_digest ORDER BY a.attempt")
        return [{**row, "name": (row["content"], json.loads(row["step"])["prompt"])} for row in found]

    def start(self, verb, point="", **how):
        where = {"runway_key": "sandbox-key", "runway_base_url": self.url, "data_dir": str(self.data)}
        limits = {"poll_interval": 0.05, "max_concurrency": SLOTS, "max_credits_per_day": ORDERS * PRICE}
        return self.forks.start(verb=verb, point=point, settings=where | limits, how=how)

    def order(self, prompt, out=None, again="", point=""):
        """Begin a command for the clip as it is."""
        name = hashlib.sha256(self.source.read_bytes()).hexdigest(), prompt
        self.commands[name] += 1
        self.words[name].update([AGAIN[again]] if again else [])
        copy = self.folder / f"clip-{name[0][:12]}.mp4"
        if not copy.exists():
            shutil.copyfile(self.source, copy)
        target = self.folder / f"{name[0][:6]}-{prompt}-{out}" if out else None
        policy = {again: True} if again else {}
        pid = self.start("run", point, source=str(copy), prompt=prompt, out=target and str(target), policy=policy)
        self.running[pid] = name
        return pid

    def ended(self, pid):
        """Its exit code, once it has ended."""
        end = time.monotonic() + PATIENCE
        while (code := self.forks.code(pid)) is None:
            assert time.monotonic() < end, f"process {pid} is not served: {self.said.read_text()}"
            time.sleep(0.01)
        self.running.pop(pid, None)
        return code

    def alive(self):
        return [pid for pid in self.running if self.forks.code(pid) is None]

    @rule(act=st.one_of(COMMAND, COMMAND, ACCIDENT))
    def happens(self, act):
        """One thing, whatever else goes on; one rule, for of several Hypothesis leaves some out of most examples."""
        if "verb" not in act:
            self.befall(**act)
        elif len(self.alive()) < CROWD:
            self.begin(**act)

    def begin(self, verb, prompt, out, again, point, fault, then):
        """A command begins: it may be killed at a point, and something may go wrong meanwhile."""
        self.sandbox.add(*filter(None, [fault]))
        if verb == "run":
            self.order(prompt, out, again, point)
        else:
            self.running[self.start(verb, point)] = None
        self.settle() if then is None else time.sleep(then)

    def befall(self, what, which):
        """Something happens to a process, to a file in the data folder, or to the clip."""
        living = self.alive()
        match what:
            case "kill" | "interrupt" if living:
                self.signal(living[which % len(living)], signal.SIGKILL if what == "kill" else signal.SIGINT)
            case "stop" if living and not self.stopped:
                self.stopped.append(living[which % len(living)])
                self.signal(self.stopped[0], signal.SIGSTOP)
            case "go on":
                self.go_on()
            case "damage" if files := sorted([*self.takes(), *self.results()]):
                with contextlib.suppress(FileNotFoundError):
                    files[which % len(files)].write_bytes(DAMAGED)
            case "change":
                self.change(which % 2)

    def signal(self, pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def go_on(self):
        for pid in self.stopped:
            if pid in self.alive():
                self.signal(pid, signal.SIGCONT)
        self.stopped.clear()

    def settle(self):
        """Everybody comes to an end."""
        self.go_on()
        for pid in list(self.running):
            self.ended(pid)

    def change(self, which):
        """The clip is another one from here on."""
        shutil.copyfile(self.clips[which], self.source)

    def takes(self):
        return self.data.rglob("takes/*.mp4")

    def results(self):
        return [path for path in self.data.rglob("results/*.mp4") if not path.name.startswith(".")]

    @invariant()
    def paid_once(self):
        """A call follows another only where that was over, or by name, which holds for one; all are written down."""
        rows, tasks = self.rows(), self.sandbox.state()["tasks"]
        calls = defaultdict(list)
        for row in rows:
            calls[row["segment"]].append(row)
        for segment in calls.values():
            name = segment[0]["name"]
            assert [row["attempt"] for row in segment] == list(range(1, len(segment) + 1))
            assert len(segment) <= self.commands[name]
            assert {row["state"] for row in segment[:-1]} <= FREE | set(self.words[name])
            unclear = [index for index, row in enumerate(segment) if row["state"] in self.words[name]]
            assert not unclear or len(segment) - unclear[0] - 1 <= self.words[name].total()
        known = [row["task_id"] for row in rows if row["task_id"]]
        assert len(known) == len(set(known))
        assert len(tasks) <= sum(row["sent"] is not None for row in rows)

    @invariant()
    def within_the_limits(self):
        """The day's credits are not exceeded, by the ledger nor at the provider, and the slots neither."""
        rows = self.rows()
        counted = [row["cost"] if row["cost"] is not None else row["credits"] for row in rows if _counts(row["state"])]
        assert sum(counted) <= ORDERS * PRICE
        assert self.sandbox.counters.credits <= ORDERS * PRICE
        assert sum(row["state"] == "submitted" for row in rows) <= SLOTS

    @invariant()
    def whole(self):
        """What is at a final path decodes, from its first moment on."""
        for path in [*self.folder.glob("*.mp4"), *self.takes(), *self.results()]:
            if path.name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                state = stat.st_ino, stat.st_mtime_ns, stat.st_size
                if self.known.get(path) != state and path.read_bytes() != DAMAGED:
                    verify(path, "")
                    self.known[path] = state

    @invariant()
    def by_the_table(self):
        """The database itself saw no change of a state that the table does not have."""
        assert all(may(*move) for move in self.ledger.execute("SELECT before, after FROM moves"))

    def teardown(self):
        """Nothing goes wrong any more: every order comes to an end, the same one twice, and nothing waits."""
        if not hasattr(self, "world"):
            return
        with self.world:
            note(self.said.read_text() if self.said.exists() else "")
            self.settle()
            self.sandbox.faults.clear()
            self.ended(self.start("resume"))
            for number, clip in enumerate(self.clips):
                self.change(number)
                for prompt in PROMPTS:
                    if (hashlib.sha256(clip.read_bytes()).hexdigest(), prompt) in self.commands:
                        self._comes_to_an_end(prompt)
            assert {row["state"] for row in self.rows()} <= ENDS
            for check in (self.paid_once, self.within_the_limits, self.whole, self.by_the_table):
                check()

    def _comes_to_an_end(self, prompt):
        code = self.ended(self.order(prompt))
        creates = self.sandbox.counters.creates
        again = self.ended(self.order(prompt))
        assert (code, again) in {(0, 0), (1, 1), (3, 3), (4, 4)}, self.said.read_text()
        assert self.sandbox.counters.creates == creates


def _counts(state):
    return state not in {"claimed", "refused"}


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=12, stateful_step_count=15, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # processes are never twice alike: there is nothing to shrink
)  # fmt: skip
