"""Every error of the package: what is wrong, whose turn it is, and the mend.

    RunwayNodeError                 exit 1
    |-- WrongUse                    exit 2   your turn: nothing was sent
    |   |-- SettingsError               no key, both keys, a bad setting
    |   |-- StepError                   the prompt, a field or a picture is not what the model takes
    |   |-- SourceError                 the clip cannot be used
    |   |-- OutputError                 the output cannot be written
    |   |-- LedgerError                 the ledger cannot be used
    |   `-- Unknown                     no such order, task or take; it says which there are
    |-- OverLimit                   exit 3   it would cost more than allowed: nothing was sent
    |-- Unreachable                 exit 1   the network: surely nothing was ordered
    |-- Refused                     exit 1   the provider said no: nothing was ordered
    |   |-- KeyRefused                  the key
    |   |-- OutOfCredits                the account
    |   `-- RateLimited                 too many orders; later
    |-- Ambiguous                   exit 4   the order may have been accepted, and billed
    |-- TaskEnded                   exit 1   the provider ended the task without a result
    |   |-- TaskFailed                  it failed; `retry` says whether trying again makes sense
    |   |   `-- Moderated                   moderation refused what went in or came out
    |   |-- TaskCancelled               somebody cancelled it
    |   `-- TaskGone                    the provider no longer knows it
    |-- StillRunning                exit 1   our deadline passed; the task runs on, its id is told
    |-- NotFetched                  exit 1   the result is paid for but could not be fetched
    |   `-- Unusable                    it was, and is no usable video
    |-- StoreError                  exit 1   a bucket or shared folder cannot be reached, or said no
    |-- MediaError                  exit 1   ffmpeg or the disk failed here, on this machine
    `-- Interrupted                 exit 130 you stopped it

An error's text is one line: what is wrong, then the mend. Facts (task id, code, credits, status) are attributes.
This file imports nothing of the package.
"""

from __future__ import annotations


class RunwayNodeError(Exception):
    """The root: catch this to catch all of ours.

    Args:
        what: What is wrong, one line, no key and no signed URL in it.
        mend: What to do about it, one line; may be empty.
        task_id: The remote task this is about, if there is one.

    `beside` is what else went wrong meanwhile, where several calls were under way.

    """

    exit_code = 1

    def __init__(self, what: str, mend: str = "", *, task_id: str | None = None) -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend
        self.task_id = task_id
        self.beside: tuple[RunwayNodeError, ...] = ()

    def __str__(self) -> str:
        return f"{self.what.rstrip('.')}. {self.mend}".strip() if self.mend else self.what


class WrongUse(RunwayNodeError):
    """Something given to us is wrong; nothing was sent. Your turn."""

    exit_code = 2


class SettingsError(WrongUse):
    """A key, provider, folder or number in the settings is missing or wrong."""


class StepError(WrongUse):
    """The prompt, a picture or another field is not what the chosen model takes."""


class SourceError(WrongUse):
    """The clip is missing, unreadable, or not a video; or there is no frame in the range."""


class OutputError(WrongUse):
    """The result cannot be written where it was asked for."""


class LedgerError(WrongUse):
    """The ledger is locked, read-only, damaged, full, newer than this program, or where it must not be."""


class Unknown(WrongUse):
    """No such order, task or take in the ledger."""


class OverLimit(RunwayNodeError):
    """The order would cost more than `max_seconds`, `max_credits` or `max_credits_per_day` allows; nothing was sent.

    Args:
        seconds: Billed seconds the order needs.
        credits: Credits it needs, None where the model's price is unknown.

    """

    exit_code = 3

    def __init__(
        self, what: str, mend: str = "", *, seconds: float | None = None, credits: float | None = None
    ) -> None:
        super().__init__(what, mend)
        self.seconds = seconds
        self.credits = credits


class Unreachable(RunwayNodeError):
    """The provider could not be reached, and surely no order was placed."""


class Refused(RunwayNodeError):
    """The provider answered and said no; no order was placed.

    Args:
        status: The HTTP status.
        code: The provider's own code or "".
        retry_after: Seconds the provider asked us to wait, if it did.

    """

    def __init__(
        self,
        what: str,
        mend: str = "",
        *,
        status: int,
        code: str = "",
        retry_after: float | None = None,
        task_id: str | None = None,
    ) -> None:
        super().__init__(what, mend, task_id=task_id)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class KeyRefused(Refused):
    """The provider does not accept the key, or not for this model."""


class OutOfCredits(Refused):
    """The account has not enough credits."""


class RateLimited(Refused):
    """Too many orders: the provider refused this one for now."""


class Ambiguous(RunwayNodeError):
    """The order left this machine and no clear answer came back: it may have been accepted, and billed.

    It is never sent again by itself.
    """

    exit_code = 4


class TaskEnded(RunwayNodeError):
    """The provider ended the task without a result.

    Args:
        code: The provider's failure code, for logs and reports.
        credits: What the provider says it charged, None where it does not say.
        retry: "no", "now", "later" or "changed": whether ordering the same again makes sense.

    """

    def __init__(
        self,
        what: str,
        mend: str = "",
        *,
        task_id: str,
        code: str = "",
        credits: float | None = None,
        retry: str = "no",
    ) -> None:
        super().__init__(what, mend, task_id=task_id)
        self.code = code
        self.credits = credits
        self.retry = retry


class TaskFailed(TaskEnded):
    """The task failed."""


class Moderated(TaskFailed):
    """Moderation refused the input or the output; the message says which, and whether it is charged."""


class TaskCancelled(TaskEnded):
    """The task was cancelled, here or elsewhere."""


class TaskGone(TaskEnded):
    """The provider no longer knows the task."""


class StillRunning(RunwayNodeError):
    """Our deadline passed; the task was left running and its id is in the message."""


class NotFetched(RunwayNodeError):
    """The task succeeded but its result could not be fetched, or what came is not a usable video.

    It stays with the provider, under `task_id`, for at least 24 hours.
    """


class Unusable(NotFetched):
    """What the provider gives as the result is no usable video, or more than any answer can be; fetched twice."""


class StoreError(RunwayNodeError):
    """A store (a bucket, a shared folder) cannot be reached, denied it, or has no such object."""


class MediaError(RunwayNodeError):
    """ffmpeg or the disk failed on this machine; a paid result that was already here is kept, and named."""


class Interrupted(RunwayNodeError):
    """You stopped it; the message says what became of the remote task."""

    exit_code = 130


def all_of(error: RunwayNodeError) -> list[RunwayNodeError]:
    """The error, and what went wrong beside it."""
    return [error, *(one for other in error.beside for one in all_of(other))]


_FACTS = ("task_id", "status", "code", "retry_after", "credits", "retry", "seconds")


def facts(error: RunwayNodeError) -> dict[str, object]:
    """*error* as JSON's values: its class, its words, its facts."""
    held = {name: getattr(error, name) for name in _FACTS if getattr(error, name, None) is not None}
    return {"kind": type(error).__name__, "what": error.what, "mend": error.mend, **held}


def from_facts(told: dict[str, object]) -> RunwayNodeError:
    """The error that `facts` told of; of the root's class where that one is not known (any more)."""
    held = dict(told)
    kind, what, mend = (str(held.pop(name, "")) for name in ("kind", "what", "mend"))
    made = _kinds(RunwayNodeError).get(kind, RunwayNodeError)
    try:
        return made(what, mend, **held)  # type: ignore[arg-type]  # what does not fit is a TypeError
    except TypeError:
        return RunwayNodeError(what, mend)


def _kinds(root: type[RunwayNodeError]) -> dict[str, type[RunwayNodeError]]:
    below = [kind for child in root.__subclasses__() if child.__module__ == __name__ for kind in _kinds(child).items()]
    return {root.__name__: root, **dict(below)}
