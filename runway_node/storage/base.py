"""What every store can do, and how it says no."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import StoreError

MIMES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}  # fmt: skip


def mime_of(name: str) -> str:
    """The Content-Type of a file by its ending."""
    return MIMES.get(Path(name).suffix.lower(), "application/octet-stream")


class Missing(StoreError):
    """There is no such object."""


class Taken(StoreError):
    """There is an object of that name already, and it was not to be replaced."""


class Facts(NamedTuple):
    """An object: bytes, and a mark that changes when it does (its ETag, else when it was written)."""

    size: int
    mark: str


class Store(Protocol):
    """Objects by their keys: relative names with slashes.

    Every verb raises `StoreError` where the store cannot be reached or denies it.
    """

    name: str
    """As it was opened; what the ledger calls it."""

    def head(self, key: str) -> Facts | None:
        """What there is under *key*; None where there is nothing."""

    def get(self, key: str, path: Path, *, most: int) -> None:
        """The object as the file *path*, whole or not at all.

        Args:
            most: Bytes; a larger object is refused.

        Raises:
            Missing: There is none.

        """

    def put(self, path: Path, key: str, *, new: bool = False) -> None:
        """The file as the object *key*, whole or not at all.

        Args:
            new: Only where there is none.

        Raises:
            Taken: There is one.

        """

    def delete(self, key: str) -> None:
        """Remove it; that there is none is no error."""

    def sign(self, method: str, key: str, seconds: float) -> str:
        """A link that needs no key, valid for so long, for *method* alone. A secret: it is never told.

        Raises:
            StoreError: The store has no links.

        """
