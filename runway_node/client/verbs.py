"""Client: six verbs, each one exchange. No loop over tasks, no repeated payment, nothing here sleeps."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from ..errors import Ambiguous, Refused, RunwayNodeError, Unreachable
from ..settings import Provider, Settings
from ..wire import (
    API_VERSION,
    ROUTES,
    Account,
    Created,
    Problem,
    Task,
    not_there,
    outcome,
    read_account,
    read_created,
    read_problem,
    read_task,
    read_ticket,
    refusal,
    upload_body,
)
from .bodies import Streamed, form_body
from .fetch import fetch_once
from .guard import ForbiddenAddress, Outside, tls

ANSWER_BYTES = 4 << 20
"""No JSON answer of theirs is near this; more is cut off and not JSON."""

NOT_THERE = frozenset({404, 410})
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout)
"""With these nothing of the request has left."""


class Later(RunwayNodeError):
    """An exchange failed in a way that may pass; nothing was ordered by it.

    Args:
        retry_after: Seconds the provider asked us to wait, if it did.
        lost: The request may have been obeyed, and no answer came.

    """

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        cause: RunwayNodeError | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(what)
        self.retry_after = retry_after
        self.cause = cause
        self.lost = lost


class Client:
    """One provider, spoken to with one key.

    Args:
        settings: Where the key and the base URL come from.
        provider: Which of the two.

    """

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.provider: Provider = provider
        self._route = ROUTES[provider]
        self._base = settings.base_url(provider)
        self._key = settings.key(provider)
        self._local = settings.loopback(provider)
        self._api = self._open(httpx.Timeout(30.0, connect=10.0))
        self._outside = Outside(self._base)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()
        self._outside.close()

    def _open(self, timeout: httpx.Timeout) -> httpx.Client:
        # Redirects are not followed: a wrong path may answer 301, and the key must not travel.
        return httpx.Client(
            base_url=self._base,
            timeout=timeout,
            verify=tls(),
            follow_redirects=False,
            trust_env=not self._local,
            headers={
                "Authorization": f"Bearer {self._key.get_secret_value()}",
                "X-Runway-Version": API_VERSION,
                "User-Agent": "runway-node",
            },
        )

    def submit(self, body: Streamed, model: str) -> Created:
        """Place the order: one POST on a connection of its own.

        Raises:
            Later: Surely not placed, and it may work later (not sent, 429, 503 of the provider's own).
            Refused: Surely not placed.
            Ambiguous: It may have been placed, and billed.

        """
        headers = {"Content-Type": "application/json", "Content-Length": str(body.length)}
        try:
            with self._open(httpx.Timeout(120.0, connect=10.0)) as once:
                status, answered, text = self._exchange(once, "POST", self._route.create, content=body, headers=headers)
        except UNSENT as error:
            raise Later(f"{self.provider} cannot be reached: {_words(error)}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if not body.complete:
                raise Later(f"The connection to {self.provider} broke while sending: {_words(error)}") from error
            raise self._unclear(_words(error)) from error
        if 200 <= status < 300:
            created = read_created(_json(text))
            if created.task_id is None:
                raise self._unclear(f"HTTP {status} without a task id")
            return created
        problem = read_problem(status, answered, text)
        kind = outcome(problem)
        if kind == "ambiguous":
            raise self._unclear(f"HTTP {status} {problem.message}".strip())
        no = refusal(problem, self.provider, model)
        if kind == "later":
            raise Later(str(no), retry_after=problem.retry_after, cause=no)
        raise no

    def _unclear(self, why: str) -> Ambiguous:
        return Ambiguous(
            f"The order was sent to {self.provider} but no clear answer came back ({why}): it may have been billed",
            "Look at the account's usage before you run it again; it is never sent again by itself",
        )

    def task(self, task_id: str) -> Task | None:
        """What the provider says of one task; None where it knows no such task (yet).

        Raises:
            Later: No usable answer; says nothing about the task.

        """
        status, headers, text = self._ask("GET", self._task_path(task_id))
        payload = _json(text)
        if status in NOT_THERE or not_there(payload):
            return None
        if 200 <= status < 300 and isinstance(payload, dict):
            return read_task(payload, task_id)
        problem = read_problem(status, headers, text)
        raise Later(f"HTTP {status} {problem.message}".strip(), retry_after=problem.retry_after)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task that has not ended. A finished one loses its output.

        Gives whether the provider did; it knows no such task (any more) where not, or has no cancel.

        Raises:
            Later: No usable answer; it may or may not be cancelled.

        """
        if not self._route.cancels:
            return False
        status, headers, text = self._ask("DELETE", self._task_path(task_id))
        if status in NOT_THERE:
            return False
        if 200 <= status < 300:
            return True
        problem = read_problem(status, headers, text)
        raise Later(f"HTTP {status} {problem.message}".strip(), retry_after=problem.retry_after)

    @property
    def cancels(self) -> bool:
        """Whether the provider can cancel a task."""
        return self._route.cancels

    def account(self) -> Account | None:
        """Balance and limits, free of charge; None where the provider has no such route.

        Raises:
            Refused, Later: The key is refused; or no usable answer.

        """
        if self._route.account is None:
            return None
        status, headers, text = self._ask("GET", self._route.account)
        if 200 <= status < 300:
            return read_account(_json(text))
        raise self._no(read_problem(status, headers, text))

    def upload(self, path: Path, mime: str) -> str:
        """Put a file where the provider can read it, and say its URI, valid 24 hours; costs nothing.

        Raises:
            Later: It failed; a fresh upload may work (the same ticket must not be used again).
            Refused: The provider does not take it.

        """
        filename = f"clip{path.suffix.lower()}"
        status, headers, text = self._ask("POST", self._route.upload or "", json=upload_body(filename))
        if not 200 <= status < 300:
            raise self._no(read_problem(status, headers, text))
        ticket = read_ticket(_json(text))
        if ticket is None:
            raise Later("The provider's upload ticket cannot be read")
        body, content_type = form_body(ticket.fields, path, filename, mime)
        form = {"Content-Type": content_type, "Content-Length": str(body.length)}
        try:
            with self._outside.open("POST", ticket.url, headers=form, content=body) as response:
                answered = response.status_code
        except ForbiddenAddress as error:
            raise Refused(f"The upload link was refused: {error}", "Report it to the provider", status=0) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Later(f"The upload broke: {_words(error)}") from error
        if not 200 <= answered < 300:
            raise Later(f"The upload was answered with HTTP {answered}")
        return ticket.uri

    def download(self, url: str, part: Path, most: int, task_id: str) -> None:
        """Fetch a result into *part*, going on where an earlier attempt stopped (see `fetch.fetch_once`)."""
        fetch_once(self._outside, url, part, most, task_id)

    def _no(self, problem: Problem) -> RunwayNodeError:
        error = refusal(problem, self.provider, "this model")
        if problem.status == 429 or problem.status >= 500:
            return Later(str(error), retry_after=problem.retry_after, cause=error)
        return error

    def _keyless(self, text: str) -> str:
        """An answer without our key: some gateways quote it in their refusal."""
        return text.replace(self._key.get_secret_value(), "(the key)")

    def _task_path(self, task_id: str) -> str:
        return self._route.task.format(id=quote(task_id, safe=""))

    def _exchange(self, client: httpx.Client, method: str, path: str, **content: Any) -> tuple[int, httpx.Headers, str]:
        """Status, headers and as much of the text as any JSON of theirs can have, without our key."""
        with client.stream(method, path, **content) as response:
            pieces, size = [], 0
            for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > ANSWER_BYTES:
                    break
            text = b"".join(pieces).decode("utf-8", "replace")
            return response.status_code, response.headers, self._keyless(text)

    def _ask(self, method: str, path: str, **content: Any) -> tuple[int, httpx.Headers, str]:
        try:
            return self._exchange(self._api, method, path, **content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            what = f"{self.provider} cannot be reached: {_words(error)}"
            raise Later(what, cause=_down(self.provider, error), lost=not isinstance(error, UNSENT)) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _words(error: BaseException) -> str:
    """An error's text without its URL: some quote it, and links carry signatures."""
    text = str(error) or type(error).__name__
    return " ".join("(link)" if "://" in word else word for word in text.split())[:200]


def _down(provider: Provider, error: BaseException) -> Unreachable:
    return Unreachable(f"{provider} cannot be reached: {_words(error)}", "Check the network and the base URL")
