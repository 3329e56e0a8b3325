"""What an attack on the money found once, each as the claim that holds now; every one was seen broken before."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

import runway_node
from runway_node import errors
from runway_node.client import Client, Later
from runway_node.engine import Stop, obtaining, paying, running, slots, waiting
from runway_node.engine.delivery import deliver_clip
from runway_node.ledger import Books, Ledger
from runway_node.media.probe import probe
from runway_node.models import Step
from runway_node.sandbox import Fault, serve
from runway_node.settings import load_settings

from .conftest import PREFIXES
from .shops import HOUR, Hasty, filed_fixture

pytestmark = pytest.mark.slow

__all__ = ["filed_fixture"]

ROOT = Path(__file__).resolve().parent.parent


# what the provider says of a cancel


@pytest.mark.parametrize("denied", ["the cancel", "the look and the cancel"])
def test_a_task_that_is_only_denied_is_not_cancelled(filed, denied):
    """One 404 is no end: the task stays open and is collected, unpaid, when the provider lists it again."""
    task_id = filed.left(runs=True)
    filed.sandbox.add(Fault(where="cancel", kind="status", status=404))
    if denied != "the cancel":
        filed.sandbox.add(Fault(where="poll", kind="not_found"))
    (told,) = runway_node.cancel(task_id, settings=filed.settings())
    assert (told.state, "was not cancelled" in told.error, filed.open.task_id) == ("submitted", True, task_id)
    clock = filed.sandbox.clock
    filed.sandbox.clock = lambda: clock() + 2 * HOUR
    assert (filed().spent, filed.creates) == (0, 1)


def test_a_cancel_whose_answer_was_lost_is_known_by_the_next_denial(filed):
    """The provider obeyed, the answer broke, and the second try is told that there is no such task."""
    task_id = filed.left(runs=True)
    filed.sandbox.add(Fault(where="cancel", kind="reset"))
    assert runway_node.cancel(task_id, settings=filed.settings())[0].state == "cancelled"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refused_cancel_and_one_denial_are_no_cancel(filed, status):
    """A try that was answered was not obeyed; the 404 after it is a hiccup: the task is collected, unpaid."""
    task_id = filed.left(runs=True)
    filed.sandbox.add(
        Fault(where="cancel", kind="status", status=status), Fault(where="cancel", kind="status", status=404)
    )
    assert runway_node.cancel(task_id, settings=filed.settings())[0].state == "submitted"
    clock = filed.sandbox.clock
    filed.sandbox.clock = lambda: clock() + 2 * HOUR
    assert (filed().spent, filed.creates) == (0, 1)


def test_a_task_that_ends_between_two_cancels_is_fetched(filed):
    """Each try begins with a look: a second DELETE would destroy what has finished meanwhile."""
    task_id = filed.left(runs=True)
    clock, cancel = filed.sandbox.clock, Client.cancel

    def refused_at_first(client, which):
        if filed.sandbox.clock() - clock() < HOUR:
            filed.sandbox.clock = lambda: clock() + 2 * HOUR
            raise Later("HTTP 503")
        return cancel(client, which)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Client, "cancel", refused_at_first)
        (told,) = runway_node.cancel(task_id, settings=filed.settings())
    assert (told.state, told.take.is_file(), filed.sandbox.counters.deletes) == ("stored", True, 0)


# what another run came to


def _slowed(filed, **policy):
    """A command that has begun, and asks the ledger only when the block is over; gives what it comes to."""
    ended, gate, there = [], threading.Event(), threading.Event()
    honest = running.content_of

    def slow(order):
        there.set()
        assert gate.wait(20)
        return honest(order)

    def command():
        try:
            ended.append(filed(**policy))
        except errors.RunwayNodeError as error:
            ended.append(error)

    thread = threading.Thread(target=command)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "content_of", slow)
        thread.start()
        assert there.wait(20)
    yield ended
    gate.set()
    thread.join()


slowed = contextlib.contextmanager(_slowed)


def test_a_failure_is_the_outcome_of_every_command_that_had_begun(filed):
    """Two commands; the faster one's task fails before the slower one asks: nothing is ordered anew."""
    filed.sandbox.add(Fault(where="create", kind="failed"))
    with slowed(filed) as ended, pytest.raises(errors.TaskFailed):
        filed()
    assert ([type(one) for one in ended], filed.creates) == ([errors.TaskFailed], 1)
    assert (filed().spent, filed.creates) == (56, 2)


def test_leave_is_given_for_what_was_unclear_when_it_was_given(filed):
    """Two commands may order again; the faster one's answer is lost too: the slower one does not order a third."""
    filed.lost()
    with slowed(filed, resubmit_ambiguous=True) as ended:
        filed.lost(resubmit_ambiguous=True)
    assert ([type(one) for one in ended], filed.creates) == ([errors.Ambiguous], 2)


def test_leave_is_given_for_what_was_lost_when_it_was_given(filed, monkeypatch):
    """The same for `reorder`: what the faster command paid and lost is not paid once more by the slower one."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    gone = Fault(where="create", kind="vanishes")
    filed.sandbox.add(gone)
    with pytest.raises(errors.TaskGone):
        filed(stop=Hasty())
    with slowed(filed, reorder=True) as ended:
        filed.sandbox.add(gone)
        with pytest.raises(errors.TaskGone):
            filed(stop=Hasty(), reorder=True)
    assert ([type(one) for one in ended], filed.creates) == ([errors.TaskGone], 2)


# deleting the provider's copy


def test_a_delete_that_was_denied_is_not_done(filed):
    """The provider lists the task all the same: said, tried again by the next, and the take can be fetched."""
    filed.sandbox.add(Fault(where="cancel", kind="status", status=404))
    result = filed(delete_remote="after_stored")
    assert any("lists it all the same" in warning for warning in result.warnings)
    result.takes[0].path.unlink()
    shutil.rmtree(filed.settings().data_dir / "results")
    assert (filed().spent, filed.creates, filed.tasks[0]["status"]) == (0, 1, "GONE")


def test_a_take_that_is_known_to_be_damaged_is_not_taken_for_the_result(filed, monkeypatch):
    """It decodes, but has another hash than what was stored: it is fetched, and only then the copy deleted."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    (take,) = filed().takes
    good = take.path.read_bytes()
    take.path.write_bytes(good + b"\0")
    shutil.rmtree(filed.settings().data_dir / "results")
    filed.sandbox.add(Fault(where="poll", kind="not_found", times=9), Fault(where="download", kind="expired", times=9))
    with pytest.raises(errors.TaskGone):
        filed(stop=Hasty())
    filed.sandbox.faults.clear()
    runway_node.attach(filed.open.digest, take.task_id, settings=filed.settings())
    assert (filed(delete_remote="after_stored").spent, take.path.read_bytes() == good) == (0, True)


def test_the_take_of_any_attempt_can_be_restored(filed):
    """Attempt 1's file is put back although attempt 2 was the last that was lost."""
    lost = []
    for again in (False, True):
        (take,) = filed(reorder=again, delete_remote="after_stored").takes
        lost.append((take.path, take.path.read_bytes()))
        take.path.unlink()
        shutil.rmtree(filed.settings().data_dir / "results")
        with pytest.raises(errors.TaskGone):
            filed()
    lost[0][0].write_bytes(lost[0][1])
    assert (filed(reorder=True).spent, filed.creates) == (0, 2)


def test_the_last_copy_is_never_deleted(filed):
    """Where the take is not whole here, the provider's copy stays, and the take is fetched again from it."""
    result = filed()
    result.takes[0].path.unlink()
    again = filed(delete_remote="after_stored")
    assert filed.sandbox.counters.deletes == 0
    assert any("not whole here" in warning for warning in again.warnings)
    shutil.rmtree(filed.settings().data_dir / "results")
    assert (filed(delete_remote="after_stored").spent, filed.sandbox.counters.deletes) == (0, 1)


def test_a_take_restored_from_a_copy_is_owned_again(filed):
    """After it was given up for lost: by the same order, without a word and without pay."""
    result = filed(delete_remote="after_stored")
    take = result.takes[0].path
    copy = take.read_bytes()
    take.unlink()
    shutil.rmtree(filed.settings().data_dir / "results")
    with pytest.raises(errors.TaskGone, match="from a copy"):
        filed()
    take.write_bytes(copy)
    assert (filed(reorder=True).spent, filed.creates) == (0, 1)
    assert [one.there for one in runway_node.takes(settings=filed.settings())] == [True]


def test_a_take_that_is_fetched_again_can_be_stopped(filed):
    """Interrupted, like any other wait: exit code 130, and the same order goes on."""
    result = filed()
    result.takes[0].path.unlink()
    result.path.unlink()
    filed.sandbox.add(Fault(where="download", kind="status", status=503, times=50))
    stop = Stop()
    hear = lambda event: stop.set() if event.phase == "retrying" else None  # noqa: E731
    with pytest.raises(errors.Interrupted, match="fetched again"):
        filed(stop=stop, hear=hear)
    filed.sandbox.faults.clear()
    assert (filed().spent, filed.creates) == (0, 1)


# before and after the POST


def test_a_body_that_cannot_be_built_is_no_unclear_order(filed, monkeypatch):
    """The clip vanishes before the intent: surely nothing was sent, and the same order again is placed."""

    def vanish(*args, **how):
        carried = deliver_clip(*args, **how)
        carried.unlink()
        return carried

    with monkeypatch.context() as broken:
        broken.setattr(paying, "deliver_clip", vanish)
        with pytest.raises(errors.MediaError, match="cannot be read"):
            filed()
    assert runway_node.orders(settings=filed.settings()) == ()
    assert (filed().spent, filed.creates) == (56, 1)


def test_an_unclear_order_stays_exit_4_though_the_ledger_fails(filed, monkeypatch):
    """What is asked for the explanation's sake never hides that it may have been billed."""

    def fail(*_):
        raise errors.LedgerError("The ledger is locked")

    monkeypatch.setattr(Books, "others", fail)
    filed.lost()
    assert filed.open.state == "ambiguous"


def test_an_id_that_nothing_keeps_is_on_stderr(filed):
    """With no listener and no log set up: a paid task's id is seen by somebody."""
    code = (
        "import sys, runway_node; from runway_node.ledger import Ledger; from runway_node.errors import LedgerError\n"
        "def fail(*_): raise LedgerError('The disk is full')\n"
        "Ledger.record, Ledger.rescue = fail, lambda *_: ''\n"
        "runway_node.run(sys.argv[1], 'dusk')\n"
    )
    done = _python(filed, code)
    assert filed.tasks[0]["id"] in done.stderr
    assert "write it down" in done.stderr


def test_a_cancelled_await_still_hears_the_answer(filed):
    """The process ends after the order's answer, not in the middle of the POST."""
    filed.sandbox.add(Fault(where="create", kind="stall", seconds=1.5))
    code = (
        "import asyncio, sys\nfrom runway_node import run_async\n"
        "async def main():\n"
        "    sent = asyncio.Event()\n"
        "    hear = lambda event: sent.set() if event.phase == 'submitting' else None\n"
        "    task = asyncio.create_task(run_async(sys.argv[1], 'dusk', on_progress=hear))\n"
        "    await sent.wait()\n    await asyncio.sleep(0.3)\n    task.cancel()\n"
        "    try: await task\n    except asyncio.CancelledError: print('cancelled')\n"
        "asyncio.run(main())\n"
    )
    assert _python(filed, code).stdout == "cancelled\n"
    assert (filed.open.state, filed.open.task_id) == ("submitted", filed.tasks[0]["id"])


def _python(filed, code):
    honest = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIXES)}
    ours = {"RUNWAY_NODE_DATA_DIR": str(filed.settings().data_dir), "RUNWAY_NODE_PROVIDER": "runway"}
    env = {**honest, **filed.served.env("runway"), **ours, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, str(filed.source)], env=env, capture_output=True, text=True, timeout=60, check=True
    )


def test_a_still_that_changes_on_its_way_is_not_sent(filed, tmp_path):
    """It would be paid under the old still's name."""
    still = tmp_path / "still.png"
    Image.new("RGB", (640, 640), "red").save(still)

    def repaint(event):
        if event.phase == "preparing":
            Image.new("RGB", (640, 640), "blue").save(still)

    step = Step(prompt="dusk", references=(still,))
    with pytest.raises(errors.SourceError, match="still changed"):
        filed(step=step, provider="cometapi", hear=repaint)
    assert filed.creates == 0


# what is said of a task


def test_two_denials_with_an_outage_between_are_no_end(filed, monkeypatch):
    """Nobody knows what was behind the outage: the task is waited for, and fetched."""
    monkeypatch.setattr(waiting, "GRACE", 0.2)
    filed.left(runs=True)
    filed.sandbox.add(
        Fault(where="poll", kind="not_found"), Fault(where="poll", kind="reset", times=8),
        Fault(where="poll", kind="not_found"),
    )  # fmt: skip
    clock = filed.sandbox.clock

    def hear(event):
        if event.phase == "running":
            filed.sandbox.clock = lambda: clock() + 2 * HOUR

    assert filed(stop=Hasty(), hear=hear).spent == 0


def test_one_denial_after_many_dead_links_is_no_end(filed):
    """A paid result that cannot be had now stays to be had: it is not given up."""
    filed.left()
    filed.sandbox.add(
        Fault(where="download", kind="expired", times=12), Fault(where="poll", kind="not_found", skip=12)
    )
    assert (filed(stop=Hasty()).spent, filed.creates) == (0, 1)


# who works on what


def test_an_unpaid_key_stands_for_the_clip_that_is_given_now(filed, clips):
    """The first clip under it was refused: the second one is ordered, and exported with its own sound."""
    step = Step(prompt="dusk", key="shot")
    filed.sandbox.add(Fault(where="create", kind="status", status=400))
    with pytest.raises(errors.Refused):
        filed(step=step)
    filed.source.unlink()
    filed.source = filed.folder / "silent.mp4"
    shutil.copyfile(clips(2, sound=False), filed.source)
    result = filed(step=step)
    assert not any("another clip" in warning for warning in result.warnings)
    shutil.rmtree(filed.settings().data_dir / "results")
    told = runway_node.export(result.digest, filed.folder / "out.mp4", settings=filed.settings())
    assert probe(told.path).sounds == ()


def test_two_ledgers_in_one_folder_leave_each_other_alone(filed, database):
    """A run on the one neither sweeps the other's live work folder nor the room for its rescue record."""
    other = filed.settings(database_url=database)

    def look(event):
        if event.phase == "intent":
            filed("another order", settings=other)
            runway_node.resume(settings=other)
            runway_node.gc(dry_run=False, settings=other)
            data = filed.settings().data_dir
            assert [*data.glob("work/*/clip-0.mp4")]
            assert [*data.glob("rescue/*.json")]

    found = []
    result = filed(hear=lambda event: found.append(_caught(look, event)))
    assert [one for one in found if one] == []
    assert (result.path.is_file(), filed.creates) == (True, 2)


def _caught(call, *args):
    try:
        call(*args)
    except AssertionError as error:
        return error


def test_resume_holds_no_call_that_it_is_done_with(filed, monkeypatch):
    """One cannot be fetched and one takes long: who has the first order goes on with it at once."""
    monkeypatch.setattr(obtaining, "LOOK_AGAIN", 0.05)
    filed.left("dusk")
    filed.left("dawn", runs=True)
    filed.sandbox.add(*[Fault(where="download", kind="not_video", times=2)])
    stop, heard = Stop(), threading.Event()

    def hear(event):
        if event.phase == "running":
            heard.set()

    resuming = threading.Thread(target=_caught_all, args=(filed, stop, hear))
    resuming.start()
    try:
        assert heard.wait(20)
        end = time.monotonic() + 20
        while any(one.busy and one.prompt == "dusk" for one in runway_node.orders(settings=filed.settings())):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert filed("dusk", stop=Hasty()).spent == 0
    finally:
        stop.set()
        resuming.join()


def _caught_all(filed, stop, hear):
    try:
        runway_node.resume(settings=filed.settings(), stop=stop, on_progress=hear)
    except errors.Interrupted as error:
        return error


def test_waiting_for_a_slot_ends(filed, monkeypatch):
    """After the queue's limit the run says which task holds the slot, and nothing was ordered."""
    monkeypatch.setattr(slots, "SLOT_PAUSE", 0.05)
    task_id = filed.left("dusk", runs=True)
    with pytest.raises(errors.StillRunning, match=task_id):
        filed("dawn", settings=filed.settings(max_concurrency=1), queue_timeout=0.3)
    assert (filed.creates, [one.prompt for one in runway_node.orders(settings=filed.settings())]) == (1, ["dusk"])


def test_a_task_that_never_ends_holds_its_slot_for_days_only(filed):
    """It stays listed and is collected when it ends; others go on."""
    task_id = filed.left("dusk", runs=True)
    with Ledger(filed.settings()) as ledger:
        ((row, _),) = Books(ledger).latest()
        ledger.change(row, sent=row.sent - 4 * 24 * HOUR)
    assert filed("dawn", settings=filed.settings(max_concurrency=1), queue_timeout=5).spent == 56
    assert filed.open.task_id == task_id


# whose it is


def test_a_keyed_order_is_finished_with_its_own_clip_only(filed, clips):
    """Another clip in the file's place gives it no sound of its own: the take is kept, and that is said."""
    filed.left(step=Step(prompt="dusk", key="shot"))
    shutil.copyfile(clips(2, sound=False), filed.source)
    (told,) = runway_node.resume(settings=filed.settings())
    assert (told.path, told.take.is_file(), "is not the clip" in told.error) == (None, True, True)


def test_a_new_key_is_not_shown_to_the_old_server(filed):
    """`attach` asks there only with the key that it was ordered with, or where the settings name that server."""
    task_id = filed.lost()
    digest = filed.open.digest
    with serve(key=None) as elsewhere:
        moved = load_settings(
            data_dir=filed.settings().data_dir, runway_key="a-new-key", runway_base_url=elsewhere.url, provider="runway"
        )
        with Ledger(filed.settings()) as ledger:
            ((row, _),) = Books(ledger).latest()
            scope = ledger.scope("sandbox", ledger.fingerprint("sandbox", "a-new-key"))
            assert scope != row.scope
        with pytest.raises(errors.SettingsError, match="another key"):
            runway_node.attach(digest, task_id, settings=moved)
    assert filed.sandbox.counters.polls == 0


# outputs and finished files


@pytest.mark.parametrize("folder", ["takes", "results", ""])
def test_no_output_goes_into_the_data_folder(filed, folder):
    """There it could be a paid take of another order, even by force."""
    take = filed().takes[0].path
    with pytest.raises(errors.OutputError, match="data folder"):
        filed("dawn", filed.settings().data_dir / folder / take.name, step=Step(prompt="dawn"))
    assert filed.creates == 1


def test_gc_beside_a_run_leaves_its_result(filed):
    """What a live run is about to put in place is not freed."""

    def free(event):
        if event.phase in {"conforming", "done"}:
            runway_node.gc(dry_run=False, settings=filed.settings())

    out = filed.folder / "out.mp4"
    assert filed(out=out, hear=free).path == out
    assert out.is_file()


def test_gc_beside_a_run_leaves_its_take(filed):
    """Old enough, and asked for by name: a live run's take is not freed under its hands."""
    filed()
    shutil.rmtree(filed.settings().data_dir / "results")

    def free(event):
        if event.phase in {"owned", "conforming"}:
            runway_node.gc(takes=True, older_than=timedelta(0), dry_run=False, settings=filed.settings())

    assert filed(hear=free).takes[0].path.is_file()


def test_export_takes_the_paid_attempt(filed):
    """An earlier attempt is stored, a later one failed: the take is handed out."""
    task_id = filed.lost()
    filed.sandbox.add(Fault(where="create", kind="failed"))
    with pytest.raises(errors.TaskFailed):
        filed(resubmit_ambiguous=True)
    runway_node.attach(filed.open.digest, task_id, settings=filed.settings())
    digest = filed().digest
    out = filed.folder / "take.mp4"
    assert runway_node.export(digest, out, untouched=True, settings=filed.settings()).takes[0].task_id == task_id


def test_a_known_task_is_attached_again_without_harm(filed):
    """The order has it already, and its take: said, not crashed on."""
    result = filed()
    told = runway_node.attach(result.digest, result.takes[0].task_id, settings=filed.settings())
    assert (told.state, "owned" in told.advice) == ("stored", True)


# what a plan says


def test_a_plan_heeds_the_words_that_order_again(filed):
    """With the flag of `run` it says what that run would pay."""

    def look(**policy):
        found = runway_node.plan(filed.source, "dusk", policy=runway_node.Policy(**policy), settings=filed.settings())
        return found.standing, found.to_pay_credits

    filed.lost()
    assert look() == (("unknown",), 0)
    assert look(reorder=True) == (("unknown",), 0)
    assert look(resubmit_ambiguous=True) == (("to pay",), 56)


@pytest.mark.parametrize("limit", ["max_seconds", "max_credits", "max_credits_per_day"])
def test_a_plan_says_that_a_run_would_be_refused(filed, limit):
    """In the words of the refusal; nothing is raised, for a plan is what says it."""
    found = runway_node.plan(
        filed.source, "dusk", policy=runway_node.Policy(**{limit: 1.0}), settings=filed.settings()
    )  # fmt: skip
    assert f"Raise {limit}" in found.over
    assert runway_node.plan(filed.source, "dusk", settings=filed.settings()).over == ""


def test_a_plan_knows_today_s_price(filed):
    """An order that was refused froze the old one; what a run would reserve is what the plan says."""
    filed.sandbox.add(Fault(where="create", kind="status", status=400))
    with pytest.raises(errors.Refused):
        filed()
    dear = filed.settings(models=({"provider": "runway", "name": "aleph2", "credits_per_second": 60},))
    found = runway_node.plan(filed.source, "dusk", settings=dear)
    assert (found.credits, found.to_pay_credits, found.dollars) == (120, 120, 1.2)


def test_part_credits_are_reserved_whole(filed):
    """The provider rounds up what the table's price makes of part-seconds: no limit is passed by that."""
    found = runway_node.plan(filed.source, "dusk", end=1.0, settings=filed.settings())
    assert found.credits == 56
    with pytest.raises(errors.OverLimit, match="59 credits"):
        filed(step=Step(prompt="dusk"), settings=filed.settings(models=PRICED), max_credits=58.8)


PRICED = ({"provider": "runway", "name": "aleph2", "credits_per_second": 29.4},)


def test_what_was_said_of_one_run_is_not_said_of_the_next(filed):
    """That it was ordered anew is no word about the finished file."""
    filed.sandbox.add(Fault(where="create", kind="failed"))
    with pytest.raises(errors.TaskFailed):
        filed()
    assert any("ordered anew" in warning for warning in filed().warnings)
    assert filed().warnings == ()
