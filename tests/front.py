"""A tiny web server before a store, as a CDN is: HEAD and ranged GET, video/mp4; it can be told to misbehave."""

from __future__ import annotations

import http.server
import re
import threading
from urllib.parse import unquote


class Front:
    """Serves what `look(key)` gives, on loopback; counts who asked for what.

    Args:
        look: The object's bytes, or None.

    """

    def __init__(self, look) -> None:
        front = self
        self.look, self.asked, self.broken = look, [], {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                front.answer(self)

            do_GET = do_HEAD  # noqa: N815 - the library's name

            def log_message(self, *_) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, request) -> None:
        """One answer; `broken` lays other values over it: redirect, type, length, head, plain."""
        key = unquote(request.path.partition("?")[0]).lstrip("/")
        agent = request.headers.get("User-Agent", "")
        self.asked.append((request.command, agent.partition("/")[0], key))
        data = self.look(key)
        if self.broken.get("redirect"):
            request.send_response(302)
            request.send_header("Location", f"{self.url}/elsewhere.mp4")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        refused = request.command == "HEAD" and self.broken.get("head")
        if data is None or refused:
            request.send_response(refused or 404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if ranged and not self.broken.get("plain"):
            first, last = int(ranged[1]), min(last, int(ranged[2] or last))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            request.send_response(200)
        request.send_header("Content-Type", self.broken.get("type", "video/mp4"))
        request.send_header("Content-Length", self.broken.get("length", str(last - first + 1)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data[first : last + 1])

    def fetched(self, agent: str = "RunwayML API") -> list[str]:
        """Keys that were fetched whole, by the provider unless told otherwise."""
        return [key for method, who, key in self.asked if method == "GET" and who == agent]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def of_folder(folder) -> Front:
    """A front before a folder."""

    def look(key):
        path = folder / key
        return path.read_bytes() if path.is_file() else None

    return Front(look)
