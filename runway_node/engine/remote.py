"""Clips that are named in a bucket, and results that are to go there: files here, before the engine and after it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..errors import OutputError, StoreError
from ..media.content import file_hash
from ..models import Result
from ..settings import Settings
from ..storage import deliver, fetch, open_store, split
from .finishing import result_path

INPUTS = "inputs"
UNUSED = 2 * 86_400
"""Seconds: a task may wait in the queue for a day, and the clip is read again after it."""


def local_clip(url: str, settings: Settings, stop: threading.Event | None = None) -> Path:
    """The clip at *url* as a file of the data folder, fetched where it is not there as it is now.

    Raises:
        SourceError: It cannot be had.
        SettingsError: The storage extra is not installed.
        Interrupted: `stop` was set.

    """
    return fetch(url, settings.home / INPUTS, stop)


def unused(settings: Settings) -> list[Path]:
    """Folders of clips that came from buckets, and that no run asked for as long as a run may take."""
    since = time.time() - UNUSED
    return [folder for folder in (settings.home / INPUTS).glob("*/*") if folder.stat().st_mtime < since]


def put_out(url: str, settings: Settings, variant: str, make: Callable[[Path], Result], *, force: bool) -> Result:
    """The result put at *url*. What is there already is looked at before anything is paid, as a file would be.

    Args:
        variant: How the file is finished, as the data folder's own is named by it.
        make: Makes the result at a path.
        force: Replace what is there.

    Raises:
        OutputError: The bucket does not answer, or something is there that is not this order's result.
        StoreError: It cannot be put there; says where the paid result is.

    """
    name, key = split(url)
    try:
        store = open_store(name)
        facts = store.head(key)
    except StoreError as error:
        raise OutputError(error.what, error.mend) from error
    with tempfile.TemporaryDirectory(prefix="runway-out-") as folder:
        local = Path(folder, PurePosixPath(key).name)
        if facts is not None and not force:
            store.get(key, local, most=facts.size)
        before = file_hash(local) if local.exists() else ""
        try:
            result = make(local)
        except OutputError as error:
            raise OutputError(error.what.replace(str(local), url), error.mend) from error
        if file_hash(local) != before:
            try:
                deliver(local, url, replace=force)
            except StoreError as error:
                kept = ", ".join(str(take.path) for take in result.takes)
                raise StoreError(f"{error.what}; the paid result is kept: {kept}", error.mend) from error
    return result.model_copy(update={"url": url, "path": result_path(settings, result.digest, variant)})
