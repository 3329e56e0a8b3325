"""When a batch stops sending: what the next row would meet as well. Pure but for its count."""

from __future__ import annotations

import threading
from collections import Counter

from ..errors import KeyRefused, Moderated, OutOfCredits, RateLimited, RunwayNodeError

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
        self._refused: Counter[str] = Counter()

    def judge(self, error: RunwayNodeError, prompt: str) -> str:
        """Why nothing more should be sent after *error*; "" where the next row may fare better."""
        with self._guard:
            if input_refused(error):
                self._refused[prompt] += 1
            return reason(error, self._refused[prompt], self.max_refusals)


def input_refused(error: RunwayNodeError) -> bool:
    """Whether moderation refused what went in, which is charged."""
    return isinstance(error, Moderated) and error.code.upper().startswith("SAFETY.INPUT")


def reason(error: RunwayNodeError, refusals: int, most: int) -> str:
    """Why a batch stops after *error*, with so many input refusals of its prompt so far; "" where it goes on."""
    if isinstance(error, KeyRefused):
        return "the key is refused"
    if isinstance(error, OutOfCredits):
        return "the account has not enough credits"
    if isinstance(error, RateLimited):
        return "the provider takes no more orders for now"
    if input_refused(error) and refusals >= most:
        return f"moderation refused one prompt {refusals} times, which is charged and may get the account suspended"
    return ""
