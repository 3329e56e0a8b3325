"""The routes: which request goes to which protocol, where faults enter, and the control door `/_sandbox`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..settings import Provider
from . import comet, runway
from .faults import Fault, Where
from .http import JSON, Broken, Handler
from .mischief import Act, perform
from .refusal import Refusal
from .sandbox import Sandbox
from .storage import Storage

_COUNTED: dict[Where, str] = {
    "create": "creates",
    "poll": "polls",
    "upload_ticket": "uploads",
    "upload_put": "upload_puts",
    "download": "downloads",
    "cancel": "deletes",
    "account": "accounts",
}
_REFUSED: dict[Provider, Callable[[Refusal], Response]] = {"runway": runway.refused, "cometapi": comet.refused}


def create_app(sandbox: Sandbox) -> Starlette:
    """The ASGI application of *sandbox*."""
    theirs, ours, storage = comet.Comet(sandbox), runway.Runway(sandbox), Storage(sandbox)

    def on(where: Where, provider: Provider | None, handler: Handler) -> Handler:
        return functools.partial(_answer, sandbox, where, provider, handler)

    routes = [
        ("POST", "/runwayml/v1/video_to_video", on("create", "cometapi", theirs.create)),
        ("GET", "/runwayml/v1/tasks/{id}", on("poll", "cometapi", theirs.poll)),
        ("POST", "/v1/video_to_video", on("create", "runway", ours.create)),
        ("GET", "/v1/tasks/{id}", on("poll", "runway", ours.poll)),
        ("DELETE", "/v1/tasks/{id}", on("cancel", "runway", ours.cancel)),
        ("POST", "/v1/uploads", on("upload_ticket", "runway", ours.ticket)),
        ("GET", "/v1/organization", on("account", "runway", ours.organization)),
        ("POST", "/uploads/{ticket}", on("upload_put", None, storage.put)),
        ("GET", "/outputs/{name}", on("download", None, storage.get)),
        *_control(sandbox),
    ]
    table = [Route(path, endpoint=handler, methods=[method]) for method, path, handler in routes]
    return Starlette(routes=table, exception_handlers={HTTPException: _no_route})


async def _answer(
    sandbox: Sandbox, where: Where, provider: Provider | None, handler: Handler, request: Request
) -> Response:
    """One request: counted, befallen by a fault if one is due, and refused in its protocol's words."""
    if request.method != "HEAD":
        with sandbox.lock:
            counter = _COUNTED[where]
            setattr(sandbox.counters, counter, getattr(sandbox.counters, counter) + 1)
    refused = _REFUSED[provider or "runway"]

    async def honest(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            with sandbox.lock:
                sandbox.counters.refused += 1
            answer = refused(refusal)
            if refusal.status != 413:
                return answer
            # The rest of the body is not read to its end.
            return Broken(413, dict(answer.headers), bytes(answer.body), linger=0.5)

    fault = None
    if request.method != "HEAD":
        fault = sandbox.faults.take(where, provider, _status(sandbox, request))
    if fault is None:
        return await honest(request)
    with sandbox.lock:
        sandbox.counters.faults += 1
    return await perform(Act(sandbox, request, where, fault, refused), honest)


def _status(sandbox: Sandbox, request: Request) -> str:
    """The status of the task that is asked for, "" where there is none."""
    sandbox.settle()
    task = sandbox.tasks.get(request.path_params.get("id", ""))
    return task.status(sandbox.clock()) if task and not task.gone else ""


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path or method, in the words of the protocol whose prefix it has."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith("/runwayml"):
        return JSON(comet.envelope(f"Invalid URL ({request.method} {request.url.path})"), 404)
    said = {404: "Not found", 405: "Method not allowed"}.get(status, "Internal error")
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSON({"error": said}, status, headers)


def _control(sandbox: Sandbox) -> list[tuple[str, str, Handler]]:
    """`/_sandbox`: not the providers', ours."""

    async def state(_: Request) -> Response:
        return JSON(sandbox.state())

    async def reset(_: Request) -> Response:
        sandbox.reset()
        return Response(status_code=204)

    async def faults(request: Request) -> Response:
        try:
            rows = _fault_rows(await request.json())
        except (ValidationError, ValueError, TypeError) as error:
            return JSON({"error": str(error)}, 400)
        sandbox.add(*rows)
        return JSON({"faults": sandbox.faults.left()})

    return [
        ("GET", "/_sandbox/state", state),
        ("POST", "/_sandbox/reset", reset),
        ("POST", "/_sandbox/faults", faults),
    ]


def _fault_rows(body: Any) -> list[Fault]:  # JSON
    """One fault, a list of them, or `{"faults": [...]}`."""
    if isinstance(body, dict):
        body = body.get("faults", [body])
    return [Fault(**row) for row in body]
