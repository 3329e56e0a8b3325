"""Why a task ended without a result, in plain words; the provider's code is kept for logs and reports.

Runway asks not to show its `failure` text to people, so each class of code has a sentence of ours.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import Moderated, TaskCancelled, TaskEnded, TaskFailed
from .problems import told
from .tasks import Task


class Failure(NamedTuple):
    """One class of failure codes: what to say, the mend, and whether the same order makes sense again."""

    what: str
    mend: str
    retry: str
    charged: bool | None = None
    moderated: bool = False


FAILURES: tuple[tuple[str, Failure], ...] = (
    # By dotted prefix, first match wins; the provider's set of codes is open (docs.dev.runwayml.com, task failures).
    (
        "SAFETY.INPUT.TEXT",
        Failure("Moderation refused the prompt", "Change the prompt", "no", charged=True, moderated=True),
    ),
    (
        "SAFETY.INPUT",
        Failure("Moderation refused the input (clip, picture or prompt)", "Change it", "no", True, True),
    ),
    (
        "SAFETY.OUTPUT",
        Failure("Moderation refused the result", "Try another prompt", "changed", False, True),
    ),
    (
        "INPUT_PREPROCESSING.SAFETY",
        Failure("Moderation refused the input before it ran", "Change the prompt or the picture", "no", False, True),
    ),
    ("INPUT_PREPROCESSING", Failure("The provider failed to read the input", "Try again later", "later")),
    ("INTERNAL.BAD_OUTPUT", Failure("The model made an unusable result", "Change the prompt or the clip", "changed")),
    ("ASSET.INVALID", Failure("The provider found the clip or a picture unusable", "Check the file", "no")),
    ("THIRD_PARTY.UNAVAILABLE", Failure("A service behind the provider is down", "Try again later", "later")),
    ("INTERNAL", Failure("The provider failed inside", "Try again later", "later")),
)
UNSTATED = Failure("The task failed and the provider did not say why", "Try again later", "later")


def classify(code: str) -> Failure:
    """The class of a failure *code*; an empty or unknown one is taken for an internal fault."""
    upper = code.upper()
    for prefix, failure in FAILURES:
        if upper == prefix or upper.startswith(prefix + "."):
            return failure
    return UNSTATED


def task_error(task: Task, what_cost: str = "") -> TaskEnded:
    """The error for a *task* that failed or was cancelled.

    Args:
        task: An ended task without a result.
        what_cost: Added where the provider states no cost, such as "ask the provider whether it was charged".

    """
    cost = _cost(task.credits) or what_cost
    if task.status == "cancelled":
        return TaskCancelled(
            f"Task {task.id} was cancelled ({cost or 'cost not stated'})",
            "Run it again if that was not you",
            task_id=task.id,
            credits=task.credits,
            retry="now",
        )
    failure = classify(task.code)
    stated = cost or {True: "it is charged", False: "it is refunded", None: "cost not stated"}[failure.charged]
    # A gateway without codes has only its text to tell; with a code our own sentence is the better one.
    words = f": {told(task.failure)}" if not task.code and task.failure else ""
    code = f" [{task.code}]" if task.code else ""
    kind = Moderated if failure.moderated else TaskFailed
    return kind(
        f"{failure.what}{words}{code} ({stated}; task {task.id})",
        failure.mend,
        task_id=task.id,
        code=task.code,
        credits=task.credits,
        retry=failure.retry,
    )


def _cost(credits: float | None) -> str:
    if credits is None:
        return ""
    return "not charged" if credits == 0 else f"charged {credits:g} credits"
