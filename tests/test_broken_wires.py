"""Connections that break below HTTP, at every verb: what was ordered, what was billed, and how the run ended.

`pytest -s` prints the table.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import httpx
import pytest

from runway_node import errors
from runway_node.engine import run
from runway_node.media.probe import probe
from runway_node.models import Policy

from .fault_proxy import Break, FaultProxy

CREATE = ("POST", "/v1/video_to_video")
POLL = ("GET", "/v1/tasks/")
TICKET = ("POST", "/v1/uploads")
UPLOAD = ("POST", "/uploads/")
DOWNLOAD = ("GET", "/outputs/")

KINDS = {
    "refuse": Break("refuse"),
    "reset request at 150": Break("reset", after=150, side="request"),
    "reset answer at 0": Break("reset", after=0),
    "reset answer at 60": Break("reset", after=60),
    "stall request, go on": Break("stall", after=150, side="request", seconds=0.3),
    "stall answer, go on": Break("stall", after=20, seconds=0.3),
    "stall answer, close": Break("stall", after=20, seconds=0.3, then="close"),
    "trickle answer": Break("trickle", after=0, seconds=0.0005),
    "cut after headers": Break("cut_after_headers"),
    "half-close at 60": Break("half_close", after=60),
}
UNCLEAR = {
    "refuse", "reset request at 150", "reset answer at 0", "reset answer at 60", "stall answer, close",
    "cut after headers", "half-close at 60",
}  # fmt: skip
"""At the create: the order may have arrived, so nobody sends it again."""

TABLE: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table():
    """Printed when all is done."""
    yield
    print("\n| verb | what breaks | creates | accepted | credits | outcome |\n|---|---|---|---|---|---|")  # noqa: T201
    print("\n".join(TABLE))  # noqa: T201


@pytest.fixture
def wire(runway_sandbox, clip, tmp_path):
    """Runs one order through a proxy that breaks one connection; gives the result or the error, and the counters."""
    box = runway_sandbox.sandbox
    source = tmp_path / "clip.mp4"
    shutil.copyfile(clip, source)
    box.options = box.options.model_copy(update={"ready": clip, "seconds_per_task": 0.05})
    with FaultProxy(httpx.URL(runway_sandbox.url).port) as proxy:
        settings = runway_sandbox.settings("runway", runway_base_url=proxy.url, data_dir=tmp_path / "data")

        def order(verb, what, name, **policy):
            if what.kind == "trickle" and verb == DOWNLOAD:
                what = replace(what, after=clip.stat().st_size - 2000)  # its last bytes: all of them would take minutes
            proxy.break_next(*verb, what)
            try:
                end = run(source, "dusk", settings=settings, policy=Policy(**policy))
            except errors.RunwayNodeError as error:
                end = error
            assert any(exchange.broken for exchange in proxy.log), "nothing was broken"
            counted = box.counters
            outcome = "done" if not isinstance(end, Exception) else f"{type(end).__name__}, exit {end.exit_code}"
            numbers = f"{counted.creates} | {counted.accepted} | {counted.credits}"
            TABLE.append(f"| {verb[0]} {verb[1]} | {name} | {numbers} | {outcome} |")
            return end, counted

        yield order


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name in UNCLEAR])
def test_a_broken_create_is_never_sent_again(wire, name):
    """Exit code 4, one POST at most, and never more than one task."""
    end, counted = wire(CREATE, KINDS[name], name)
    assert (type(end), end.exit_code) == (errors.Ambiguous, 4)
    assert (counted.creates <= 1, counted.accepted <= 1, counted.credits <= 56) == (True, True, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name not in UNCLEAR])
def test_a_slow_create_is_one_order(wire, name):
    """What comes late comes: one POST, one task, the file."""
    end, counted = wire(CREATE, KINDS[name], name)
    assert (counted.creates, counted.credits, probe(end.path).frames) == (1, 56, 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("verb", [POLL, DOWNLOAD], ids=["poll", "download"])
def test_a_broken_look_or_download_loses_nothing(wire, verb, name):
    """One order, billed once, and the file."""
    end, counted = wire(verb, KINDS[name], name)
    assert (counted.creates, counted.credits, probe(end.path).frames) == (1, 56, 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("verb", [TICKET, UPLOAD], ids=["ticket", "upload"])
def test_a_broken_upload_is_made_again(wire, verb, name):
    """It costs nothing: a new one carries the one order."""
    end, counted = wire(verb, KINDS[name], name, delivery="upload")
    assert (counted.creates, counted.credits, probe(end.path).frames) == (1, 56, 50)


def test_a_lost_answer_is_told_and_not_repeated(wire):
    """The order arrived and was billed; the run ends with exit code 4 after one POST."""
    end, counted = wire(CREATE, Break("reset", after=0), "reset answer at 0")
    assert (type(end), counted.creates, counted.accepted) == (errors.Ambiguous, 1, 1)
