"""The life of one paid call, as data: which state may follow which, and what a run may do on meeting each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

State = Literal[
    "claimed", "intent", "submitted", "succeeded", "stored", "refused", "failed", "cancelled", "expired", "ambiguous"
]
STATES: tuple[State, ...] = get_args(State)

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # Credits are reserved, nothing can have been sent. A refusal here is ours: the clip, the network, the disk.
        "claimed": frozenset({"intent", "refused"}),
        # The POST may be on its way. Back to claimed only by the sender itself, between two tries that surely failed.
        "intent": frozenset({"submitted", "claimed", "refused", "ambiguous"}),
        # An answer that came after all, or a task that a person found in the provider's list.
        "ambiguous": frozenset({"submitted"}),
        "submitted": frozenset({"succeeded", "failed", "cancelled", "expired"}),
        "succeeded": frozenset({"stored", "expired"}),
        # A take that is damaged or gone is fetched again, or is found to be lost.
        "stored": frozenset({"succeeded", "expired"}),
        # A task that a person found, or a take that was restored from a copy.
        "expired": frozenset({"submitted", "stored"}),
        "refused": frozenset(),
        "failed": frozenset(),
        "cancelled": frozenset(),
    }
)

IN_FLIGHT: frozenset[State] = frozenset({"intent", "submitted"})
"""These hold a slot: the provider has the order, or may have it, and has not told its end."""

OPEN: frozenset[State] = frozenset({"claimed", "intent", "submitted", "succeeded", "ambiguous", "expired"})
"""These are not over: something is under way, to be fetched, or for a person to decide."""

PAID: frozenset[State] = frozenset({"submitted", "succeeded", "stored"})
"""There is a task that is, or will be, billed, and its result is ours."""

HALTS: frozenset[State] = frozenset({"refused", "failed", "cancelled", "ambiguous"})
"""One call of an order come to this, the run that works on it sends no other."""

HELD: frozenset[State] = frozenset({"claimed", "intent", "submitted", "succeeded"})
"""A run works on these, or died over them."""

Verdict = Literal["claim", "take over", "adopt", "wait", "owned", "ended", "ambiguous", "expired"]
"""What a run does with a segment: order it; order what a dead one had claimed; go on with what a dead one had ordered;
wait for a live one; take what is there; end as another one just did; or tell a person, who alone can decide."""

PAYS: frozenset[Verdict] = frozenset({"claim", "take over"})
"""A run that goes by these orders, and pays."""

STUCK: frozenset[Verdict] = frozenset({"ambiguous", "expired", "ended"})
"""Here only a person, or another command, can go on."""


class Seen(NamedTuple):
    """One attempt, as a run finds it.

    Args:
        alive: Its holder lives.
        ours: The holder is the one that asks.
        news: It was sent, or ended, by another run after the one that asks began: then its end is that one's too, and
            leave to order again was not given for it.

    """

    state: State
    alive: bool = False
    ours: bool = False
    news: bool = False


def telling(seen: Sequence[Seen], *, reorder: bool = False, resubmit: bool = False) -> list[int]:
    """Which of a segment's attempts (oldest first) still matter; the last of these decides what a run does.

    A paid one is all that is wanted. Else a live run's is waited for. Else an earlier one of which nobody knows whether
    it was paid, or whose result is lost, is for a person to judge, whatever became of the attempts after it: leave to
    order again holds for the command that it was given to. Else it is the newest.

    Args:
        reorder: Order again what cannot be had any more.
        resubmit: Order again what may have been ordered.

    """
    newest = len(seen) - 1
    live = [newest] if seen and seen[newest].alive and seen[newest].state in {"claimed", "intent"} else []
    if paid := [index for index, one in enumerate(seen) if one.state in PAID]:
        return live + paid
    unclear = [index for index, one in enumerate(seen) if _unclear(one, reorder=reorder, resubmit=resubmit)]
    return unclear + live or [newest][: len(seen)]


def _unclear(one: Seen, *, reorder: bool, resubmit: bool) -> bool:
    if one.state == "expired":
        return one.news or not reorder
    return (one.state == "ambiguous" or (one.state == "intent" and not one.alive)) and (one.news or not resubmit)


def verdict(seen: Sequence[Seen], *, reorder: bool = False, resubmit: bool = False) -> tuple[int | None, Verdict]:
    """What to do with a segment, and by which of its attempts (None: there is none)."""
    indices = telling(seen, reorder=reorder, resubmit=resubmit)
    if not indices:
        return None, "claim"
    return indices[-1], _word(seen[indices[-1]], reorder=reorder, resubmit=resubmit)


def _word(one: Seen, *, reorder: bool, resubmit: bool) -> Verdict:
    if one.state in {"refused", "failed", "cancelled"}:
        return "ended" if one.news else "claim"
    if one.state == "stored":
        return "owned"
    if one.state == "expired":
        return "claim" if reorder and not one.news else "expired"
    if one.state != "ambiguous" and one.alive and not one.ours:
        return "wait"
    if one.state in {"ambiguous", "intent"}:
        return "claim" if resubmit and not one.news else "ambiguous"
    return "take over" if one.state == "claimed" else "adopt"


def may(before: State, after: State) -> bool:
    """Whether *after* may follow *before*."""
    return after in MOVES[before]
