"""A clip, a sandbox and a ledger, for tests of the ledger's verbs; fixtures are imported by name."""

from __future__ import annotations

import contextlib
import shutil

import pytest

import runway_node
from runway_node import errors
from runway_node.engine import Stop, run
from runway_node.engine.order import Content, decide, name
from runway_node.ledger import Ledger
from runway_node.models import Limits, Policy, Step
from runway_node.sandbox import Fault
from runway_node.settings import load_settings

LOST = Fault(where="create", kind="reset")
"""The order arrives, its answer does not."""


HOUR = 3600.0
"""By the sandbox's clock, which a test moves."""


class Hasty(Stop):
    """A stop whose waits are cut to 30 milliseconds: back-off is counted, not slept."""

    def wait(self, timeout=None):
        return super().wait(0.03 if timeout is None else min(timeout, 0.03))


class Shop:
    """Orders of one clip at one sandbox, whose answers are that clip."""

    def __init__(self, served, clip, folder, **values):
        self.served, self.sandbox, self.folder, self.values = served, served.sandbox, folder, values
        self.source = folder / "shot.mp4"
        shutil.copyfile(clip, self.source)
        self.sandbox.options = self.sandbox.options.model_copy(update={"ready": clip})
        self.events = []

    def settings(self, provider="runway", **values):
        return self.served.settings(provider, **self.values, **values)

    def __call__(
        self, prompt="dusk", out=None, *, provider="runway", settings=None, step=None, stop=None, hear=None, **policy
    ):
        settings, hear = settings or self.settings(provider), hear or self.events.append
        how = {"policy": Policy(**policy), "settings": settings, "stop": stop, "on_progress": hear}
        return run(self.source, step or Step(prompt=prompt), out, **how)

    def left(self, prompt="dusk", *, runs=False, fails=False, **how):
        """Order, and leave the task: it ends with that, well or not, or *runs* for an hour; gives its id."""
        self.sandbox.add(Fault(where="create", kind="hangs", seconds=HOUR))
        with pytest.raises(errors.StillRunning) as caught:
            self(prompt, timeout=0.1, **how)
        if fails:
            self.sandbox.befall(self.sandbox.tasks[caught.value.task_id], Fault(where="poll", kind="failed"))
        if not runs:
            clock = self.sandbox.clock
            self.sandbox.clock = lambda: clock() + 2 * HOUR
        return caught.value.task_id

    def lost(self, prompt="dusk", **how):
        """Order, and never hear an answer; gives the task's id as the provider has it."""
        self.sandbox.add(LOST)
        with pytest.raises(errors.Ambiguous):
            self(prompt, **how)
        return self.tasks[-1]["id"]

    @property
    def tasks(self):
        return self.sandbox.state()["tasks"]

    @property
    def creates(self):
        return self.sandbox.counters.creates

    @property
    def open(self):
        """The only open call."""
        (one,) = runway_node.orders(settings=self.settings())
        return one


@pytest.fixture(name="filed")
def filed_fixture(runway_sandbox, clip, tmp_path):
    """Orders one clip; the ledger is a file."""
    return Shop(runway_sandbox, clip, tmp_path)


@pytest.fixture(name="shop", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def shop_fixture(runway_sandbox, clip, tmp_path, request):
    """Orders one clip; the ledger is on SQLite, then on Postgres."""
    values = {"database_url": request.getfixturevalue("database")} if request.param == "postgres" else {}
    return Shop(runway_sandbox, clip, tmp_path, **values)


@contextlib.contextmanager
def real_row(shop, prompt="dusk", *, key="their-key", task_id="task-1", **values):
    """A paid call at https://api.example.com, written by the ledger itself; gives ledger, settings and row."""
    base = {"runway_base_url": "https://api.example.com", "runway_key": key}
    settings = load_settings(**base, data_dir=shop.settings().data_dir, **shop.values, **values)
    order = decide(shop.source, Step(prompt=prompt), None, None, Policy(), settings, "runway")
    with Ledger(settings) as ledger, ledger.holder() as token:
        named = name(order, ledger, ledger.account, Content(identity=f"key:{prompt}"))
        terms = ledger.terms("runway", "aleph2")
        row = ledger.claim(named.row, named.calls, terms, token, Limits())[0].row
        if task_id is not None:
            row = ledger.record(ledger.intend(row, token, 5, balance=None)[1], task_id)
        yield ledger, settings, row
