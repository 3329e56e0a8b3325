"""One order, however often and by however many it is asked for: ordered once, and never lost."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from pydantic import SecretStr

from runway_node import errors
from runway_node.client import Client
from runway_node.engine import Stop, fetching, orders, resume, run, takes, waiting
from runway_node.ledger import Books, Ledger
from runway_node.media.probe import probe
from runway_node.models import Policy, Step
from runway_node.sandbox import Fault, Sandbox, serve

STATES = ("claimed", "intent", "submitted", "succeeded", "stored")
KEY = "key_0c4f5a7d9e1b2c3d4e5f60718293a4b5c6d7e8f9"


class Shop:
    """Orders one clip at a sandbox, with one data folder."""

    def __init__(self, sandbox, clip, folder):
        self.sandbox = sandbox
        self.clip = folder / "clip.mp4"
        shutil.copyfile(clip, self.clip)
        self.events = []
        self.settings = sandbox.settings("runway", data_dir=folder / "data")
        self.set(ready=clip, seconds_per_task=0.05)

    def set(self, **options):
        box = self.sandbox.sandbox
        box.options = box.options.model_copy(update=options)

    def wrong(self, *faults):
        self.sandbox.sandbox.add(*faults)

    def __call__(self, step="dusk", out=None, **how):
        keywords = {"settings": self.settings, "on_progress": self.events.append, **how}
        return run(self.clip, step, out, **keywords)

    @property
    def creates(self):
        return self.sandbox.sandbox.counters.creates

    @property
    def phases(self):
        return [event.phase for event in self.events]

    def several(self, *steps, **how):
        """Outcomes of as many runs at once: results, or errors."""

        def one(step):
            try:
                return self(step, **how)
            except errors.RunwayNodeError as error:
                return error

        with ThreadPoolExecutor(len(steps)) as pool:
            return list(pool.map(one, steps))

    def detached(self, step="dusk", **how):
        """A run that leaves as soon as its task runs."""
        stop = Stop()

        def hear(event):
            if event.phase in {"queued", "running"}:
                stop.detach()

        with pytest.raises(errors.Interrupted):
            run(self.clip, step, settings=self.settings, stop=stop, on_progress=hear, **how)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def shop(runway_sandbox, clip, tmp_path, request):
    """Orders one clip at a sandbox that answers with it; the ledger is on SQLite, then on Postgres."""
    shop = Shop(runway_sandbox, clip, tmp_path)
    if request.param == "postgres":
        url = SecretStr(request.getfixturevalue("database"))
        shop.settings = shop.settings.model_copy(update={"database_url": url})
    return shop


# --- the same order again ---


def test_the_same_order_again_sends_nothing(shop):
    """No create, no poll: the finished file is there, and nothing was spent."""
    first, polls = shop(), shop.sandbox.sandbox.counters.polls
    again = shop()
    assert (shop.creates, shop.sandbox.sandbox.counters.polls, again.spent, again.owned) == (1, polls, 0, 1)
    assert again.path.read_bytes() == first.path.read_bytes()


def test_a_lost_finished_file_is_made_again_from_its_take(shop):
    """The take is conformed again; nothing is ordered."""
    made = shop().path
    before = made.read_bytes()
    made.unlink()
    assert (shop().path.read_bytes(), shop.creates) == (before, 1)


@pytest.mark.parametrize(
    "step",
    [Step(prompt="dusk", take=2), Step(prompt="dusk", seed=1), Step(prompt="dawn"), Step(prompt="dusk", key="a")],
)
def test_another_step_is_another_order(shop, step):
    """Take, seed, prompt and key are what is ordered."""
    shop()
    shop(step)
    assert shop.creates == 2


def test_a_changed_clip_is_another_order(shop, clips):
    """Its content counts, not its name."""
    shop()
    shutil.copyfile(clips(3), shop.clip)
    shop()
    assert shop.creates == 2


def test_a_renamed_clip_is_the_same_order(shop):
    """Its content counts, not its path."""
    shop()
    shop.clip = shop.clip.rename(shop.clip.with_name("other name.mp4"))
    shop()
    assert shop.creates == 1


def test_a_key_stands_for_the_content(shop, clips):
    """Under one key another clip of the same shape is the same order."""
    shop(Step(prompt="dusk", key="shot-12"))
    shutil.copyfile(clips(2, "25", sound=False), shop.clip)
    shop(Step(prompt="dusk", key="shot-12"))
    assert shop.creates == 1


def test_the_order_s_own_result_at_the_output_is_success(shop, tmp_path):
    """The same command twice, with the same output: nothing is written."""
    out = tmp_path / "out.mp4"
    shop(out=out)
    before = out.stat().st_mtime_ns
    assert (shop(out=out).path, out.stat().st_mtime_ns, shop.creates) == (out, before, 1)


def test_another_order_s_result_at_the_output_is_refused(shop, tmp_path):
    """It is not this order's: exit code 2, unread and unpaid."""
    out = tmp_path / "out.mp4"
    shop(out=out)
    with pytest.raises(errors.OutputError):
        shop("dawn", out=out)
    assert shop.creates == 1


# --- after an end that was none ---


def test_a_task_left_running_is_collected_by_the_same_order(shop):
    """Detached, then asked for again: one create, and the file."""
    shop.set(seconds_per_task=0.5)
    shop.detached()
    assert (probe(shop().path).frames, shop.creates) == (50, 1)


@pytest.mark.slow
def test_a_task_left_running_is_collected_by_resume(shop):
    """`resume` fetches and finishes it; the same order then sends nothing."""
    shop.set(seconds_per_task=0.3)
    shop.detached()
    (found,) = resume(settings=shop.settings)
    assert (found.state, found.path.is_file(), found.error) == ("stored", True, "")
    polls = shop.sandbox.sandbox.counters.polls
    shop()
    assert (shop.creates, shop.sandbox.sandbox.counters.polls) == (1, polls)


@pytest.mark.slow
def test_after_a_failure_a_new_command_orders_anew_and_says_so(shop):
    """Attempt 2, with what became of attempt 1."""
    shop.wrong(Fault(where="create", kind="failed"))
    with pytest.raises(errors.TaskFailed):
        shop()
    again = shop()
    assert shop.creates == 2
    assert any("attempt 1 is failed" in warning for warning in again.warnings)


def test_an_ambiguous_order_is_never_sent_again_by_itself(shop):
    """The second command ends with exit code 4 too, and sends nothing."""
    shop.wrong(Fault(where="create", kind="reset"))
    for _ in range(2):
        with pytest.raises(errors.Ambiguous):
            shop()
    assert shop.creates == 1


@pytest.mark.slow
def test_an_ambiguous_order_is_sent_again_by_name(shop):
    """`resubmit_ambiguous` orders anew; afterwards it is owned."""
    shop.wrong(Fault(where="create", kind="reset"))
    with pytest.raises(errors.Ambiguous):
        shop()
    shop(policy=Policy(resubmit_ambiguous=True))
    shop()
    assert shop.creates == 2


@pytest.mark.slow
@pytest.mark.parametrize(("accept", "words"), [(True, "fell by 56"), (False, "has not fallen")])
def test_an_ambiguous_order_says_whether_the_balance_fell(shop, accept, words):
    """56 credits less, where the lost answer was a yes."""
    shop.wrong(Fault(where="create", kind="reset", accept=accept))
    with pytest.raises(errors.Ambiguous, match=words):
        shop()


@pytest.mark.slow
def test_other_orders_make_the_balance_inconclusive(shop):
    """Another call on the same account meanwhile: the fall says nothing, and that is said."""
    shop.wrong(Fault(where="create", kind="reset"))
    with pytest.raises(errors.Ambiguous):
        shop()
    shop("dawn")
    with pytest.raises(errors.Ambiguous, match="inconclusive"):
        shop()


@pytest.mark.slow
def test_a_task_that_is_gone_is_ordered_again_only_by_name(shop, monkeypatch):
    """Expired: exit code 1 and no create, until `reorder`."""
    from runway_node.engine import waiting

    monkeypatch.setattr(waiting, "GRACE", 0.1)
    shop.wrong(Fault(where="create", kind="vanishes"))
    for _ in range(2):
        with pytest.raises(errors.TaskGone, match="reorder"):
            shop()
    assert shop.creates == 1
    shop(policy=Policy(reorder=True))
    assert shop.creates == 2


@pytest.mark.slow
def test_a_network_fault_is_no_reason_to_order_again(shop, monkeypatch):
    """`reorder` is for what is lost: a download that fails for now is tried again by the next run, unpaid."""
    monkeypatch.setattr(fetching, "MOST_FAILURES", 2)
    shop.set(seconds_per_task=0.3)
    shop.detached()
    shop.wrong(Fault(where="download", kind="status", status=503, times=5))
    with pytest.raises(errors.NotFetched):
        shop(policy=Policy(reorder=True))
    shop.sandbox.sandbox.faults.clear()
    assert (probe(shop(policy=Policy(reorder=True)).path).frames, shop.creates) == (50, 1)


@pytest.mark.slow
def test_a_denial_before_an_outage_is_no_end(shop, monkeypatch):
    """One "no such task", then nobody answers for longer than the grace: the task is not given up."""
    monkeypatch.setattr(waiting, "GRACE", 0.2)
    shop.set(seconds_per_task=0.1)
    shop.wrong(
        Fault(where="poll", kind="not_found"), Fault(where="poll", kind="reset", times=3),
    )  # fmt: skip
    assert (probe(shop().path).frames, shop.creates) == (50, 1)


@pytest.mark.slow
def test_a_take_that_came_home_before_a_crash_is_not_fetched_again(shop, monkeypatch):
    """Whole on the disk, not yet in the ledger, and the provider has forgotten it: it is owned all the same."""

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(Ledger, "keep", dies)
        with pytest.raises(KeyboardInterrupt):
            shop()
    for task in shop.sandbox.sandbox.tasks.values():
        task.gone = True
    assert (probe(shop().path).frames, shop.creates) == (50, 1)


@pytest.mark.slow
def test_a_late_answer_is_used_where_the_second_attempt_failed(shop):
    """Attempt 1 is stored after all, attempt 2 failed: nothing is ordered a third time."""
    shop.wrong(Fault(where="create", kind="reset"))
    with pytest.raises(errors.Ambiguous):
        shop()
    (task,) = shop.sandbox.sandbox.state()["tasks"]
    shop.wrong(Fault(where="create", kind="failed"))
    with pytest.raises(errors.TaskFailed):
        shop(policy=Policy(resubmit_ambiguous=True))
    with Ledger(shop.settings) as ledger:
        (call,) = (row for row, _ in Books(ledger).latest())
        first = dataclasses.replace(call, attempt=1, state="ambiguous", task_id=None)
        ledger.attach(ledger.current(first), task["id"], call.fingerprint)
    assert (probe(shop().path).frames, shop.creates) == (50, 2)


# --- together ---


def test_two_runs_at_once_pay_once(shop):
    """Two threads with one order: one create, two equal results."""
    shop.set(seconds_per_task=0.4)
    one, other = shop.several("dusk", "dusk")
    assert shop.creates == 1
    assert one.path.read_bytes() == other.path.read_bytes()


@pytest.mark.slow
def test_who_waits_gets_the_failure_too(shop):
    """Both runs end with the task's failure, and one create."""
    shop.set(seconds_per_task=0.4)
    shop.wrong(Fault(where="create", kind="failed"))
    outcomes = shop.several("dusk", "dusk")
    assert ([type(outcome) for outcome in outcomes], shop.creates) == ([errors.TaskFailed] * 2, 1)


@pytest.mark.slow
def test_who_waits_gets_the_unclear_answer_too(shop, monkeypatch):
    """Both end with exit code 4, and one POST."""
    sent = []

    def lost(*_):
        sent.append(1)
        time.sleep(0.8)
        raise errors.Ambiguous("The answer was lost")

    monkeypatch.setattr(Client, "submit", lost)
    outcomes = shop.several("dusk", "dusk")
    assert ([type(outcome) for outcome in outcomes], len(sent)) == ([errors.Ambiguous] * 2, 1)


@pytest.mark.slow
def test_never_more_in_flight_than_slots(shop):
    """Three orders, one slot: each begins after the one before has ended, and all come home."""
    shop.settings = shop.settings.model_copy(update={"max_concurrency": 1})
    shop.set(seconds_per_task=0.3)
    most, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            running = [task for task in shop.sandbox.sandbox.state()["tasks"] if task["status"] == "RUNNING"]
            most[0] = max(most[0], len(running))

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcomes = shop.several("dusk", "dawn", "noon")
    done.set()
    watcher.join()
    assert ([outcome.frames for outcome in outcomes], shop.creates, most[0]) == ([50, 50, 50], 3, 1)


@pytest.mark.slow
def test_a_slot_that_a_dead_run_left_is_polled_free(shop):
    """The only slot is a detached task's; whoever waits for it looks after that task."""
    shop.settings = shop.settings.model_copy(update={"max_concurrency": 1})
    shop.set(seconds_per_task=0.5)
    shop.detached()
    shop("dawn")
    states = {call.state for call in orders(settings=shop.settings)}
    assert (shop.creates, states) == (2, {"succeeded"})


# --- somebody else's ---


@pytest.mark.slow
def test_a_second_server_with_another_key_is_another_account(shop, clip):
    """A sandbox order never satisfies one whose key is a real-looking one, although both are on loopback."""
    shop()
    with closing(Sandbox(key=KEY, ready=clip)) as other, serve(other) as served:
        settings = shop.settings.model_copy(update={"runway_base_url": served.url})
        shop(settings=settings.model_copy(update={"runway_key": SecretStr(KEY)}))
        assert (shop.creates, other.counters.creates) == (1, 1)


@pytest.mark.slow
def test_later_settings_ask_the_server_that_has_the_task(shop, clip):
    """A task left running at one server is polled there, whatever the settings say by then."""
    shop.set(seconds_per_task=0.4)
    shop.detached()
    with closing(Sandbox(ready=clip)) as other, serve(other) as served:
        shop(settings=shop.settings.model_copy(update={"runway_base_url": served.url}))
        assert (other.counters.creates, other.counters.polls) == (0, 0)


@pytest.mark.slow
def test_a_sandbox_that_is_gone_took_its_tasks_along(shop, clip):
    """Nothing was paid there: the order is placed at the sandbox that is there now."""
    with closing(Sandbox(ready=clip, seconds_per_task=60)) as gone, serve(gone) as served:
        honest = shop.settings
        shop.settings = honest.model_copy(update={"runway_base_url": served.url})
        shop.detached()
    shop.settings = honest
    assert (probe(shop().path).frames, shop.creates) == (50, 1)


@pytest.mark.slow
def test_account_labels_share_nothing(shop):
    """The same order under another label is paid again, and neither sees the other's take."""
    shop()
    label = shop.settings.model_copy(update={"account": "customer-7"})
    shop(settings=label)
    assert (shop.creates, len(takes(settings=shop.settings)), len(takes(settings=label))) == (2, 1, 1)


# --- a ledger that fails meanwhile ---


@pytest.fixture
def full(monkeypatch):
    """A disk that is full as soon as the order is accepted; set it to end that."""
    honest, mended = {}, threading.Event()
    for name in ("record", "move", "keep", "finish"):
        honest[name] = getattr(Ledger, name)

    def broken(name):
        def call(self, row, *rest, **how):
            known = getattr(row, "state", "") in {"intent", "submitted", "succeeded"} or name in {"keep", "finish"}
            if known and not mended.is_set():
                raise errors.LedgerError("The ledger is on a full disk", "Free some space")
            return honest[name](self, row, *rest, **how)

        return call

    for name in honest:
        monkeypatch.setattr(Ledger, name, broken(name))
    return mended


@pytest.mark.slow
def test_an_id_that_cannot_be_stored_is_told_and_the_result_comes(shop, full):
    """The run goes on, warns with the task's id, and leaves a rescue file."""
    result = shop()
    (task,) = shop.sandbox.sandbox.state()["tasks"]
    assert probe(result.path).frames == 50
    assert any(task["id"] in warning for warning in result.warnings)
    assert [task["id"] in path.read_text() for path in (shop.settings.data_dir / "rescue").iterdir()] == [True]


@pytest.mark.slow
def test_a_rescued_id_is_read_by_resume(shop, full):
    """Once the disk has room again, nothing is ordered and the take is owned."""
    shop()
    full.set()
    assert [found.state for found in resume(settings=shop.settings)] == ["stored"]
    shop()
    assert (shop.creates, list((shop.settings.data_dir / "rescue").iterdir())) == (1, [])


@pytest.mark.slow
def test_a_rescued_id_is_read_by_the_same_order(shop, full):
    """Without `resume` too: the next run takes it in."""
    shop()
    full.set()
    shop()
    assert (shop.creates, len(takes(settings=shop.settings))) == (1, 1)


# --- what is told ---


def test_every_state_is_an_event(shop):
    """In order, each with the order's digest; submitted and later with the task's id."""
    result = shop()
    states = [
        event for event in shop.events if event.phase in {"claimed", "intent", "submitted", "succeeded", "stored"}
    ]
    assert tuple(event.phase for event in states) == STATES
    assert {event.digest for event in states} == {result.digest}
    assert all(event.task_id for event in states[2:])


@pytest.mark.slow
def test_every_state_is_a_log_record(shop, caplog):
    """Logger `runway_node`, the event as a dict at `runway_event`."""
    caplog.set_level("INFO", "runway_node")
    shop()
    told = [record.runway_event["phase"] for record in caplog.records if hasattr(record, "runway_event")]
    assert set(STATES) <= set(told)


@pytest.mark.slow
def test_between_two_tries_an_order_is_only_claimed(shop):
    """While a 429 is waited out nothing can have been ordered, and a run that dies then leaves no doubt."""
    states = []

    def hear(event):
        if event.phase == "retrying":
            states.extend(call.state for call in orders(settings=shop.settings))

    shop.wrong(Fault(where="create", kind="status", status=429))
    shop(on_progress=hear)
    assert (states, shop.creates) == (["claimed"], 2)


@pytest.mark.slow
def test_a_stop_at_the_last_moment_leaves_no_doubt(shop):
    """Set when the intent is written and nothing is sent: the same order again is placed, once."""
    stop = Stop()

    def hear(event):
        if event.phase == "intent":
            stop.set()

    with pytest.raises(errors.Interrupted):
        shop(stop=stop, on_progress=hear)
    assert shop.creates == 0
    assert (probe(shop().path).frames, shop.creates) == (50, 1)
