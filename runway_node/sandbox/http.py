"""What both protocols share in HTTP: reading a bounded JSON body, the bearer key, and answers that break the rules."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .refusal import Issue, Refusal, bad_body

Handler = Callable[[Request], Awaitable[Response]]

_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class JSON(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """*content* as compact UTF-8."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def bearer(request: Request) -> str:
    """The key in the Authorization header, "" where there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """The body as a JSON object of at most *most* bytes; what is larger is refused before it is read.

    Raises:
        Refusal: It is too large, or no JSON object.

    """
    if int(request.headers.get("content-length") or 0) > most:
        raise Refusal(413, "Request body is too large")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, "Content-Type must be application/json", code="invalid_request")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise Refusal(413, "Request body is too large")
    try:
        body = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "Request body is not valid JSON", code="invalid_request") from None
    if not isinstance(body, dict):
        raise bad_body(Issue("invalid_type", (), "Expected object"))
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


class Broken(Response):
    """An answer written straight to the connection, so that its head may lie about its body.

    Args:
        head: Header lines; no Content-Length is added.
        body: What is sent.
        pieces: In how many pieces, over *seconds*.
        reset: Whether the connection is then reset instead of closed.
        silent: Whether nothing is sent at all.
        linger: Seconds for which what still comes in is read and dropped before the connection is closed: closed at
            once, the answer could be lost with it.

    """

    def __init__(
        self,
        status: int = 200,
        head: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        pieces: int = 1,
        seconds: float = 0.0,
        reset: bool = False,
        silent: bool = False,
        linger: float = 0.0,
    ) -> None:
        super().__init__(body, status)
        self._head = head or {}
        self._pieces = max(1, pieces)
        self._seconds = seconds
        self._reset = reset
        self._silent = silent
        self._linger = linger

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Write, then break the connection, then wait until the server has noticed."""
        transport: asyncio.Transport = scope["state"]["transport"]
        if not self._silent:
            fields = [f"{name}: {value}" for name, value in self._head.items()]
            lines = [f"HTTP/1.1 {self.status_code} Sandbox", *fields, "connection: close", "", ""]
            transport.write("\r\n".join(lines).encode("latin-1"))
            step = max(1, -(-len(self.body) // self._pieces))
            for start in range(0, len(self.body), step):
                await asyncio.sleep(self._seconds / self._pieces)
                transport.write(bytes(self.body[start : start + step]))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                while self._linger and (await receive()).get("more_body"):
                    pass
        if self._reset:
            await asyncio.sleep(0.02)  # let what was written leave first
            reset(transport)
        else:
            transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


def reset(transport: asyncio.Transport) -> None:
    """Close at once with RST, not FIN: the other side sees "connection reset by peer"."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()
