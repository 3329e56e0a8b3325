"""The ledger's rows as values. Nothing here knows SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..settings import Provider
from .states import State, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """An order as it was frozen at its first claim.

    Args:
        digest: Its identity; with the scope, the key.
        created: When it was first claimed.
        content: SHA-256 of the source's bytes or raw frames, or "key:" and the user's own name for it.
        file: SHA-256 of the source's bytes, also where a key stands for them; "" for frames.
        kin: A digest of all but the content: orders that differ in nothing else are kin.
        sketch: A coarse picture of a rendered clip, to tell a noisy second rendering from another clip; else "".
        source: The clip's file name, for people.
        path: Where the clip was, "" for frames; for finishing it again, never for its identity.
        step, plan: As JSON.
        seed: The seed that is sent.

    """

    digest: str
    content: str
    file: str = ""
    kin: str
    sketch: str
    source: str
    path: str
    step: str
    plan: str
    seed: int
    created: float = 0.0
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A segment to be claimed: its digest, its place in the order, what it reserves."""

    segment: str
    position: int
    seconds: float
    credits: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is frozen into each row at the claim, so that later settings cannot ask the wrong provider.

    Args:
        origin: The API's origin, "sandbox" for any on loopback.
        fingerprint: Keyed hash of the API key and the origin.
        delete_remote: Delete the remote task once its take is stored.

    """

    provider: Provider
    model: str
    base_url: str
    origin: str
    fingerprint: str
    delete_remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One paid call, keyed by scope, segment and attempt.

    Args:
        holder: Token of the run that works on it; alive only as long as its lock is held.
        sender: Token of the run that sent the POST; its late answer is taken whoever holds the row by then.
        seconds, credits: Reserved; credits None where the price is unknown.
        cost: Credits the provider says were charged.
        balance: The account's credits just before the POST, where the provider tells them.
        claimed, sent, ended: When; seconds since the epoch.
        error: Why it ended without a result, as JSON (see `errors.facts`).
        delete_remote: 0 no, 1 wanted, 2 done.

    """

    scope: str
    segment: str
    attempt: int
    order_digest: str
    position: int
    state: State
    holder: str | None
    sender: str | None
    provider: Provider
    model: str
    base_url: str
    origin: str
    fingerprint: str
    seconds: float
    credits: float | None
    cost: float | None
    balance: float | None
    claimed: float
    sent: float | None
    ended: float | None
    task_id: str | None
    error: str | None
    delete_remote: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What no other row has."""
        return self.scope, self.segment, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a run may do with one segment, its row, and the attempt before it, if this one is new."""

    verdict: Verdict
    row: Attempt
    before: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeRow:
    """A paid file: `path` is relative to the data folder that has it; `size` in bytes.

    `store` says which folder that is, as "host:folder"; "" is the one that the ledger lies in. One that machines share
    is named as the setting names it: a bucket's URL, or a folder's path.
    """

    segment: str
    attempt: int
    store: str
    path: str
    sha256: str
    size: int
    stored: float
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A finished file of an order; `variant` tells how it was finished, `facts` is JSON for `Result`."""

    digest: str
    variant: str
    store: str
    path: str
    sha256: str
    made: float
    facts: str
    scope: str = ""


Sending = Literal["sent", "full", "lost", "halted"]
"""May the POST go: yes; no, all slots are taken; no, somebody else has the row; no, another of the order's calls came
to nothing: that is looked at in the commit that would send, for the one that wrote it down gave a slot back too."""
