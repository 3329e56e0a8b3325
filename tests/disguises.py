"""Files that are playlists under another name, and eyes that see whether what they name is opened."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys

import pytest

DISGUISES = ("concat", "concat-up", "mpd", "mpd-http", "hls", "hls-up", "hls-http")
SEGMENT = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" '
    'minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1000"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)


def disguised(kind, path, secret, port):
    """Write at *path* a playlist of *kind* that names *secret*, or a server on this machine."""
    up, url = os.path.relpath(secret, path.parent), f"http://127.0.0.1:{port}/secret.mp4"
    path.write_text(
        {
            "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
            "concat-up": f"ffconcat version 1.0\nfile {up}\n",
            "mpd": MPD.format(f"file://{secret}"),
            "mpd-http": MPD.format(url),
            "hls": SEGMENT.format(secret),
            "hls-up": SEGMENT.format(up),
            "hls-http": SEGMENT.format(url),
        }[kind],
        encoding="utf-8",
    )
    return path


class Eyes:
    """Sees a file opened, by whichever process, and a server asked."""

    def __init__(self, path):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.port = self.server.getsockname()[1]
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.watch = self.libc.inotify_init1(os.O_NONBLOCK)
        assert self.libc.inotify_add_watch(self.watch, os.fsencode(path), 0x20) >= 0  # IN_OPEN

    @property
    def opened(self):
        """Whether anything was opened or asked since the last look."""
        seen = False
        with contextlib.suppress(BlockingIOError):
            self.server.accept()[0].close()
            seen = True
        with contextlib.suppress(BlockingIOError):
            seen = bool(os.read(self.watch, 4096)) or seen
        return seen

    def close(self):
        self.server.close()
        os.close(self.watch)


@pytest.fixture(name="secret")
def secret_fixture(tmp_path, clip):
    """A clip that nobody was given."""
    (tmp_path / "private").mkdir()
    path = tmp_path / "private" / "secret.mp4"
    path.write_bytes(clip.read_bytes())
    return path


@pytest.fixture(name="eyes")
def eyes_fixture(secret):
    """Watches the secret, and a port."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells who opens a file")
    eyes = Eyes(secret)
    yield eyes
    eyes.close()
