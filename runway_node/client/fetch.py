"""One download attempt: resume with Range and If-Range, check the length, hold the cap. pip's rules for resuming.

What is here of the file is in `part`; what it is part of (ETag, total length) is beside it while the order runs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from ..errors import RunwayNodeError, Unusable
from .guard import ForbiddenAddress, Outside, not_ours

MEGABYTE = 1 << 20


class LinkDead(RunwayNodeError):
    """The link answers 403, 404 or 410: the task must be read again for a fresh one."""


class Broken(RunwayNodeError):
    """The transfer stopped before its end; what came is kept, another attempt goes on from there."""


def most_bytes(seconds: float, *, prores: bool = False) -> int:
    """The most an mp4 of *seconds* may weigh: 16 MiB a second, 64 MiB at least, 512 MiB at most; ProRes four times."""
    times = 4 if prores else 1
    return times * min(512 * MEGABYTE, max(64 * MEGABYTE, int(seconds * 16 * MEGABYTE)))


def fetch_once(client: Outside, url: str, part: Path, most: int, task_id: str) -> None:
    """Fetch *url* into *part*, which is whole when this returns.

    Args:
        client: The guarded client.
        url: The result's link; never logged.
        part: Grows; what an earlier attempt left is kept if the server confirms that it is the same file.
        most: Bytes; a longer body is refused.
        task_id: For the errors.

    Raises:
        LinkDead: The link has expired.
        Broken: The transfer stopped early.
        NotFetched: It is too large, or the link points where it must not.

    """
    held = part.stat().st_size if part.exists() else 0
    note = part.with_suffix(".etag")
    etag = _noted(note) if held else ""
    headers = {"Range": f"bytes={held}-", "If-Range": etag} if held and etag else {}
    try:
        with client.open("GET", url, headers=headers) as response:
            if response.status_code in {403, 404, 410}:
                raise LinkDead(f"The result's link answers HTTP {response.status_code}", task_id=task_id)
            start = _start(response, held if headers else 0)
            if response.status_code not in {200, 206} or start is None:
                part.unlink(missing_ok=True)
                raise Broken(f"The result's link answers HTTP {response.status_code}", task_id=task_id)
            note.write_text(json.dumps(_validator(response)), encoding="utf-8")
            _receive(response, part, start, most, task_id)
    except ForbiddenAddress as error:
        raise not_ours(error, task_id) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Broken(f"The download stopped: {type(error).__name__}", task_id=task_id) from error
    note.unlink(missing_ok=True)


def _start(response: httpx.Response, held: int) -> int | None:
    """Where the body begins in the file; None where the answer does not continue what is held."""
    if response.status_code == 200:
        return 0
    match = _range(response)
    return held if match and int(match[1]) == held else None


def _range(response: httpx.Response) -> re.Match[str] | None:
    return re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("content-range", "").strip())


def _total(response: httpx.Response, start: int) -> int | None:
    """The whole file's bytes, as far as the answer says."""
    match = _range(response) if response.status_code == 206 else None
    if match and match[3] != "*":
        return int(match[3])
    promised = response.headers.get("content-length", "")
    return start + int(promised) if promised.isdigit() else None


def _validator(response: httpx.Response) -> str:
    """What If-Range may send: a strong ETag, else the date; weak tags do not promise equal bytes."""
    etag = str(response.headers.get("etag", ""))
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("last-modified", ""))


def _noted(note: Path) -> str:
    try:
        return str(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""


def _receive(response: httpx.Response, part: Path, start: int, most: int, task_id: str) -> None:
    total = _total(response, start)
    size = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        # Pieces as they come: collecting them first would lose what came before a cut.
        for piece in response.iter_raw():
            size += len(piece)
            if size > most or (total or 0) > most:
                raise Unusable(
                    f"The result of task {task_id} is larger than {most // MEGABYTE} MiB", "Report it", task_id=task_id
                )
            file.write(piece)
    if total is not None and size != total:
        raise Broken(f"{size} of {total} bytes came", task_id=task_id)
