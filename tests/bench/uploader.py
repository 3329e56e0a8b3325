"""One upload in a process of its own, so that its memory is its own: `python -m tests.bench.uploader KIND FILE URL`.

Idle is taken after the imports, before a client is opened; the peak is the kernel's. The clock runs over the upload
only, after a one-byte request: a run has spoken to its provider before it uploads.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from runway_node.client import Client
from runway_node.settings import load_settings

READ = 1 << 20
SENDS = 3
"""In a row; their median counts, for one alone is at the scheduler's mercy."""

FIELDS = {"key": "uploads/clip.mp4", "policy": "p" * 600, "x-amz-signature": "s" * 64}
"""Of a ticket's usual size."""

Send = Callable[[Path], object]


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes."""
    with path.open("rb") as file:
        while piece := file.read(READ):
            yield piece


def by_socket(url: str) -> Send:
    """Raw: a socket, a head, the bytes."""
    parts = urlsplit(url)

    def send(path: Path) -> None:
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nContent-Length: {path.stat().st_size}\r\n\r\n".encode())
            for piece in pieces(path):
                connection.sendall(piece)
            while connection.recv(65536):
                pass

    return send


def by_stream(url: str) -> Send:
    """Raw through httpx: the file's bytes with Content-Length, no form."""
    client = httpx.Client(trust_env=False)
    return lambda path: _checked(
        client.post(url, content=pieces(path), headers={"Content-Length": str(path.stat().st_size)})
    )


def by_form(url: str) -> Send:
    """Ours: `Client.upload`, with the ticket it asks for first."""
    client = Client(load_settings(runway_key="bench", runway_base_url=url, provider="runway"), "runway")
    return lambda path: client.upload(path, "video/mp4")


def by_files(url: str) -> Send:
    """The multipart form of httpx itself."""
    client = httpx.Client(trust_env=False)

    def send(path: Path) -> None:
        with path.open("rb") as file:
            _checked(client.post(url, data=FIELDS, files={"file": ("clip.mp4", file, "video/mp4")}))

    return send


KINDS: dict[str, Callable[[str], Send]] = {
    "socket": by_socket, "stream": by_stream, "form": by_form, "files": by_files
}  # fmt: skip


def _checked(response: httpx.Response) -> None:
    response.raise_for_status()


def memory(name: str) -> float | None:
    """A figure of the kernel's about this process, MB: "VmRSS" now, "VmHWM" at most so far; None off Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Send; print seconds, and memory idle and at its peak."""
    kind, path, url = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    idle = memory("VmRSS")
    send = KINDS[kind](url)
    send(path.with_name("one.mp4"))
    spent = []
    for _ in range(SENDS):
        began = time.perf_counter()
        send(path)
        spent.append(time.perf_counter() - began)
    sys.stdout.write(json.dumps({"seconds": statistics.median(spent), "idle": idle, "peak": memory("VmHWM")}) + "\n")


if __name__ == "__main__":
    main()
