"""When a batch stops sending: what the next row would meet as well. Pure but for its counts."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict

from ..errors import KeyRefused, Moderated, OutOfCredits, RateLimited, RunwayNodeError, all_of
from .jobs import Outcome

MAX_REFUSALS = 3
"""Input-moderation refusals of one prompt: each is charged, and accounts with many are suspended (Runway's terms)."""


class Halting:
    """Judges what became of a batch's rows.

    Args:
        max_refusals: How often one prompt may be refused by input moderation.

    """

    def __init__(self, max_refusals: int = MAX_REFUSALS) -> None:
        self.max_refusals = max_refusals
        self._guard = threading.Lock()
        self._refused: defaultdict[str, set[str]] = defaultdict(set)

    def judge(self, outcome: Outcome) -> str:
        """Why nothing more should be sent after a row's end; "" where the next one may fare better."""
        if not outcome.refusal:
            return outcome.halt
        with self._guard:
            # Rows that share an order share its task, and its charge.
            self._refused[outcome.refusal].update(outcome.refused)
            return outcome.halt or too_many(len(self._refused[outcome.refusal]), self.max_refusals)


def refusal_of(error: RunwayNodeError, prompt: str) -> str:
    """A mark of the prompt that input moderation refused; "" where it did not."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16] if refused(error) else ""


def refused(error: RunwayNodeError) -> tuple[str, ...]:
    """The tasks that input moderation refused."""
    found = [one for one in all_of(error) if isinstance(one, Moderated) and one.code.upper().startswith("SAFETY.INPUT")]
    return tuple(one.task_id or "" for one in found)


def too_many(refusals: int, most: int) -> str:
    """Why a batch stops after so many input refusals of one prompt; "" where it goes on."""
    if refusals < most:
        return ""
    return f"moderation refused one prompt {refusals} times, which is charged and may get the account suspended"


def reason(error: RunwayNodeError) -> str:
    """Why a batch stops after one *error*, or what went wrong beside it; "" where it goes on."""
    for one in all_of(error):
        if isinstance(one, KeyRefused):
            return "the key is refused"
        if isinstance(one, OutOfCredits):
            return "the account has not enough credits"
        if isinstance(one, RateLimited):
            return "the provider takes no more orders for now"
    return ""
