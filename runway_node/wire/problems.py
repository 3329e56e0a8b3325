"""What an answer that is not a success means: the three error shapes, whose fault it is, whether it is final."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ..errors import KeyRefused, OutOfCredits, RateLimited, Refused
from ..models import Frozen
from ..settings import KEY_VARIABLES, Provider


class Problem(Frozen):
    """An answer that is not a success.

    Args:
        status: HTTP status.
        message: The provider's words, one line, at most 300 characters.
        code: Its code, or "".
        field: The body's field it complains about, or "".
        stated: The body was an error in JSON.
        own: In a shape of the provider's; a bare `message` may be a gateway's on the way.
        retry_after: Seconds it asked us to wait.

    """

    status: int
    message: str = ""
    code: str = ""
    field: str = ""
    stated: bool = False
    own: bool = False
    retry_after: float | None = None


def read_problem(status: int, headers: Mapping[str, str], text: str) -> Problem:
    """Read all three error shapes: CometAPI's, the gateway's behind it, and Runway's own."""
    retry_after = _retry_after(headers)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, Mapping):
        return Problem(status=status, message=told(_strip_html(text)), retry_after=retry_after)
    error = payload.get("error")
    inner = error if isinstance(error, Mapping) else payload
    message = error if isinstance(error, str) else inner.get("message") or inner.get("detail") or ""
    code = inner.get("code") or inner.get("type") or ""
    field, complaint = _first_issue(payload.get("issues"))
    if complaint:
        message = f"{message}: {field}: {complaint}" if field else f"{message}: {complaint}"
    return Problem(
        status=status,
        message=told(str(message)),
        code=str(code) if not isinstance(code, (dict, list)) else "",
        field=field,
        stated=bool(message or code),
        own=bool(error or code),
        retry_after=retry_after,
    )


def outcome(problem: Problem) -> Literal["refused", "later", "ambiguous"]:
    """What a create that was answered so has come to: "later" is refused for now and may be tried again.

    Whatever is not surely a refusal may have been accepted behind a proxy that lost the answer.
    """
    if problem.status == 429 or (problem.status == 503 and problem.own):
        return "later"
    if problem.status == 413 or problem.status in {301, 307, 308}:
        return "refused"
    if problem.status == 500 and problem.stated and problem.code == "invalid_request":
        return "refused"  # CometAPI's form of a faulty request (its error guide, 2026)
    if 400 <= problem.status < 500 and problem.status not in {408, 409} and problem.stated:
        return "refused"
    return "ambiguous"


def refusal(problem: Problem, provider: Provider, model: str) -> Refused:
    """The error for a request that was surely refused: nothing was ordered."""
    said = problem.message or f"HTTP {problem.status}"
    facts: dict[str, Any] = {"status": problem.status, "code": problem.code, "retry_after": problem.retry_after}
    words = f"{problem.code} {problem.message}".lower()
    if problem.status == 429:
        return RateLimited(f"{provider} refused for now: {said}", _LATER, **facts)
    if re.search(r"enough credits|insufficient|quota.*(exceed|not enough)", words):
        return OutOfCredits(f"{provider}: {said}", "Buy credits for the account, then run it again", **facts)
    if problem.status == 401 or re.search(r"invalid.{0,10}(api.?)?(key|token)", words):
        return KeyRefused(f"{provider} does not accept the key: {said}", f"Check {KEY_VARIABLES[provider]}", **facts)
    if re.search(r"model", words) and re.search(
        r"not.?found|no available|retired|unsupported|not.?exist|unknown", words
    ):
        return Refused(
            f"{provider} does not offer {model} now: {said}",
            "Choose another model (runway-node models), or the other provider",
            **facts,
        )
    if problem.status == 403:
        return KeyRefused(
            f"{provider} does not allow this with this key: {said}", "Check the account's rights", **facts
        )
    if problem.status == 413:
        return Refused(
            f"{provider} finds the request too large: {said}", "Use a shorter range or a smaller clip", **facts
        )
    if problem.status in {301, 307, 308, 404, 405}:
        return Refused(f"{provider} has no such route: {said}", "Check the base URL in the settings", **facts)
    if problem.status >= 500:
        return Refused(f"{provider} refused: {said}", _LATER if problem.status == 503 else "Check the step", **facts)
    return Refused(f"{provider} refused the order: {said}", "Mend that and run it again; nothing was charged", **facts)


_LATER = "Try again later; a refusal that lasts is the account's daily limit"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, or `Retry-After` in seconds or as an HTTP date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * scale
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _first_issue(issues: object) -> tuple[str, str]:
    first = issues[0] if isinstance(issues, list) and issues else None
    if not isinstance(first, Mapping):
        return "", ""
    path = first.get("path")
    field = ".".join(str(part) for part in path) if isinstance(path, list) else ""
    return field, str(first.get("message") or "")


def _strip_html(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text[:4000])


def told(text: str) -> str:
    """Somebody else's words on one line, at most 300 characters, links without their query: it can be a signature."""
    return " ".join(re.sub(r"(\w+://[^\s?]+)\?\S+", r"\1?...", text).split())[:300]
