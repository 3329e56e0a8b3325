"""Faults happen here: each kind is one small function from the honest answer to the wrong one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from . import comet, runway
from .dummies import dummy
from .faults import Fault, Where
from .http import JSON, Broken, Handler
from .refusal import Refusal
from .sandbox import Sandbox
from .state import RemoteTask
from .storage import etag_of, xml

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1><hr>nginx</body></html>"
_PHRASES = {
    301: "Moved Permanently", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    408: "Request Timeout", 409: "Conflict", 413: "Request Entity Too Large", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out",
    524: "A timeout occurred",
}  # fmt: skip
_BECOMES = frozenset({"failed", "cancelled", "vanishes", "long_queue", "hangs"})


class Act(NamedTuple):
    """One request that a fault befalls."""

    sandbox: Sandbox
    request: Request
    where: Where
    fault: Fault
    refused: Callable[[Refusal], Response]
    """How this route's protocol says no."""


async def perform(act: Act, handler: Handler) -> Response:
    """The wrong answer, after the request was obeyed where the fault says so."""
    fault = act.fault
    if fault.kind in _BECOMES:
        return await _become(act, handler)
    honest = await handler(act.request) if fault.obeyed else Response()
    if fault.kind in {"stall", "trickle"}:
        return await _late(fault, honest)
    if act.where == "create" and honest.status_code != 200:
        # What the server refuses stays refused: only an accepted order's answer can go astray.
        return honest
    return _WRONG[fault.kind](act, honest)


async def _become(act: Act, handler: Handler) -> Response:
    """Let the fault decide what becomes of the task: of the one just created, or of the one asked for."""
    if act.where == "create":
        honest = await handler(act.request)
        task = getattr(act.request.state, "task", None)
        if task is not None:
            act.sandbox.befall(task, act.fault)
        return honest
    asked = act.sandbox.tasks.get(act.request.path_params.get("id", ""))
    if asked is not None:
        act.sandbox.befall(asked, act.fault)
    return await handler(act.request)


async def _late(fault: Fault, honest: Response) -> Response:
    if fault.kind == "stall":
        await asyncio.sleep(fault.seconds)
        return honest
    return Broken(honest.status_code, _head(honest), bytes(honest.body), pieces=16, seconds=fault.seconds)


def _head(honest: Response, **changed: str) -> dict[str, str]:
    """The honest answer's headers; *changed* ones replace them, "" leaves one out, `_` stands for -."""
    head = {name: value for name, value in honest.headers.items() if name != "connection"}
    head.update({name.replace("_", "-"): value for name, value in changed.items()})
    return {name: value for name, value in head.items() if value}


def page(status: int, phrase: str = "") -> Response:
    """A web page, as proxies answer."""
    return Response(_PAGE.format(phrase or f"{status} {_PHRASES.get(status, 'Error')}"), status, media_type="text/html")


def _status(act: Act, _: Response) -> Response:
    fault = act.fault
    if fault.html:
        answer = page(fault.status)
    elif act.where in {"download", "upload_put"}:
        answer = xml(fault.status, fault.code or "Error", fault.message or _PHRASES.get(fault.status, "Error"))
    else:
        said = fault.message or _PHRASES.get(fault.status, "Error")
        answer = act.refused(Refusal(fault.status, said, code=fault.code))
    if fault.retry_after is not None:
        when = act.sandbox.clock() + fault.retry_after
        answer.headers["retry-after"] = formatdate(when, usegmt=True) if fault.http_date else f"{fault.retry_after:g}"
    return answer


def _redirect(act: Act, _: Response) -> Response:
    status = act.fault.status if act.fault.status in {301, 302, 303, 307, 308} else 301
    return Response("", status, {"location": act.fault.location})


def _html(_: Act, __: Response) -> Response:
    return page(200, "Welcome")


def _reset(_: Act, __: Response) -> Response:
    return Broken(silent=True, reset=True)


def _cut(act: Act, honest: Response) -> bytes:
    return bytes(honest.body)[: act.fault.after_bytes]


def _reset_mid_body(act: Act, honest: Response) -> Response:
    return Broken(honest.status_code, _head(honest), _cut(act, honest), reset=True)


def _truncated(act: Act, honest: Response) -> Response:
    return Broken(honest.status_code, _head(honest), _cut(act, honest))


def _close_delimited(act: Act, honest: Response) -> Response:
    return Broken(honest.status_code, _head(honest, content_length=""), _cut(act, honest))


def _json(honest: Response) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bytes(honest.body))
    return told


def _no_id(_: Act, __: Response) -> Response:
    return JSON({})


def _id_nested(act: Act, honest: Response) -> Response:
    identity = _json(honest)["id"]
    if act.fault.field == "task_id":
        return JSON({"task_id": identity})
    return JSON({"code": "success", "message": "", "data": {act.fault.field.partition(".")[2]: identity}})


def _null_data(_: Act, __: Response) -> Response:
    return JSON({"code": "success", "message": "", "data": None})


def _not_exist(act: Act, _: Response) -> Response:
    return comet.not_exist(act.fault.form)


def _not_found(act: Act, _: Response) -> Response:
    return act.refused(Refusal(404, "Task not found"))


def _retold(change: Callable[[Act, dict[str, Any]], None]) -> Callable[[Act, Response], Response]:
    """A fault that changes the task inside the answer, in whichever shape it is told; other answers are left."""

    def wrong(act: Act, honest: Response) -> Response:
        if honest.status_code != 200:
            return honest
        told = _json(honest)
        outer = told.get("data", told)
        change(act, outer)
        if "data" in outer:
            change(act, outer["data"])
        return JSON(told)

    return wrong


def _word(act: Act, told: dict[str, Any]) -> None:
    told["status"] = act.fault.word


def _lower(_: Act, told: dict[str, Any]) -> None:
    told["status"] = told["status"].lower()


def _other_word(_: Act, told: dict[str, Any]) -> None:
    back = {word: own for own, word in comet.GATEWAY_WORDS.items() if own != "CANCELLED"}
    told["status"] = comet.GATEWAY_WORDS.get(told["status"]) or back[told["status"]]


def _no_progress(_: Act, told: dict[str, Any]) -> None:
    told.pop("progress", None)


def _in_fail_reason(_: Act, told: dict[str, Any]) -> None:
    url = (told.pop("output", None) or told.get("data", {}).get("output"))[0]
    told["fail_reason"] = url


def _objects(_: Act, told: dict[str, Any]) -> None:
    if "output" in told:
        told["output"] = [{"url": url} for url in told["output"]]


def _shape(act: Act, honest: Response) -> Response:
    task = act.sandbox.tasks.get(act.request.path_params["id"])
    if task is None or honest.status_code != 200:
        return honest
    bare = act.sandbox.options.shape == "bare" or task.provider == "runway"
    return JSON((comet.wrapped if bare else runway.bare)(act.sandbox, task, runway.origin(act.request)))


def _expired(_: Act, __: Response) -> Response:
    return xml(403, "AccessDenied", "Request has expired")


def _wrong_type(act: Act, honest: Response) -> Response:
    honest.headers["content-type"] = act.fault.content_type
    return honest


def _not_video(act: Act, honest: Response) -> Response:
    data = dummy(act.fault.content, bytes(honest.body))
    return Response(data, 200, {"etag": etag_of(data), "accept-ranges": "bytes"}, "video/mp4")


def _etag_changes(act: Act, honest: Response) -> Response:
    """Another ETag each time, so that no If-Range ever fits: then all bytes come, some of them other ones."""
    task: RemoteTask | None = getattr(act.request.state, "task", None)
    if task is None or honest.status_code not in {200, 206}:
        return honest
    task.changes += 1
    data = task.output.read_bytes() + b"\0\0\0\x08free" * task.changes  # an empty box: still the same video
    return Response(data, 200, {"etag": etag_of(data), "accept-ranges": "bytes"}, honest.headers["content-type"])


def _ignores_range(act: Act, honest: Response) -> Response:
    task: RemoteTask | None = getattr(act.request.state, "task", None)
    if task is None or honest.status_code != 206:
        return honest
    data = task.output.read_bytes()
    return Response(data, 200, {"etag": honest.headers["etag"]}, honest.headers["content-type"])


def _range_lies(_: Act, honest: Response) -> Response:
    if honest.status_code != 206:
        return honest
    total = honest.headers["content-range"].rpartition("/")[2]
    size = len(bytes(honest.body))
    return Broken(206, _head(honest, content_range=f"bytes 0-{max(0, size - 1)}/{total}"), bytes(honest.body))


def _larger(act: Act, honest: Response) -> Response:
    return Broken(honest.status_code, _head(honest), bytes(honest.body) + bytes(act.fault.after_bytes))


def _bloated(act: Act, honest: Response) -> Response:
    return Response(bytes(act.fault.after_bytes), 200, {"etag": '"bloated"'}, honest.headers.get("content-type"))


_WRONG: dict[str, Callable[[Act, Response], Response]] = {
    "status": _status,
    "redirect": _redirect,
    "html": _html,
    "reset": _reset,
    "reset_mid_body": _reset_mid_body,
    "truncated": _truncated,
    "close_delimited": _close_delimited,
    "no_id": _no_id,
    "id_nested": _id_nested,
    "null_data": _null_data,
    "not_exist": _not_exist,
    "not_found": _not_found,
    "unknown_status": _retold(_word),
    "no_progress": _retold(_no_progress),
    "lower_case": _retold(_lower),
    "vocabulary": _retold(_other_word),
    "url_in_fail_reason": _retold(_in_fail_reason),
    "output_objects": _retold(_objects),
    "shape": _shape,
    "expired": _expired,
    "wrong_type": _wrong_type,
    "not_video": _not_video,
    "etag_changes": _etag_changes,
    "ignores_range": _ignores_range,
    "range_lies": _range_lies,
    "larger": _larger,
    "bloated": _bloated,
}
