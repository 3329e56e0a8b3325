"""A link tried as the provider will read it, before anything is ordered. Nothing of the link's query is ever told.

Runway's inputs page: https, a domain name, 2048 characters, HEAD answered, no redirect, the right type and length.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpx

from ..settings import is_loopback
from .guard import ForbiddenAddress, Outside

TYPE = "video/mp4"


def preflight(base_url: str, url: str, size: int, longest: int) -> str:
    """Why the provider at *base_url* could not read *url*, in a few words; "" where it can.

    Args:
        base_url: The provider's; only where it is on this machine may the link be too.
        url: A link to an mp4.
        size: Its bytes.
        longest: Characters that the provider takes as a URL.

    """
    if len(url) > longest:
        return f"the link is {len(url)} characters long, {longest} are taken"
    try:
        if why := _unfit(base_url, url):
            return why
        outside = Outside(base_url, ours=True)
        try:
            return _head(outside, url, size) or _first_byte(outside, url, size)
        finally:
            outside.close()
    except ForbiddenAddress as error:
        return f"the link was refused: {error}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        return f"the link cannot be read ({type(error).__name__})"


def _unfit(base_url: str, url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(base_url) and is_loopback(url):
        return ""
    if parts.scheme != "https":
        return "the link is not https"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "" if "." in host else "the link's host is no domain name"
    return "the link's host is an address, not a domain name"


def _head(outside: Outside, url: str, size: int) -> str:
    with outside.open("HEAD", url, headers={}) as answer:
        if answer.status_code != 200:
            return f"the link answers HEAD with {answer.status_code}"
        return _mislabelled(answer, size)


def _mislabelled(answer: httpx.Response, size: int) -> str:
    told = answer.headers.get("content-type", "")
    if told != TYPE:
        return f"the link's Content-Type is {told[:60]!r}, not {TYPE}"
    length = answer.headers.get("content-length", "")
    return "" if length == str(size) else f"the link's Content-Length is {length[:20]!r}, not {size}"


def _first_byte(outside: Outside, url: str, size: int) -> str:
    with outside.open("GET", url, headers={"Range": "bytes=0-0"}, follow=False) as answer:
        if answer.status_code != 206:
            return f"the link answers a ranged GET with {answer.status_code}"
        told = answer.headers.get("content-range", "").strip()
        if told not in {f"bytes 0-0/{size}", "bytes 0-0/*"}:
            return f"the link's Content-Range is {told[:60]!r}"
        told = answer.headers.get("content-type", "")
        return "" if told == TYPE else f"the link's Content-Type is {told[:60]!r} for a GET, not {TYPE}"
