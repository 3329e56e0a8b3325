"""A task id that the database would not take, kept in a file beside it; such a file holds ids, and nothing else.

Its room is taken on the disk before the POST, so that a disk that fills up meanwhile can't refuse it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "rescue"
ROOM = 4096
"""Bytes taken beforehand: one block, more than any record needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """One paid call whose task id is only here."""

    scope: str
    segment: str
    attempt: int
    task_id: str
    path: Path


def room(data_dir: Path, token: str, segment: str) -> Path:
    """The file's name, by the run and the call it is for."""
    return data_dir / FOLDER / f"{token}-{segment[:16]}.json"


def take_room(data_dir: Path, token: str, segment: str) -> Path:
    """An empty record for one call of the run *token*; OSError where the disk has no room even now."""
    path = room(data_dir, token, segment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b" " * ROOM)
    return path


def write(path: Path, scope: str, segment: str, attempt: int, task_id: str) -> Path:
    """Write the record, in the room that was taken or else in the temporary folder; where it is."""
    record = {"scope": scope, "segment": segment, "attempt": attempt, "task_id": task_id}
    data = json.dumps(record).encode().ljust(ROOM)
    for place in (path, _spare(path.name)):
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if place != path and not _ours(place.parent):
                continue
            with place.open("r+b" if place.exists() else "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            continue
        return place
    raise OSError(f"neither {path} nor {_spare(path.name)} can be written")


def read(data_dir: Path) -> Iterator[Rescued]:
    """The records there are."""
    for path in files(data_dir):
        try:
            yield Rescued(**json.loads(path.read_text(encoding="utf-8")), path=path)
        except (OSError, ValueError, TypeError):
            continue  # room that was taken and not needed


def files(data_dir: Path) -> Iterator[Path]:
    """All records and rooms for them."""
    spare = _spare("").parent
    folders = [data_dir / FOLDER] + ([spare] if _ours(spare) else [])
    for folder in folders:
        yield from sorted(folder.glob("*.json")) if folder.is_dir() else ()


def rooms(data_dir: Path) -> Iterator[Path]:
    """Rooms that were taken and hold no record."""
    for path in files(data_dir):
        if blank(path):
            yield path


def blank(path: Path) -> bool:
    """Whether it is a room without a record."""
    try:
        return not path.read_bytes().strip()
    except OSError:
        return False  # another run may have swept it


def drop_blank(path: Path) -> None:
    """Give back a room that was not needed."""
    if blank(path):
        drop(path)


def token_of(path: Path) -> str:
    """The run that took this room."""
    return path.stem.partition("-")[0]


def drop(path: Path) -> None:
    """Forget a record that is in the database."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _spare(name: str) -> Path:
    who = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"runway-node-rescue-{who}" / (name or "-")


def _ours(folder: Path) -> bool:
    """Whether nobody else can have put anything there."""
    try:
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False
