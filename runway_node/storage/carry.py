"""Files brought in from stores and put out to them, by the URL of the object: s3://bucket/folder/name.mp4."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from pathlib import Path, PurePosixPath

from ..errors import SourceError, StoreError, WrongUse
from ..settings import is_remote
from .base import Store, Taken
from .bucket import Bucket
from .folder import Folder

__all__ = ["deliver", "fetch", "is_remote", "open_store", "split", "suffix_of"]

SPARE = 1 << 30
"""Bytes of the disk that an input leaves free."""


def open_store(name: str, stop: threading.Event | None = None) -> Store:
    """The store of that name.

    Args:
        stop: Ends the waiting for a bucket when set: `Interrupted`.

    Raises:
        SettingsError: It is a bucket, and the storage extra is not installed.
        StoreError: It cannot be opened.

    """
    return Bucket(name, stop) if is_remote(name) else Folder(Path(name))


def split(url: str) -> tuple[str, str]:
    """The bucket's URL and the object's key.

    Raises:
        WrongUse: There is no object in it.

    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or not key.strip("/") or "@" in bucket or "?" in url or "#" in url:
        raise WrongUse(f"{scheme}://{bucket.rpartition('@')[2]}/… names no object", f"Give {scheme}://BUCKET/NAME.mp4")
    return f"{scheme}://{bucket}", key.lstrip("/")


def suffix_of(url: str) -> str:
    """The ending of the object's name."""
    return PurePosixPath(split(url)[1]).suffix.lower()


def fetch(url: str, folder: Path, stop: threading.Event | None = None) -> Path:
    """The object as a file below *folder*; fetched once, and again when the object has changed.

    Raises:
        Interrupted: `stop` was set.
        SourceError: It cannot be had.
        SettingsError: The storage extra is not installed.

    """
    name, key = split(url)
    try:
        store = open_store(name, stop)
        for _ in range(3):
            facts = store.head(key)
            if facts is None:
                raise SourceError(f"There is no {url}", "Check the name, the bucket and its region")
            path = _place(url, f"{facts.mark}\0{facts.size}", key, folder)
            if path.is_file() and path.stat().st_size == facts.size:
                os.utime(path.parent)  # gc goes by it; the file's own date is a part of what a run checks
                return path
            _check_room(path, facts.size)
            store.get(key, path, most=facts.size)
            if store.head(key) == facts:
                return path
            path.unlink(missing_ok=True)
    except StoreError as error:
        raise SourceError(error.what, error.mend) from error
    raise SourceError(f"{url} changes all the time", "Give a clip that is finished")


def _place(url: str, mark: str, key: str, folder: Path) -> Path:
    """A folder for the address and one for this version of it, and there the object's own name."""
    hashed = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in (url, mark)]
    base = re.sub(r"[^A-Za-z0-9._ -]", "_", PurePosixPath(key).name).lstrip(".")[-80:] or "clip"
    return folder.joinpath(*hashed, base)


def _check_room(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < size + SPARE:
        raise SourceError(f"{size / 1e9:.1f} GB do not fit on the disk of {path.parent}", "Free some space")


def deliver(path: Path, url: str, *, replace: bool = False) -> None:
    """The file put at *url*, never over what is there unless *replace* says so.

    Raises:
        Taken: There is another object.
        StoreError: It cannot be put there.

    """
    name, key = split(url)
    store = open_store(name)
    try:
        store.put(path, key, new=not replace)
    except Taken:
        # A try whose answer was lost may have put it there.
        if not _same(store, key, path):
            raise


def _same(store: Store, key: str, path: Path) -> bool:
    """Whether the object is the file."""
    import filecmp
    import tempfile

    facts, size = store.head(key), path.stat().st_size
    if facts is None or facts.size != size:
        return False
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        there = Path(folder, "there")
        store.get(key, there, most=size)
        return filecmp.cmp(there, path, shallow=False)
