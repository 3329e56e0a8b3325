"""Refusal and Issue: why an order is not accepted, before either protocol puts it in its own words.

Nothing here knows HTTP beyond a status number.
"""

from __future__ import annotations

from typing import NamedTuple

Path = tuple[str | int, ...]


class Issue(NamedTuple):
    """One thing wrong with a body: the validator's code, where, and what."""

    code: str
    path: Path
    message: str


class Refusal(Exception):  # it is an answer, not a mistake of this program
    """The request is answered with no.

    Args:
        status: The HTTP status.
        message: One line for the caller.
        code: The provider's own code; only CometAPI has one.
        issues: What is wrong with the body, if that is why.
        retry_after: Seconds to wait, where waiting helps.

    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        issues: tuple[Issue, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.issues = issues
        self.retry_after = retry_after


def bad_body(*issues: Issue) -> Refusal:
    """A 400 in the words of Runway's validator."""
    return Refusal(400, "Validation of body failed", code="invalid_request", issues=issues)
