"""What a batch's folder knows of its files: from what each was made. So that only what is missing is made again.

A small JSON file beside each output, in a hidden folder, written before the output appears: machines that share the
folder never write the same one.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import OutputError
from ..media.content import file_hash
from ..media.opener import settle

FOLDER = ".runway-node"


class Records:
    """The records of one output folder.

    Args:
        folder: The output folder.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, output: str) -> dict[str, Any] | None:
        """The record of a name, or None."""
        try:
            record = json.loads(self._path(output).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and isinstance(record.get("fingerprint"), str) else None

    def made(self, output: str, fingerprint: str) -> dict[str, Any] | None:
        """The record of a file that is there, whole, and was made from this; else None."""
        record = self.of(output)
        return record if record and record["fingerprint"] == fingerprint and self._untouched(output, record) else None

    def untouched(self, output: str) -> bool:
        """Whether the file is there as it was made here."""
        record = self.of(output)
        return record is not None and self._untouched(output, record)

    def add(self, output: str, record: dict[str, Any]) -> None:
        """Remember, on the disk before this ends.

        Raises:
            OutputError: The folder cannot be written.

        """
        path = self._path(output)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
                json.dump(record, file)
            settle(Path(file.name), path)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written ({error.strerror})", "Choose another folder") from error

    def _untouched(self, output: str, record: dict[str, Any]) -> bool:
        path, sha256 = self.folder / output, record.get("sha256")
        if not sha256 or not path.is_file() or path.stat().st_size != record.get("size"):
            return False
        return bool(file_hash(path) == sha256)

    def _path(self, output: str) -> Path:
        return self.folder / FOLDER / f"{quote(output, safe=' ')}.json"
