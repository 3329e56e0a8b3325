"""A raw sink on 127.0.0.1: it reads the bytes a request promises, drops them, and answers. A process of its own.

It knows just enough HTTP to find the promised length, and answers what an order or a ticket request would get.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

READ = 1 << 20


def reply(port: int) -> bytes:
    """One answer to whatever came: it reads as a created task and as an upload ticket for this very sink."""
    told = {
        "id": "00000000-0000-4000-8000-000000000000",
        "uploadUrl": f"http://127.0.0.1:{port}/uploads/1",
        "fields": {"key": "uploads/clip.mp4", "policy": "p" * 600, "x-amz-signature": "s" * 64},
        "runwayUri": "runway://bench",
    }
    body = json.dumps(told)
    head = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", body]).encode()


def drain(connection: socket.socket, answer: bytes) -> None:
    """One request."""
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        left = promised(head) - len(body)
        room = bytearray(READ)
        while left > 0:
            got = connection.recv_into(room)
            if not got:
                return
            left -= got
        connection.sendall(answer)


def promised(head: bytes) -> int:
    """The body's length."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ValueError("a request without Content-Length")


def accept(listener: socket.socket) -> None:
    """A thread for each connection."""
    answer = reply(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=drain, args=(connection, answer), daemon=True).start()


def main() -> None:
    """Serve until standard input closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
