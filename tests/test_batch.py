"""A batch: rows checked and priced first, rendered side by side, stopped where the next would fare no better."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from runway_node.batch import Halting
from runway_node.batch.halting import reason
from runway_node.batch.work import failed
from runway_node.errors import KeyRefused, Moderated, OutOfCredits, RateLimited, StillRunning, TaskFailed
from runway_node.media.probe import probe
from runway_node.sandbox import Fault

from .batches import desk_fixture  # noqa: F401 - a fixture

INPUT_REFUSED = Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT", times=99)


def test_each_row_becomes_a_file_named_by_its_vars(desk):
    """Every row's result is there under the name that the template gives it."""
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "snow"))
    assert code == 0
    assert sorted(path.name for path in desk.out.glob("*.mp4")) == ["a-dusk.mp4", "b-snow.mp4"]
    assert [row["status"] for row in results] == ["done", "done"]


def test_without_a_name_and_a_clip_the_number_names_it(desk):
    """A template that says no name, and has no file among its vars, names its results by their rows."""
    text = desk.template.read_text().replace('output: {name: "${clip}-${look}"}', "")
    desk.template.write_text(text.replace("  clip: {type: path}\n", "").replace('"${clip}"', "a.mp4"))
    code, _ = desk(("dusk",), ("snow",), heads=("look",))
    assert code == 0, desk.noted
    assert sorted(path.name for path in desk.out.glob("*.mp4")) == ["look-1.mp4", "look-2.mp4"]


def test_results_are_the_rows_and_what_came_of_them(desk):
    """results.csv has the rows' own columns, and status, output, take, cost, spent and error."""
    _, results = desk(("a.mp4", "dusk", "keep me"), heads=("clip", "look", "note"))
    assert list(results[0]) == ["clip", "look", "note", "status", "output", "take", "cost", "spent", "error"]
    assert (results[0]["note"], results[0]["cost"]) == ("keep me", "56")
    assert results[0]["take"].endswith(".mp4")


def test_a_second_time_nothing_is_rendered(desk):
    """The same command again orders nothing, and writes no file anew."""
    desk(("a.mp4", "dusk"))
    made = (desk.out / "a-dusk.mp4").stat().st_mtime_ns
    before = dict(desk.sandbox.counters.__dict__)
    code, results = desk(("a.mp4", "dusk"))
    assert (code, results[0]["status"]) == (0, "done")
    assert (desk.out / "a-dusk.mp4").stat().st_mtime_ns == made
    assert dict(desk.sandbox.counters.__dict__) == before


def test_only_what_is_missing_is_rendered(desk):
    """A row that was added is the only one that is paid."""
    desk(("a.mp4", "dusk"))
    code, _ = desk(("a.mp4", "dusk"), ("b.mp4", "dusk"))
    assert code == 0
    assert desk.creates == 2


def test_a_lost_file_is_made_again_for_nothing(desk):
    """An output that was removed comes back from the owned take."""
    desk(("a.mp4", "dusk"))
    (desk.out / "a-dusk.mp4").unlink()
    code, _ = desk(("a.mp4", "dusk"))
    assert code == 0
    assert (desk.out / "a-dusk.mp4").exists()
    assert desk.creates == 1


def test_a_moved_clip_is_the_same_row(desk):
    """A row counts by its clip's content, not by its date."""
    desk(("a.mp4", "dusk"))
    (desk.folder / "a.mp4").touch()
    code, results = desk(("a.mp4", "dusk"))
    assert (code, results[0]["status"]) == (0, "done")


def test_one_bad_row_does_not_stop_the_others(desk):
    """A row without its clip is told by its number; the other one is rendered; the exit code says so."""
    code, results = desk(("missing.mp4", "dusk"), ("a.mp4", "dusk"))
    assert code == 2
    assert [row["status"] for row in results] == ["invalid", "done"]
    assert "row 1: " in desk.noted


def test_nothing_is_paid_before_all_rows_are_checked(desk):
    """With a row that is over the limit of paid seconds the dry run and the run say so before any order."""
    code, results = desk(("a.mp4", "dusk"), flags=["--max-seconds", "1"])
    assert (code, results[0]["status"]) == (3, "refused")
    assert desk.creates == 0


@pytest.mark.parametrize(
    ("flag", "most", "told"),
    [("--max-credits", "100", "cost 112 credits"), ("--max-seconds", "3", "order 4 s of paid video")],
)
def test_the_whole_batch_has_a_limit(desk, flag, most, told):
    """Its limits count all rows together, and refuse before the first order."""
    code, _ = desk(("a.mp4", "dusk"), ("b.mp4", "snow"), flags=[flag, most])
    assert code == 3
    assert f"All rows together {told}, and {flag} allows {most}" in desk.noted
    assert desk.creates == 0


def test_a_templates_own_limit_holds_for_its_step(desk):
    """However much all rows together may order."""
    text = desk.template.read_text().replace('prompt: "${look}"', 'prompt: "${look}", max_seconds: 1')
    desk.template.write_text(text)
    code, results = desk(("a.mp4", "dusk"), flags=["--max-seconds", "100"])
    assert (code, results[0]["status"], desk.creates) == (3, "refused", 0)


@pytest.mark.slow
def test_one_order_of_two_rows_counts_once(desk):
    """Rows that order the same thing are priced, and paid, once."""
    desk.template.write_text(desk.template.read_text().replace("${clip}-${look}", "${clip}"))
    shutil.copyfile(desk.folder / "a.mp4", desk.folder / "twin.mp4")
    code, _ = desk(("a.mp4", "dusk"), ("twin.mp4", "dusk"), flags=["--max-credits", "60"])
    assert code == 0, desk.noted
    assert desk.creates == 1


def test_a_balance_that_is_too_small_is_refused(desk):
    """What the account has is looked at before the first order."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"credits": 60})
    code, _ = desk(("a.mp4", "dusk"), ("b.mp4", "snow"))
    assert code == 3
    assert "needs 112 credits, the account has 60" in desk.noted
    assert desk.creates == 0


def test_remaining_generations_are_looked_at(desk):
    """So is what it may order today."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"daily": 1})
    code, _ = desk(("a.mp4", "dusk"), ("b.mp4", "snow"))
    assert code == 3
    assert "orders 2 calls of aleph2, the account may order 1 more today" in desk.noted


def test_anyway_begins_with_what_there_is(desk):
    """With --anyway what the account can pay is rendered, and the batch stops at the rest."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"credits": 60})
    code, results = desk(("a.mp4", "dusk"), ("b.mp4", "snow"), flags=["--anyway"])
    assert code == 1
    assert sorted(row["status"] for row in results) == ["done", "failed"]
    assert "The batch stopped sending: the account has not enough credits" in desk.noted


def test_a_dry_run_tells_each_row_and_orders_nothing(desk):
    """The table has each row's size, paid calls, owned takes and credits."""
    desk(("a.mp4", "dusk"))
    code, _ = desk(("a.mp4", "night"), ("b.mp4", "snow"), ("none.mp4", "x"), flags=["--dry-run", "--json"])
    rows = [line for line in desk.events() if line["phase"] == "row"]
    assert code == 2
    assert [(row["row"], row["paid_calls"], row["credits"]) for row in rows[:2]] == [(1, 1, 56), (2, 1, 56)]
    assert [(row["width"], row["height"], row["frames"]) for row in rows[:2]] == [(320, 180, 50)] * 2
    assert rows[2]["status"] == "invalid"
    assert desk.creates == 1


def test_an_owned_take_is_told_and_not_priced(desk):
    """A row whose take is owned already costs nothing in the dry run."""
    desk(("a.mp4", "dusk"))
    shutil.rmtree(desk.out)
    desk(("a.mp4", "dusk"), flags=["--dry-run", "--json"])
    row = desk.events()[0]
    assert (row["paid_calls"], row["owned_takes"], row["credits"]) == (0, 1, 0)


def test_a_refused_key_ends_the_sending(desk, monkeypatch):
    """After a refused key the rest of the rows are not sent."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.sandbox.add(Fault(where="create", kind="status", status=401))
    code, results = desk(*(("a.mp4", f"dusk {number}") for number in range(12)))
    assert code == 1
    assert "The batch stopped sending: the key is refused" in desk.noted
    assert sum(row["status"] == "not sent" for row in results) >= 6


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (KeyRefused("no", status=401), "key"),
        (OutOfCredits("no", status=400), "credits"),
        (RateLimited("no", status=429), "no more orders"),
        (Moderated("no", task_id="t", code="SAFETY.INPUT.TEXT"), ""),
        (TaskFailed("no", task_id="t", code="INTERNAL"), ""),
        (StillRunning("no"), ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_ends_the_sending(error, why):
    """Only what the next row would meet as well ends it at once."""
    found = reason(error)
    assert why in found
    assert bool(found) == bool(why)


def test_only_input_refusals_are_counted():
    """What moderation refuses of the results is neither charged nor counted."""
    halting = Halting(2)
    codes = {"SAFETY.OUTPUT": "", "SAFETY.OUTPUT.VIDEO": "", "SAFETY.INPUT": "", "SAFETY.INPUT.TEXT": "2 times"}
    for code, halts in codes.items():
        outcome = failed(1, Moderated("no", task_id=code, code=code), "rude")
        assert halts in halting.judge(outcome)
    assert not halting.judge(failed(1, Moderated("no", task_id="t", code="SAFETY.INPUT"), "another"))


@pytest.mark.slow
def test_input_moderation_stops_after_three(desk, monkeypatch):
    """Three input-moderation refusals of one prompt end the sending: each of them is charged."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.template.write_text(desk.template.read_text().replace('"${clip}-${look}"', '"${seconds}"'))
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(INPUT_REFUSED)
    rows = [("a.mp4", "rude", f"{2 - number / 25}s") for number in range(14)]
    code, results = desk(*rows, heads=("clip", "look", "seconds"))
    failed = sum(row["status"] == "failed" for row in results)
    assert code == 1, desk.noted
    assert "moderation refused one prompt 3 times" in desk.noted
    assert failed < 14
    assert "not sent" in {row["status"] for row in results}


@pytest.mark.slow
def test_what_moderation_refused_is_not_sent_again(desk):
    """The same row again is not sent, for it would be charged again; --retry-refused sends it."""
    desk.sandbox.options = desk.sandbox.options.model_copy(update={"seconds_per_task": 1.0})
    desk.sandbox.add(Fault(where="poll", kind="failed", code="SAFETY.INPUT.TEXT"))
    desk(("a.mp4", "rude"))
    code, results = desk(("a.mp4", "rude"))
    assert (code, desk.creates) == (1, 1)
    assert "--retry-refused" in results[0]["error"]
    assert desk(("a.mp4", "rude"), flags=["--retry-refused"])[0] == 0


@pytest.mark.slow
def test_a_stopped_batch_goes_on_with_the_same_command(desk, monkeypatch):
    """What was not sent is rendered by the same command again."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_CONCURRENCY", "1")
    desk.sandbox.add(Fault(where="create", kind="status", status=401, times=1))
    rows = [("a.mp4", f"dusk {number}") for number in range(12)]
    desk(*rows)
    code, results = desk(*rows)
    assert code == 0
    assert {row["status"] for row in results} == {"done"}
    assert desk.creates == 12


def test_outputs_never_collide(desk):
    """Two rows with one name are both refused, each told of the other, though they differ in case only."""
    code, results = desk(("a.mp4", "Dusk"), ("a.mp4", "dusk"))
    assert code == 2
    assert [row["status"] for row in results] == ["invalid", "invalid"]
    assert "is row 2's too" in results[0]["error"]


def test_an_output_of_another_is_left_alone(desk):
    """A file that the batch did not make is not replaced, and nothing is paid for it."""
    desk.out.mkdir()
    (desk.out / "a-dusk.mp4").write_text("mine")
    code, results = desk(("a.mp4", "dusk"))
    assert (code, results[0]["status"]) == (2, "invalid")
    assert (desk.out / "a-dusk.mp4").read_text() == "mine"
    assert desk.creates == 0


def test_force_replaces_it(desk):
    """With --force it is replaced by the row's result."""
    desk.out.mkdir()
    (desk.out / "a-dusk.mp4").write_text("mine")
    code, _ = desk(("a.mp4", "dusk"), flags=["--force"])
    assert code == 0
    assert probe(desk.out / "a-dusk.mp4").frames == 50


def test_a_changed_template_does_not_replace_silently(desk):
    """A result of other values under the same name is told, and kept."""
    desk(("a.mp4", "dusk"))
    desk.template.write_text(desk.template.read_text().replace('prompt: "${look}"', 'prompt: "${look}, wet"'))
    code, results = desk(("a.mp4", "dusk"))
    assert code == 2
    assert "was made from other values or files" in results[0]["error"]


def test_a_value_never_leads_out_of_the_folder(desk):
    """A name from a cell stays one file's name in the folder."""
    code, results = desk(("a.mp4", "../../escaped"))
    assert code == 0
    assert [path.name for path in desk.out.glob("*.mp4")] == ["a-_.._escaped.mp4"]
    assert not list(desk.folder.parent.glob("*escaped*"))
    assert results[0]["status"] == "done"


def test_rows_may_name_files_of_their_own_folder_only(desk, tmp_path, clip):
    """A clip elsewhere is refused, and the error names the flag that allows its folder."""
    away = tmp_path / "away"
    away.mkdir()
    shutil.copyfile(clip, away / "x.mp4")
    code, results = desk((str(away / "x.mp4"), "dusk"))
    assert code == 2
    assert "--media" in results[0]["error"]
    assert desk((str(away / "x.mp4"), "dusk"), flags=["--media", away])[0] == 0


def test_results_given_back_as_rows_are_the_rows(desk):
    """results.csv is a table of rows itself: its own columns are not taken for cells."""
    desk(("a.mp4", "dusk"))
    shutil.copyfile(desk.out / "results.csv", desk.folder / "again.csv")
    code, _, noted = desk.program("render", desk.template, "--rows", desk.folder / "again.csv", "-o", desk.out)
    assert code == 0
    assert "1 done before" in noted
    assert list(desk.results()[0]) == ["clip", "look", "status", "output", "take", "cost", "spent", "error"]


def test_jsonl_rows_keep_their_types(desk):
    """A number in a JSON line is a number."""
    rows = desk.folder / "rows.jsonl"
    rows.write_text(json.dumps({"clip": "a.mp4", "seconds": 1}) + "\n")
    code, _, _ = desk.program("render", desk.template, "--rows", rows, "-o", desk.out)
    assert code == 0
    assert probe(desk.out / "a-dusk.mp4").frames == 25


@pytest.mark.slow
def test_a_folder_is_rows_too(desk):
    """Each clip of a folder is a row of a template with one path var."""
    code, _, _ = desk.program("render", desk.template, "--rows", desk.folder, "-o", desk.out)
    assert code == 0
    assert sorted(path.name for path in desk.out.glob("*.mp4")) == ["a-dusk.mp4", "b-dusk.mp4", "c-dusk.mp4"]


def test_rows_have_a_folder_of_their_own(desk, monkeypatch):
    """Without -o they go to a folder by the template's name, also the second time; nothing lies among the sources."""
    monkeypatch.chdir(desk.folder)
    words = ("render", desk.template, "--rows", desk.table(("a.mp4", "dusk")))
    assert desk.program(*words)[0] == 0
    assert (desk.folder / "look-out" / "a-dusk.mp4").exists()
    assert {path.name for path in desk.folder.glob("*.mp4")} == {"a.mp4", "b.mp4", "c.mp4"}
    assert "1 done before" in desk.program(*words)[2]


def test_events_are_json_lines_with_their_row(desk):
    """--json tells each event with its row, each row's end, and a result at last."""
    desk(("a.mp4", "dusk"), ("b.mp4", "snow"), flags=["--json"])
    lines = desk.events()
    assert {line["row"] for line in lines if "row" in line} == {1, 2}
    assert (lines[-1]["phase"], lines[-1]["done"], lines[-1]["spent"]) == ("result", 2, 112)


def test_one_render_without_rows(desk):
    """Without a table -o may name the file, and --set gives the vars."""
    out = desk.folder / "one.mp4"
    code, said, _ = desk.program("render", desk.template, "--set", f"clip={desk.folder / 'a.mp4'}", "-o", out)
    assert (code, said.strip()) == (0, str(out))
    assert probe(out).frames == 50


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--set", "clpi=a.mp4"], "did you mean clip?"),
        (["--set", "clip"], "is not NAME=VALUE"),
        ([], "The var clip must be given. Add --set clip=..."),
        (["--set", "clip=a.mp4", "--set", "seconds=long"], "is no time"),
    ],
)
def test_a_wrong_value_is_one_line(desk, given, told):
    """A wrong --set is told in one line, with exit code 2."""
    code, _, noted = desk.program("render", desk.template, *given, "-o", desk.folder / "x.mp4")
    assert code == 2
    assert told in noted


def test_a_column_that_is_nearly_a_var_is_told(desk):
    """A misspelt column would leave a default in all films; other columns may be there."""
    code, _ = desk(("a.mp4", "dusk"), heads=("clip", "loook"))
    assert code == 2
    assert "Name it look" in desk.noted
    assert desk(("a.mp4", "mine"), heads=("clip", "note"))[0] == 0


def test_columns_are_parted_by_commas(desk):
    """A table of another habit is told as that."""
    code, _ = desk(("a.mp4;dusk",), heads=("clip;look",))
    assert code == 2
    assert "parted by ';'" in desk.noted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "film.txt"], "ends in none of .mp4"),
        (["--detach"], "Add --engine dbos"),
        (["--engine", "dboss"], "neither threads nor dbos"),
        (["--database", "mysql://x/y"], "names mysql"),
    ],
)
def test_a_wrong_flag_is_one_line_and_pays_nothing(desk, words, told):
    """A flag that cannot be meant is told once, before any row."""
    code, _, noted = desk.program("render", desk.template, "--set", f"clip={desk.folder / 'a.mp4'}", *words)
    assert code == 2
    assert noted.count("Error: ") == 1
    assert told in noted
    assert desk.creates == 0


@pytest.mark.parametrize("missing", ["dbos", "psycopg"])
def test_a_dry_run_tells_that_the_queue_cannot_be_had(desk, monkeypatch, missing):
    """Without DBOS, or its driver where there is a server, a dry run says in one line what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setenv("RUNWAY_NODE_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    code, _ = desk(("a.mp4", "dusk"), flags=["--engine", "dbos", "--dry-run"])
    assert code
    assert desk.noted.count("Error: ") == desk.noted.count("\n") == 1
    assert "pip install 'runway-node[" in desk.noted


def test_a_missing_key_is_told_before_anything(desk, monkeypatch):
    """Without a key a dry run works, and a run says what to set."""
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    assert desk(("a.mp4", "dusk"), flags=["--dry-run"])[0] == 0
    assert desk(("a.mp4", "dusk"))[0] == 2
    assert "RUNWAYML_API_SECRET" in desk.noted


@pytest.mark.slow
def test_rows_are_ordered_as_they_stand(desk, monkeypatch):
    """Row 1 is ordered first, and each one after it in the table's order; here where one core prepares them."""
    monkeypatch.setattr("runway_node.batch.running.cores", lambda: 1)
    monkeypatch.setattr("runway_node.batch.starts.HEAD_START", 60.0)
    rows = [("a.mp4", f"dusk {number}") for number in range(9)]
    code, _ = desk(*rows, flags=["--json"])
    assert code == 0
    assert [line["row"] for line in desk.events() if line["phase"] == "submitted"] == list(range(1, 10))
