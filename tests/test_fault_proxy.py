"""The fault proxy does what it says: each break at its byte, the log true, everything else untouched."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from .fault_proxy import Break, FaultProxy

BODY = bytes(range(256)) * 8
POST = b"POST /v1/order HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\n0123456789"


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was sent, or with BODY; keeps connections alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(BODY)

    def do_POST(self):
        if self.headers.get("transfer-encoding"):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(body)

    def answer(self, body):
        self.server.heard.append((self.client_address, self.command, self.path, body))
        self.send_response_only(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A broken connection is what is asked for."""


@pytest.fixture
def server():
    """A tiny server that remembers what it heard, and from which connection."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def proxy(server):
    """A proxy before it."""
    with FaultProxy(server.server_port) as proxy:
        yield proxy


def talk(proxy, data=POST):
    """All bytes that come back for *data*, and whether the connection was reset."""
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.sendall(data)
        got = b""
        try:
            while piece := client.recv(65536):
                got += piece
        except ConnectionResetError:
            return got, True
        return got, False


def test_all_else_passes_unchanged(proxy, server):
    """Requests with and without a length pass whole, on one connection that stays alive."""
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    client.request("POST", "/a", b"with a length")
    assert client.getresponse().read() == b"with a length"
    client.request("POST", "/b", iter([b"in ", b"chunks"]), encode_chunked=True)
    assert client.getresponse().read() == b"in chunks"
    client.request("GET", "/c?d=e")
    assert client.getresponse().read() == BODY
    client.close()
    assert len({address for address, *_ in server.heard}) == 1
    assert [(one.method, one.path, one.whole, one.broken) for one in proxy.log] == [
        ("POST", "/a", True, False), ("POST", "/b", True, False), ("GET", "/c?d=e", True, False),
    ]  # fmt: skip


def test_only_what_fits_is_broken_and_as_often_as_told(proxy):
    """Later requests of a living connection are matched too, by method and pattern, `times` times."""
    proxy.break_next("POST", re.compile(r"^/orders?$"), Break("refuse", times=2))
    with httpx.Client(base_url=proxy.url, trust_env=False) as client:
        assert client.get("/order").content == BODY
        assert client.post("/order/1", content=b"x").content == b"x"
        for path in ("/order", "/orders"):
            with pytest.raises(httpx.ReadError):
                client.post(path, content=b"x")
        assert client.post("/order", content=b"x").content == b"x"
    assert [one.broken for one in proxy.log] == [False, False, True, True, False]


def test_refused_reaches_nobody(proxy, server):
    """A refused request is reset, and the server never hears of it."""
    proxy.break_next("POST", "/v1", Break("refuse"))
    assert talk(proxy) == (b"", True)
    assert not server.heard
    assert (proxy.log[0].sent, proxy.log[0].whole) == (0, False)


@pytest.mark.parametrize("after", [1, POST.index(b"0123") + 4, len(POST)])
def test_request_cut_at_a_byte(raw, after):
    """The server sees exactly the first *after* bytes, then the end; the client is reset."""
    heard = []

    def listen(talk):
        while piece := talk.socket.recv(4096):
            heard.append(piece)
        done.set()

    done = threading.Event()
    with FaultProxy(raw(listen).port) as proxy:
        proxy.break_next("", "/v1/order", Break("reset", after, "request"))
        assert talk(proxy) == (b"", True)
        assert done.wait(5)
        assert b"".join(heard) == POST[:after]
        assert (proxy.log[0].sent, proxy.log[0].whole) == (after, after == len(POST))


@pytest.mark.parametrize("after", [0, 1, 30])
def test_answer_lost_after_the_request_arrived(proxy, server, after):
    """The request is obeyed, the client gets *after* bytes of the answer and RST, and the log says so."""
    proxy.break_next("POST", "/v1/order", Break("reset", after))
    got, reset = talk(proxy)
    assert (len(got), reset) == (after, True)
    assert [body for *_, body in server.heard] == [b"0123456789"]
    assert (proxy.log[0].whole, proxy.log[0].answered) == (True, after)


def test_stalled_answer_goes_on(proxy):
    """A stalled answer stops at its byte for its seconds, then comes whole."""
    proxy.break_next("GET", "/", Break("stall", 40, seconds=0.1))
    start = time.monotonic()
    assert httpx.get(proxy.url, trust_env=False).content == BODY
    assert time.monotonic() - start > 0.095


@pytest.mark.parametrize(("then", "reset"), [("close", False), ("reset", True)])
def test_stalled_answer_ends(proxy, then, reset):
    """A stalled answer may end in FIN or RST instead."""
    proxy.break_next("", "/v1", Break("stall", 10, seconds=0.05, then=then))
    got, was_reset = talk(proxy)
    assert (len(got), was_reset) == (10, reset)


def test_stalled_request_is_late_for_the_server(proxy, server):
    """A stalled request is heard, whole, only after its seconds."""
    proxy.break_next("POST", "/", Break("stall", len(POST) - 1, "request", seconds=0.15))
    thread = threading.Thread(target=httpx.post, args=(proxy.url,), kwargs={"content": BODY, "trust_env": False})
    thread.start()
    time.sleep(0.08)
    assert not server.heard
    thread.join(5)
    assert server.heard[0][-1] == BODY


def test_trickled_answer_comes_byte_by_byte(proxy):
    """A trickled answer is whole, but each byte comes alone."""
    proxy.break_next("POST", "/v1", Break("trickle", seconds=0.003))
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.sendall(POST)
        pieces = []
        while not b"".join(pieces).endswith(b"0123456789"):
            pieces.append(client.recv(65536))
    assert len(pieces) > len(b"".join(pieces)) * 0.7  # a busy machine may hand over two at once


def test_head_without_its_body(proxy):
    """The answer's head comes whole, then FIN instead of its body."""
    proxy.break_next("GET", "/", Break("cut_after_headers"))
    got, reset = talk(proxy, b"GET / HTTP/1.1\r\n\r\n")
    assert got.endswith(b"content-length: 2048\r\n\r\n")
    assert not reset


def test_half_closed_client_is_still_heard(proxy, server):
    """After FIN in the middle of an answer the client's next request still reaches the server."""
    proxy.break_next("POST", "/v1", Break("half_close", 12))
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.sendall(POST)
        got = b""
        while piece := client.recv(65536):
            got += piece
        assert len(got) == 12
        client.sendall(POST)
        until = time.monotonic() + 5
        while len(server.heard) < 2 and time.monotonic() < until:
            time.sleep(0.005)
    assert len(server.heard) == 2


def test_sandbox_links_lead_through_the_proxy(runway_sandbox):
    """An upload link that the sandbox gives to a client of the proxy leads back to the proxy."""
    with FaultProxy(httpx.URL(runway_sandbox.url).port) as proxy, httpx.Client(trust_env=False) as client:
        head = {"authorization": "Bearer sandbox-key", "x-runway-version": "2024-11-06"}
        body = {"filename": "clip.mp4", "type": "ephemeral"}
        told = client.post(f"{proxy.url}/v1/uploads", headers=head, json=body).json()
        assert told["uploadUrl"].startswith(f"{proxy.url}/uploads/")
