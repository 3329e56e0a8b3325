"""`render --engine dbos` under attack: what the queue remembers is not what is there, and workers that are unfit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runway_node.batch import Outcome
from runway_node.batch.durable import VERSION, Durable, queue, serve, workers
from runway_node.batch.queued import batch_name, ended, queued, work_of
from runway_node.sandbox import Fault
from runway_node.settings import load_settings

from .batches import desk_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow  # a queue polls
DBOS = ("--engine", "dbos")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """A worker looks often."""
    import runway_node.cli.enqueue as module

    monkeypatch.setattr(queue, "POLL", 0.05)
    monkeypatch.setattr(workers, "BEAT", 0.1)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.1)


def put(desk, *rows, batch="film"):
    """Rows in the queue, for workers to come."""
    jobs = desk.jobs(*rows)
    with Durable(load_settings()) as durable:
        durable.enqueue(batch, queued(batch, jobs))
    return jobs


def status(batch=None):
    with Durable(load_settings()) as durable:
        return durable.status(batch)


def states(batch="film"):
    return [row.state for row in status(batch).batches[0].rows]


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_rows_are_rendered(desk):
    """As by threads."""
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), flags=DBOS)
    assert code == 0, desk.noted
    assert [row["status"] for row in results] == ["done", "done"]


def test_rows_are_ordered_as_they_stand(desk, monkeypatch):
    """In the table's order, by the worker in this process too."""
    monkeypatch.setattr("runway_node.batch.queued.cores", lambda: 1)
    monkeypatch.setattr("runway_node.batch.starts.HEAD_START", 60.0)
    rows = [("a.mp4", f"dusk {number}") for number in range(9)]
    code, _ = desk(*rows, flags=[*DBOS, "--json"])
    assert code == 0
    assert [line["row"] for line in desk.events() if line["phase"] == "submitted"] == list(range(1, 10))


def test_a_lost_result_is_made_again(desk):
    """The queue says done, and nothing is there: the same command puts it there, for nothing."""
    desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), flags=DBOS)
    (desk.out / "a-dusk.mp4").unlink()
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), flags=DBOS)
    assert code == 0
    assert (desk.out / "a-dusk.mp4").exists(), results
    assert desk.creates == 2


def test_force_replaces_what_came_after(desk):
    """The queue says done, another file is there: --force puts the result there."""
    desk(("a.mp4", "dusk"), flags=DBOS)
    (desk.out / "a-dusk.mp4").write_text("mine")
    code, _ = desk(("a.mp4", "dusk"), flags=[*DBOS, "--force"])
    assert code == 0
    assert (desk.out / "a-dusk.mp4").read_bytes() != b"mine"
    assert desk.creates == 1


def test_status_tells_batches_apart(desk):
    """Its template, its folder, its rows by their states, and what all their tries were charged."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT"))
    desk(("a.mp4", "rude"), flags=DBOS)
    desk(("a.mp4", "rude"), flags=[*DBOS, "--retry-refused"])
    heads, line = desk.program("batch", "status")[1].splitlines()[:2]
    told = dict(zip(re.split(r"\s{2,}", heads), re.split(r"\s{2,}", line), strict=True))
    assert (told["template"], told["output folder"], told["credits spent"]) == ("look", str(desk.out), "112")
    assert [told[name] for name in ("done", "failed", "waiting", "under way")] == ["1", "0", "0", "0"]


@pytest.mark.parametrize("rows", [True, False])
def test_detached(desk, rows):
    """Enqueued, not waited for; a worker does it."""
    clip = f"clip={desk.folder / 'a.mp4'}"
    words = ("--rows", desk.table(("a.mp4", "dusk"))) if rows else ("--set", clip)
    code, _, noted = desk.program("render", desk.template, *words, "-o", desk.out, *DBOS, "--detach")
    assert code == 0, noted
    assert desk.creates == 0
    assert desk.program("worker", "--drain")[0] == 0
    assert (desk.out / "a-dusk.mp4").exists()


def test_rows_of_an_older_batch_are_kept_back(desk):
    """What an earlier command left in the queue is not paid for by this one, and how it goes on is said."""
    put(desk, ("b.mp4", "dusk"), batch="older")
    code, _ = desk(("a.mp4", "dusk"), flags=DBOS)
    assert code == 0, desk.noted
    assert "Batch older, whose 1 row nobody works, is kept back" in desk.noted
    assert desk.creates == 1
    assert desk.program("batch", "resume", "older")[0] == 0
    assert desk.program("worker", "--drain")[0] == 0
    assert desk.creates == 2


def test_a_clip_that_changed_in_the_queue_is_not_paid_for(desk):
    """Enqueued as one clip, another one by now."""
    put(desk, ("a.mp4", "dusk"), ("b.mp4", "dusk"))
    shutil.copyfile(desk.folder / "c.mp4", desk.folder / "a.mp4")
    code, _, noted = desk.program("worker", "--until-done", "film")
    assert code == 2, noted
    assert states() == ["invalid", "done"]
    assert desk.creates == 1


def test_a_template_that_changed_in_the_queue_is_as_it_was(desk):
    """The job holds it."""
    put(desk, ("a.mp4", "dusk"))
    desk.template.write_text("nothing")
    assert desk.program("worker", "--until-done", "film")[0] == 0


def test_a_worker_without_a_key_leaves_rows_alone(desk, monkeypatch):
    """It ends, and another one renders them."""
    put(desk, ("a.mp4", "dusk"), ("b.mp4", "dusk"))
    with monkeypatch.context() as patched:
        patched.delenv("RUNWAYML_API_SECRET")
        code, _, noted = desk.program("worker", "--until-done", "film")
        assert code == 2, noted
        assert "RUNWAYML_API_SECRET" in noted
    assert set(states()) <= {"waiting", "left"}
    code, _, noted = desk.program("worker", "--until-done", "film")
    assert code == 0, noted
    assert states() == ["done", "done"]


def test_a_worker_without_the_shared_folder_leaves_rows_alone(desk):
    """The share of results is not mounted: nothing is paid, nothing is made on the local disk."""
    put(desk, ("a.mp4", "dusk"), ("b.mp4", "dusk"))
    desk.out.rename(desk.folder / "away")
    code, _, noted = desk.program("worker", "--until-done", "film")
    assert code == 2, noted
    assert not desk.out.exists()
    assert set(states()) <= {"waiting", "left"}
    (desk.folder / "away").rename(desk.out)
    assert desk.program("worker", "--until-done", "film")[0] == 0
    assert desk.creates == 2


@pytest.mark.parametrize(("over", "state"), [(True, "left"), (False, "cancelled")])
def test_what_an_ending_worker_did_not_send_is_left_to_others(over, state):
    """Only a batch that stopped takes a row that was not sent out of the queue."""
    assert ended(Outcome(row=1, status="not sent"), over=over)["status"] == state


def test_a_cancelled_batch_is_no_success(desk, monkeypatch):
    """`batch cancel` while `render` waits: rows that were not sent are no exit code 0."""
    import runway_node.cli.enqueue as module

    honest = module._helpers

    def helpers(durable, asked, **how):
        durable.cancel(durable.status().batches[0].id)
        return honest(durable, asked, **how)

    monkeypatch.setattr(module, "_helpers", helpers)
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), flags=DBOS)
    assert code == 1, results
    assert [row["status"] for row in results] == ["not sent", "not sent"]
    assert desk.creates == 0


def test_a_cancel_holds_what_waits_for_a_slot(desk, monkeypatch):
    """Rows that were begun but not sent are not sent; what is at the provider is finished; `resume` sends the rest."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 5})
    settings = load_settings()
    put(desk, *(("a.mp4", f"dusk {number}") for number in range(3)))
    with Durable(settings) as durable, ThreadPoolExecutor(1) as pool:
        working = pool.submit(lambda: serve(durable, work_of(settings, durable), at_once=3, until_done="film"))
        until(lambda: desk.creates == 1 and states().count("running") == 3)
        assert durable.cancel("film") == 0
        working.result()
        assert sorted(states()) == ["cancelled", "cancelled", "done"]
        assert (desk.creates, durable.resume("film")) == (1, 2)
        desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 0})
        serve(durable, work_of(settings, durable), at_once=3, until_done="film")
    assert (states(), desk.creates) == (["done"] * 3, 3)


def test_a_cancelled_batch_says_that_it_goes_on(desk):
    """The same `render` lets it, and does not do so silently."""
    put(desk, ("a.mp4", "dusk"))
    words = ("render", desk.template, "--rows", desk.table(("a.mp4", "dusk")), "-o", desk.out, *DBOS)
    desk.program(*words, "--detach")
    name = next(one.id for one in status().batches if one.id != "film")
    assert desk.program("batch", "cancel", name)[0] == 0
    code, _, noted = desk.program(*words)
    assert (code, f"Batch {name}, which was cancelled, goes on: 1 row enqueued" in noted) == (0, True)
    code, _, noted = desk.program("batch", "cancel", name)
    assert (code, "is over: there is nothing to cancel" in noted) == (2, True)


def test_a_halted_batch_goes_on_in_the_same_worker(desk, monkeypatch):
    """After `resume` no row of a living worker comes back unsent."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    settings = load_settings()
    desk.sandbox.add(Fault(where="create", kind="status", status=401))
    put(desk, *(("a.mp4", f"dusk {number}") for number in range(6)))
    with Durable(settings) as durable:
        work = work_of(settings, durable)
        serve(durable, work, at_once=2, until_done="film")
        assert durable.status("film").batches[0].stopped == "halted"
        assert durable.resume("film") > 3
        serve(durable, work, at_once=2, until_done="film")
    assert states() == ["done"] * 6


def test_a_spoilt_job_stops_no_other(desk):
    """What is no job is a failed row, and the worker's exit code says so."""
    jobs = put(desk, ("a.mp4", "dusk"), ("b.mp4", "dusk"))
    with Durable(load_settings()) as durable:
        good = queued("spoilt", jobs)
        durable.enqueue("spoilt", [{"row": 7, "poison": [1, {"x": None}]}, {"row": 8}, *good])
    assert desk.program("worker", "--drain")[0] == 1
    assert states("spoilt") == ["done", "done", "failed", "failed"]
    assert desk.creates == 2


def test_another_account_and_another_format_leave_rows_alone(desk, monkeypatch):
    """A label's rows are its own workers', an older format's too."""
    put(desk, ("a.mp4", "dusk"))
    monkeypatch.setenv("RUNWAY_NODE_ACCOUNT", "other")
    assert desk.program("worker", "--drain")[0] == 0
    monkeypatch.delenv("RUNWAY_NODE_ACCOUNT")
    monkeypatch.setattr("runway_node.batch.durable.verbs.VERSION", "rows-0")
    settings = load_settings()
    with Durable(settings, version="rows-0") as durable:
        serve(durable, work_of(settings, durable), until_done="*")
    assert states() == ["waiting"]
    assert VERSION != "rows-0"
    assert desk.creates == 0


def test_events_are_of_this_batch(desk):
    """Rows of an older batch that are worked beside it are not told as its own."""
    put(desk, *(("b.mp4", f"old {number}") for number in range(5)))
    code, _ = desk(("a.mp4", "dusk"), flags=[*DBOS, "--json"])
    assert code == 0
    assert {line["row"] for line in desk.events() if "row" in line} == {1}
    assert batch_name("x", "y", ())


def test_a_row_of_a_prompt_that_no_database_takes(desk, database, monkeypatch):
    """NUL in a prompt: the row fails, once, and no other does."""
    monkeypatch.setenv("RUNWAY_NODE_DATABASE_URL", database)
    put(desk, ("a.mp4", "dusk"))
    jobs = [job.model_copy(update={"values": {**job.values, "look": "a\0b"}, "row": 2, "output": "x.mp4"})
            for job in put(desk, ("a.mp4", "dusk"))]
    with Durable(load_settings()) as durable:
        durable.enqueue("film", queued("film", jobs))
    desk.program("worker", "--until-done", "film")
    assert "done" in states()


def test_a_failed_order_of_many_rows_is_paid_once(desk, monkeypatch):
    """Rows that share an order share its failure, whichever worker takes them."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    text = desk.template.read_text().replace('"${clip}-${look}"', '"${look}"')
    desk.template.write_text(text.replace('prompt: "${look}"', 'prompt: "dusk"'))
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT", times=99, refund=False))
    put(desk, *(("a.mp4", f"film {number}") for number in range(4)))
    settings = load_settings()
    with Durable(settings) as durable:
        serve(durable, work_of(settings, durable), at_once=1, until_done="film")
    assert states() == ["failed"] * 4
    assert desk.creates == 1


def test_a_cancel_is_heard_while_a_worker_ends(desk):
    """A worker whose own batch is over finishes the rows it has of another one, and heeds that one's cancel."""
    held = []

    def work(job, stop):
        if job["batch"] == "other":
            held.append(stop.hold.wait(30))
        return {"status": "done", "error": None, "exit_code": 0}

    with Durable(load_settings()) as durable, ThreadPoolExecutor(1) as pool:
        durable.enqueue("film", [{"row": 1, "batch": "film"}])
        durable.enqueue("other", [{"row": 1, "batch": "other"}])
        working = pool.submit(lambda: serve(durable, work, at_once=2, until_done="film"))
        until(lambda: states("film") == ["done"] and states("other") == ["running"])
        time.sleep(0.5)
        durable.cancel("other")
        working.result()
    assert held == [True]


def test_a_halt_is_not_lifted_before_it_is_written(desk, monkeypatch):
    """Whoever looks while a row's end halts the batch leaves the hold on."""
    honest = workers._Life._alive
    monkeypatch.setattr(workers._Life, "_alive", lambda self, token: (time.sleep(0.3), honest(self, token))[1])
    lifted = []

    def work(job, stop):
        if job["row"] == 1:
            time.sleep(1)
            return {"status": "failed", "error": "x", "exit_code": 1, "halt": "too many"}
        assert stop.hold.wait(30)
        end = time.monotonic() + 2
        while time.monotonic() < end and not lifted:
            lifted.extend([True] * (not stop.hold.is_set()))
            time.sleep(0.001)
        return {"status": "done", "error": None, "exit_code": 0}

    with Durable(load_settings()) as durable:
        durable.enqueue("film", [{"row": 1}, {"row": 2}])
        serve(durable, work, at_once=2, until_done="film")
    assert not lifted


def test_two_renders_at_once(desk):
    """Neither takes the other's rows for nobody's."""
    runs = []
    for number in (1, 2):
        table = desk.folder / f"rows{number}.csv"
        table.write_text("clip,look\n" + "".join(f"a.mp4,look {number} {row}\n" for row in range(3)))
        words = ["render", desk.template, "--rows", table, "-o", desk.folder / f"out{number}", *DBOS]
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "runway_node", *map(str, words)], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)


def test_resumed_while_a_call_is_in_flight(desk, clips, monkeypatch):
    """Of two calls and one slot, cancelled and resumed while the first is in flight: the second is sent in the end."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    shutil.copyfile(clips(36), desk.folder / "a.mp4")
    desk.template.write_text(desk.template.read_text().replace("2s", "36s"))
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 5, "ready": None})
    settings = load_settings()
    put(desk, ("a.mp4", "dusk"))
    with Durable(settings) as durable, ThreadPoolExecutor(1) as pool:
        working = pool.submit(lambda: serve(durable, work_of(settings, durable), at_once=3, until_done="film"))
        until(lambda: desk.creates == 1)
        durable.cancel("film")
        time.sleep(1.5)
        durable.resume("film")
        working.result()
    assert (states(), desk.creates) == (["done"], 2)
