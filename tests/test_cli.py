"""The program: exit codes, what stands on stdout, one-line errors. Against a sandbox, over real sockets."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from runway_node.cli import flags, output
from runway_node.cli.footage import make_clip
from runway_node.cli.output import unsigned
from runway_node.errors import WrongUse
from runway_node.models import Event
from runway_node.sandbox import Fault

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "the same road at dusk"


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    """Two seconds with picture and sound."""
    path = tmp_path_factory.mktemp("clips") / "small.mp4"
    make_clip(path, Fraction(2))
    return path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No key, no settings file, a data folder and a current folder of the test's own."""
    for name in list(os.environ):
        if name.startswith(("RUNWAY_NODE_", "RUNWAYML_", "COMETAPI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUNWAY_NODE_SETTINGS", str(tmp_path / "none.toml"))
    monkeypatch.setenv("RUNWAY_NODE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "0.05")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def keyed(bare, monkeypatch, runway_sandbox):
    """A key for `runway`, played by the sandbox."""
    for name, value in runway_sandbox.env("runway").items():
        monkeypatch.setenv(name, value)
    return runway_sandbox


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


# run


def test_run_writes_the_result_and_prints_its_path(keyed, program, small_clip, tmp_path):
    """A run ends with 0, and stdout is the result's path, alone."""
    code, out, err = program("run", small_clip, "-p", PROMPT, "-o", tmp_path / "out.mp4")
    assert (code, out) == (0, f"{tmp_path / 'out.mp4'}\n")
    assert (tmp_path / "out.mp4").stat().st_size > 1000
    assert "running" in err
    assert "56 credits" in err


def test_the_task_id_is_told(keyed, program, small_clip, tmp_path):
    """Whoever loses the result can ask the provider for it: its id stands on stderr."""
    _, _, err = program("run", small_clip, "-p", PROMPT, "-o", tmp_path / "out.mp4")
    assert keyed.sandbox.state()["tasks"][0]["id"] in err


def test_cometapi_is_a_flag_away(bare, runway_sandbox, monkeypatch, program, small_clip, tmp_path):
    """With both keys, --provider decides."""
    for provider in ("runway", "cometapi"):
        for name, value in runway_sandbox.env(provider).items():
            monkeypatch.setenv(name, value)
    code, _, _ = program("run", small_clip, "-p", PROMPT, "--provider", "cometapi", "-o", tmp_path / "out.mp4")
    assert code == 0
    assert runway_sandbox.sandbox.state()["tasks"][0]["provider"] == "cometapi"


def test_json_is_all_that_stands_on_stdout(keyed, program, small_clip, tmp_path):
    """Under --json every line of stdout is an object with a phase, the last the result; stderr is silent."""
    code, out, err = program("run", small_clip, "-p", PROMPT, "-o", tmp_path / "out.mp4", "--json")
    phases = [line["phase"] for line in lines(out)]
    assert (code, err) == (0, "")
    assert phases[0] == "planned"
    assert phases[-1] == "result"
    assert {"submitted", "running", "done"} <= set(phases)
    assert lines(out)[-1]["path"] == str(tmp_path / "out.mp4")


def test_json_tells_an_error_too(bare, program, small_clip):
    """Under --json an error is the last line on stdout, with class and exit code."""
    code, out, _ = program("run", small_clip, "-p", PROMPT, "--json")
    last = lines(out)[-1]
    assert (code, last["phase"], last["error"], last["exit_code"]) == (2, "error", "SettingsError", 2)
    assert last["task_id"] is None


def test_no_link_and_no_key_is_shown(keyed, program, small_clip, tmp_path, monkeypatch):
    """Neither key nor signed link appears, not even under --debug."""
    _, out, err = program("run", small_clip, "-p", PROMPT, "-o", tmp_path / "out.mp4", "--json", "--debug")
    assert keyed.env("runway")["RUNWAYML_API_SECRET"] not in out + err
    assert "_jwt=" not in out + err


# what goes wrong


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-p", ""], 2, "prompt"),
        (["-p", PROMPT, "--seed", "-1"], 2, "seed"),
        (["-p", PROMPT, "--provider", "other"], 2, "provider"),
        (["-p", PROMPT, "--model", "gen4_aleph"], 2, "retired"),
        (["-p", PROMPT, "--reference", "still.png"], 2, "references"),
        (["-p", PROMPT, "--reference", "http://example.com/still.png"], 2, "https"),
        (["-p", PROMPT, "--keyframe", "still.png"], 2, "WHEN=PICTURE"),
        (["-p", PROMPT, "--start", "noon"], 2, "--start"),
        (["-p", PROMPT, "--start", "5"], 2, "no frame"),
        (["-p", PROMPT, "--on-timeout", "weep"], 2, "on_timeout"),
        (["-p", PROMPT, "--delete-remote", "now"], 2, "delete_remote"),
        (["-p", PROMPT, "--key", ""], 2, "key"),
    ],
)
def test_wrong_use_is_one_line_and_sends_nothing(keyed, program, small_clip, args, code, words):
    """What is wrong is told in one line, with the exit code of its kind, and nothing is sent or written."""
    found, out, err = program("run", small_clip, "-o", "out.mp4", *args)
    assert (found, out) == (code, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert words in err
    assert keyed.sandbox.counters.creates == 0
    assert not Path("out.mp4").exists()


@pytest.mark.parametrize(
    ("args", "words"), [(["--max-credits", "10"], "--max-credits 56"), (["--max-seconds", "1"], "--max-seconds 2")]
)
def test_over_a_limit_is_exit_3_and_sends_nothing(keyed, program, small_clip, args, words):
    """What was planned is told, then the one line with the flag that raises the limit; nothing is sent or written."""
    found, out, err = program("run", small_clip, "-o", "out.mp4", "-p", PROMPT, *args)
    planned, *table, error = err.splitlines()
    assert table[0].startswith("call")
    assert (found, out, planned.startswith("planned: 2 s")) == (3, "", True)
    assert error.startswith("Error: ")
    assert words in error
    assert keyed.sandbox.counters.creates == 0
    assert not Path("out.mp4").exists()


def test_no_key_names_both_variables_and_the_demo(bare, program, small_clip):
    """Without a key the error says which to set, and how to try it without."""
    code, _, err = program("run", small_clip, "-p", PROMPT)
    assert code == 2
    assert all(word in err for word in ("COMETAPI_KEY", "RUNWAYML_API_SECRET", "runway-node demo"))


def test_a_missing_clip_is_wrong_use(keyed, program):
    """A clip that is not there is exit 2."""
    code, _, err = program("run", "nowhere.mp4", "-p", PROMPT)
    assert (code, err.count("\n")) == (2, 1)


def test_an_existing_output_is_refused(keyed, program, small_clip, tmp_path):
    """An output that exists is left alone, before anything is sent."""
    out = tmp_path / "out.mp4"
    out.write_text("mine")
    code, _, err = program("run", small_clip, "-p", PROMPT, "-o", out)
    assert (code, out.read_text()) == (2, "mine")
    assert "--force" in err
    assert keyed.sandbox.counters.creates == 0


def test_force_overwrites(keyed, program, small_clip, tmp_path):
    """With --force the output is replaced."""
    out = tmp_path / "out.mp4"
    out.write_text("mine")
    code, _, _ = program("run", small_clip, "-p", PROMPT, "-o", out, "--force")
    assert (code, out.stat().st_size > 1000) == (0, True)


def test_a_refused_order_is_exit_1(keyed, program, small_clip):
    """What the provider refuses is exit 1, in its words."""
    keyed.sandbox.add(Fault(where="create", kind="status", status=400, message="That clip will not do."))
    code, _, err = program("run", small_clip, "-p", PROMPT, "-o", "out.mp4")
    assert code == 1
    assert "That clip will not do." in err


def test_a_failed_task_is_exit_1_with_its_id(keyed, program, small_clip):
    """A task that fails is exit 1; under --json its id is in the error."""
    keyed.sandbox.add(Fault(where="create", kind="failed", code="SAFETY.INPUT.TEXT"))
    code, out, _ = program("run", small_clip, "-p", PROMPT, "-o", "out.mp4", "--json")
    last = lines(out)[-1]
    assert (code, last["error"], last["exit_code"]) == (1, "Moderated", 1)
    assert last["task_id"] == keyed.sandbox.state()["tasks"][0]["id"]


def test_an_unclear_answer_is_exit_4(keyed, program, small_clip):
    """An order whose answer was lost is exit 4, and was sent once."""
    keyed.sandbox.add(Fault(where="create", kind="reset"))
    code, _, err = program("run", small_clip, "-p", PROMPT, "-o", "out.mp4")
    assert code == 4
    assert "may have been billed" in err
    assert keyed.sandbox.counters.creates == 1


def test_debug_shows_the_traceback(bare, program, small_clip):
    """--debug adds the traceback to the one line."""
    code, _, err = program("run", small_clip, "-p", PROMPT, "--debug")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("Error: ")


def test_an_unknown_flag_is_exit_2(program):
    """Typer's own refusals are wrong use too."""
    assert program("run", "--nonsense")[0] == 2


# plan, models, doctor


def test_plan_needs_no_key(bare, program, small_clip):
    """Without a key, plan tells the price."""
    code, out, _ = program("plan", small_clip, "-p", PROMPT)
    assert code == 0
    assert "56 credits, $0.56" in out


def test_plan_sends_nothing(keyed, program, small_clip):
    """The provider hears nothing of a plan."""
    code, out, _ = program("plan", small_clip, "-p", PROMPT, "--json")
    assert (code, lines(out)[-1]["credits"]) == (0, 56)
    assert keyed.sandbox.counters.creates + keyed.sandbox.counters.uploads == 0


def test_models_says_where_to_add_one(bare, program, tmp_path):
    """The table has both providers' models and names the settings file."""
    code, out, _ = program("models")
    assert code == 0
    assert all(word in out for word in ("aleph2", "gen4_aleph", "retired", str(tmp_path / "none.toml")))


def test_models_shows_a_row_of_ones_own(bare, program, tmp_path):
    """A row in the settings file is in the table."""
    text = '[[models]]\nprovider = "runway"\nname = "aleph9"\nseconds_max = 60\n'
    (tmp_path / "none.toml").write_text(text, encoding="utf-8")
    assert "aleph9" in program("models")[1]


def test_doctor_is_content_with_a_key(keyed, program):
    """With all in place doctor ends with 0 and tells the balance, never the key."""
    code, out, err = program("doctor")
    assert code == 0
    assert "100000 credits" in out
    assert keyed.env("runway")["RUNWAYML_API_SECRET"] not in out + err
    assert keyed.sandbox.counters.creates == 0


def test_doctor_misses_a_key(bare, program):
    """Without a key doctor ends with 1 and says what is missing."""
    code, _, err = program("doctor")
    assert (code, err) == (1, "Missing: provider\n")


def test_doctor_sees_a_refused_key(keyed, program, monkeypatch):
    """A key that the provider refuses is found free of charge."""
    monkeypatch.setenv("RUNWAYML_API_SECRET", "wrong-key")
    code, out, err = program("doctor")
    assert (code, err) == (1, "Missing: balance\n")
    assert "wrong-key" not in out


def test_doctor_spend_asks_first(keyed, program, monkeypatch):
    """Without a yes, --spend shows the price and orders nothing."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = program("doctor", "--spend")
    assert code == 1
    assert "56 credits, $0.56" in err
    assert keyed.sandbox.counters.creates == 0


def test_doctor_spend_writes_a_report_without_secrets(keyed, program):
    """--spend --yes makes one order and leaves a report that holds neither key nor link."""
    code, _, _ = program("doctor", "--spend", "--yes")
    text = Path("runway-node-report.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert (code, keyed.sandbox.counters.accepted) == (0, 1)
    assert [file["frames"] for file in report["files"]] == [50, 50]
    assert program("doctor", "--spend", "--yes")[0] == 0
    assert keyed.sandbox.counters.accepted == 2, "what is asked for anew is ordered anew, not taken from the ledger"
    assert {"queued", "running"} & {event["phase"] for event in report["events"]}
    assert keyed.env("runway")["RUNWAYML_API_SECRET"] not in text
    assert "://" not in text


# sandbox, demo, the program itself


def start(*args, cwd, **env):
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", "runway_node", *map(str, args)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**here, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


def test_sandbox_tells_where_and_what_to_export(bare, tmp_path):
    """`sandbox` prints its address and both providers' variables, and ends at Ctrl-C."""
    if os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process there")
    with start("sandbox", "--json", cwd=tmp_path) as served:
        line = json.loads(served.stdout.readline())
        served.send_signal(signal.SIGINT)
        _, err = served.communicate(timeout=20)
    assert line["url"].startswith("http://127.0.0.1:")
    assert line["env"]["cometapi"]["COMETAPI_BASE_URL"] == line["url"]
    assert (served.returncode, err) == (0, "")


def test_sandbox_refuses_a_fault_that_is_none(bare, program):
    """A fault that does not exist is one line."""
    code, _, err = program("sandbox", "--fault", '{"where": "poll", "kind": "earthquake"}')
    assert (code, err.count("\n")) == (2, 1)
    assert "earthquake" in err


@pytest.mark.slow
def test_demo_leaves_three_clips_and_can_be_run_again(bare, program, tmp_path, monkeypatch):
    """`demo` needs no key, ignores a broken environment, and a second time, with a clip of one's own, works too."""
    monkeypatch.setenv("RUNWAYML_API_SECRET", "canary-key")
    monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "not a number")
    code, out, err = program("demo")
    names = ["before.mp4", "result.mp4", "side-by-side.mp4"]
    folder = tmp_path / "runway-node-demo"
    assert code == 0
    assert all(str(folder / name) in out and (folder / name).stat().st_size > 1000 for name in names)
    assert "canary-key" not in out + err
    shutil.copy(folder / "before.mp4", tmp_path / "mine.mp4")
    assert program("demo", "mine.mp4")[0] == 0


def test_term_leaves_the_task_running(keyed, small_clip, tmp_path):
    """SIGTERM ends the program with 130; the paid task goes on."""
    if os.name == "nt":
        pytest.skip("there is no SIGTERM there")
    keyed.sandbox.add(Fault(where="create", kind="hangs", seconds=60))
    args = ("run", small_clip, "-p", PROMPT, "-o", "out.mp4", "--json")
    with start(*args, cwd=tmp_path) as running:
        assert any('"phase": "running"' in line for line in running.stdout)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert lines(out)[-1]["error"] == "Interrupted"
    assert err.count("\n") == 1
    assert keyed.sandbox.state()["tasks"][0]["status"] == "RUNNING"


def test_ctrl_c_cancels_the_task(keyed, small_clip, tmp_path):
    """Ctrl-C ends the program with 130, and the task is cancelled at the provider."""
    if os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process there")
    keyed.sandbox.add(Fault(where="create", kind="hangs", seconds=60))
    args = ("run", small_clip, "-p", PROMPT, "-o", "out.mp4", "--json")
    with start(*args, cwd=tmp_path) as running:
        assert any('"phase": "running"' in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert (lines(out)[-1]["phase"], err.count("\n")) == ("error", 1)
    assert keyed.sandbox.counters.deletes == 1


def test_help_is_quick(tmp_path):
    """`--help` loads none of the heavy modules that typer itself does not load."""
    code = (
        "import sys; sys.argv = ['runway-node', 'run', '--help']\n"
        "from runway_node.cli import main\n"
        "heavy = 'av httpx numpy moviepy rich sqlalchemy psutil'.split()\n"
        "try: main()\n"
        "except SystemExit: print([n for n in heavy if n in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_does_not_stop_a_paid_order(keyed, small_clip, tmp_path):
    """With nobody reading stdout any more, the order is still carried out."""
    args = ("run", small_clip, "-p", PROMPT, "-o", "out.mp4", "--json")
    with start(*args, cwd=tmp_path) as running:
        running.stdout.close()
        assert running.wait(60) == 0
    assert (tmp_path / "out.mp4").stat().st_size > 1000


# flags as values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", Fraction(25, 2)), ("1:02.5", Fraction(125, 2)), ("01:00:00.040", 3600 + Fraction(1, 25)), ("0", 0)],
)
def test_times_are_exact(text, seconds):
    """A time is a fraction from the first digit on: frames are counted by it."""
    assert flags.moment(text, "--start") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:75", "1:60:00", "noon", "1e3", "nan"])
def test_what_is_no_time_is_refused(text):
    """What is neither seconds nor hh:mm:ss is wrong use."""
    with pytest.raises(WrongUse):
        flags.moment(text, "--start")


def test_keyframes_are_read():
    """Moment, share and range come out as they were written; an = in the name stays in the name."""
    first, second = flags.keyframe("2.5s@2-5=a=b.png"), flags.keyframe("50%=https://example.com/still.png")
    assert (first.seconds, first.range, first.picture.path) == (2.5, (2, 5), Path("a=b.png"))
    assert (second.at, second.range, second.picture.url) == (0.5, None, "https://example.com/still.png")


def test_links_lose_their_signature():
    """What is shown of a link ends before its query."""
    text = unsigned("GET https://host/outputs/a.mp4?_jwt=secret done")
    assert text == "GET https://host/outputs/a.mp4?(cut) done"


def test_a_broken_stderr_changes_no_exit_code(keyed, small_clip, tmp_path):
    """Exit 4 stays 4, and the JSON line is there, where nobody reads what is written for a person."""
    keyed.sandbox.add(Fault(where="create", kind="reset"))
    command = [sys.executable, "-m", "runway_node", "run", str(small_clip), "-p", PROMPT, "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=here, stdout=subprocess.PIPE, stderr=writer, check=False)
    os.close(writer)
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["error"]) == (4, "Ambiguous")


def test_a_relative_folder_in_the_settings_file_is_one_place(bare, tmp_path, monkeypatch):
    """Below the file, not below whatever folder the program is started in; "~" is the home folder."""
    from runway_node.settings import load_settings

    (tmp_path / "none.toml").write_text('data_dir = "mine"')
    monkeypatch.delenv("RUNWAY_NODE_DATA_DIR")
    assert load_settings().data_dir == tmp_path / "mine"
    assert load_settings(data_dir="~/mine").data_dir == Path.home() / "mine"


def test_a_long_write_is_told_again_without_a_screen(monkeypatch, capsys):
    """Where no bar can be drawn, work that lasts is told again, and how much of it is done."""
    monkeypatch.setattr(output, "REPEAT_AFTER", 0.0)
    show = output.Show(json=False, debug=False)
    for done in (0.0, 0.5):
        show.event(Event(phase="joining", message="writing the film", fraction=done))
    assert capsys.readouterr().err.splitlines() == ["joining: writing the film", "joining: writing the film, 50%"]
