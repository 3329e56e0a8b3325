"""Clips and pictures by URL, fetched as Runway's inputs page says it does, from origins that the sandbox was told of.

HEAD first, no redirect, a right Content-Type and Content-Length, a size limit: what fails is a 400 of the validator's.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from .refusal import Issue, Path, Refusal, bad_body

AGENT = "RunwayML API/1.0"
SECONDS = 20.0
BYTES = {"video": 32_000_000, "image": 16_000_000}
"""The inputs page's "32 MB" and "16 MB" for URLs, read as decimal."""

VIDEOS = frozenset({"video/mp4", "video/quicktime", "video/x-matroska", "video/webm", "video/3gpp", "video/ogg"})
IMAGES = frozenset({"image/png", "image/jpeg", "image/webp"})


def origin_in(uri: str, origins: Iterable[str]) -> str:
    """The one of *origins* that *uri* is at; "" where it is at none."""
    return next((origin for origin in origins if uri.startswith(f"{origin}/")), "")


def as_https(value: object, origins: Iterable[str]) -> object:
    """JSON with its URLs at *origins* as https ones of equal length, for the validator, which knows no loopback."""
    if isinstance(value, dict):
        return {name: as_https(one, origins) for name, one in value.items()}
    if isinstance(value, list):
        return [as_https(one, origins) for one in value]
    if isinstance(value, str) and (origin := origin_in(value, origins)):
        return f"https://{'x' * (len(origin) - len('https://'))}{value[len(origin) :]}"
    return value


def fetched(uri: str, media: str, path: Path) -> bytes:
    """The bytes behind *uri*.

    Args:
        uri: At an origin that is allowed.
        media: "video" or "image".
        path: Where in the body it is.

    Raises:
        Refusal: It does not behave as the provider demands.

    """
    try:
        with _asked("HEAD", uri) as answer:
            length = _judged(answer, media, path, "HEAD")
        with _asked("GET", uri) as answer:
            if _judged(answer, media, path, "GET") != length:
                raise _no(path, "its Content-Length differs between HEAD and GET")
            data = answer.read(length + 1)
    except (OSError, http.client.HTTPException) as error:
        raise _no(path, type(error).__name__) from None
    if len(data) != length:
        raise _no(path, "it is not as long as its Content-Length says")
    return data


@contextmanager
def _asked(method: str, uri: str) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(uri)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers={"User-Agent": AGENT, "Accept-Encoding": "identity"})
        yield connection.getresponse()
    finally:
        connection.close()


def _judged(answer: http.client.HTTPResponse, media: str, path: Path, method: str) -> int:
    """The bytes that it says to have."""
    if 300 <= answer.status < 400:
        raise _no(path, "URLs must not redirect")
    if answer.status != 200:
        raise _no(path, f"{method} was answered with HTTP {answer.status}")
    kind = answer.headers.get("Content-Type", "")
    if kind not in (VIDEOS if media == "video" else IMAGES):
        raise _no(path, f"unsupported Content-Type {kind[:60]!r}")
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit():
        raise _no(path, "there is no Content-Length")
    if int(length) > BYTES[media]:
        raise _no(path, f"it is larger than {BYTES[media] // 1_000_000} MB")
    return int(length)


def _no(path: Path, why: str) -> Refusal:
    return bad_body(Issue("custom", path, f"Invalid asset: failed to fetch the URL ({why})"))
