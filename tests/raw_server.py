"""A server that only knows sockets: each connection is one script, free to break HTTP in any way."""

import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)


class Talk:
    """One accepted connection, as a script sees it."""

    def __init__(self, connection):
        self.socket = connection
        self.head = b""
        self.body = b""

    def read_head(self):
        """Read the request's head; what came of the body is kept."""
        while b"\r\n\r\n" not in self.head:
            piece = self.socket.recv(4096)
            if not piece:
                return self.head
            self.head += piece
        self.head, _, self.body = self.head.partition(b"\r\n\r\n")
        return self.head

    def read_all(self):
        """Read the whole request."""
        self.read_head()
        while len(self.body) < int(self.header("content-length") or 0):
            piece = self.socket.recv(65536)
            if not piece:
                break
            self.body += piece
        return self.body

    def header(self, name):
        """A header of the request, "" where there is none."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return ""

    def answer(self, status, body=b"", **headers):
        """Send an answer; `content_length=` may lie, None leaves it out."""
        lines = {"content_length": len(body), "connection": "close", **headers}
        told = [f"{name.replace('_', '-')}: {value}" for name, value in lines.items() if value is not None]
        self.socket.sendall("\r\n".join([f"HTTP/1.1 {status} Raw", *told, "", ""]).encode() + body)

    def reset(self):
        """Close with RST: "connection reset by peer" at the other end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class RawServer:
    """Serves on 127.0.0.1; the n-th connection runs the n-th script, the last one again and again.

    Args:
        scripts: Each called with a `Talk`.

    """

    def __init__(self, *scripts):
        self.scripts = scripts
        self.talks = []
        self.errors = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            talk = Talk(connection)
            self.talks.append(talk)
            script = self.scripts[min(len(self.talks), len(self.scripts)) - 1]
            with connection:
                connection.settimeout(10)
                try:
                    script(talk)
                except OSError as error:
                    self.errors.append(error)

    def close(self):
        """Stop listening."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
