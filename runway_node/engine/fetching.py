"""Bringing a paid result home: fetched, checked, kept in the data folder under its task's name, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import threading
import time
from pathlib import Path

from ..client import Broken, Client, Later, LinkDead, most_bytes
from ..errors import MediaError, NotFetched
from ..media.conform import verify
from ..media.opener import settle
from ..media.shapes import Probe
from ..models import Take
from ..settings import Settings
from ..wire import Task
from .report import Report
from .waiting import Stopped, pause

PATIENCE = 900.0
"""Seconds without a new byte after which the result is left with the provider."""


def take_path(settings: Settings, task_id: str) -> Path:
    """Where the task's result is kept."""
    return settings.data_dir / "takes" / f"{re.sub(r'[^A-Za-z0-9_-]', '_', task_id)[:80]}.mp4"


def fetch(
    client: Client,
    task: Task,
    seconds: float,
    settings: Settings,
    interval: float,
    stop: threading.Event,
    report: Report,
) -> tuple[Take, Probe]:
    """The task's result, in the data folder, and what it is.

    Raises:
        NotFetched: It could not be had, or is no usable video; the task's id says where it is.
        Stopped: `stop` was set and the download fails: a paid result that comes is taken home first.

    """
    path = take_path(settings, task.id)
    part = path.with_suffix(".part")
    report("fetching", "downloading the result")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for last_try in (False, True):
            _download(client, task, part, most_bytes(seconds), interval, stop, report)
            try:
                answer = verify(part, task.id)
            except NotFetched:
                part.unlink(missing_ok=True)
                if last_try:
                    raise
                report("retrying", "what came is not a whole video; fetching it again")
            else:
                break
        digest = _sha256(part)
        settle(part, path)
    except OSError as error:
        raise MediaError(
            f"The result of task {task.id} cannot be kept in {path.parent}: {error.strerror}",
            "Mend the folder or free some space; the result stays with the provider for at least 24 hours",
            task_id=task.id,
        ) from error
    finally:
        for rest in (part, part.with_suffix(".etag")):
            with contextlib.suppress(OSError):
                rest.unlink(missing_ok=True)
    return Take(path=path, sha256=digest, task_id=task.id, credits=task.credits), answer


def _download(
    client: Client, task: Task, part: Path, most: int, interval: float, stop: threading.Event, report: Report
) -> None:
    links, failures, held, moved = task.outputs, 0, 0, time.monotonic()
    while True:
        try:
            if not links:
                raise LinkDead("The finished task names no result", task_id=task.id)
            client.download(links[0], part, most, task.id)
        except (LinkDead, Broken) as error:
            size = part.stat().st_size if part.exists() else 0
            if size > held:
                held, moved, failures = size, time.monotonic(), 0
            if time.monotonic() - moved > PATIENCE or failures >= 12:
                raise NotFetched(
                    f"The result of task {task.id} could not be fetched ({error.what})",
                    "It is paid for and stays with the provider for at least 24 hours",
                    task_id=task.id,
                ) from error
            failures += 1
            report("retrying", error.what)
            if stop.wait(pause(min(interval, 1.0), failures - 1, None, random.random())):  # noqa: S311 - spreads
                raise Stopped("Stopped", task_id=task.id) from None
            links = _fresh(client, task, links)
        else:
            return


def _fresh(client: Client, task: Task, links: tuple[str, ...]) -> tuple[str, ...]:
    """The links as the provider has them now: each look at a finished task may sign new ones."""
    try:
        again = client.task(task.id)
    except Later:
        return links
    return again.outputs if again is not None and again.outputs else links


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
