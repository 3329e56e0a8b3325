"""A batch under attack: what must never be paid twice, paid silently for something else, overwritten or lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from runway_node.batch import Halting, run_rows
from runway_node.batch.records import Records
from runway_node.engine import Stop
from runway_node.errors import OutputError
from runway_node.sandbox import Fault
from runway_node.settings import load_settings
from runway_node.templates import rendering

from .batches import desk_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow  # a command each


@contextlib.contextmanager
def ends_within(seconds):
    """Fail where it hangs."""

    def late(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def meanwhile(monkeypatch, what):
    """Let *what* happen when all rows are checked and nothing is ordered yet."""
    import runway_node.cli.render as module

    honest = module.priced

    def priced(*args, **how):
        honest(*args, **how)
        what()

    monkeypatch.setattr(module, "priced", priced)


def test_a_clip_that_changes_after_the_check_is_not_paid_for(desk, monkeypatch):
    """What was checked and priced is rendered, or nothing."""
    meanwhile(monkeypatch, lambda: shutil.copyfile(desk.folder / "c.mp4", desk.folder / "a.mp4"))
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"))
    assert code == 2, results
    assert [row["status"] for row in results] == ["invalid", "done"]
    assert "changed" in results[0]["error"]
    assert desk.creates == 1


def test_what_a_failed_row_was_charged_is_told(desk):
    """The closing line counts what moderation's refusal cost, beside the row that is done."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT"))
    code, results = desk(("a.mp4", "rude"), ("b.mp4", "dusk"), flags=["--json"])
    assert code == 1
    assert {row["status"]: row["cost"] for row in results} == {"failed": "56", "done": "56"}
    assert desk.events()[-1]["spent"] == 112


def test_spent_is_what_this_command_was_charged(desk):
    """An owned take costs its row as much as before, and this command nothing; the column's sum is what was spent."""
    desk(("a.mp4", "dusk"))
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), flags=["--json"])
    assert code == 0
    assert [(row["cost"], row["spent"]) for row in results] == [("56", "0"), ("56", "56")]
    assert desk.events()[-1]["spent"] == 56


def test_a_row_that_failed_after_it_paid_tells_its_take(desk, monkeypatch):
    """What it was charged, and the take that is owned, are in the table: nobody pays for it again."""

    def write(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(rendering, "write", write)
    _, results = desk(("a.mp4", "dusk"))
    assert (results[0]["status"], results[0]["spent"]) == ("failed", "56")
    assert Path(results[0]["take"]).is_file()


@pytest.mark.parametrize("engine", ["threads", "dbos"])
def test_debug_shows_where_a_bug_is(desk, monkeypatch, engine):
    """Under --debug the traceback of an error that is none of ours is shown, whichever engine has the row."""

    def write(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(rendering, "write", write)
    words = ("--rows", desk.table(("a.mp4", "dusk")), "-o", desk.out, "--engine", engine)
    code, _, noted = desk.program("render", desk.template, *words, "--debug")
    assert code == 1
    assert 'raise RuntimeError("a bug")' in noted
    assert "Traceback" not in desk.program("render", desk.template, *words)[2]


def test_a_stopped_batch_tells_what_was_sent(desk, monkeypatch):
    """Of two rows and one slot the one that was sent is left, the other one was not sent."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 60.0})
    stop, came = Stop(), []

    def hear(_, event):
        if event.phase == "submitted":
            stop.set()

    jobs = desk.jobs(("a.mp4", "dusk"), ("b.mp4", "dusk"))
    with ends_within(60):
        run_rows(jobs, load_settings(), halting=Halting(), stop=stop, on_event=hear, on_outcome=came.append)
    assert sorted(outcome.status for outcome in came) == ["left", "not sent"]
    assert desk.creates == 1


def test_a_failed_order_of_many_rows_is_paid_once(desk, monkeypatch):
    """Rows that share an order share its failure: the limit of all rows counted it once."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.template.write_text(desk.template.read_text().replace('"${clip}-${look}"', '"${look}"').replace(
        'prompt: "${look}"', 'prompt: "dusk"'))
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT", times=99, refund=False))
    rows = [("a.mp4", f"film {number}") for number in range(16)]
    code, results = desk(*rows, flags=["--max-credits", "60", "--max-refusals", "50"])
    assert code == 1
    assert desk.creates == 1, [row["status"] for row in results]


def test_results_are_no_rows(desk):
    """A folder that is rows and output at once: results are not rendered again."""
    words = ("render", desk.template, "--rows", desk.folder, "-o", desk.folder)
    assert desk.program(*words)[0] == 0
    code, _, noted = desk.program(*words)
    assert code == 0, noted
    assert sorted(path.name for path in desk.folder.glob("*-dusk*")) == ["a-dusk.mp4", "b-dusk.mp4", "c-dusk.mp4"]
    assert desk.creates == 3


def test_a_clip_is_never_replaced(desk):
    """Not even by --force, be it another row's."""
    desk.template.write_text(desk.template.read_text().replace('"${clip}-${look}"', '"${look}"'))
    before = (desk.folder / "b.mp4").read_bytes()
    table = desk.table(("a.mp4", "b"), ("b.mp4", "x"))
    code, _, noted = desk.program("render", desk.template, "--rows", table, "-o", desk.folder, "--force")
    assert code == 2, noted
    assert (desk.folder / "b.mp4").read_bytes() == before


@pytest.mark.parametrize("place", ["data", "data/takes", "data/out"])
def test_no_result_goes_into_the_data_folder(desk, tmp_path, place):
    """Paid takes live there."""
    desk.out = tmp_path / place
    code, _ = desk(("a.mp4", "dusk"))
    assert code == 2, desk.noted
    assert "data folder" in desk.noted
    assert desk.creates == 0


def test_a_folder_that_is_a_file_is_told_before_anything_is_paid(desk):
    """-o names a file."""
    desk.out.write_text("mine")
    code, _, noted = desk.program("render", desk.template, "--rows", desk.table(("a.mp4", "dusk")), "-o", desk.out)
    assert code == 2, noted
    assert desk.creates == 0


def test_an_output_s_folder_that_is_a_file_is_told_before_anything_is_paid(desk):
    """A part of the output's name is a file there."""
    desk.template.write_text(desk.template.read_text().replace('"${clip}-${look}"', '"films/${look}"'))
    desk.out.mkdir()
    (desk.out / "films").write_text("mine")
    code, _ = desk(("a.mp4", "dusk"))
    assert code == 2, desk.noted
    assert desk.creates == 0


def test_a_folder_in_the_output_s_place_is_told_before_anything_is_paid(desk):
    """Even with --force, a folder is not replaced."""
    (desk.out / "a-dusk.mp4").mkdir(parents=True)
    code, _ = desk(("a.mp4", "dusk"), flags=["--force"])
    assert code == 2, desk.noted
    assert desk.creates == 0


@pytest.mark.skipif(os.name != "posix", reason="a signal to oneself")
@pytest.mark.parametrize(("flags", "creates"), [((), 2), (("--on-interrupt", "detach"), 1), (("--engine", "dbos"), 1)])
def test_ctrl_c_tells_what_it_cost_and_how_it_goes_on(desk, monkeypatch, flags, creates):
    """A task is cancelled, or left where that is asked for or a queue has it; the same command then gives the film."""
    monkeypatch.setattr("runway_node.cli.enqueue.LOOK_EVERY", 0.1)
    monkeypatch.setattr("runway_node.batch.durable.queue.POLL", 0.05)
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 4})

    def strike():
        end = time.monotonic() + 60
        while not desk.creates and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    striker = threading.Thread(target=strike)
    striker.start()
    code, results = desk(("a.mp4", "dusk"), flags=flags)
    striker.join()
    assert (code, results[0]["status"]) == (130, "left"), desk.noted
    assert re.search(r"0 of 1 row done, 0 credits spent.*; the same command goes on with what is missing", desk.noted)
    assert "worker" not in desk.noted
    assert results[0]["spent"] == ""
    code, results = desk(("a.mp4", "dusk"), flags=flags)
    assert (code, results[0]["spent"], desk.creates) == (0, "56", creates)


def test_a_long_name_of_another_script(desk):
    """Forty letters of Japanese are no long name."""
    look = "夕暮れ" * 15
    code, results = desk(("a.mp4", look))
    assert code == 0, results
    assert desk(("a.mp4", look))[0] == 0
    assert desk.creates == 1


def test_a_table_of_another_is_not_replaced(desk):
    """results.csv that is not ours is told before anything is paid."""
    desk.out.mkdir()
    (desk.out / "results.csv").write_text("my,own\n1,2\n")
    code, _, noted = desk.program("render", desk.template, "--rows", desk.table(("a.mp4", "dusk")), "-o", desk.out)
    assert code == 2, noted
    assert (desk.out / "results.csv").read_text() == "my,own\n1,2\n"
    assert desk.creates == 0


def test_a_table_that_cannot_be_written_for_a_while_stops_no_row(desk, monkeypatch):
    """Somebody holds it open, or the disk is full: rows are finished, and it is written in the end."""
    from runway_node.batch import results

    honest, calls = results.settle, []

    def settle(part, path, **how):
        calls.append(path)
        if len(calls) < 3:
            raise OSError(28, "No space left on device")
        honest(part, path, **how)

    monkeypatch.setattr(results, "settle", settle)
    monkeypatch.setattr(results, "EVERY", 0.0)
    code, found = desk(("missing.mp4", "x"), ("a.mp4", "dusk"), ("b.mp4", "dusk"), ("c.mp4", "dusk"))
    assert code == 2, desk.noted
    assert [row["status"] for row in found] == ["invalid", "done", "done", "done"]
    assert not list(desk.out.glob(".results*"))


def test_a_table_that_cannot_be_written_at_all_is_told_in_the_end(desk, monkeypatch):
    """All rows are done then."""
    from runway_node.batch import results

    def settle(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "settle", settle)
    monkeypatch.setattr(results, "EVERY", 0.0)
    code, _ = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), ("c.mp4", "dusk"))
    assert code == 2, desk.noted
    assert len(list(desk.out.glob("*.mp4"))) == 3


def test_a_row_whose_text_is_no_text_stops_no_other(desk):
    """Half a surrogate pair in a JSON line."""
    rows = desk.folder / "rows.jsonl"
    rows.write_text('{"clip": "a.mp4", "look": "\\ud800"}\n{"clip": "b.mp4", "look": "dusk"}\n')
    code, _, noted = desk.program("render", desk.template, "--rows", rows, "-o", desk.out)
    assert code == 2, noted
    assert [row["status"] for row in desk.results()] == ["invalid", "done"]


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_clip_whose_name_is_no_text_stops_no_other(desk):
    """A name in bytes of another encoding."""
    folder = desk.folder / "clips"
    folder.mkdir()
    shutil.copyfile(desk.folder / "a.mp4", os.fsencode(folder) + b"/caf\xe9.mp4")
    shutil.copyfile(desk.folder / "b.mp4", folder / "b.mp4")
    code, _, noted = desk.program("render", desk.template, "--rows", folder, "-o", desk.out)
    assert code == 2, noted
    assert sorted(row["status"] for row in desk.results()) == ["done", "invalid"]


def test_an_output_place_that_fails_while_a_row_fails_ends_the_row(desk, monkeypatch):
    """The place does not answer, twice: the batch must come to its end."""
    honest = Records.made
    seen = []

    def made(self, output, fingerprint):
        seen.append(output)
        if len(seen) > 4:
            raise OutputError("the share is gone")
        return honest(self, output, fingerprint)

    monkeypatch.setattr(Records, "made", made)

    def settle(*_, **__):
        raise OutputError("the share is gone")

    monkeypatch.setattr(rendering, "settle", settle)
    with ends_within(30):
        code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"))
    assert code == 2
    assert [row["status"] for row in results] == ["invalid", "invalid"]


def test_a_dry_run_ends_with_a_result_line(desk):
    """--json: the last line is a result, with the price."""
    code, _ = desk(("a.mp4", "dusk"), flags=["--json", "--dry-run"])
    assert code == 0
    last = desk.events()[-1]
    assert last["phase"] == "result"
    assert last["credits"] == 56


def test_an_error_of_a_single_render_names_its_kind(desk):
    """--json: the error line is the error's own."""
    desk.sandbox.add(Fault(where="create", kind="reset", times=99))
    out = desk.folder / "one.mp4"
    code, said, noted = desk.program(
        "render", desk.template, "--set", f"clip={desk.folder / 'a.mp4'}", "-o", out, "--json")
    last = json.loads(said.splitlines()[-1])
    assert code == 4, noted
    assert (last["phase"], last["error"], last["exit_code"]) == ("error", "Ambiguous", 4)


def test_an_unknown_outcome_stops_no_other_and_is_not_sent_again(desk):
    """Exit 4, told how to resolve; the same command again sends nothing."""
    desk.sandbox.add(Fault(where="create", kind="reset", times=1))
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), ("c.mp4", "dusk"), ("missing.mp4", "x"))
    assert code == 4
    words = [row["status"] for row in results]
    assert sorted(words) == ["done", "done", "invalid", "unknown"]
    assert "attach" in next(row["error"] for row in results if row["status"] == "unknown")
    before = desk.sandbox.counters.creates
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"), ("c.mp4", "dusk"), ("missing.mp4", "x"))
    assert code == 4
    assert desk.sandbox.counters.creates == before
    assert [row["status"] for row in results] == words


def test_an_unknown_price_is_refused_with_a_limit(desk, monkeypatch):
    """Where a provider publishes none: --max-credits cannot hold."""
    for name in ("RUNWAYML_API_SECRET", "RUNWAYML_BASE_URL"):
        monkeypatch.delenv(name)
    for name, value in desk.served.env("cometapi").items():
        monkeypatch.setenv(name, value)
    code, _ = desk(("a.mp4", "dusk"), flags=["--max-credits", "10000"])
    assert code == 3
    assert desk.creates == 0


def test_a_price_of_parts_of_credits_fits_its_own_limit(desk, monkeypatch):
    """A row may pay what it was told to cost."""
    row = {"provider": "runway", "name": "aleph2", "credits_per_second": 5.3, "credits_min": 0.3}
    monkeypatch.setenv("RUNWAY_NODE_MODELS", json.dumps([row]))
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"))
    assert code == 0, results


def test_spent_of_a_row_that_another_run_finished(desk, monkeypatch):
    """What this run was charged is told, though another one's film is in the place."""
    from runway_node.batch import work

    honest = work.render

    def render(*args, **more):
        honest(*args, **more)
        raise OutputError("it exists by now")

    monkeypatch.setattr(work, "render", render)
    _, results = desk(("a.mp4", "dusk"))
    assert (desk.creates, results[0]["status"], results[0]["spent"]) == (1, "done", "56")


def test_what_was_lost_is_ordered_anew_where_that_is_asked(desk):
    """A row that was owned at the look, and is not: the limit of what was planned does not stand against --reorder."""
    assert desk(("a.mp4", "dusk"))[0] == 0
    shutil.rmtree(desk.out)
    for folder in ("takes", "results"):
        for path in desk.folder.parent.rglob(f"data/{folder}"):
            shutil.rmtree(path)
    desk.sandbox.tasks.clear()
    code, results = desk(("a.mp4", "dusk"), flags=["--reorder"])
    assert code == 0, results
