"""Faults as data: what goes wrong, where, and how often. Nothing here does anything wrong itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator

from ..models import Frozen
from ..settings import Provider

Where = Literal["create", "poll", "upload_ticket", "upload_put", "download", "cancel", "account"]

_ANYWHERE: frozenset[str] = frozenset(get_args(Where))
_TASK = frozenset({"create", "poll"})
_POLL = frozenset({"poll"})
_CREATE = frozenset({"create"})
_DOWNLOAD = frozenset({"download"})
_RUNNING = frozenset({"RUNNING"})
_SUCCEEDED = frozenset({"SUCCEEDED"})
_OPEN = frozenset({"", "PENDING", "THROTTLED", "RUNNING"})


class Kind(NamedTuple):
    """One kind of fault.

    Args:
        where: The requests it can befall.
        what: What the caller sees.
        statuses: Task statuses it waits for; empty: any.

    """

    where: frozenset[str]
    what: str
    statuses: frozenset[str] = frozenset()


KINDS: dict[str, Kind] = {
    # any answer
    "status": Kind(_ANYWHERE, "`status`, in the provider's words or as HTML; with `accept`, after obeying the request"),
    "redirect": Kind(_ANYWHERE, "`status` 301 (or 302, 307, 308) to `location`"),
    "html": Kind(_ANYWHERE, "a 200 that holds a web page"),
    "reset": Kind(_ANYWHERE, "connection reset with no answer; the request was obeyed unless accept=False"),
    "reset_mid_body": Kind(_ANYWHERE, "connection reset after `after_bytes` of the body"),
    "stall": Kind(_ANYWHERE, "the answer comes `seconds` late"),
    "trickle": Kind(_ANYWHERE, "the body comes in 16 pieces over `seconds`"),
    "truncated": Kind(_ANYWHERE, "Content-Length says all, `after_bytes` come, then the connection closes"),
    "close_delimited": Kind(_ANYWHERE, "no Content-Length, `after_bytes` come, then the connection closes"),
    # an accepted order's answer
    "no_id": Kind(_CREATE, "a 200 without an id; the task exists and is billed"),
    "id_nested": Kind(_CREATE, "the id stands at `field`: data.id, data.task_id or task_id"),
    "null_data": Kind(_TASK, '{"code":"success","data":null}'),
    # how a task is told
    "not_exist": Kind(_POLL, "task_not_exist in the form `form`"),
    "not_found": Kind(_POLL, "404 in the provider's words; the task goes on"),
    "unknown_status": Kind(_POLL, "the status is `word`"),
    "no_progress": Kind(_POLL, "a running task without its progress", _RUNNING),
    "lower_case": Kind(_POLL, "the status in lower case"),
    "vocabulary": Kind(_POLL, "the status in the other vocabulary: SUCCESS for SUCCEEDED and so on"),
    "shape": Kind(_POLL, "the other task shape, bare or wrapped, where CometAPI has two"),
    "url_in_fail_reason": Kind(_POLL, "the link stands in fail_reason, not in output", _SUCCEEDED),
    "output_objects": Kind(_POLL, 'output is [{"url": ...}]', _SUCCEEDED),
    # what becomes of a task
    "failed": Kind(_TASK, "the task fails with failureCode `code` once it has run", _OPEN),
    "cancelled": Kind(_TASK, "the task is cancelled elsewhere", _OPEN),
    "vanishes": Kind(_TASK, "the task is gone for good: 404"),
    "long_queue": Kind(_CREATE, "the task waits `seconds` as THROTTLED"),
    "hangs": Kind(_TASK, "the task runs `seconds` longer", _OPEN),
    # what comes for a link
    "expired": Kind(_DOWNLOAD, "403: the link has expired"),
    "wrong_type": Kind(_DOWNLOAD, "the right bytes as `content_type`"),
    "not_video": Kind(_DOWNLOAD, "200, video/mp4, but `content`"),
    "etag_changes": Kind(_DOWNLOAD, "another ETag, and other bytes, than the last time"),
    "ignores_range": Kind(_DOWNLOAD, "200 and all bytes whatever Range was asked"),
    "range_lies": Kind(_DOWNLOAD, "206 whose Content-Range starts elsewhere than asked"),
    "larger": Kind(_DOWNLOAD, "`after_bytes` more than Content-Length promised, then the connection closes"),
    "bloated": Kind(_DOWNLOAD, "a body of `after_bytes` zero bytes, honestly announced"),
}  # fmt: skip
"""Every kind: this table is the documentation, and what a `Fault` is checked against."""

FAILURES: dict[str, tuple[str, bool]] = {
    "SAFETY.INPUT": ("The input was flagged by our content moderation system.", False),
    "SAFETY.OUTPUT": ("The output was flagged by our content moderation system.", True),
    "INPUT_PREPROCESSING.SAFETY": ("The prompt was flagged by our content moderation system.", True),
    "INPUT_PREPROCESSING.INTERNAL": ("The input could not be processed.", True),
    "INTERNAL.BAD_OUTPUT": ("The output did not meet our standard of quality.", True),
    "ASSET.INVALID": ("An asset could not be used.", True),
    "THIRD_PARTY.UNAVAILABLE": ("A service this model needs is unavailable.", True),
    "INTERNAL": ("An unexpected error occurred.", True),
}
"""Failure codes by dotted prefix: what is told, and whether the credits come back (docs.dev.runwayml.com, failures)."""

Content = Literal["html", "empty", "text", "ffconcat", "m3u8", "mpd", "truncated", "audio"]


class Fault(Frozen):
    """One thing that goes wrong.

    Args:
        where: The request it befalls.
        kind: What happens: a name in `KINDS`.
        times: How often; None is always.
        skip: How many requests it could befall are spared first.
        provider: Only for this provider's requests; unset: both.
        accept: Whether the request is obeyed before the fault; unset: as the kind says, never for "status".
        status: For "status" and "redirect".
        code: The failure code of "failed", the error code of "status".
        message: The provider's text; unset: a fitting one.
        html: "status" with a web page for a body, as proxies answer.
        retry_after: Seconds in Retry-After; None sends none.
        http_date: Retry-After as a date.
        location: Where "redirect" points: by default an address inside a private network.
        after_bytes: Bytes of the body before it breaks.
        seconds: For "stall", "trickle", "long_queue" and "hangs".
        refund: Whether "failed" gives the credits back; unset: as the code's row in `FAILURES` says.
        word: For "unknown_status".
        field: For "id_nested".
        form: For "not_exist".
        content: For "not_video".
        content_type: For "wrong_type".

    """

    where: Where
    kind: str
    times: int | None = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    provider: Provider | None = None
    accept: bool | None = None
    status: int = Field(500, ge=300, le=599)
    code: str = ""
    message: str = ""
    html: bool = False
    retry_after: float | None = Field(None, ge=0)
    http_date: bool = False
    location: str = "http://169.254.169.254/latest/meta-data/"
    after_bytes: int = Field(40, ge=0)
    seconds: float = Field(1.0, ge=0)
    refund: bool | None = None
    word: str = "REVIEWING"
    field: Literal["data.id", "data.task_id", "task_id"] = "data.id"
    form: Literal["400", "200", "error", "null"] = "400"
    content: Content = "html"
    content_type: str = "application/octet-stream"

    @field_validator("times", mode="before")
    @classmethod
    def _always(cls, value: object) -> object:
        return None if value == "always" else value

    @model_validator(mode="after")
    def _known(self) -> Fault:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise ValueError(f"there is no fault {self.kind!r}; there are {', '.join(KINDS)}")
        if self.where not in kind.where:
            raise ValueError(f"{self.kind} befalls {', '.join(sorted(kind.where))}, not {self.where}")
        return self

    @property
    def obeyed(self) -> bool:
        """Whether the request is obeyed although its answer goes wrong."""
        return self.accept if self.accept is not None else self.kind not in {"status", "redirect", "expired"}

    def failure(self) -> tuple[str, str, bool]:
        """Code, text and whether the credits come back, for "failed"."""
        code = self.code or "INTERNAL"
        known = [prefix for prefix in FAILURES if code == prefix or code.startswith(prefix + ".")]
        text, refunded = FAILURES[max(known, key=len)] if known else FAILURES["INTERNAL"]
        return code, self.message or text, refunded if self.refund is None else self.refund


class Faults(Frozen):
    """Several faults, as a value: `Faults.of(Fault(...), Fault(...))` or JSON `{"faults": [...]}`."""

    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, *faults: Fault) -> Faults:
        """These faults, in this order."""
        return cls(faults=faults)


class FaultBook:
    """The faults that are still to happen; the first that fits a request befalls it. Safe from any thread."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._rows: list[tuple[Fault, int, int | None]] = []  # fault, still to spare, still to happen
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Put *faults* behind those that are there."""
        with self._lock:
            self._rows += [(fault, fault.skip, fault.times) for fault in faults]

    def clear(self) -> None:
        """Nothing goes wrong from here on."""
        with self._lock:
            self._rows.clear()

    def take(self, where: Where, provider: Provider | None = None, status: str = "") -> Fault | None:
        """The fault that befalls this request, used up by it; *status* is the task's, where there is one."""
        with self._lock:
            for index, (fault, spare, left) in enumerate(self._rows):
                if not _fits(fault, where, provider, status):
                    continue
                if spare:
                    self._rows[index] = (fault, spare - 1, left)
                    continue
                if left == 1:
                    del self._rows[index]
                else:
                    self._rows[index] = (fault, 0, None if left is None else left - 1)
                return fault
        return None

    def left(self) -> list[dict[str, Any]]:
        """What is still to happen, as JSON."""
        with self._lock:
            return [
                {**fault.model_dump(exclude_defaults=True), "times": left, "skip": spare}
                for fault, spare, left in self._rows
            ]


def _fits(fault: Fault, where: Where, provider: Provider | None, status: str) -> bool:
    statuses = KINDS[fault.kind].statuses
    return (
        fault.where == where
        and (fault.provider is None or provider is None or fault.provider == provider)
        and (not statuses or status in statuses)
    )
