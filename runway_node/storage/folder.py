"""A local or shared folder as a store: plain files, copied beside their names and moved there in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreError
from ..media.opener import settle
from .base import Facts, Missing, Taken


class Folder:
    """Files below one folder. A root that is not there is an error, not an empty store: a share may be unmounted.

    Args:
        root: Absolute.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    def head(self, key: str) -> Facts | None:
        """See `Store`."""
        with self._told(key):
            try:
                stat = self._path(key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Facts(stat.st_size, str(stat.st_mtime_ns))

    def get(self, key: str, path: Path, *, most: int) -> None:
        """See `Store`."""
        with self._told(key):
            source = self._path(key)
            if not source.is_file():
                raise Missing(f"{self.name} has no {key}")
            if source.stat().st_size > most:
                raise StoreError(f"{key} in {self.name} is larger than {most} bytes")
            _copy(source, path, new=False)

    def put(self, path: Path, key: str, *, new: bool = False) -> None:
        """See `Store`."""
        with self._told(key):
            target = self._path(key)
            if new and target.exists():
                raise Taken(f"{self.name} has a {key} already")
            try:
                _copy(path, target, new=new)
            except FileExistsError:
                raise Taken(f"{self.name} has a {key} already") from None

    def delete(self, key: str) -> None:
        """See `Store`."""
        with self._told(key):
            self._path(key).unlink(missing_ok=True)

    def sign(self, method: str, key: str, seconds: float) -> str:  # noqa: ARG002 - a store's verb
        """See `Store`: a folder has no links."""
        raise StoreError(f"{self.name} is a folder, which has no links", "Set RUNWAY_NODE_PUBLIC_BASE_URL")

    def _path(self, key: str) -> Path:
        if not self._root.is_dir():
            raise StoreError(f"The folder {self.name} is not there", "Make it, or mount the share")
        path = self._root / key
        if not path.absolute().is_relative_to(self._root) or ".." in Path(key).parts:
            raise StoreError(f"{key} is no name in {self.name}")
        return path

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise StoreError(f"{key} in the folder {self.name}: {why}", "Check the folder") from error


def _copy(source: Path, target: Path, *, new: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        shutil.copyfile(source, part)
        settle(part, target, new=new)
    finally:
        part.unlink(missing_ok=True)
