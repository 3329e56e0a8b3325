"""The ledger's contract, on SQLite and on Postgres: who may do what with an order, and whose it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runway_node.engine.desk import Desk
from runway_node.engine.report import Report
from runway_node.engine.stop import Stop
from runway_node.errors import SettingsError, TaskFailed
from runway_node.ledger import MOVES, STATES, Books, IllegalMove, Moved, ResultRow, Seen, may, verdict
from runway_node.models import Limits

from .bench import ledger as bench
from .bench.measure import QUICK
from .ledgers import call, digest, order, room_fixture, run_fixture, server_fixture  # noqa: F401 - fixtures

# --- states ---


def test_every_state_is_reached_by_legal_moves(run):
    """Each state of the table can be reached through the ledger's own methods."""
    assert {state: run.reach(state, state).state for state in STATES} == {state: state for state in STATES}


def test_a_move_outside_the_table_raises_and_changes_nothing(run):
    """Every pair that the table does not have is refused, and the row stays as it was."""
    for before in STATES:
        row = run.reach(before, before)
        for after in set(STATES) - MOVES[before]:
            with pytest.raises(IllegalMove):
                run.ledger.move(row, after, cost=1.0)
        assert run.now(row) == row


def test_a_move_from_where_the_row_is_no_more_raises_and_tells_where_it_is(run):
    """Who missed a change cannot undo it."""
    old = run.paid()
    new = run.ledger.move(old, "failed", TaskFailed("It failed", task_id="task-dusk"))
    with pytest.raises(Moved) as caught:
        run.ledger.move(old, "succeeded")
    assert caught.value.row == run.now(old) == new


def test_only_a_task_comes_from_a_post_that_may_have_arrived():
    """Nothing leads from ambiguous but to a task, and nothing at all from what the provider ended."""
    assert MOVES["ambiguous"] == {"submitted"}
    assert not any(may(state, after) for state in ("refused", "failed", "cancelled") for after in STATES)


# --- who ---


@pytest.mark.parametrize(
    ("state", "alive", "dead"),
    [
        ("claimed", "wait", "take over"), ("intent", "wait", "ambiguous"), ("submitted", "wait", "adopt"),
        ("succeeded", "wait", "adopt"), ("stored", "owned", "owned"), ("refused", "claim", "claim"),
        ("failed", "claim", "claim"), ("cancelled", "claim", "claim"), ("expired", "expired", "expired"),
        ("ambiguous", "ambiguous", "ambiguous"),
    ],
)  # fmt: skip
def test_what_another_run_may_do(room, state, alive, dead):
    """What a run may do with an order that another one brought to a state, while that one lives and after it died."""
    for name, word, dies in (("awake", alive, False), ("asleep", dead, True)):
        first, second = room.run(), room.run()
        row = first.reach(state, name)
        if dies:
            first.die()
        given = second.claim(name)
        assert (given.verdict, given.row.attempt) == (word, 2 if word == "claim" else 1)
        assert (given.row.key == row.key) is (word != "claim")


@pytest.mark.parametrize(("state", "word"), [("ambiguous", "resubmit"), ("intent", "resubmit"), ("expired", "reorder")])
def test_ordered_again_by_name_only(room, state, word):
    """What may have been paid is ordered again where that was asked for by its own name, and not by the other."""
    first, second = room.run(), room.run()
    row = first.reach(state)
    first.die()
    other = {"resubmit": "reorder", "reorder": "resubmit"}[word]
    assert second.claim(**{other: True}).verdict == ("expired" if state == "expired" else "ambiguous")
    assert second.claim(**{word: True}).row.attempt == row.attempt + 1


def test_a_live_intent_is_not_ordered_again_even_by_name(room):
    """While the sender waits for its answer nobody can order beside it."""
    room.run().sent()
    assert room.run().claim(reorder=True, resubmit=True).verdict == "wait"


def test_verdicts_know_every_state():
    """For every state, holder and wish there is a word, and an order of one's own goes on."""
    flags = [{"reorder": one, "resubmit": two} for one in (False, True) for two in (False, True)]
    for wish in flags:
        assert verdict([], **wish) == (None, "claim")
        for state in STATES:
            assert verdict([Seen(state, alive=True, ours=True)], **wish)[1] != "wait"
            assert verdict([Seen(state)], **wish)[1] != "wait"


def test_a_claim_that_its_run_left_is_taken_over_at_once(room):
    """A dead run's claim is held by the next one, under the next one's terms."""
    first = room.run()
    row = first.claim().row
    first.die()
    second = room.run(runway_key="key-two")
    taken = second.claim(price=7.0).row
    assert (taken.key, taken.holder, taken.fingerprint, taken.credits) == (
        row.key, second.token, second.terms.fingerprint, 7.0
    )  # fmt: skip


def test_who_lost_the_claim_may_not_send(room):
    """The intent compares the holder's token: a run that was taken for dead finds its claim lost."""
    first = room.run()
    row = first.claim().row
    first.die()
    second = room.run()
    second.claim()
    assert first.intend(row)[0] == "lost"
    assert second.intend(row)[0] == "sent"
    assert second.intend(row)[0] == "lost"


def test_an_intent_whose_run_died_becomes_ambiguous(room):
    """The next run writes down what nobody can know, and claims nothing."""
    first = room.run()
    row = first.sent()
    first.die()
    second = room.run()
    assert second.claim().verdict == "ambiguous"
    assert second.now(row).state == "ambiguous"


def test_a_late_answer_makes_a_task_of_an_ambiguous_call(room):
    """The sender's answer is taken though the call was taken for lost meanwhile."""
    first, second = room.run(), room.run()
    row = first.sent()
    first.die()
    second.claim()
    made = first.ledger.record(row, "task-late")
    assert (made.state, made.task_id, made.error) == ("submitted", "task-late", None)
    assert second.claim().verdict == "adopt"


def test_an_answer_is_recorded_once(run):
    """The same id again changes nothing; another one is refused, and the first stays."""
    row = run.sent()
    made = run.ledger.record(row, "task-a")
    assert run.ledger.record(row, "task-a") == made
    with pytest.raises(Moved):
        run.ledger.record(row, "task-b")
    assert run.now(row) == made


def test_nobody_answers_for_another_sender(room):
    """A run whose claim was taken over cannot put its own task's id into the new sender's row."""
    first, second = room.run(), room.run()
    old = first.sent()
    first.ledger.move(old, "claimed")
    first.die()
    new = second.intend(second.claim().row)[1]
    with pytest.raises(Moved):
        first.ledger.record(old, "task-old")
    assert second.now(new) == new


def test_a_task_without_a_live_run_is_adopted_by_one(room):
    """Of two runs that see an abandoned task one gets it, and lets it go again."""
    first, second, third = room.run(), room.run(), room.run()
    row = first.paid()
    assert second.ledger.orphans(row) == []
    first.die()
    (orphan,) = second.ledger.orphans(row)
    held = second.ledger.adopt(orphan, second.token)
    assert third.ledger.adopt(orphan, third.token) is None
    assert third.claim().verdict == "wait"
    second.ledger.let_go(held)
    assert third.ledger.adopt(third.now(row), third.token).holder == third.token


def test_where_one_call_is_for_a_person_nothing_is_claimed(room):
    """An order of two calls of which one may have been paid reserves nothing for the other."""
    first, second = room.run(), room.run()
    calls = [call(), call(position=1)]
    row, _ = first.ledger.claim(order(), calls, first.terms, first.token, Limits())
    first.intend(row.row)
    first.die()
    given = second.ledger.claim(order(), calls, second.terms, second.token, Limits())
    assert [claim.verdict for claim in given] == ["ambiguous", "wait"]
    assert second.token not in {row.holder for row in room.rows()}


# --- whose ---


def test_labels_never_see_each_other(room, run):
    """Neither orders, calls, kin nor finished files of another label are there to be seen."""
    other = room.run(account="shop")
    row = run.reach("stored")
    result = ResultRow(
        scope="", digest=digest("dusk"), variant="trim.mp4", store="", path="p", sha256="s", made=0.0, facts="{}"
    )
    run.ledger.finish(result)
    assert other.ledger.order(other.scope, digest("dusk")) is None
    assert other.ledger.last(other.scope, row.segment) is None
    assert other.ledger.kin(other.scope, digest("kin")) == []
    assert other.ledger.result(other.scope, digest("dusk"), "trim.mp4") is None
    assert (Books(other.ledger).latest(), Books(other.ledger).owned(), Books(other.ledger).sent(None)) == ([], [], [])
    assert other.claim().verdict == "claim"


def test_each_sandbox_key_is_a_world_of_its_own(room, run):
    """On loopback an order neither satisfies a real one nor one made with another key."""
    one, two = (room.run(runway_base_url="http://127.0.0.1:9", runway_key=key) for key in ("key-a", "key-b"))
    one.reach("stored")
    assert [who.claim().verdict for who in (one, two, run)] == ["owned", "claim", "claim"]


def test_terms_are_frozen_at_the_claim(room):
    """What is needed to go on is the row's: a run with other settings gets the provider it was sent to."""
    first = room.run(runway_base_url="https://eu.example")
    paid = first.paid()
    first.die()
    adopted = room.run(runway_base_url="https://us.example").claim().row
    assert (adopted.base_url, adopted.fingerprint) == ("https://eu.example", paid.fingerprint)


def test_a_task_is_asked_for_only_with_its_own_key(room):
    """With another key the desk gives no client, and says how the call may be given to this key."""
    first = room.run()
    row = first.paid()
    first.die()
    settings = room.settings(runway_key="key-two")
    second = room.run(runway_key="key-two")
    with (
        Desk(settings, second.ledger, second.token, Stop(), Report(None)) as desk,
        pytest.raises(SettingsError, match=r"placed with another runway key.*attach"),
    ):
        desk.client(second.claim().row)
    assert "key-" not in row.fingerprint


def test_the_first_freeze_holds(room, run):
    """An order keeps what it was frozen with, whoever claims it later."""
    run.claim()
    other = room.run()
    other.ledger.claim(order(seed=8, path="/elsewhere"), [call()], other.terms, other.token, Limits())
    assert other.ledger.order("", digest("dusk")).seed == 7


# --- many at once ---


@pytest.mark.slow
def test_eight_processes_pay_each_of_200_orders_once(room):
    """Eight processes want the same 200 orders: each is sent once in all, and nobody fails."""
    room.open()
    command = [sys.executable, "-m", "tests.bench.ledger", room.folder, 200, room.url or ""]
    root = Path(__file__).parent.parent
    crowd = [
        subprocess.Popen(list(map(str, command)), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = [process.communicate(timeout=180) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 8, said
    rows = room.rows()
    assert len(rows) == len({row.segment for row in rows}) == 200
    assert {(row.state, row.attempt) for row in rows} == {("submitted", 1)}


@pytest.mark.slow
def test_an_order_costs_little(tmp_path):
    """Claim, intent and record: at best at most 3 times the same commits in bare sqlite3, with 1,000 orders there."""
    rows = (bench._commits(tmp_path / f"ledger{number}", QUICK) for number in range(5))  # others are at work
    assert any(row.spread[0] <= row.bound == 3 for row in rows)
