"""Leave to order again what may have been paid holds for one command: it hides nothing, and nobody inherits it."""

from __future__ import annotations

import threading

import pytest

import runway_node
from runway_node import errors
from runway_node.engine import Stop
from runway_node.ledger import Books
from runway_node.sandbox import Fault

from .ledgers import room_fixture, run_fixture, server_fixture  # noqa: F401 - fixtures
from .shops import shop_fixture  # noqa: F401 - a fixture

UNCLEAR = {"ambiguous": "resubmit", "expired": "reorder"}
"""What a person must judge, and the word that orders it again."""


def stopping(stop, phase="preparing"):
    """A listener that stops its run in a phase."""
    return lambda event: stop.set() if event.phase == phase else None


# the ledger alone


@pytest.mark.parametrize("state", UNCLEAR)
@pytest.mark.parametrize("end", ["claimed", "refused", "failed", "cancelled"])
def test_whatever_became_of_the_second_the_first_still_decides(room, state, end):
    """A second attempt that came to nothing does not make the first one clear: the word is needed again."""
    first, second = room.run(), room.run()
    first.reach(state)
    first.die()
    row = second.claim(**{UNCLEAR[state]: True}).row
    if end == "refused":
        second.ledger.move(second.intend(row)[1], end)
    elif end != "claimed":
        second.ledger.move(second.ledger.record(second.intend(row)[1], "task-second"), end)
    second.die()
    assert (room.run().claim().verdict, room.run().claim().row.attempt) == (state, 1)
    again = room.run().claim(**{UNCLEAR[state]: True})
    assert (again.verdict, again.row.attempt) == ("take over", 2) if end == "claimed" else ("claim", 3)


def test_a_paid_one_is_wanted_however_many_follow_it(room):
    """A late answer came while the second attempt was only claimed: the first is gone on with, the second not sent."""
    first, second = room.run(), room.run()
    sent = first.sent()
    first.die()
    row = second.claim(resubmit=True).row
    first.ledger.record(sent, "task-late")
    assert second.intend(row)[0] == "lost"
    assert (second.claim().verdict, second.claim().row.task_id) == ("adopt", "task-late")
    second.die()
    assert room.run().claim().row.task_id == "task-late"


def test_one_word_does_not_stand_for_the_other(room):
    """Where one attempt may have been paid and another's result is lost, both must be allowed."""
    run = room.run()
    run.ledger.move(run.sent(), "ambiguous")
    row = run.ledger.record(run.intend(run.claim(resubmit=True).row)[1], "task-second")
    run.ledger.move(row, "expired")
    assert run.claim(reorder=True).verdict == "ambiguous"
    assert run.claim(resubmit=True).verdict == "expired"
    assert run.claim(resubmit=True, reorder=True).row.attempt == 3


def test_an_earlier_unclear_call_stays_listed_and_can_be_given_its_task(run):
    """It is open until a paid one is there, and `find` names it for who has its task."""
    run.ledger.move(run.sent(), "ambiguous")
    row = run.claim(resubmit=True).row
    run.ledger.move(run.ledger.record(run.intend(row)[1], "task-second"), "failed")
    books = Books(run.ledger)
    assert [(row.attempt, row.state) for row, _ in books.open()] == [(1, "ambiguous")]
    unclear, order = books.find(row.order_digest)
    run.ledger.attach(unclear, "task-first", unclear.fingerprint)
    assert run.claim().verdict == "adopt"
    assert books.find("task-second")[0].attempt == 2
    assert books.find(order.digest)[0].task_id == "task-first"


# the whole way


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stopped", "refused", "failed"])
def test_a_resubmission_that_came_to_nothing_leaves_the_question(shop, end):
    """The plain command ends with exit code 4 again; the first task can still be attached, and is then had unpaid."""
    task_id, stop = shop.lost(), Stop()
    if end == "refused":
        shop.sandbox.add(Fault(where="create", kind="status", status=400))
    if end == "failed":
        shop.sandbox.add(Fault(where="create", kind="failed"))
    hear = stopping(stop) if end == "stopped" else None
    with pytest.raises((errors.Interrupted, errors.Refused, errors.TaskFailed)):
        shop(stop=stop, hear=hear, resubmit_ambiguous=True)
    creates = shop.creates
    assert (shop.open.state, runway_node.plan(shop.source, "dusk", settings=shop.settings()).standing) == (
        "ambiguous", ("unknown",),
    )  # fmt: skip
    with pytest.raises(errors.Ambiguous):
        shop()
    runway_node.attach(shop.open.digest, task_id, settings=shop.settings())
    assert (shop().takes[0].task_id, shop.creates) == (task_id, creates)


@pytest.mark.slow
def test_who_only_waited_inherits_no_leave(shop):
    """Beside a resubmitting run a plain one waits; when that is stopped, the plain one ends with exit code 4."""
    shop.lost()
    stop, there, ended = Stop(), threading.Event(), []

    def plain():
        try:
            ended.append(shop())
        except errors.RunwayNodeError as error:
            ended.append(error)

    waiter = threading.Thread(target=plain)

    def hear(event):
        if event.phase == "preparing" and not there.is_set():
            there.set()
            waiter.start()
            threading.Timer(1.0, stop.set).start()
            stop.wait(5)

    with pytest.raises(errors.Interrupted):
        shop(stop=stop, hear=hear, resubmit_ambiguous=True)
    waiter.join()
    assert ([type(one) for one in ended], shop.creates) == ([errors.Ambiguous], 1)
