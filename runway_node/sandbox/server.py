"""A served sandbox: uvicorn in a thread of its own, on 127.0.0.1 only, gone without a trace afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import SettingsError
from ..settings import Provider
from .app import create_app
from .sandbox import DEFAULT_KEY, Sandbox

_HOST = "127.0.0.1"
_VARIABLES: dict[Provider, tuple[str, str]] = {
    "cometapi": ("COMETAPI_KEY", "COMETAPI_BASE_URL"),
    "runway": ("RUNWAYML_API_SECRET", "RUNWAYML_BASE_URL"),
}


class _Protocol(H11Protocol):
    """HTTP/1.1 whose requests carry their connection, so that faults can break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    def abort(self) -> None:
        """Cut the connections that are still open, whatever they wait for."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


@dataclass(frozen=True)
class Served:
    """A sandbox and where it is."""

    url: str
    sandbox: Sandbox

    def env(self, provider: Provider) -> dict[str, str]:
        """The two environment variables that point a client at it."""
        key, base = _VARIABLES[provider]
        return {key: self.sandbox.options.key or DEFAULT_KEY, base: self.url}


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"Port {port} cannot be used: {error.strerror}", "Give another --port, or 0") from None
    return listener


def _server(sandbox: Sandbox) -> _Server:
    config = uvicorn.Config(
        create_app(sandbox), http=_Protocol, ws="none", loop="asyncio", lifespan="off", log_config=None,
        log_level="critical", access_log=False, timeout_graceful_shutdown=1, server_header=False,
    )  # fmt: skip
    return _Server(config)


@contextlib.contextmanager
def serve(sandbox: Sandbox | None = None, port: int = 0, **options: Any) -> Iterator[Served]:
    """Serve *sandbox*, or one made of *options*, on a free port or *port*, while the block runs.

    A sandbox made here is closed here; one that was given is not.
    """
    mine = sandbox if sandbox is not None else Sandbox(**options)
    listener = _listen(port)
    server = _server(mine)
    thread = threading.Thread(target=server.run, args=([listener],), name="runway-sandbox", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise SettingsError("The sandbox's server did not start")
            time.sleep(0.002)
        yield Served(f"http://{_HOST}:{listener.getsockname()[1]}", mine)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        if sandbox is None:
            mine.close()
