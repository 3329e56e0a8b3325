"""Where a batch's results go, a folder or a bucket, and what is known of each: from what it was made.

So only what is missing is made again. What is known lies as a small JSON object beside the results, written before the
result appears: machines that share them never write the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import OutputError, StoreError
from ..media.content import file_hash
from ..settings import Settings
from ..storage import Missing, is_remote, open_store

FOLDER = ".runway-node"
MOST = 1 << 20
"""Bytes of a record."""
LONGEST = 200
"""Letters of a record's name; a disk takes 255."""


class Records:
    """The results of one place, and their records.

    Args:
        outputs: A folder's absolute path, or s3://BUCKET/PREFIX.

    """

    def __init__(self, outputs: str) -> None:
        self.outputs = outputs
        self.remote = is_remote(outputs)
        self._store = open_store(outputs)

    def of(self, output: str) -> dict[str, Any] | None:
        """The record of a name, or None.

        Raises:
            OutputError: The place does not answer.

        """
        if self._new():
            return None
        with tempfile.TemporaryDirectory(prefix="runway-record-") as folder, _told():
            path = Path(folder, "record.json")
            try:
                self._store.get(_key(output), path, most=MOST)
                record = json.loads(path.read_text(encoding="utf-8"))
            except (Missing, ValueError):
                return None
        return record if isinstance(record, dict) and isinstance(record.get("fingerprint"), str) else None

    def exists(self, output: str) -> bool:
        """Whether something is there."""
        with _told():
            return not self._new() and self._store.head(output) is not None

    def made(self, output: str, fingerprint: str) -> dict[str, Any] | None:
        """The record of a result that is there, whole, and was made from this; else None."""
        record = self.of(output)
        return record if record and record["fingerprint"] == fingerprint and self._untouched(output, record) else None

    def untouched(self, output: str) -> bool:
        """Whether the result is there as it was made here."""
        record = self.of(output)
        return record is not None and self._untouched(output, record)

    def add(self, output: str, record: dict[str, Any]) -> None:
        """Remember, for good before this ends.

        Raises:
            OutputError: It cannot be written.

        """
        with tempfile.TemporaryDirectory(prefix="runway-record-") as folder, _told():
            path = Path(folder, "record.json")
            path.write_text(json.dumps(record), encoding="utf-8")
            self._make()
            self._store.put(path, _key(output))

    def check(self, output: str, settings: Settings) -> None:
        """Refuse a result that could not be put there, or would not be safe, before anything is paid.

        Raises:
            OutputError: It lies where paid takes are kept, a folder is in its place, or its folder cannot be written.

        """
        if self.remote:
            return
        out = Path(self.outputs, output)
        if out.resolve().is_relative_to(settings.data_dir.absolute().resolve()):
            raise OutputError(f"{out} lies in the data folder, where paid takes are kept", "Choose another folder")
        if out.is_dir():
            raise OutputError(f"{out} is a folder", "Remove it, or choose another folder (-o)")
        folder = next(one for one in out.parents if os.path.lexists(one))
        try:
            with tempfile.TemporaryFile(prefix=".runway-", dir=folder):
                pass
        except OSError as error:
            raise OutputError(f"{out} cannot be written ({error.strerror})", "Choose another folder") from error

    def where(self, output: str) -> str:
        """The result's path, or URL."""
        return f"{self.outputs}/{output}" if self.remote else str(Path(self.outputs, output))

    def _new(self) -> bool:
        """Whether it is a folder that is not there yet."""
        return not self.remote and not Path(self.outputs).is_dir()

    def _make(self) -> None:
        if self._new():
            try:
                Path(self.outputs).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                what = f"{self.outputs} cannot be made ({error.strerror})"
                raise OutputError(what, "Choose another folder") from error

    def _untouched(self, output: str, record: dict[str, Any]) -> bool:
        with _told():
            facts = self._store.head(output)
        if facts is None or not record.get("sha256") or facts.size != record.get("size"):
            return False
        return self.remote or file_hash(Path(self.outputs, output)) == record["sha256"]


def staging(outputs: str, settings: Settings) -> Path:
    """Where results are made: in the folder itself, or where they go to a bucket, in the data folder."""
    if not is_remote(outputs):
        return Path(outputs)
    return settings.home / "outputs" / hashlib.sha256(outputs.encode()).hexdigest()[:16]


def _key(output: str) -> str:
    name = quote(output, safe=" ")
    if len(name) > LONGEST:  # a letter of another script is nine
        name = f"{name[:100]}-{hashlib.sha256(output.encode()).hexdigest()}"
    return f"{FOLDER}/{name}.json"


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise OutputError(error.what, error.mend) from error
