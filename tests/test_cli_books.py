"""The program and the ledger: the verbs' words, exit codes and JSON; what `run`, `plan` and `doctor` say of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runway_node.cli import flags
from runway_node.errors import WrongUse
from runway_node.sandbox import Fault

from .shops import Shop, real_row

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
NO_SANDBOX = "Sandbox orders are not in it"


@pytest.fixture
def shop(runway_sandbox, clip, tmp_path, monkeypatch):
    """A clip beside us, a key for the sandbox, whose answers are that clip; `left` and `lost` as in Python."""
    shop = Shop(runway_sandbox, clip, tmp_path)
    for name, value in runway_sandbox.env("runway").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNWAY_NODE_DATA_DIR", str(shop.settings().data_dir))
    monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "0.05")
    monkeypatch.chdir(tmp_path)
    return shop


@pytest.fixture
def told(program):
    """Run it with --json; gives the exit code and the lines as objects."""

    def call(*args):
        code, out, _ = program(*args, "--json")
        return code, [json.loads(line) for line in out.splitlines()]

    return call


RUN = ("run", "shot.mp4", "-p", "dusk", "-o", "out.mp4")


def start(*args, cwd):
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "runway_node", *args],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=here,
    )  # fmt: skip


# the lists


@pytest.mark.parametrize(
    ("verb", "words", "last"),
    [
        ("tasks", "Nothing is open", {"tasks": 0}),
        ("takes", "No take is owned yet", {"takes": 0}),
        ("resume", "Nothing to resume", {"finished": 0, "unfinished": []}),
        ("spend", "Nothing was spent", {"charged": 0, "reserved": 0}),
        ("gc", "nothing to free", {"files": 0, "size": 0, "done": False}),
    ],
)
def test_an_empty_list_says_so(shop, program, told, verb, words, last):
    """One friendly line and exit 0; under --json the result alone."""
    code, out, err = program(verb)
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert words in out
    code, (line,) = told(verb)
    assert code == 0
    assert line.items() >= {"phase": "result", **last}.items()


def test_tasks_lists_what_is_open_and_what_to_do(shop, program, told):
    """A row with the short digest, and below it the whole task id and the advice; under --json every field."""
    task_id = shop.left("[bold]the same\nstreet[/bold] at dusk, wet asphalt everywhere", runs=True)
    code, out, _ = program("tasks")
    heads, row, _, advice = out.splitlines()
    assert (code, heads.split()[0]) == (0, "order")
    digest = row.split()[0]
    assert (len(digest), "[bold]the same street[/bold] at" in row) == (12, True)
    assert advice.startswith(f"{digest}: task {task_id}: ")
    assert "runway-node resume" in advice
    _, (item, last) = told("tasks")
    assert (item["phase"], item["state"], item["task_id"], item["credits"]) == ("task", "submitted", task_id, 56)
    assert last == {"phase": "result", "tasks": 1}


def test_takes_of_one_clip(shop, program, told):
    """Date, prompt, seed, cost and path; only those of a clip that is named, whatever its name."""
    result = shop("dusk")
    other = shop.folder / "other.mp4"
    other.write_bytes(shop.source.read_bytes())
    code, out, _ = program("takes", other)
    assert code == 0
    for word in (result.digest[:12], "dusk", str(result.seed), "56", str(result.takes[0].path)):
        assert word in out
    assert told("takes", other)[1][0]["path"] == str(result.takes[0].path)
    with other.open("ab") as file:
        file.write(b"changed")
    assert program("takes", other)[1] == f"No take of {other} is owned\n"


def test_a_take_that_is_not_here_says_where(shop, program):
    """A file that is gone is marked, with who stored it."""
    (take,) = shop().takes
    take.path.unlink()
    assert "NOT HERE" in program("takes")[1]


# run and plan


def test_run_tells_what_it_spent(shop, program, told):
    """The last line but one: spent in this run, or owned before; the result has the same as fields."""
    _, _, err = program(*RUN)
    assert err.splitlines()[-1].endswith("56 credits spent in this run; 0 of 1 take owned before")
    code, out, err = program(*RUN)
    assert (code, out) == (0, "out.mp4\n")
    assert err.splitlines()[-1].endswith("nothing spent in this run; its take was owned before")
    last = told(*RUN)[1][-1]
    assert (last["phase"], last["spent"], last["owned"], last["cost"]) == ("result", 0, 1, 56)
    assert last["digest"][:12] in err
    assert shop.creates == 1


def test_plan_tells_what_is_owned_and_what_to_pay(shop, program, told):
    """To pay, under way, unknown and owned, and what a run would pay."""
    look = ("plan", "shot.mp4", "-p")
    assert "1 to pay; a run would pay 2 s, 56 credits, $0.56" in program(*look, "dusk")[1]
    shop.left("dawn", runs=True)
    assert "1 under way; a run would pay nothing" in program(*look, "dawn")[1]
    shop.lost("noon")
    assert "1 unknown; a run would stop there and pay nothing: see runway-node tasks" in program(*look, "noon")[1]
    digest = shop("dusk").digest
    assert f"order {digest[:12]}: 1 owned; a run would pay nothing" in program(*look, "dusk")[1]
    last = told(*look, "dusk")[1][-1]
    assert (last["digest"], last["standing"], last["to_pay"], last["to_pay_credits"]) == (digest, ["owned"], "0", 0)


def test_a_lost_answer_from_exit_4_to_the_file(shop, program):
    """Exit 4, listed with its advice, attached, and the same command has the file; one create."""
    shop.sandbox.add(Fault(where="create", kind="reset"))
    assert program(*RUN)[0] == 4
    assert program(*RUN)[0] == 4
    advice = program("tasks")[1].splitlines()[-1]
    digest = advice.partition(":")[0]
    assert f"runway-node attach {digest} TASK_ID" in advice
    code, out, _ = program("attach", digest, shop.tasks[0]["id"])
    assert (code, out.startswith(f"Order {digest} has task {shop.tasks[0]['id']} now; ")) == (0, True)
    assert program(*RUN)[:2] == (0, "out.mp4\n")
    assert shop.creates == 1


def test_resubmit_ambiguous_is_a_second_order(shop, program):
    """Only by that name what may have been ordered is ordered again."""
    shop.lost()
    assert program(*RUN, "--resubmit-ambiguous")[0] == 0
    assert shop.creates == 2


def test_reorder_pays_for_what_is_lost(shop, program):
    """A take that was freed is exit 1, with the flag that pays again; with it, it is."""
    shop()
    assert program("gc", "--takes", "--older-than", "0h", "--yes")[0] == 0
    shutil.rmtree(shop.settings().data_dir / "results")  # which would do, and which gc has kept
    code, _, err = program(*RUN)
    assert (code, "--reorder" in err) == (1, True)
    assert program(*RUN, "--reorder")[0] == 0
    assert shop.creates == 2


def test_key_stands_for_the_clip(shop, clips, program):
    """Under one key another file is the same order; take 2 of it is not."""
    shutil.copyfile(clips(2, sound=False), "other.mp4")
    named = ("-p", "dusk", "--key", "shot-12-v3")
    assert [program("run", name, *named)[0] for name in ("shot.mp4", "other.mp4")] == [0, 0]
    assert shop.creates == 1
    assert program("run", "shot.mp4", *named, "--take", "2")[0] == 0
    assert shop.creates == 2


def test_a_limit_a_day_is_exit_3(shop, program):
    """Over the day's credits nothing is sent, and the line says what raises the limit."""
    shop("dawn")
    code, out, err = program(*RUN, "--max-credits-per-day", 100)
    assert (code, out, shop.creates) == (3, "", 1)
    assert "--max-credits-per-day 112" in err.splitlines()[-1]


def test_delete_remote_is_after_stored(shop, program):
    """The one word deletes the remote task once; any other is wrong use, and so is it on cometapi."""
    assert program(*RUN, "--delete-remote", "now")[0] == 2
    assert program(*RUN, "--delete-remote", "after_stored")[0] == 0
    assert shop.sandbox.counters.deletes == 1
    code, _, err = program(*RUN, "--provider", "cometapi", "--delete-remote", "after_stored")
    assert (code, "cometapi cannot delete" in err, shop.creates) == (2, True, 1)


# resume


def test_resume_finishes_and_says_where(shop, program, told):
    """Exit 0, each order with its take; then there is nothing more, and the order itself is free."""
    shop.left("dusk")
    shop.left("dawn")
    code, out, err = program("resume")
    assert code == 0
    assert len([line for line in out.splitlines() if "/results/" in line]) == 2
    digests = {line.split()[0] for line in out.splitlines()}
    assert all(f"{digest} fetching: " in err for digest in digests)
    assert told("resume") == (0, [{"phase": "result", "finished": 0, "unfinished": []}])
    assert (program(*RUN)[0], shop.creates) == (0, 2)


def test_resume_says_what_could_not_be_had(shop, program, told):
    """One failed, one is there: exit 1, and the failed order is named with its reason."""
    shop.left("dawn", fails=True)
    code, lines = told("resume")
    finished = [line for line in lines if line["phase"] == "finished"]
    assert (code, lines[-1]["finished"], len(finished)) == (1, 0, 1)
    assert lines[-1]["unfinished"] == [finished[0]["digest"]]
    shop.left("dusk", fails=True)
    code, out, err = program("resume")
    assert (code, out) == (1, "")
    assert " is failed: " in err
    assert "Could not be finished: " in err.splitlines()[-1]


def test_resume_without_the_clip_keeps_the_take(shop, program):
    """That the file could not be made is exit 1, with the reason, and where the take is."""
    shop.left()
    shop.source.unlink()
    code, out, err = program("resume")
    assert (code, out) == (1, "")
    assert re.search(r"has its take, .*/takes/.*\.mp4, but no finished file: ", err)


@pytest.mark.parametrize("sign", ["SIGTERM", "SIGINT"])
def test_a_stopped_resume_leaves_the_task(shop, sign):
    """Neither Ctrl-C nor SIGTERM cancels what resume waits for: exit 130, the task runs on."""
    if os.name == "nt":
        pytest.skip("there are no such signals there")
    shop.left(runs=True)
    with start("resume", "--json", cwd=shop.folder) as running:
        assert any('"phase": "running"' in line for line in running.stdout)
        running.send_signal(getattr(signal, sign))
        out, _ = running.communicate(timeout=20)
    assert running.returncode == 130
    assert json.loads(out.splitlines()[-1])["error"] == "Interrupted"
    assert (shop.sandbox.counters.deletes, shop.tasks[0]["status"]) == (0, "RUNNING")


# cancel, export


def test_cancel(shop, program, told, monkeypatch):
    """On runway the task ends; on cometapi it is refused, for it runs on."""
    task_id = shop.left(runs=True)
    assert program("cancel", task_id)[:2] == (0, f"Task {task_id} was cancelled\n")
    assert shop.sandbox.counters.deletes == 1
    for name, value in shop.served.env("cometapi").items():
        monkeypatch.setenv(name, value)
    task_id = shop.left(provider="cometapi", runs=True)
    code, lines = told("cancel", task_id)
    assert (code, lines[-1]["error"], "has no cancel" in lines[-1]["message"]) == (2, "WrongUse", True)


def test_cancel_of_a_finished_task_fetches_it(shop, told):
    """What has finished is brought home, and told as that."""
    task_id = shop.left()
    code, (last,) = told("cancel", task_id)
    assert (code, last["phase"], last["state"], Path(last["take"]).is_file()) == (0, "result", "stored", True)


def test_export(shop, program, told, clip):
    """The finished file, or the take untouched; an existing output is exit 2, unless forced."""
    digest = shop().digest[:12]
    code, out, err = program("export", digest, "-o", "out.mp4")
    assert (code, out, "nothing spent in this run" in err) == (0, "out.mp4\n", True)
    assert program("export", digest, "-o", "raw.mp4", "--untouched")[0] == 0
    assert (shop.folder / "raw.mp4").read_bytes() == clip.read_bytes()
    (shop.folder / "mine.mp4").write_text("mine")
    assert program("export", digest, "-o", "mine.mp4")[0] == 2
    code, lines = told("export", digest, "-o", "mine.mp4", "--force")
    assert (code, lines[-1]["phase"], lines[-1]["spent"]) == (0, "result", 0)


@pytest.mark.parametrize("args", [("export", "abcdef", "-o", "x.mp4"), ("cancel", "abcdef"), ("attach", "abcdef", "t")])
def test_an_unknown_order_is_exit_2(shop, program, args):
    """One line that says what there is."""
    digest = shop().digest
    code, out, err = program(*args)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"The newest are {digest[:12]}" in err


# spend, gc


def test_spend_says_that_sandboxes_are_left_out(shop, program, told):
    """An order that was played here is no spending, and the line says why it is not there."""
    shop()
    assert NO_SANDBOX in program("spend")[1]
    assert NO_SANDBOX in told("spend")[1][-1]["note"]


def test_spend_sums(shop, program, told):
    """By provider and model, and in all; since a day, or so long ago."""
    with real_row(shop, "dusk") as (ledger, _, row):
        ledger.move(row, "succeeded", cost=60.0)
    with real_row(shop, "dawn", task_id="task-2"):
        pass
    _, out, _ = program("spend")
    assert out.splitlines()[1].split() == ["runway", "aleph2", "2", "4", "60", "56"]
    assert "60 credits charged, $0.60 of them at Runway's price; up to 56 more" in out
    assert NO_SANDBOX in out
    _, (line, last) = told("spend", "--since", "7d")
    assert (line["phase"], line["calls"], last["charged"], last["dollars"]) == ("spend", 2, 60, 0.6)
    tomorrow = f"{datetime.now().astimezone() + timedelta(days=1):%Y-%m-%d}"
    assert program("spend", "--since", tomorrow)[1].startswith(f"Nothing was spent since {tomorrow} 00:00")


def test_gc_says_before_it_frees(shop, program, told):
    """Without --yes nothing is freed; with it finished files are, takes never."""
    (take,) = shop().takes
    results = shop.settings().data_dir / "results"
    code, out, _ = program("gc")
    assert (code, "nothing was freed: add --yes" in out, len(list(results.iterdir()))) == (0, True, 1)
    code, (item, last) = told("gc", "--yes")
    assert (code, item["phase"], last["files"], last["done"]) == (0, "garbage", 1, True)
    assert (list(results.iterdir()), take.path.is_file()) == ([], True)


@pytest.mark.parametrize(
    "args",
    [("--takes",), ("--older-than", "90d"), ("--takes", "--older-than", "soon"), ("--takes", "--older-than", "9")],
)
def test_gc_frees_takes_by_age_only(shop, program, args):
    """Takes need an age, and the age a unit; nothing is freed by half an order."""
    (take,) = shop().takes
    code, _, err = program("gc", *args, "--yes")
    assert (code, err.count("\n"), take.path.is_file()) == (2, 1, True)


# doctor


def test_doctor_tells_of_the_ledger(shop, program):
    """Where it is, on which file system, how many calls are open; before the first order that there is none yet."""
    assert "not there yet" in program("doctor")[1]
    shop.left(runs=True)
    code, out, _ = program("doctor")
    (line,) = [line for line in out.splitlines() if "ledger" in line.split()[:2]]
    assert code == 0
    assert line.startswith("ok ")
    assert str(shop.settings().data_dir / "ledger.db") in line
    assert "1 call open: see runway-node tasks" in line


def test_doctor_says_no_to_a_bad_ledger(shop, program):
    """A file that is no ledger is a NO with its line, and it is not touched."""
    file = shop.settings().data_dir / "ledger.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 1000)
    code, out, err = program("doctor")
    (line,) = [line for line in out.splitlines() if "ledger" in line.split()[:2]]
    assert (code, err, line.startswith("NO ")) == (1, "Missing: ledger\n", True)
    assert "is no ledger, or is damaged" in line
    assert file.read_bytes() == b"no database" * 1000


def test_doctor_says_no_to_a_network_file_system(shop, program, monkeypatch):
    """A data folder on a network file system is found before the first order."""
    monkeypatch.setattr("runway_node.ledger.database.file_system", lambda _: "nfs4")
    code, out, _ = program("doctor")
    assert (code, "network file system (nfs4)" in out) == (1, True)


# ages and moments


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("7d", 168), ("2w", 336), ("1.5d", 36), (" 90 D ", 2160), ("0h", 0)]
)
def test_ages(text, hours):
    """Hours, days and weeks."""
    assert flags.age(text, "--older-than") == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 months", "soon", "9" * 30 + "d"])
def test_what_is_no_age(text):
    """What has no unit, or is too long for a calendar, is wrong use."""
    with pytest.raises(WrongUse):
        flags.age(text, "--older-than")


def test_moments():
    """A day is local midnight; an age counts back from now; all else is wrong use."""
    now = datetime.now().astimezone()
    assert flags.since("2026-11-01", now).replace(tzinfo=None) == datetime(2026, 11, 1)  # noqa: DTZ001 - local
    assert flags.since("2026-11-01T18:00", now).hour == 18
    assert flags.since("7d", now) == now - timedelta(days=7)
    for text in ("", "noon", "2026-13-01", "99999999d"):
        with pytest.raises(WrongUse):
            flags.since(text, now)
