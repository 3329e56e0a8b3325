"""An order's takes, by whatever way costs least: owned, waited for, collected, or paid. The ledger says which.

Who waits for another's call gets its outcome, failure included; a command that begins after a failure orders anew.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..errors import Interrupted, RunwayNodeError, TaskGone, Unusable, from_facts
from ..ledger import PAYS, Attempt, Call, Claim, Moved, Terms
from ..media.shapes import Probe, Strip
from ..models import Policy, Take
from .collecting import clear_remote, collect, owned, restored, to_clear
from .desk import Desk, orphaned_sandbox
from .order import Named, limits_of
from .paying import Supply, explained, pay
from .sharing import share
from .stop import Stop

LOOK_AGAIN = 0.5
"""Seconds between two looks at a call that another run works on."""

ENDED = frozenset({"refused", "failed", "cancelled", "expired"})


class Obtained(NamedTuple):
    """One segment's take, what it is, whether it was owned before this run; and the take made to fit, where it is."""

    take: Take
    answer: Probe
    before: bool
    strip: Strip | None = None


@dataclass(slots=True)
class Leave:
    """What this run may order anew, and what it counts as news: see `states.telling`."""

    reorder: bool
    resubmit: bool
    began: float


class Obtaining:
    """The takes of one order's calls. Each call may be worked by a thread of its own.

    Args:
        desk: The run's.
        named: The order.
        terms: How it is claimed.
        supply: What the calls are made of.
        began: When the command was given, by the ledger's clock.

    """

    def __init__(self, desk: Desk, named: Named, terms: Terms, supply: Supply, began: float) -> None:
        policy = named.order.policy
        self._desk, self._named, self._terms, self._supply = desk, named, terms, supply
        self._leave = Leave(policy.reorder, policy.resubmit_ambiguous, began)
        self._limits = limits_of(named.order)
        self._ordered: dict[int, Call] = {}
        self._guard = threading.Lock()
        self.halt = Stop(desk.stop, getattr(desk.stop, "hold", None))
        """Set by the call that fails, or by the caller's `hold`: what was not sent by then is not sent."""

    def begin(self) -> dict[int, Claim]:
        """Claim all that is to be paid, by the call's place; what cannot be told without another claim is not in it.

        Raises:
            OverLimit: It would cost more than allowed; nothing was sent.

        """
        for call in self._named.calls:
            for row in self._desk.ledger.tries(self._named.scope, call.segment):
                restored(self._desk, row)
        claims = self._claim(self._leave)
        if any(one.verdict == "expired" and self._was_a_sandbox(one.row) for one in claims):
            # A sandbox that is gone took its tasks along; nothing was paid for them.
            self._leave = Leave(reorder=True, resubmit=self._leave.resubmit, began=self._desk.ledger.now())
            claims = self._claim(self._leave)
        return {one.row.position: one for one in claims}

    def one(self, desk: Desk, position: int, claim: Claim | None) -> Obtained:
        """One call's take.

        Raises:
            Ambiguous: It may have been ordered before, and nobody said to order it again.
            Interrupted: Stopped; or another call failed, and this one was not sent.
            RunwayNodeError: What became of the call instead.

        """
        leave = replace(self._leave)
        while True:
            claim = claim or self._again(position, leave)
            try:
                got = self._try(desk, claim)
            except Moved as moved:
                _tell_end(desk, moved.row)
            except (TaskGone, Unusable) as error:
                # Found lost by this very run, for which leave was given; or with a sandbox, where nothing was paid.
                unpaid = isinstance(error, TaskGone) and orphaned_sandbox(desk, claim.row)
                if claim.verdict not in {"adopt", "owned"} or not (leave.reorder or unpaid):
                    raise
                _give_up(desk, claim.row, error)
                leave.reorder, leave.began = True, desk.ledger.now()
            else:
                if got is not None:
                    return got
                if claim.verdict == "wait":
                    _await_other(desk.hearing(self.halt), claim.row)
            claim = None

    def _claim(self, leave: Leave, only: int | None = None) -> list[Claim]:
        with self._guard:
            claims = self._desk.ledger.claim(
                self._named.row, self._named.calls, self._terms, self._desk.token, self._limits,
                began=leave.began, reorder=leave.reorder, resubmit=leave.resubmit,
                only=only, ordered=[call for place, call in self._ordered.items() if place != only],
            )  # fmt: skip
            pays = [one.row.position for one in claims if one.verdict in PAYS]
            self._ordered |= {place: self._named.calls[place] for place in pays}
            return claims

    def _again(self, position: int, leave: Leave) -> Claim:
        """Ask the ledger about one call again; another's end without a result, by another run, is this run's too."""
        if self.halt.is_set():
            raise Interrupted("Stopped before the order was placed", "Nothing was ordered")
        claims = self._claim(leave, only=position)
        stuck = next((one for one in claims if one.row.position != position), None)
        if stuck is not None:
            raise _stuck(self._desk, stuck)
        return claims[0]

    def _was_a_sandbox(self, row: Attempt) -> bool:
        return isinstance(_recorded(row, "expired"), TaskGone) and orphaned_sandbox(self._desk, row)

    def _try(self, desk: Desk, claim: Claim) -> Obtained | None:
        """The take; None where the ledger is to be asked again."""
        row, policy = claim.row, self._named.order.policy
        match claim.verdict:
            case "owned":
                return _owned(desk, row, policy)
            case "ambiguous" | "ended" | "expired":
                raise _stuck(desk, claim)
            case "wait":
                desk.tell(row, "waiting", "another run works on the same order")
                return None
            case "adopt":
                desk.tell(row, "owned", f"task {row.task_id} was ordered before; going on with it")
                return Obtained(*collect(desk, to_clear(desk, row, policy), policy), before=True)
        desk.tell(row, "claimed")
        if claim.verdict == "claim":
            desk.lender.first(row)
        if claim.before is not None and claim.before.state != "refused":
            desk.report.warn(_anew(claim.before))
        sent = pay(desk.hearing(self.halt), self._named, row, self._supply)
        return Obtained(*collect(desk, sent, policy), before=False)


def _owned(desk: Desk, row: Attempt, policy: Policy) -> Obtained | None:
    kept = owned(desk, row)
    if kept is None:
        return None
    share(desk, row, kept[0])
    clear_remote(desk, to_clear(desk, row, policy))
    desk.ledger.adopt(desk.ledger.current(row), desk.token)  # gc leaves alone what a run is about
    desk.tell(row, "owned", f"the take was paid before: {kept[0].path}", credits=row.cost)
    return Obtained(*kept, before=True)


def _stuck(desk: Desk, claim: Claim) -> RunwayNodeError:
    """Why a call is for a person to decide."""
    row = claim.row
    if claim.verdict != "ambiguous":
        return _recorded(row, row.state)
    told = explained(desk, row, _recorded(row, "ambiguous") if row.error else None)
    desk.tell(row, "ambiguous", told.what)
    return told


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
