"""The ledger's verbs from Python, against a sandbox: what is open, owned, spent; resume, cancel, attach."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest

import runway_node
from runway_node import errors
from runway_node.engine import Stop, run
from runway_node.ledger import Books, IllegalMove, Ledger
from runway_node.models import Policy, Step
from runway_node.sandbox import Fault, serve
from runway_node.settings import load_settings

from .shops import LOST, filed_fixture, real_row, shop_fixture

pytestmark = pytest.mark.slow

__all__ = ["filed_fixture", "shop_fixture"]


# orders


def test_no_ledger_is_an_empty_one(filed):
    """Every list is empty before the first order, and asking makes no ledger."""
    how = {"settings": filed.settings()}
    assert runway_node.orders(**how) == runway_node.takes(**how) == runway_node.spend(**how).lines == ()
    assert runway_node.gc(**how).files == ()
    assert not filed.settings().data_dir.exists()


def test_an_open_call_says_what_to_do(shop):
    """A task that was left running is listed with all that a person needs."""
    task_id = shop.left("at dusk", runs=True)
    one = shop.open
    assert (one.state, one.task_id, one.busy, one.attempt) == ("submitted", task_id, False, 1)
    assert (one.source, one.prompt, one.model, one.credits) == ("shot.mp4", "at dusk", "aleph2", 56)
    assert abs(datetime.now(UTC) - one.at) < timedelta(minutes=1)
    assert "resume" in one.advice


def test_a_call_that_a_run_works_on_is_busy(shop):
    """While a run lives, its call is for nobody else."""
    seen = []

    def listen(event):
        if event.phase == "submitted":
            seen.append(shop.open)

    run(shop.source, "dusk", settings=shop.settings(), on_progress=listen)
    assert (seen[0].busy, seen[0].advice) == (True, "a run works on it: wait")
    assert runway_node.orders(settings=shop.settings()) == ()


# takes


def test_a_take_tells_where_it_came_from(shop):
    """Date, prompt, seed, cost and path of what is owned, newest first."""
    results = [shop("dusk"), shop("dawn")]
    dawn, dusk = runway_node.takes(settings=shop.settings())
    assert [dusk.prompt, dawn.prompt] == ["dusk", "dawn"]
    assert (dusk.seed, dusk.credits, dusk.digest, dusk.there) == (results[0].seed, 56, results[0].digest, True)
    assert dusk.path == results[0].takes[0].path


def test_takes_are_found_by_content(shop, clips):
    """A clip that was renamed has its takes; another clip has none."""
    shop()
    renamed = shop.source.rename(shop.folder / "renamed.mov")
    assert len(runway_node.takes(renamed, settings=shop.settings())) == 1
    assert runway_node.takes(clips(3), settings=shop.settings()) == ()
    with pytest.raises(errors.SourceError, match="cannot be read"):
        runway_node.takes(shop.folder / "nowhere.mp4", settings=shop.settings())


def test_another_take_is_another_order(shop):
    """take=2 is ordered, paid and seeded on its own; either again is free."""
    one, two = shop(), shop(step=Step(prompt="dusk", take=2))
    assert one.digest != two.digest
    assert one.seed != two.seed
    assert [shop().spent, shop(step=Step(prompt="dusk", take=2)).spent] == [0, 0]
    assert shop.creates == 2


# resume


def test_resume_finishes_what_was_left(shop):
    """All tasks are fetched, files are made, and the same orders again send nothing at all."""
    ids = [shop.left("dusk"), shop.left("dawn")]
    events = []
    found = runway_node.resume(settings=shop.settings(), on_progress=events.append)
    assert {one.task_id for one in found} == set(ids)
    assert all(one.state == "stored" and one.path.is_file() and not one.error for one in found)
    assert {event.digest for event in events} == {one.digest for one in found}
    polls = shop.sandbox.counters.polls
    assert (shop("dusk").spent, shop("dawn").owned) == (0, 1)
    assert (shop.creates, shop.sandbox.counters.polls) == (2, polls)
    assert runway_node.resume(settings=shop.settings()) == ()


def test_resume_goes_on_where_one_failed(shop):
    """What failed is said, with its order; the others are finished."""
    failed, fine = shop.left("dusk", fails=True), shop.left("dawn")
    found = {one.task_id: one for one in runway_node.resume(settings=shop.settings())}
    assert sorted(one.state for one in found.values()) == ["failed", "stored"]
    assert {failed, fine} == set(found)
    (bad,) = [one for one in found.values() if one.state == "failed"]
    assert (bad.path, bool(bad.error)) == (None, True)


def test_resume_without_the_clip_has_the_take(shop):
    """The paid take is fetched though the clip is gone; only the file with its sound is not made."""
    shop.left()
    shop.source.unlink()
    (one,) = runway_node.resume(settings=shop.settings())
    assert (one.state, one.path, one.take.is_file()) == ("stored", None, True)
    assert "shot.mp4 any more" in one.error


def test_resume_leaves_a_live_run_alone(shop):
    """What a run works on is its own."""
    found = []

    def listen(event):
        if event.phase == "submitted":
            found.append(runway_node.resume(settings=shop.settings()))

    run(shop.source, "dusk", settings=shop.settings(), on_progress=listen)
    assert found == [()]


def test_a_stopped_resume_cancels_nothing(shop):
    """Stopped, it says so; the task runs on and is still listed."""
    task_id = shop.left(runs=True)
    stop = Stop()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(errors.Interrupted):
        runway_node.resume(settings=shop.settings(), stop=stop)
    assert (shop.open.task_id, shop.sandbox.counters.deletes) == (task_id, 0)


def test_an_id_that_could_not_be_stored_is_resumed(shop, monkeypatch):
    """An id that the database did not take is said, kept in a file, and found by resume."""

    def fail(*_):
        raise errors.LedgerError("The disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "record", fail)
        task_id = shop.left()
    (told,) = [event.message for event in shop.events if event.phase == "warning"]
    assert task_id in told
    assert "resume" in told
    (one,) = runway_node.resume(settings=shop.settings())
    assert (one.task_id, one.state) == (task_id, "stored")
    assert (shop().spent, shop.creates) == (0, 1)


# cancel


def test_cancel_ends_a_running_task(shop):
    """On runway the task is cancelled, by the order's digest or the task's id."""
    task_id = shop.left(runs=True)
    (done,) = runway_node.cancel(task_id, settings=shop.settings())
    assert (done.state, done.path, done.error) == ("cancelled", None, "")
    assert (shop.sandbox.counters.deletes, runway_node.orders(settings=shop.settings())) == (1, ())


def test_cancel_fetches_what_has_finished(shop):
    """A task that ended meanwhile is fetched, not destroyed."""
    shop.left()
    (done,) = runway_node.cancel(shop.open.digest[:8], settings=shop.settings())
    assert (done.state, done.take.is_file(), done.error) == ("stored", True, "")
    assert shop.sandbox.counters.deletes == 0
    assert shop().spent == 0


def test_cancel_is_refused_where_there_is_none(shop):
    """CometAPI has no cancel: said, with the task that runs on."""
    task_id = shop.left(provider="cometapi", runs=True)
    with pytest.raises(errors.WrongUse, match=f"cometapi has no cancel.*{task_id}"):
        runway_node.cancel(task_id, settings=shop.settings("cometapi"))


def test_cancel_of_what_is_over_is_refused(shop):
    """There is nothing to cancel in a stored order."""
    digest = shop().digest
    with pytest.raises(errors.WrongUse, match="is stored"):
        runway_node.cancel(digest, settings=shop.settings())


# attach


def test_a_lost_answer_is_found_by_attach(shop):
    """Ambiguous: listed with both ways out; with the task's real id the same command pays nothing more."""
    task_id = shop.lost()
    one = shop.open
    assert (one.state, one.task_id) == ("ambiguous", None)
    assert f"attach {one.digest[:12]} TASK_ID" in one.advice
    assert "--resubmit-ambiguous" in one.advice
    with pytest.raises(errors.Ambiguous):
        shop()
    told = runway_node.attach(one.digest[:12], task_id, settings=shop.settings())
    assert (told.state, told.task_id) == ("submitted", task_id)
    result = shop()
    assert (result.takes[0].task_id, result.owned, shop.creates) == (task_id, 1, 1)


def test_the_balance_says_whether_it_was_billed(shop):
    """The error tells by how much the balance fell since; other orders make that inconclusive, and it says so."""
    shop.sandbox.add(LOST)
    with pytest.raises(errors.Ambiguous, match=r"fell by 56 credits since\. Look"):
        shop("dusk")
    shop("dawn")
    with pytest.raises(errors.Ambiguous, match=r"fell by 112 .*other orders .*inconclusive"):
        shop("dusk")


def test_resubmit_orders_again_by_name_only(shop):
    """resubmit_ambiguous is the other way out, and a second order."""
    shop.lost()
    assert shop(resubmit_ambiguous=True).spent == 56
    assert shop.creates == 2


@pytest.mark.parametrize("which", ["unknown", "other's", "stored"])
def test_attach_refuses(shop, which):
    """A task that the provider does not know, another order's task, an order that needs none; nothing is changed."""
    taken = shop("dawn")
    shop.lost("dusk")
    lost = shop.open
    digest, task_id, kind, words = {
        "unknown": (lost.digest, "no-such-task", errors.Unknown, "knows no task no-such-task"),
        "other's": (lost.digest, taken.takes[0].task_id, errors.WrongUse, f"belongs to order {taken.digest[:12]}"),
        "stored": (taken.digest, "any", errors.WrongUse, "is stored: it needs no task"),
    }[which]
    with pytest.raises(kind, match=words):
        runway_node.attach(digest, task_id, settings=shop.settings())
    assert shop.open == lost


# what there is not


@pytest.mark.parametrize("verb", ["export", "cancel", "attach"])
def test_an_unknown_name_says_what_there_is(shop, verb):
    """What the ledger does not know is exit 2, and the newest orders are named."""
    more = {"export": ("out.mp4",), "attach": ("task-1",), "cancel": ()}[verb]
    with pytest.raises(errors.Unknown, match="It has no orders yet"):
        getattr(runway_node, verb)("abcdef", *more, settings=shop.settings())
    digest = shop().digest
    with pytest.raises(errors.Unknown, match=f"The newest are {digest[:12]}") as caught:
        getattr(runway_node, verb)("zzzzzz", *more, settings=shop.settings())
    assert caught.value.exit_code == 2


def test_another_accounts_order_says_whose(shop):
    """Labels see nothing of each other; an order's name says whose label it has."""
    acme = shop.settings(account="acme")
    theirs, ours = shop(settings=acme), shop("dawn")
    with pytest.raises(errors.Unknown, match=r'account "acme".*RUNWAY_NODE_ACCOUNT'):
        runway_node.export(theirs.digest, shop.folder / "out.mp4", settings=shop.settings())
    with pytest.raises(errors.Unknown, match="no account label"):
        runway_node.export(ours.digest, shop.folder / "out.mp4", settings=acme)
    assert [one.account for one in runway_node.takes(settings=acme)] == ["acme"]
    assert shop(settings=shop.settings()).spent == 56, "another label pays its own"


# spend


def test_spend_leaves_sandboxes_out(shop):
    """What was played on this machine was not paid."""
    shop()
    assert runway_node.spend(settings=shop.settings()).lines == ()


def test_spend_sums_what_is_charged_and_reserved(shop):
    """By provider and model: told costs, reservations of what is not told yet, refused ones apart."""
    with real_row(shop, "dusk") as (ledger, settings, row):
        ledger.move(row, "succeeded", cost=60.0)
    with real_row(shop, "dawn", task_id="task-2"):
        pass
    with real_row(shop, "noon", task_id=None) as (ledger, _, row):
        ledger.move(row, "refused")
    with real_row(shop, "rain", task_id="task-3", account="acme"):
        pass
    told = runway_node.spend(settings=settings)
    (line,) = told.lines
    assert (line.provider, line.model, line.calls, line.seconds) == ("runway", "aleph2", 2, 4)
    assert (line.charged, line.reserved, line.unknown, told.dollars) == (60, 56, 0, 0.6)
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert runway_node.spend(later, settings=settings).lines == ()
    assert len(runway_node.spend(later - timedelta(days=1), settings=settings).lines) == 1


def test_a_limit_a_day_sends_nothing(shop):
    """What other runs of the label spent today counts; over it is exit 3, with no order sent."""
    shop("dusk")
    with pytest.raises(errors.OverLimit, match="56 credits are spent or reserved today, 100 are allowed") as caught:
        shop("dawn", max_credits_per_day=100)
    assert (caught.value.exit_code, shop.creates) == (3, 1)
    assert "--max-credits-per-day 112" in str(caught.value)
    assert shop("dusk", max_credits_per_day=56).spent == 0, "what is owned is never refused"
    assert shop("dawn", settings=shop.settings(account="acme", max_credits_per_day=56)).spent == 56
    assert shop("dawn", max_credits_per_day=112).spent == 56


# whose, and where


def test_another_key_never_asks(shop, offline):
    """A task that was ordered with another key is not asked for, by no verb: it says which key to set."""
    with real_row(shop, "dusk") as (_, settings, row):
        pass
    ours = settings.model_copy(update={"runway_key": load_settings(runway_key="our-key").runway_key})
    (one,) = runway_node.resume(settings=ours)
    with pytest.raises(errors.SettingsError, match="another runway key"):
        runway_node.cancel(row.order_digest, settings=ours)
    with pytest.raises(errors.SettingsError, match="another runway key"):
        run(shop.source, Step(prompt="dusk", key="dusk"), settings=ours)
    assert "another runway key" in one.error
    assert one.state == "submitted"
    assert offline == []


def test_the_server_it_was_ordered_at_is_asked(shop, clip):
    """Settings that name another server later do not send the question there."""
    task_id = shop.left()
    with serve(ready=clip) as elsewhere:
        moved = shop.settings(runway_base_url=elsewhere.url)
        result = shop(settings=moved)
        assert result.takes[0].task_id == task_id
        assert (elsewhere.sandbox.counters.creates, elsewhere.sandbox.counters.polls) == (0, 0)


# damaged ledgers are told


def test_a_damaged_ledger_is_not_touched(filed):
    """A file that is no ledger is said, and kept as it is; nothing is sent."""
    data = filed.settings().data_dir
    data.mkdir(parents=True)
    (data / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(errors.LedgerError, match="not touched"):
        filed()
    for verb in ("orders", "takes", "resume", "spend", "gc"):
        with pytest.raises(errors.LedgerError, match="not touched"):
            getattr(runway_node, verb)(settings=filed.settings())
    assert (filed.creates, (data / "ledger.db").read_bytes()) == (0, b"no database" * 1000)


def test_a_plan_says_where_its_order_stands(shop):
    """To pay, under way, unknown, owned: read only, with what a run would pay."""

    def look(prompt="dusk"):
        found = runway_node.plan(shop.source, prompt, settings=shop.settings())
        return found.standing[0], float(found.to_pay), found.to_pay_credits

    assert look() == ("to pay", 2, 56)
    shop.left("dusk")
    shop.lost("dawn")
    assert look() == ("under way", 0, 0)
    assert look("dawn") == ("unknown", 0, 0)
    shop("dusk")
    assert look() == ("owned", 0, 0)


def test_a_rescued_id_is_listed(shop, monkeypatch):
    """A call whose id the ledger did not take is listed with it: nobody is told to order it again."""

    def full(*_):
        raise errors.LedgerError("The ledger is on a full disk")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "record", full)
        task_id = shop.left()
    assert (shop.open.task_id, shop.open.state) == (task_id, "submitted")


def test_a_cancelled_call_that_had_failed_is_over(shop):
    """What the provider says of its end is written down, and it is listed no longer."""
    task_id = shop.left(fails=True)
    assert runway_node.cancel(task_id, settings=shop.settings())[0].state == "failed"
    assert runway_node.orders(settings=shop.settings()) == ()


def test_takes_of_a_keyed_clip_are_found_by_the_clip(shop):
    """A key stands for the content in the order's identity, not in the search."""
    shop(step=Step(prompt="dusk", key="k"))
    assert len(runway_node.takes(shop.source, settings=shop.settings())) == 1


def test_a_key_that_is_given_to_another_clip_is_told(shop, clips):
    """The result is the first clip's, and that is said."""
    shop(step=Step(prompt="dusk", key="k"))
    shutil.copyfile(clips(2, sound=False), shop.source)
    result = shop(step=Step(prompt="dusk", key="k"))
    assert any('the key "k" was given to another clip' in warning for warning in result.warnings)


def test_a_running_task_is_not_replaced_by_another(shop):
    """A call that has its task keeps it: the refusal names it."""
    task_id = shop.left()
    with pytest.raises(errors.WrongUse, match=task_id):
        runway_node.attach(shop.open.digest, "another-task", settings=shop.settings())
    assert shop.open.task_id == task_id


def test_a_finished_call_is_given_to_a_new_key_of_its_account(shop):
    """The key was changed before the take came home: attaching the same task says whom to ask with."""
    task_id = shop.left()
    with Ledger(shop.settings()) as ledger:
        ((row, _),) = Books(ledger).latest()
        ledger.move(ledger.change(row, fingerprint="an old key's"), "succeeded")
    (found,) = runway_node.resume(settings=shop.settings())
    assert "attach" in found.error
    runway_node.attach(task_id, task_id, settings=shop.settings())
    (found,) = runway_node.resume(settings=shop.settings())
    assert found.state == "stored"


def test_labels_that_differ_in_case_are_two(filed):
    """Not even sandbox orders are shown to the other."""
    filed(settings=filed.settings(account="acme"))
    assert runway_node.takes(settings=filed.settings(account="ACME")) == ()


def test_a_killed_resume_s_folder_is_swept_and_a_live_one_s_kept(shop):
    """Such folders bear more than a token; a run that begins meanwhile tells the two apart."""
    work = shop.settings().data_dir / "work"
    with Ledger(shop.settings()) as ledger, ledger.holder() as token:
        live, dead = work / f"{token}-0123456789ab", work / f"{token[:8]}00000000deadbeef-0123456789ab"
        for folder in (live, dead):
            folder.mkdir(parents=True)
        shop()
        assert (live.exists(), dead.exists()) == (True, False)


def test_how_the_clip_is_carried_is_not_frozen(shop):
    """An upload that was refused is no reason to upload again: the next command says how."""
    shop.sandbox.add(Fault(where="upload_ticket", kind="status", status=403))
    with pytest.raises(errors.Refused):
        shop(delivery="upload")
    how = {"policy": Policy(delivery="inline"), "settings": shop.settings()}
    assert runway_node.plan(shop.source, "dusk", **how).delivery == "inline"


def test_a_call_that_was_refused_takes_no_task(filed):
    """The ledger itself refuses what the table does not have."""
    filed.sandbox.add(Fault(where="create", kind="status", status=401))
    with pytest.raises(errors.KeyRefused):
        filed()
    with Ledger(filed.settings()) as ledger:
        ((row, _),) = Books(ledger).latest()
        with pytest.raises(IllegalMove):
            ledger.attach(row, "some-task", row.fingerprint)
