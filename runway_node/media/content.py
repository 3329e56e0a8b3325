"""What a clip or a still is, whatever it is called: hashes over bytes and pixels, a coarse sketch of a rendering."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
from PIL import Image

from ..errors import SourceError, StepError
from ..models import Picture
from .shapes import Buffer, Frames

GRID = 8
"""Cells a side of a sketch."""

ALIKE = 6.0
"""Mean difference of two sketches, in levels of 255, under which they show the same clip: noise and a running clock
stay far under it, another shot does not."""

SIGNED = frozenset(
    {
        "sig", "signature", "token", "_jwt", "jwt", "expires", "policy", "key-pair-id", "awsaccesskeyid",
        "googleaccessid", "ossaccesskeyid", "security-token", "access_token", "auth_key", "sign", "rlkey",
        # Azure's, beside its sig
        "sv", "st", "se", "sr", "sp", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv",
    }
)  # fmt: skip
"""Query parameters that sign a link and change with every signing; those of the clouds' own prefixes too."""


def file_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal.

    Raises:
        SourceError: It cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})", "Check the file") from error


class Rendered:
    """Frames that are hashed as they stream to the encoders; read once, they have a `content` and a `sketch`.

    Args:
        frames: The clip; nothing is read of it yet.
        kept: Frames that a reader may begin before the end of the one before it: they are held for it.

    """

    def __init__(self, frames: Frames, kept: int = 0) -> None:
        self._honest = frames
        self._pass: Generator[Buffer] | None = None
        self._read_so_far = 0
        self._held: deque[bytes] = deque(maxlen=kept)
        self.content = ""
        self.sketch = ""
        self.frames = replace(frames, read=lambda: self._read(0), read_from=self._read)

    def finish(self) -> None:
        """Read what no reader asked for, so that all of the clip is known."""
        for _ in self._read(self._read_so_far):
            pass

    def close(self) -> None:
        """End the reading: what it holds must not wait to be forgotten."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None
        self._held.clear()
        self._read_so_far = 0

    def _read(self, first: int) -> Iterator[Buffer]:
        """The frames from *first* on: of the one reading as long as it is not past them, else of another."""
        if self._read_so_far - len(self._held) > first:
            self.close()
        if self._pass is None:
            self._pass = self._hashed()
        held = enumerate(self._held, self._read_so_far - len(self._held))
        yield from [frame for number, frame in held if number >= first]
        for frame in self._pass:
            if self._read_so_far > first:
                yield frame

    def _hashed(self) -> Generator[Buffer]:
        frames = self._honest
        digest = hashlib.sha256(f"rgb24 {frames.width}x{frames.height} {frames.count}\n".encode())
        shown = {0, frames.count // 2, frames.count - 1}
        cells: list[bytes] = []
        for index, frame in enumerate(frames.read()):
            digest.update(frame)
            if index in shown:
                cells.append(_cells(frame, frames.width, frames.height))
            self._read_so_far = index + 1
            if self._held.maxlen:
                self._held.append(bytes(frame))
            yield frame
        self.content = digest.hexdigest()
        self.sketch = b"".join(cells).hex()


def _cells(frame: Buffer, width: int, height: int) -> bytes:
    grey = np.frombuffer(frame, np.uint8).reshape(height, width, 3).mean(axis=2)
    rows = np.array_split(grey, min(GRID, height), axis=0)
    means = [cell.mean() for row in rows for cell in np.array_split(row, min(GRID, width), axis=1)]
    return bytes(int(mean) for mean in means)


def alike(one: str, other: str) -> bool:
    """Whether two sketches show the same clip, rendered twice."""
    if not one or len(one) != len(other):
        return False
    a, b = (np.frombuffer(bytes.fromhex(text), np.uint8).astype(float) for text in (one, other))
    return float(np.abs(a - b).mean()) < ALIKE


def picture_content(picture: Picture) -> str:
    """What a still is: a file by its bytes, a picture in memory by its pixels, a URL by itself without a signature.

    Raises:
        StepError: There is no such file.

    """
    if picture.url is not None:
        return f"url:{_unsigned(picture.url)}"
    if picture.path is not None:
        try:
            return f"bytes:{file_hash(picture.path)}"
        except SourceError:
            raise StepError(f"There is no picture at {picture.path}", "Check the path") from None
    # Its PNG bytes depend on the library that packed them; its pixels do not.
    with Image.open(io.BytesIO(picture.png or b"")) as image:
        plain = image.convert("RGBA") if image.mode == "P" else image
        head = f"{plain.mode} {plain.width}x{plain.height}\n".encode()
        return f"pixels:{hashlib.sha256(head + plain.tobytes()).hexdigest()}"


def _unsigned(url: str) -> str:
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in asked if not _signs(name.lower())]
    return url if kept == asked else parts._replace(query=urlencode(kept), fragment="").geturl()


def _signs(name: str) -> bool:
    return name in SIGNED or name.startswith(("x-amz-", "x-goog-", "x-oss-", "x-tos-", "q-"))
