"""The program and batches: `worker` and `batch`, their words, exit codes and JSON; with make-believe work."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from runway_node.batch.durable import Durable, queue, workers
from runway_node.cli import batches
from runway_node.settings import load_settings

from .batch_worker import worker

pytestmark = pytest.mark.slow  # a queue polls, workers are processes


@pytest.fixture(autouse=True)
def hasty(monkeypatch, tmp_path):
    """A worker looks often, and its rows are make-believe."""
    monkeypatch.setattr(queue, "POLL", 0.05)
    monkeypatch.setattr(workers, "BEAT", 0.1)
    monkeypatch.setattr(batches, "work_of", lambda *_: worker(tmp_path))


def enqueue(batch="film", count=3, **values):
    with Durable(load_settings()) as durable:
        durable.enqueue(batch, [{"row": row, **values} for row in range(1, count + 1)])


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_a_worker_drains(program):
    """`worker --drain` does what is there, tells each row, and ends with 0."""
    enqueue()
    code, out, err = program("worker", "--drain", "--at-once", "2")
    assert (code, out) == (0, "Rows: 3 done\n")
    assert err.count("done out-") == 3


def test_what_completes_the_table_is_told(program):
    """Workers write no results.csv: a worker that ends, and `batch status`, say what does."""
    enqueue(count=1)
    assert "give the same render command again" in program("worker", "--drain")[2]
    assert "give the same render command again" in program("batch", "status")[1]


def test_json_is_all_that_stdout_holds(program):
    """Under `--json` each change is a line, and the last one the result; stderr is empty: DBOS prints nothing."""
    enqueue(count=1)
    code, out, err = program("worker", "--until-done", "film", "--json")
    assert (code, err) == (0, "")
    assert [line["phase"] for line in lines(out)] == ["serving", "begun", "ended", "result"]
    assert lines(out)[-1]["rows"] == {"done": 1}


def test_a_failed_row_is_the_exit_code(program, tmp_path):
    """A batch with a row that failed ends with the worst row's code."""
    (tmp_path / "bad").touch()
    enqueue(fails=str(tmp_path / "bad"))
    assert program("worker", "--until-done", "film")[0] == 1
    code, out, _ = program("batch", "status", "film")
    assert code == 0
    assert out.count("it failed") == 3


def test_the_worst_of_several():
    """130 before 4 before 3 before 1; what is done does not count, what is not done is 1 at least."""
    from runway_node.batch.durable import Row

    def rows(*codes):
        return tuple(Row("b", n, 1, "failed" if code else "done", outcome={"exit_code": code}) for n, code in codes)

    assert batches.worst(rows((1, 1), (2, 3), (3, 4), (4, 0))) == 4
    assert batches.worst(rows((1, 130), (2, 4))) == 130
    assert batches.worst(rows((1, 0))) == 0
    assert batches.worst((Row("b", 1, 1, "cancelled"),)) == 1


def test_cancel_and_resume_in_words(program):
    """`batch cancel` takes the only open batch, `batch resume` the only stopped one; `status` says what goes on how."""
    enqueue()
    code, out, _ = program("batch", "cancel")
    assert (code, out) == (0, "Batch film: 3 rows will not be begun\n")
    assert "runway-node batch resume film" in program("batch", "status")[1]
    assert program("batch", "cancel")[0] == 2
    code, out, _ = program("batch", "resume", "--json")
    assert lines(out) == [{"phase": "result", "batch": "film", "resumed": 3}]
    assert program("worker", "--drain")[0] == 0


def test_one_is_not_many(program):
    """One row is told as one."""
    enqueue(count=1)
    assert "Batch film: 1 row will not be begun" in program("batch", "cancel")[1]
    assert program("batch", "forget")[1] == "Batch film is forgotten, 1 row\n"


def test_forget_in_words(program):
    """`batch forget` takes the only batch that is over; one that is not is said to be cancelled first."""
    enqueue()
    code, _, err = program("batch", "forget", "film")
    assert (code, "runway-node batch cancel film" in err) == (2, True)
    program("batch", "cancel")
    assert program("batch", "forget")[:2] == (0, "Batch film is forgotten, 3 rows\n")
    assert program("batch", "status", "film")[0] == 2


def test_status_as_json(program):
    """`batch status BATCH --json` is a line a batch, a row and a worker, then the counts."""
    enqueue(count=2)
    told = lines(program("batch", "status", "film", "--json")[1])
    assert [line["phase"] for line in told] == ["batch", "row", "row", "result"]
    assert told[0]["counts"] == {"waiting": 2}


def test_nothing_is_there(program):
    """Where there was never a batch, that is said; a name that is none is wrong use."""
    assert program("batch", "status")[:2] == (0, "There is no batch, and no worker\n")
    code, _, err = program("batch", "resume", "film")
    assert (code, "no batch film" in err) == (2, True)
    assert program("worker", "--until-done", "film")[0] == 2
    assert program("worker", "--until-done", "film", "--drain")[0] == 2


def test_a_wrong_database_is_not_echoed(program):
    """A URL on the command line, with its password, is in no error."""
    code, out, err = program("batch", "status", "--database", "mysql://me:canary-pass@host/x", "--debug")
    assert code == 2
    assert "canary" not in out + err


@pytest.mark.skipif(os.name != "posix", reason="a signal to oneself")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_stopped_by_a_signal(program, tmp_path, number, code):
    """SIGTERM is how a worker ends (0), Ctrl-C interrupts it (130); its row is left, and done by the next worker."""
    enqueue(count=1, seconds=1)

    def strike():
        end = time.monotonic() + 20
        while not (tmp_path / "ran").exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    striker = threading.Thread(target=strike)
    striker.start()
    assert program("worker")[0] == code
    striker.join()
    with Durable(load_settings()) as durable:
        assert durable.status("film").batches[0].counts == {"left": 1}
    assert program("worker", "--drain")[0] == 0
