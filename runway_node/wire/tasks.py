"""What comes back: both task shapes, the create answer, upload tickets and the account, as our own values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from ..models import Frozen

T = TypeVar("T")

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]

STATUSES: dict[str, Status] = {
    # Runway's own words, and the words of the new-api family that CometAPI's wrapped shape belongs to.
    "NOT_START": "queued",
    "SUBMITTED": "queued",
    "QUEUED": "queued",
    "PENDING": "queued",
    "THROTTLED": "queued",
    "IN_PROGRESS": "running",
    "RUNNING": "running",
    "PROCESSING": "running",
    "SUCCESS": "succeeded",
    "SUCCEEDED": "succeeded",
    "FAILURE": "failed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "CANCELED": "cancelled",
}
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})
NOT_THERE = "TASK_NOT_EXIST"
"""CometAPI may answer this for some seconds after a create; seen under HTTP 400 and 200."""


class Task(Frozen):
    """What the provider says about one call.

    Args:
        id: The remote id.
        status: Normalised; "unknown" for a word nobody documented.
        progress: 0 to 1, None where the answer has none.
        outputs: Links to the results, newest answer's.
        failure: The provider's words for why it failed.
        code: Its failure code.
        credits: What it charged, once it says so.
        estimated: The most it may charge, credits.

    """

    id: str
    status: Status
    progress: float | None = None
    outputs: tuple[str, ...] = ()
    failure: str = ""
    code: str = ""
    credits: float | None = None
    estimated: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


class Created(Frozen):
    """The answer to a create: the id, or None where there is none; the estimate in credits."""

    task_id: str | None
    estimated: float | None = None


class Ticket(Frozen):
    """Where and how one file may be uploaded, and the name it then has."""

    url: str
    fields: dict[str, str]
    uri: str


class Account(Frozen):
    """The account behind the key: credits left; per model: at once, per day, used today."""

    credits: float | None = None
    at_once: Mapping[str, int] = MappingProxyType({})
    per_day: Mapping[str, int] = MappingProxyType({})
    used_today: Mapping[str, int] = MappingProxyType({})


def read_created(payload: object) -> Created:
    """The id wherever the answer has it: `id`, `task_id`, or either below `data`."""
    for place in _layers(payload):
        for name in ("id", "task_id"):
            value = place.get(name)
            if isinstance(value, str) and value.strip():
                return Created(task_id=value.strip(), estimated=_credits(place, "estimatedCost"))
    return Created(task_id=None)


def read_task(payload: object, task_id: str) -> Task | None:
    """A task in either shape; None where the provider says there is nothing (yet)."""
    layers = _layers(payload)
    if not layers or not_there(payload):
        return None
    stated = [layer for layer in layers if isinstance(layer.get("status"), str)]
    if not stated and layers[0].get("code") == "success":
        # {"code":"success","data":null}: a gateway with nothing to show is not a task with an odd status.
        return None
    status = _status(stated)
    inner_first = layers[::-1]
    return Task(
        id=task_id,
        status=status,
        progress=_first(_progress(layer.get("progress")) for layer in inner_first),
        outputs=_outputs(inner_first, status),
        failure=_text(inner_first, "failure", "fail_reason", "message"),
        code=_text(inner_first, "failureCode"),
        credits=_first(_credits(layer, "cost") for layer in inner_first),
        estimated=_first(_credits(layer, "estimatedCost") for layer in inner_first),
    )


def _layers(payload: object) -> list[Mapping[str, Any]]:
    """The answer and what is wrapped in its `data`, outermost first."""
    layers: list[Mapping[str, Any]] = []
    while isinstance(payload, Mapping) and len(layers) < 4:
        layers.append(payload)
        payload = payload.get("data")
    return layers


def not_there(payload: object) -> bool:
    """Whether the answer says, wherever it says things, that there is no such task (yet)."""
    for layer in _layers(payload):
        error = layer.get("error")
        places = (layer, error) if isinstance(error, Mapping) else (layer,)
        words = (place.get(name) for place in places for name in ("code", "status", "message"))
        if any(isinstance(word, str) and word.strip().upper() == NOT_THERE for word in words):
            return True
    return False


def _status(stated: list[Mapping[str, Any]]) -> Status:
    """The outer word, unless it is open or unknown and an inner one knows more: the inner answer is the fresher."""
    words = [STATUSES.get(layer["status"].strip().upper(), "unknown") for layer in stated]
    for word in words:
        if word in ENDED:
            return word
    return _first(word for word in words[::-1] if word != "unknown") or "unknown"


def _outputs(inner_first: list[Mapping[str, Any]], status: Status) -> tuple[str, ...]:
    for layer in inner_first:
        output = layer.get("output")
        items = [output] if isinstance(output, (str, Mapping)) else output if isinstance(output, list) else []
        links = [item.get("url") or item.get("uri") if isinstance(item, Mapping) else item for item in items]
        if found := tuple(link for link in links if isinstance(link, str) and link):
            return found
    # new-api keeps the result of old rows in `fail_reason`, so status decides what that field means.
    names = ("result_url", "video_url") + (("fail_reason",) if status == "succeeded" else ())
    for name in names:
        link = _text(inner_first, name)
        if link.startswith(("https://", "http://")):
            return (link,)
    return ()


def _progress(value: object) -> float | None:
    if isinstance(value, str):
        try:
            return min(1.0, max(0.0, float(value.strip().removesuffix("%")) / 100))
        except ValueError:
            return None
    number = _number(value)
    if number is None:
        return None
    return min(1.0, max(0.0, number / 100 if number > 1 else number))


def _credits(layer: Mapping[str, Any], name: str) -> float | None:
    cost = layer.get(name)
    return _number(cost.get("credits")) if isinstance(cost, Mapping) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]  # mypy does not follow the flag


def _text(layers: Sequence[Mapping[str, Any]], *names: str) -> str:
    for name in names:
        for layer in layers:
            value = layer.get(name)
            if isinstance(value, str) and value.strip():
                return value.strip()
    return ""


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def read_ticket(payload: object) -> Ticket | None:
    """An upload ticket; None where the answer is not one."""
    try:
        answer = dict(payload)  # type: ignore[call-overload]  # anything that is no mapping is no ticket
        return Ticket(url=answer["uploadUrl"], fields=answer.get("fields") or {}, uri=answer["runwayUri"])
    except (KeyError, TypeError, ValueError):
        return None


def read_account(payload: object) -> Account:
    """Balance and limits, as far as the answer has them."""
    answer = payload if isinstance(payload, Mapping) else {}
    tiers = _models(answer.get("tier"))
    usage = _models(answer.get("usage"))
    return Account(
        credits=_number(answer.get("creditBalance")),
        at_once=_counts(tiers, "maxConcurrentGenerations"),
        per_day=_counts(tiers, "maxDailyGenerations"),
        used_today=_counts(usage, "dailyGenerations"),
    )


def _models(part: object) -> Mapping[str, Any]:
    models = part.get("models") if isinstance(part, Mapping) else None
    return models if isinstance(models, Mapping) else {}


def _counts(models: Mapping[str, Any], name: str) -> dict[str, int]:
    rows = {model: _number(row.get(name)) for model, row in models.items() if isinstance(row, Mapping)}
    return {model: int(number) for model, number in rows.items() if number is not None}
