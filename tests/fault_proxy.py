"""A TCP proxy before an HTTP server: it breaks connections, never messages, and counts what has gone through.

Bytes pass unchanged, the Host header too, so links made from it lead back here. Connections stay one to one and alive:
each request's length is read, so that the next request line is found. Answers are not parsed: what comes back after a
request line is that request's answer, for the clients under test do not pipeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Self

if sys.platform == "linux":
    import fcntl
    import termios

HOST = "127.0.0.1"
PIECE = 65536
LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

Kind = Literal["refuse", "reset", "stall", "trickle", "cut_after_headers", "half_close"]
Side = Literal["request", "response"]
Where = str | re.Pattern[str]
End = Literal["close", "reset", "gone"]
Write = Callable[[bytes], Awaitable[bool]]


@dataclass(frozen=True)
class Break:
    """What goes wrong, and when.

    Args:
        kind: `refuse`: reset once the request's head is read, nothing forwarded. `reset`: RST to the client after
            *after* bytes; the server sees what was forwarded, then EOF. `stall`: after *after* bytes nothing for
            *seconds*, then *then*. `trickle`: after *after* bytes one at a time, *seconds* apart. `cut_after_headers`:
            the answer's head, then FIN. `half_close`: FIN to the client after *after* bytes of the answer, while it is
            still listened to.
        after: Bytes of the request or of the answer, head included. 0 on the response's side: when its first byte is
            here and so the request was obeyed. Where there are fewer bytes, nothing breaks.
        side: Whose bytes are counted and broken.
        times: How many requests this befalls.
        seconds: See *kind*.
        then: What follows a stall.

    """

    kind: Kind
    after: int = 0
    side: Side = "response"
    times: int = 1
    seconds: float = 0.005
    then: Literal["go_on", "close", "reset"] = "go_on"

    def __post_init__(self) -> None:
        if self.kind in {"cut_after_headers", "half_close"} and self.side != "response":
            raise ValueError(f"{self.kind} breaks responses only")


@dataclass
class Exchange:
    """One request as it passed."""

    method: str
    path: str
    fault: Break | None
    """The rule that it met."""
    broken: bool = False
    """Whether the break has begun."""
    whole: bool = False
    """Whether the whole request was handed to the server."""
    sent: int = 0
    """Bytes of the request handed to the server."""
    answered: int = 0
    """Bytes of the answer handed to the client."""


class _Over(Exception):
    """The connection ends, and how its client is told."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


class FaultProxy:
    """Stands before the server on *target* of this machine while its block runs, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.log: list[Exchange] = []
        self._rules: list[tuple[str, Where, Break]] = []
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fault-proxy", daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def break_next(self, method: str, path: Where, fault: Break) -> None:
        """Let *fault* befall the next requests of this method ("" is any) with *path* in, or matching, their path."""
        with self._lock:
            self._rules += [(method.upper(), path, fault)] * fault.times

    def seen(self, method: str = "", path: Where = "") -> list[Exchange]:
        """The requests that passed, or broke, so far."""
        return [one for one in list(self.log) if _fits(method.upper(), path, one.method, one.path)]

    def meet(self, line: bytes) -> Exchange:
        """Note a request line, and the rule it meets."""
        method, path, *_ = [*line.decode("latin-1").split(" "), "", ""]
        with self._lock:
            rule = next((rule for rule in self._rules if _fits(*rule[:2], method, path)), None)
            if rule:
                self._rules.remove(rule)
            exchange = Exchange(method, path, rule[2] if rule else None)
            self.log.append(exchange)
        return exchange

    def _run(self, ready: threading.Event) -> None:
        # On every system the one that takes bare sockets.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._loop.add_reader(self._listener, self._accept)
        ready.set()
        await self._stop.wait()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await _cancel(*(asyncio.all_tasks() - {asyncio.current_task()}))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it went away before it was accepted
            connection = _Connection(self, self._listener.accept()[0])
            task = self._loop.create_task(connection.run())
            self._tasks.add(task)
            task.add_done_callback(lambda _: connection.close())
            task.add_done_callback(self._tasks.discard)


class _Flow:
    """One direction of one exchange: it forwards, counts, and breaks at the byte it was told."""

    def __init__(self, exchange: Exchange, side: Side, write: Write, shut: Callable[[], None]) -> None:
        self._exchange = exchange
        self._side = side
        self._write = write
        self._shut = shut
        self._fault = exchange.fault if exchange.fault and exchange.fault.side == side else None
        self._held = b""
        self._offered = 0
        self._passed = 0
        self._ended = False
        self._mute = False

    async def send(self, data: bytes, *, last: bool = False) -> None:
        self._offered += len(data)
        self._ended = last
        fault = self._fault
        if fault is None:
            await self._pass(data)
        elif fault.kind == "cut_after_headers":
            await self._cut(data)
        else:
            room = max(0, fault.after - self._passed)
            await self._pass(data[:room])
            if self._passed >= fault.after:
                self._exchange.broken = True
                await self._break(fault, data[room:])

    async def _break(self, fault: Break, rest: bytes) -> None:
        if fault.kind == "reset":
            raise _Over("reset")
        if fault.kind == "half_close":
            self._mute = True
            self._shut()
        elif fault.kind == "stall":
            self._fault = None
            await asyncio.sleep(fault.seconds)
            if fault.then != "go_on":
                raise _Over(fault.then)
            await self._pass(rest)
        elif fault.kind == "trickle":
            for at in range(len(rest)):
                await self._pass(rest[at : at + 1])
                await asyncio.sleep(fault.seconds)

    async def _cut(self, data: bytes) -> None:
        """Hold the answer back until its head is whole; a 1xx before it has a head of its own."""
        self._held += data
        while b"\r\n\r\n" in self._held:
            head, _, self._held = self._held.partition(b"\r\n\r\n")
            await self._pass(head + b"\r\n\r\n")
            if not re.match(rb"HTTP/1\.\d 1", head):
                self._exchange.broken = True
                raise _Over("close")

    async def _pass(self, data: bytes) -> None:
        """Forward, noted first: who gets the last byte may look at the log at once."""
        if not data or self._mute:
            return
        self._passed += len(data)
        if self._side == "request":
            self._exchange.sent = self._passed
            self._exchange.whole = self._ended and self._passed == self._offered
        else:
            self._exchange.answered = self._passed
        if not await self._write(data):
            self._mute = True
            self._exchange.whole = False


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._client = _prepared(client)
        self._server = _prepared(socket.socket())
        self._connected = asyncio.Event()
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._answer: _Flow | None = None

    async def run(self) -> None:
        both = asyncio.create_task(self._requests()), asyncio.create_task(self._answers())
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(*both)
        ends = [task.exception() for task in done]
        with contextlib.suppress(OSError):
            await self._finish(*ends)

    def close(self) -> None:
        self._client.close()
        self._server.close()

    async def _requests(self) -> None:
        while True:
            head = await self._until(b"\r\n\r\n")
            self._exchange = exchange = self._proxy.meet(head.partition(b"\r\n")[0])
            if exchange.fault and exchange.fault.kind == "refuse":
                exchange.broken = True
                raise _Over("reset")
            request = _Flow(exchange, "request", self._to_server, self._shut)
            self._answer = _Flow(exchange, "response", self._to_client, self._shut)
            async with contextlib.aclosing(self._pieces(head)) as pieces:
                async for piece, last in pieces:
                    await request.send(piece, last=last)

    async def _answers(self) -> None:
        await self._connected.wait()
        while True:
            try:
                piece = await self._loop.sock_recv(self._server, PIECE)
            except OSError:
                raise _Over("reset") from None
            if not piece:
                raise _Over("close")
            if self._answer is not None:
                await self._answer.send(piece)

    async def _pieces(self, head: bytes) -> AsyncGenerator[tuple[bytes, bool], None]:
        """The request as it comes, each piece with whether it is the last."""
        fields = dict(re.findall(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)", head.lower()))
        left = int(fields.get(b"content-length", 0))
        chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        yield head, not left and not chunked
        while chunked:
            line = await self._until(b"\r\n")
            yield line, False
            size = int(line.partition(b";")[0], 16)
            if not size:
                while line != b"\r\n":  # trailers, or at once the empty line
                    line = await self._until(b"\r\n")
                    yield line, line == b"\r\n"
                return
            size += 2
            while size:
                piece = await self._some(size)
                size -= len(piece)
                yield piece, False
        while left:
            piece = await self._some(left)
            left -= len(piece)
            yield piece, not left

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._buffer += await self._heard()
        before, _, self._buffer = self._buffer.partition(mark)
        return before + mark

    async def _some(self, most: int) -> bytes:
        data = self._buffer or await self._heard()
        self._buffer = data[most:]
        return data[:most]

    async def _heard(self) -> bytes:
        """More from the client."""
        try:
            data = await self._loop.sock_recv(self._client, PIECE)
        except OSError:
            data = b""
        if not data:
            raise _Over("gone")
        return data

    async def _to_server(self, data: bytes) -> bool:
        """Hand on; False where the server no longer listens: its answer, or its reset, may still come."""
        if not self._connected.is_set():
            try:
                await self._loop.sock_connect(self._server, (HOST, self._proxy.target))
            except OSError:
                raise _Over("reset") from None
            self._connected.set()
        try:
            await self._loop.sock_sendall(self._server, data)
        except OSError:
            return False
        return True

    async def _to_client(self, data: bytes) -> bool:
        try:
            await self._loop.sock_sendall(self._client, data)
        except OSError:
            raise _Over("gone") from None
        return True

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)

    async def _finish(self, *errors: BaseException | None) -> None:
        """Tell both sides, so that what was written to them is still read."""
        ends = {error.end for error in errors if isinstance(error, _Over)}
        if "reset" in ends:
            await _left(self._client)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            self._client.close()
        elif "close" in ends:
            self._shut()
            await self._drain(self._client)  # closed with bytes unread, it would send RST, and the answer be lost
        if self._connected.is_set() and self._exchange and not self._exchange.whole:
            self._server.shutdown(socket.SHUT_WR)
            await self._drain(self._server)
        for error in errors:
            if not isinstance(error, _Over):
                raise error or AssertionError("a pump ran dry")

    async def _drain(self, half: socket.socket) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while await self._loop.sock_recv(half, PIECE):
                    pass


def _fits(asked: str, where: Where, method: str, path: str) -> bool:
    found = where in path if isinstance(where, str) else where.search(path)
    return asked in {"", method} and bool(found)


def _prepared(half: socket.socket) -> socket.socket:
    half.setblocking(False)
    half.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return half


async def _left(half: socket.socket) -> None:
    """Wait until what was written has left: RST throws away what still waits, and on some systems what is unread."""
    await asyncio.sleep(0.02)
    if sys.platform == "linux":
        for _ in range(100):
            if not int.from_bytes(fcntl.ioctl(half, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
                return
            await asyncio.sleep(0.01)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
