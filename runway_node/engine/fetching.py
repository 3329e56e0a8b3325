"""Bringing a paid result home: fetched, checked, kept in the data folder under its task's name, whole or not at all."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from pathlib import Path

from ..client import Broken, Client, Later, LinkDead, most_bytes
from ..errors import MediaError, NotFetched
from ..ledger import Attempt
from ..media.conform import verify
from ..media.content import file_hash
from ..media.opener import settle
from ..media.shapes import Probe
from ..models import Take
from ..settings import Settings
from ..wire import Task
from .report import Report
from .waiting import Denials, Stopped, pause, task_gone

PATIENCE = 900.0
"""Seconds without a new byte after which the result is left with the provider."""

MOST_FAILURES = 12
"""In a row, without a new byte."""


def take_path(settings: Settings, row: Attempt, task_id: str, suffix: str = ".mp4") -> Path:
    """Where the call's result is kept: under the order's name too, for an id is only as unique as its provider."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", task_id)[:80]
    return settings.home / "takes" / f"{row.segment[:12]}-{row.attempt}-{safe}{suffix}"


def fetch(
    client: Client, task: Task, path: Path, seconds: float, interval: float, stop: threading.Event, report: Report
) -> tuple[Take, Probe]:
    """The task's result at *path*, and what it is.

    Raises:
        NotFetched: It could not be had, or is no usable video; the task's id says where it is.
        TaskGone: The provider has neither the task nor its result any more.
        Stopped: `stop` was set and the download fails: a paid result that comes is taken home first.

    """
    part = path.with_suffix(".part")
    most = most_bytes(seconds, prores=path.suffix == ".mov")
    report("fetching", "downloading the result")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for last_try in (False, True):
            _download(client, task, part, most, interval, stop, report)
            try:
                answer = verify(part, task.id)
            except NotFetched:
                part.unlink(missing_ok=True)
                if last_try:
                    raise
                report("retrying", "what came is not a whole video; fetching it again")
            else:
                break
        digest = file_hash(part)
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
    denials = Denials()
    if not links:
        links, gone = _fresh(client, task, links)
        denials.see(time.monotonic(), denied=gone)
    while True:
        try:
            if not links:
                raise LinkDead("The finished task names no result", task_id=task.id)
            client.download(links[0], part, most, task.id)
        except (LinkDead, Broken) as error:
            size = part.stat().st_size if part.exists() else 0
            if size > held:
                held, moved, failures = size, time.monotonic(), 0
            if denials.for_good(time.monotonic()):
                raise task_gone(task.id) from error
            if time.monotonic() - moved > PATIENCE or (failures >= MOST_FAILURES and not denials.count):
                raise NotFetched(
                    f"The result of task {task.id} could not be fetched ({error.what})",
                    "It is paid for and stays with the provider for at least 24 hours",
                    task_id=task.id,
                ) from error
            failures += 1
            report("retrying", error.what)
            if stop.wait(pause(min(interval, 1.0), failures - 1, None, random.random())):  # noqa: S311 - spreads
                raise Stopped("Stopped", task_id=task.id) from None
            links, gone = _fresh(client, task, links)
            denials.see(time.monotonic(), denied=gone)
        else:
            return


def _fresh(client: Client, task: Task, links: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The links as the provider has them now (each look may sign new ones), and whether the task is gone."""
    try:
        again = client.task(task.id)
    except Later:
        return links, False
    return again.outputs if again is not None and again.outputs else links, again is None
