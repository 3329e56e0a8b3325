"""The life of one paid call, as data: which state may follow which, and what a run may do on meeting each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

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
        "succeeded": frozenset({"stored", "expired", "cancelled"}),
        # A take that is damaged or gone is fetched again, or is found to be lost.
        "stored": frozenset({"succeeded", "expired"}),
        "expired": frozenset({"submitted"}),
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

Verdict = Literal["claim", "take over", "adopt", "wait", "owned", "ambiguous", "expired"]
"""What a run does with a segment: order it; order what a dead one had claimed; go on with what a dead one had ordered;
wait for a live one; take what is there; or tell a person, who alone can decide."""


def verdict(state: State | None, *, alive: bool, ours: bool, reorder: bool, resubmit: bool) -> Verdict:
    """What to do with a segment whose last attempt is in *state* (None: there is none).

    Args:
        alive: Its holder lives.
        ours: The holder is the one that asks.
        reorder: Order again what cannot be had any more.
        resubmit: Order again what may have been ordered.

    """
    if state is None or state in {"refused", "failed", "cancelled"}:
        return "claim"
    if state == "stored":
        return "owned"
    if state == "ambiguous":
        return "claim" if resubmit else "ambiguous"
    if state == "expired":
        return "claim" if reorder else "expired"
    if alive and not ours:
        return "wait"
    if state == "intent":
        return "claim" if resubmit else "ambiguous"
    return "take over" if state == "claimed" else "adopt"


def may(before: State, after: State) -> bool:
    """Whether *after* may follow *before*."""
    return after in MOVES[before]
