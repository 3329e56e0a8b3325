"""When a batch stops sending: what the next row would meet as well. Pure but for its counts."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict

from ..errors import KeyRefused, Moderated, OutOfCredits, RateLimited, RunwayNodeError
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
            self._refused[outcome.refusal].add(outcome.task)  # rows that share an order share its task, and its charge
            return outcome.halt or too_many(len(self._refused[outcome.refusal]), self.max_refusals)


def refusal_of(error: RunwayNodeError, prompt: str) -> str:
    """A mark of the prompt that input moderation refused; "" where it did not."""
    refused = isinstance(error, Moderated) and error.code.upper().startswith("SAFETY.INPUT")
    return hashlib.sha256(prompt.encode()).hexdigest()[:16] if refused else ""


def too_many(refusals: int, most: int) -> str:
    """Why a batch stops after so many input refusals of one prompt; "" where it goes on."""
    if refusals < most:
        return ""
    return f"moderation refused one prompt {refusals} times, which is charged and may get the account suspended"


def reason(error: RunwayNodeError) -> str:
    """Why a batch stops after one *error*; "" where it goes on."""
    if isinstance(error, KeyRefused):
        return "the key is refused"
    if isinstance(error, OutOfCredits):
        return "the account has not enough credits"
    if isinstance(error, RateLimited):
        return "the provider takes no more orders for now"
    return ""
