"""A bucket as a store, through obstore: it signs, retries and streams; nothing here speaks HTTP.

The library's texts hold addresses and the server's words, so none is passed on: an error says the kind and the code.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..errors import Interrupted, RunwayNodeError, SettingsError, StoreError
from ..media.opener import whole
from ..settings import plain_http_buckets
from .base import Facts, Missing, Taken, mime_of

if TYPE_CHECKING:
    from obstore import HTTP_METHOD

T = TypeVar("T")
HEARD_WITHIN = 0.1
"""Seconds."""

ATTEMPTS = 3
"""Of one request, the first included."""

QUESTION = 20
"""Seconds that one request without a file may take."""

SLOWEST = 100_000
"""Bytes a second: a file may take as long as this makes it, and a question's seconds more."""

PART = 8 << 20
"""Bytes of a part, where a file goes in parts."""

AT_A_TIME = 4
"""Parts that are on their way together."""

AT_ONCE = 256 << 20
"""Bytes; a larger file goes in parts, which no bucket can be asked to take only where there is none: it is looked."""


class Bucket:
    """Objects below a bucket's prefix.

    Args:
        url: "s3://bucket/prefix", "gs://…", "az://…".
        stop: Ends the waiting for an answer when set; what was begun may still happen.

    Raises:
        SettingsError: The extra is not installed.
        StoreError: The library cannot make anything of it, or of its credentials.

    """

    def __init__(self, url: str, stop: threading.Event | None = None) -> None:
        try:
            import obstore
        except ImportError:
            raise SettingsError(
                f"{url} needs the storage extra, which is not installed", "pip install 'runway-node[storage]'"
            ) from None
        self.name = url
        self._stop = stop
        self._lib = obstore
        with self._told(""):
            self._quick = _opened(url, 0)

    def head(self, key: str) -> Facts | None:
        """See `Store`."""
        try:
            with self._told(key):
                meta = self._heard(lambda: self._lib.head(self._quick, key))
        except Missing:
            return None
        return Facts(meta["size"], meta.get("e_tag") or meta["last_modified"].isoformat())

    def get(self, key: str, path: Path, *, most: int) -> None:
        """See `Store`."""
        with whole(path) as part, self._told(key):
            self._heard(lambda: self._receive(key, part, most))

    def _receive(self, key: str, part: Path, most: int) -> None:
        found = self._lib.get(_opened(self.name, most), key)
        size = found.meta["size"]
        if size > most:
            raise StoreError(f"{key} in {self.name} is larger than {most} bytes")
        with part.open("wb") as file:
            for piece in found.stream():
                file.write(piece)
        if part.stat().st_size != size:
            raise StoreError(f"{part.stat().st_size} of {size} bytes of {key} came from {self.name}")

    def put(self, path: Path, key: str, *, new: bool = False) -> None:
        """See `Store`."""
        with self._told(key):
            size = path.stat().st_size
        options: dict[str, Any] = {"attributes": {"Content-Type": mime_of(key)}, "chunk_size": PART}
        once = new and size <= AT_ONCE
        if once:
            options["mode"] = "create"
        elif new and self.head(key) is not None:
            raise Taken(f"{self.name} has a {key} already")
        with self._told(key):
            store = _opened(self.name, size if once else min(size, PART * AT_A_TIME))
            self._heard(lambda: self._lib.put(store, key, path, max_concurrency=AT_A_TIME, **options))

    def delete(self, key: str) -> None:
        """See `Store`."""
        with contextlib.suppress(Missing), self._told(key):
            self._heard(lambda: self._lib.delete(self._quick, key))

    def sign(self, method: str, key: str, seconds: float) -> str:
        """See `Store`."""
        url, path = self.name, key
        if not url.startswith("az://"):
            # Before 0.9 the library forgets the prefix when it signs: so it is signed as a part of the key.
            scheme, _, rest = self.name.partition("://")
            bucket, _, prefix = rest.partition("/")
            url, path = f"{scheme}://{bucket}", f"{prefix}/{key}" if prefix else key
        with self._told(key):
            return self._lib.sign(_opened(url, 0), cast("HTTP_METHOD", method), path, timedelta(seconds=seconds))

    def _heard(self, call: Callable[[], T]) -> T:
        """What *call* gives; beside it Ctrl-C and a stop are heard, to which the library is deaf.

        Raises:
            Interrupted: `stop` was set.

        """
        got: Future[T] = Future()

        def work() -> None:
            try:
                got.set_result(call())
            except BaseException as error:  # noqa: BLE001 - handed to who waits
                got.set_exception(error)

        threading.Thread(target=work, name="runway-store", daemon=True).start()
        while not wait([got], HEARD_WITHIN).done:
            if self._stop is not None and self._stop.is_set():
                raise Interrupted(f"Stopped while {self.name} was waited for")
        return got.result()

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        from obstore import exceptions as theirs

        try:
            yield
        except RunwayNodeError:
            raise
        except theirs.AlreadyExistsError:
            raise Taken(f"{self.name} has a {key} already") from None
        except Exception as error:  # noqa: BLE001 - whatever it raises is its no
            # It raises some of Python's own errors too; those with a number are about a file of ours.
            if isinstance(error, OSError) and error.errno is not None:
                raise StoreError(f"The file for {key} in {self.name}: {error.strerror}", "Check the disk") from None
            if isinstance(error, theirs.NotFoundError | FileNotFoundError):
                raise Missing(f"{self.name} has no {key}, or is not there itself") from None
            what, mend = _words(self.name, str(error), error)
            raise StoreError(what, mend) from None


def _opened(url: str, size: int) -> Any:
    """The library's store, patient enough for requests of that many bytes."""
    from obstore.store import from_url

    seconds = QUESTION + size // SLOWEST
    return from_url(
        url,
        client_options={
            "connect_timeout": "10s", "timeout": f"{seconds}s", "allow_http": plain_http_buckets(),
        },
        retry_config={"max_retries": ATTEMPTS - 1, "retry_timeout": timedelta(seconds=2 * seconds)},
    )  # fmt: skip


def _words(name: str, said: str, error: Exception) -> tuple[str, str]:
    """What is wrong and the mend, in our words."""
    from obstore import exceptions as theirs

    status = re.search(r"status code: (\d{3})", said)
    code = re.search(r"<Code>([A-Za-z]{1,40})</Code>", said)
    facts = [f"HTTP {status[1]}" if status else "", code[1] if code else ""]
    told = f" ({', '.join(filter(None, facts))})" if any(facts) else ""
    if isinstance(error, theirs.PermissionDeniedError | theirs.UnauthenticatedError) or (
        status and status[1] in {"401", "403"}
    ):
        return f"{name} denies access{told}", "Check the bucket's credentials in the environment, and what they may do"
    if "builder error" in said:
        return f"{name} is at a plain http address", "Use https, or for a server of your own set AWS_ALLOW_HTTP=true"
    if status:
        return f"{name} answers with an error{told}", "Check the bucket and its region; try again later"
    if "sending request" in said or "timed out" in said or "timeout" in said:
        return f"{name} cannot be reached", "Check the network, and the store's endpoint and credentials"
    kind = type(error).__name__.removesuffix("Error")
    return f"{name} cannot be used ({kind})", "Check its name, region and credentials"
