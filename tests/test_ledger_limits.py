"""The ledger's limits, on SQLite and on Postgres: how many calls at once, how many credits a day."""

from __future__ import annotations

import time

import pytest

from runway_node.errors import OverLimit
from runway_node.ledger import Books
from runway_node.ledger.database import Database
from runway_node.models import Limits

from .ledgers import CREDITS, digest, room_fixture, run_fixture, server_fixture  # noqa: F401 - fixtures

DAILY = Limits(max_credits_per_day=CREDITS)
"""One order's worth."""


# --- how many ---


def test_never_more_in_flight_than_slots(room):
    """Over any number of runs the intent is refused where all slots are taken, and given when one comes free."""
    runs = [room.run() for _ in range(4)]
    rows = [one.claim(name).row for one, name in zip(runs, "abcd", strict=True)]
    words = [one.intend(row, slots=2)[0] for one, row in zip(runs, rows, strict=True)]
    assert words == ["sent", "sent", "full", "full"]
    assert [row.state for row in room.rows("claimed")] == ["claimed", "claimed"]
    runs[0].ledger.move(runs[0].ledger.record(runs[0].now(rows[0]), "task-a"), "succeeded")
    assert [one.intend(row, slots=2)[0] for one, row in zip(runs[2:], rows[2:], strict=True)] == ["sent", "full"]


def test_a_dead_intent_frees_its_slot(room):
    """Whoever asks for a slot writes down that a dead run's call is ambiguous, which holds none."""
    first, second = room.run(), room.run()
    row = first.sent("a")
    claimed = second.claim("b").row
    assert second.intend(claimed, slots=1)[0] == "full"
    first.die()
    assert second.intend(claimed, slots=1)[0] == "sent"
    assert second.now(row).state == "ambiguous"


def test_a_task_keeps_its_slot_when_its_run_dies(room):
    """What the provider works on counts, whether anybody here waits for it or not."""
    first, second = room.run(), room.run()
    first.paid("a")
    first.die()
    assert second.intend(second.claim("b").row, slots=1)[0] == "full"


def test_each_key_and_each_label_has_its_own_slots(room):
    """Calls with another key, or of another account label, take no slot here."""
    room.run(runway_key="key-two").paid("a")
    room.run(account="shop").paid("b")
    run = room.run()
    assert run.intend(run.claim("c").row, slots=1)[0] == "sent"


# --- how much ---


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(max_seconds=4.9), "max_seconds=5"),
        (Limits(max_credits=CREDITS - 1), "max_credits=140"),
        (Limits(max_credits_per_day=CREDITS - 1), "max_credits_per_day=140"),
    ],
)
def test_over_a_limit_nothing_is_reserved(room, run, limits, what):
    """The error names the argument that raises the limit, exits with 3, and leaves no row behind."""
    with pytest.raises(OverLimit, match=what) as caught:
        run.claim(limits=limits)
    assert caught.value.exit_code == 3
    assert room.rows() == []
    assert run.ledger.order("", digest("dusk")) is None


def test_within_the_limits_it_is_claimed(run):
    """What costs exactly as much as is allowed is allowed."""
    exact = Limits(max_seconds=5, max_credits=CREDITS, max_credits_per_day=CREDITS)
    assert run.claim(limits=exact).verdict == "claim"


@pytest.mark.parametrize("name", ["max_credits", "max_credits_per_day"])
def test_an_unknown_price_is_refused_under_a_limit_in_credits(room, run, name):
    """What nobody knows the price of is never let through."""
    with pytest.raises(OverLimit, match="price of aleph2 is unknown"):
        run.claim(limits=Limits(**{name: 1e9}), price=None)
    assert room.rows() == []


@pytest.mark.parametrize("state", ["claimed", "intent", "ambiguous", "submitted", "failed", "cancelled", "expired"])
def test_a_reservation_counts_for_the_day(room, run, state):
    """Whatever became of a call, its reservation stands until a cost is known."""
    run.reach(state, "a")
    with pytest.raises(OverLimit, match="140 credits are spent or reserved today, 140 are allowed"):
        room.run().claim("b", limits=DAILY)


def test_a_refused_call_counts_nothing(room, run):
    """What was surely not ordered frees its reservation."""
    run.reach("refused", "a")
    assert room.run().claim("b", limits=DAILY).verdict == "claim"


@pytest.mark.parametrize(("cost", "room_left"), [(0.0, CREDITS), (100.0, 40.0), (200.0, -60.0)])
def test_the_real_cost_takes_the_reservations_place(room, run, cost, room_left):
    """A task that ended with a stated cost counts for that."""
    run.ledger.move(run.paid("a"), "failed", cost=cost)
    other = room.run()
    if room_left > 0:
        assert other.claim("b", limits=DAILY, price=room_left).verdict == "claim"
    with pytest.raises(OverLimit):
        other.claim("c", limits=DAILY, price=max(room_left, 0) + 1)


def test_an_abandoned_claim_counts_nothing(room):
    """A dead run's claim sent nothing, so it holds no credits."""
    first = room.run()
    first.claim("a")
    first.die()
    assert room.run().claim("b", limits=DAILY).verdict == "claim"


def test_only_today_counts(room, run, monkeypatch):
    """A day ends at midnight UTC by the database's clock."""
    run.paid("a")
    monkeypatch.setattr(Database, "now", lambda self, conn: time.time() // 86400 * 86400 + 86400)
    assert room.run().claim("b", limits=DAILY).verdict == "claim"


def test_labels_and_sandboxes_have_budgets_of_their_own(room, run):
    """What another account label, or a sandbox, was charged never counts here."""
    room.run(account="shop").paid("a")
    room.run(runway_base_url="http://127.0.0.1:9").paid("b")
    assert run.claim("c", limits=DAILY).verdict == "claim"


def test_a_label_has_one_budget_whatever_the_address(room, run):
    """The day's credits are the label's: another real address does not begin them anew."""
    room.run(runway_base_url="https://proxy.example").paid("a")
    with pytest.raises(OverLimit):
        run.claim("b", limits=DAILY)


def test_a_run_that_asks_again_is_not_counted_twice(run):
    """Its own claim is what it asks for, not something spent beside it."""
    run.claim(limits=DAILY)
    assert run.claim(limits=DAILY).verdict == "take over"


def test_cents_add_up(run):
    """What comes to exactly the limit is within it, whatever floats make of it."""
    for name in "abc":
        run.claim(name, limits=Limits(max_credits_per_day=140.1), price=46.7)


def test_a_call_stopped_between_two_tries_was_not_sent(run):
    """What surely did not arrive is no spending."""
    run.ledger.move(run.sent(), "claimed")
    assert Books(run.ledger).sent(None) == []


def test_a_claim_over_midnight_counts_on_the_day_it_is_sent(room, run, monkeypatch):
    """It was reserved yesterday and is alive: today's runs see it, before it is sent and after."""
    row = run.claim("a", limits=DAILY).row
    tomorrow = time.time() // 86400 * 86400 + 86405
    monkeypatch.setattr(Database, "now", lambda self, conn: tomorrow)
    other = room.run()
    with pytest.raises(OverLimit):
        other.claim("b", limits=DAILY)
    run.intend(row)
    with pytest.raises(OverLimit):
        other.claim("b", limits=DAILY)


def test_after_a_call_of_unknown_cost_no_day_s_limit_can_be_kept(room, run):
    """What was ordered today without a limit and without a price may be any number of credits."""
    run.sent("a", price=None)
    with pytest.raises(OverLimit, match="unknown cost were made today"):
        room.run().claim("b", limits=DAILY)
