"""An order's takes, by whatever way costs least: owned, waited for, collected, or paid. The ledger says which.

Who waits for another's call gets its outcome, failure included; a command that begins after a failure orders anew.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import NamedTuple

from ..errors import Interrupted, RunwayNodeError, TaskGone, Unusable, from_facts
from ..ledger import Attempt, Claim, Moved, Terms
from ..media.shapes import Probe
from ..models import Take
from ..planning import Segment
from .collecting import clear_remote, collect, owned, restored, to_clear
from .desk import Desk, orphaned_sandbox
from .order import Named, limits_of
from .paying import Prepared, explained, pay

LOOK_AGAIN = 0.5
"""Seconds between two looks at a call that another run works on."""

ENDED = frozenset({"refused", "failed", "cancelled", "expired"})


class Obtained(NamedTuple):
    """One segment's take, what it is, and whether it was owned before this run."""

    take: Take
    answer: Probe
    before: bool


def obtain(
    desk: Desk, named: Named, terms: Terms, ready: Callable[[Segment], Prepared], began: float
) -> list[Obtained]:
    """The takes of all the order's segments.

    Args:
        began: When the command was given, by the ledger's clock.
        ready: Gives a segment's clip, encoded.

    Raises:
        OverLimit: It would cost more than allowed; nothing was sent.
        Ambiguous: A call may have been ordered before, and nobody said to order it again.
        RunwayNodeError: What became of a call instead.

    """
    policy = named.order.policy
    again = {"reorder": policy.reorder, "resubmit": policy.resubmit_ambiguous}
    for call in named.calls:
        for row in desk.ledger.tries(named.scope, call.segment):
            restored(desk, row)
    limits = limits_of(named.order)
    while True:
        claims = desk.ledger.claim(named.row, named.calls, terms, desk.token, limits, began=began, **again)
        claim = claims[0]
        try:
            got = _one(desk, named, claim, ready)
        except Moved as moved:
            _tell_end(desk, moved.row)
            continue
        except (TaskGone, Unusable) as error:
            # A sandbox that is gone took its tasks along; nothing was paid for them.
            lost = orphaned_sandbox(desk, claim.row) and isinstance(error, TaskGone)
            ours = claim.verdict in {"adopt", "owned"}  # found lost by this very run, for which leave was given
            if not ((ours and again["reorder"]) or (lost and (ours or claim.verdict == "expired"))):
                raise
            _give_up(desk, claim.row, error)
            again["reorder"], began = True, desk.ledger.now()
            continue
        if got is not None:
            return [got]
        if claim.verdict == "wait":
            _await_other(desk, claim.row)


def _one(desk: Desk, named: Named, claim: Claim, ready: Callable[[Segment], Prepared]) -> Obtained | None:
    """One segment's take; None where the ledger is to be asked again."""
    row, policy = claim.row, named.order.policy
    match claim.verdict:
        case "owned":
            kept = owned(desk, row)
            if kept is None:
                return None
            clear_remote(desk, to_clear(desk, row, policy))
            desk.ledger.adopt(desk.ledger.current(row), desk.token)  # gc leaves alone what a run is about
            desk.tell(row, "owned", f"the take was paid before: {kept[0].path}", credits=row.cost)
            return Obtained(*kept, before=True)
        case "ended":
            raise _recorded(row, row.state)
        case "wait":
            desk.tell(row, "waiting", "another run works on the same order")
            return None
        case "ambiguous":
            told = explained(desk, row, _recorded(row, "ambiguous") if row.error else None)
            desk.tell(row, "ambiguous", told.what)
            raise told
        case "expired":
            raise _recorded(row, "expired")
        case "adopt":
            desk.tell(row, "owned", f"task {row.task_id} was ordered before; going on with it")
            return Obtained(*collect(desk, to_clear(desk, row, policy), policy), before=True)
        case _:
            desk.tell(row, "claimed")
            if claim.before is not None and claim.before.state != "refused":
                desk.report.warn(_anew(claim.before))
            return Obtained(*collect(desk, pay(desk, named, row, ready), policy), before=False)


def _anew(before: Attempt) -> str:
    """What is said where an order is placed again."""
    cost = "cost not stated" if before.cost is None else f"{before.cost:g} credits"
    task = f" (task {before.task_id})" if before.task_id else ""
    return f"ordered anew: attempt {before.attempt} is {before.state}{task}, {cost}"


def _await_other(desk: Desk, row: Attempt) -> None:
    """Wait while a live run works on the call; its end without a result is ours too.

    Raises:
        Interrupted: Stopped; the other run goes on.
        RunwayNodeError: What the other run ended with.

    """
    while True:
        if desk.stop.wait(LOOK_AGAIN * (0.5 + random.random())):  # noqa: S311 - spreads the looks
            raise Interrupted("Stopped waiting for another run's order", "That run goes on", task_id=row.task_id)
        now = desk.ledger.current(row)
        _tell_end(desk, now)
        if now.state == "stored" or not desk.ledger.alive(now.holder):
            return
        row = now


def _tell_end(desk: Desk, row: Attempt) -> None:
    """Raise what a call ended with, if it ended without a result."""
    if row.state == "ambiguous":
        raise explained(desk, row, _recorded(row, "ambiguous") if row.error else None)
    if row.state in ENDED:
        raise _recorded(row, row.state)


def _recorded(row: Attempt, state: str) -> RunwayNodeError:
    """The error as it was written down."""
    try:
        return from_facts(json.loads(row.error or ""))
    except ValueError:
        return RunwayNodeError(f"The call ended as {state}", "Run it again", task_id=row.task_id)


def _give_up(desk: Desk, row: Attempt, error: RunwayNodeError) -> None:
    """What cannot be had any more is expired, so that it may be ordered again."""
    now = desk.ledger.current(row)
    if now.state in {"succeeded", "stored"}:
        desk.move(now, "expired", error.what, error)
