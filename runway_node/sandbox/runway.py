"""Runway's own protocol: its routes, statuses and words. Facts: the OpenAPI description of 2026-08, and api.md."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..models.table import MODELS
from .http import JSON, bearer, read_json
from .orders import runway_work
from .refusal import Issue, Refusal, bad_body
from .render import CONTENT_TYPES
from .rules import one_of, record, text
from .sandbox import Sandbox
from .state import Account, RemoteTask
from .storage import extension_of, new_ticket

VERSION = "2024-11-06"
DOCS = "https://docs.dev.runwayml.com/api"
_MONTHLY_CREDITS = 100_000
_TICKET = record({"filename": text(3, 255), "type": one_of("ephemeral")}, frozenset({"filename", "type"}))
_RETIRED = {row.name: row.retired for row in MODELS if row.provider == "runway" and row.retired}
_KNOWN = tuple(row.name for row in MODELS if row.provider == "runway" and not row.retired)


def refused(refusal: Refusal) -> Response:
    """A refusal in Runway's words."""
    body: dict[str, Any] = {"error": refusal.message}
    if refusal.issues:
        body["issues"] = [
            {"code": issue.code, "path": list(issue.path), "message": issue.message} for issue in refusal.issues
        ]
    if refusal.status == 400:
        body["docUrl"] = DOCS
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after is not None else None
    return JSON(body, refusal.status, headers)


def iso(seconds: float) -> str:
    """Epoch *seconds* as Runway writes a moment: UTC, milliseconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bare(sandbox: Sandbox, task: RemoteTask, base: str) -> dict[str, Any]:
    """A task as Runway tells it; *base* is the origin that links start with."""
    now = sandbox.clock()
    status = task.status(now)
    told: dict[str, Any] = {"id": task.id, "status": status, "createdAt": iso(task.created)}
    if status in {"PENDING", "THROTTLED", "RUNNING"}:
        told["estimatedCost"] = {"credits": task.price}
    else:
        told["cost"] = {"credits": task.cost or 0}
    if status == "RUNNING":
        told["progress"] = task.progress(now)
    if status == "SUCCEEDED":
        told["output"] = [link(sandbox, task, base)]
    if status == "FAILED":
        told["failureCode"], told["failure"] = task.failure[:2]
    return told


def link(sandbox: Sandbox, task: RemoteTask, base: str) -> str:
    """A fresh link to a task's answer."""
    suffix = task.output.suffix if task.output.suffix in CONTENT_TYPES else ".mp4"
    name = f"{task.id}{suffix}"
    return f"{base}/outputs/{name}?_jwt={sandbox.sign(name)}"


class Runway:
    """The endpoints; each one answers or raises `Refusal`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def _account(self, request: Request) -> Account:
        account = self.sandbox.account("runway", bearer(request))
        if account is None:
            raise Refusal(401, "Unauthorized: the API key is missing or not valid.")
        version = request.headers.get("x-runway-version")
        if version != VERSION:
            said = "is required" if version is None else f"{version!r} is not supported"
            raise Refusal(400, f"The X-Runway-Version header {said}; use {VERSION}.")
        return account

    def _task(self, request: Request) -> RemoteTask:
        task = self.sandbox.find(self._account(request), request.path_params["id"])
        if task is None:
            raise Refusal(404, "Task not found")
        return task

    async def create(self, request: Request) -> Response:
        """`POST /v1/video_to_video`."""
        account = self._account(request)
        body = await read_json(request, self.sandbox.options.body_bytes)
        self.sandbox.last_fields["create"] = sorted(body)
        model = body.get("model")
        if model not in _KNOWN:
            raise bad_body(_no_model(model))
        work = await asyncio.to_thread(runway_work, self.sandbox, body)
        task = self.sandbox.admit(account, str(model), work, body)
        request.state.task = task
        return JSON({"id": task.id, "estimatedCost": {"credits": task.price}})

    async def poll(self, request: Request) -> Response:
        """`GET /v1/tasks/{id}`."""
        return JSON(bare(self.sandbox, self._task(request), origin(request)))

    async def cancel(self, request: Request) -> Response:
        """`DELETE /v1/tasks/{id}`."""
        self.sandbox.cancel(self._task(request))
        return Response(status_code=204)

    async def ticket(self, request: Request) -> Response:
        """`POST /v1/uploads`."""
        self._account(request)
        body = await read_json(request, 64 * 1024)
        self.sandbox.last_fields["upload_ticket"] = sorted(body)
        issues = [issue for issue in _TICKET(body, ()) if issue.code != "unrecognized_keys"]
        if issues:
            raise bad_body(*issues)
        if not extension_of(body["filename"]):
            raise bad_body(Issue("custom", ("filename",), "filename must have a valid extension"))
        upload = new_ticket(self.sandbox, body["filename"])
        url = f"{origin(request)}/uploads/{upload.ticket}"
        return JSON({"uploadUrl": url, "fields": upload.fields, "runwayUri": upload.uri})

    async def organization(self, request: Request) -> Response:
        """`GET /v1/organization`: it still lists retired models, as Runway's does."""
        account = self._account(request)
        options = self.sandbox.options
        now = self.sandbox.clock()
        limits = {
            "maxConcurrentGenerations": options.concurrency,
            "maxDailyGenerations": 1000 if options.daily is None else options.daily,
        }
        models = (*_KNOWN, *_RETIRED)
        usage = {name: {"dailyGenerations": account.daily(name, now)} for name in _KNOWN}
        return JSON(
            {
                "tier": {"maxMonthlyCreditSpend": _MONTHLY_CREDITS, "models": dict.fromkeys(models, limits)},
                "creditBalance": account.credits,
                "usage": {"models": usage},
            }
        )


def origin(request: Request) -> str:
    """Scheme, host and port by which this server was asked."""
    return str(request.base_url).rstrip("/")


def _no_model(model: object) -> Issue:
    if isinstance(model, str) and model in _RETIRED:
        return Issue("invalid_union_discriminator", ("model",), _RETIRED[model])
    listed = " | ".join(f"'{name}'" for name in _KNOWN)
    return Issue("invalid_union_discriminator", ("model",), f"Invalid discriminator value. Expected {listed}")
