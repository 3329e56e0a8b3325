"""CometAPI's proxy protocol: its routes, both task shapes and its envelope. Facts: CometAPI's pages, and new-api."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .http import JSON, bearer, read_json
from .orders import comet_work
from .refusal import Refusal
from .runway import bare, origin
from .sandbox import Sandbox
from .state import Account, RemoteTask

MODEL = "gen4_aleph"
GATEWAY_WORDS = {
    "PENDING": "QUEUED",
    "THROTTLED": "SUBMITTED",
    "RUNNING": "IN_PROGRESS",
    "SUCCEEDED": "SUCCESS",
    "FAILED": "FAILURE",
    "CANCELLED": "FAILURE",
}
"""Status words of the gateway, by Runway's (QuantumNous/new-api model/task.go)."""

_CHINA = timezone(timedelta(hours=8))


def request_id() -> str:
    """An id as the gateway writes one: the moment, then random letters."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S") + secrets.token_hex(8)


def envelope(message: str, code: str = "") -> dict[str, Any]:
    """CometAPI's error body; the request's id is inside the message."""
    said = f"{message} (request id: {request_id()})"
    return {"error": {"message": said, "type": "comet_api_error", "param": "", "code": code}}


def refused(refusal: Refusal) -> Response:
    """A refusal in CometAPI's words; what the model's owner refuses comes as 500 `invalid_request`."""
    status, code, message = refusal.status, refusal.code, refusal.message
    if refusal.issues:
        status, code = 500, "invalid_request"
        message = "; ".join(f"{'.'.join(map(str, issue.path)) or 'body'}: {issue.message}" for issue in refusal.issues)
    elif code == "insufficient_user_quota":
        status, message = 403, "user quota is not enough"
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after is not None else None
    return JSON(envelope(message, code), status, headers)


def wrapped(sandbox: Sandbox, task: RemoteTask, base: str) -> dict[str, Any]:
    """A task in the gateway's wrapper, with Runway's own inside."""
    inner = bare(sandbox, task, base)
    status = inner["status"]
    inner["createdAt"] = datetime.fromtimestamp(int(task.created), _CHINA).isoformat()
    inner.pop("estimatedCost", None)
    inner.pop("cost", None)
    failed = status in {"FAILED", "CANCELLED"}
    data = {
        "task_id": task.id,
        "action": "VIDEO_TO_VIDEO",
        "status": GATEWAY_WORDS[status],
        "fail_reason": inner.get("failure", "task cancelled") if failed else "",
        "submit_time": int(task.created),
        "start_time": int(task.started or 0),
        "finish_time": int(task.ended or 0),
        "progress": f"{round(task.progress(sandbox.clock()) * 100)}%",
        "data": inner,
    }
    return {"code": "success", "message": "", "data": data}


def not_exist(form: str) -> Response:
    """`task_not_exist`, in one of the forms in which it was seen or may come."""
    if form == "null":
        return JSON({"code": "success", "message": "", "data": None})
    if form == "error":
        return JSON(envelope("task_not_exist", "task_not_exist"), 400)
    if form == "200":
        return JSON({"status": "task_not_exist"})
    return JSON({"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400)


class Comet:
    """The endpoints; each one answers or raises `Refusal`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def _account(self, request: Request) -> Account:
        account = self.sandbox.account("cometapi", bearer(request))
        if account is None:
            raise Refusal(401, "Invalid token")
        return account

    async def create(self, request: Request) -> Response:
        """`POST /runwayml/v1/video_to_video`."""
        account = self._account(request)
        body = await read_json(request, self.sandbox.options.body_bytes)
        self.sandbox.last_fields["create"] = sorted(body)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Refusal(400, "model is required", code="invalid_request")
        if model != MODEL:
            said = f"No available channel for model {model} under group default (distributor)"
            raise Refusal(503, said, code="model_not_found")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("x-runway-version", "")):
            raise Refusal(500, "The X-Runway-Version header is required, as a date", code="invalid_request")
        work = await asyncio.to_thread(comet_work, self.sandbox, body)
        task = self.sandbox.admit(account, model, work, body)
        request.state.task = task
        return JSON({"id": task.id})

    async def poll(self, request: Request) -> Response:
        """`GET /runwayml/v1/tasks/{id}`."""
        sandbox = self.sandbox
        task = sandbox.find(self._account(request), request.path_params["id"])
        if task is None or sandbox.clock() < task.created + sandbox.options.not_exist_seconds:
            return not_exist("400")
        tell = bare_comet if sandbox.options.shape == "bare" else wrapped
        return JSON(tell(sandbox, task, origin(request)))


def bare_comet(sandbox: Sandbox, task: RemoteTask, base: str) -> dict[str, Any]:
    """A task as CometAPI's newer page shows it: Runway's, without the credits, which are not Runway's here."""
    told = bare(sandbox, task, base)
    told.pop("estimatedCost", None)
    told.pop("cost", None)
    return told
