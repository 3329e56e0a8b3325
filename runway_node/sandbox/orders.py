"""From a checked body to a `Work`: resolves its URIs and opens what they name. Runs in a thread: it decodes media."""

from __future__ import annotations

import ipaddress
import random
from fractions import Fraction
from pathlib import Path as File
from typing import Any, cast
from urllib.parse import urlsplit

from ..models.table import MODELS, Model
from ..settings import Provider
from .clips import Clip, check_clip, open_clip, picture_colour
from .fetching import as_https, fetched, origin_in
from .refusal import Issue, Path, bad_body
from .render import GEN4_RATE, GEN4_SECONDS, Guide, Work
from .rules import SEED_MAX, aleph2_clip_issues, aleph2_issues, comet_issues, data_uri
from .sandbox import Sandbox

_PICTURE_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
_COMET_SHAPES = {
    "1280:720": "16:9", "720:1280": "9:16", "1104:832": "4:3", "960:960": "1:1", "832:1104": "3:4", "1584:672": "21:9",
    "848:480": "16:9", "640:480": "4:3",
}  # fmt: skip


def _row(provider: Provider, name: str) -> Model:
    return next(row for row in MODELS if (row.provider, row.name) == (provider, name))


def runway_work(sandbox: Sandbox, body: dict[str, Any]) -> Work:
    """What an `aleph2` body orders.

    Raises:
        Refusal: The body, or a clip or picture in it, cannot be used.

    """
    wrong = aleph2_issues(_for_the_rules(sandbox, body))
    if wrong:
        raise bad_body(*wrong)
    clip = _clip(sandbox, body, _row("runway", "aleph2"))
    issues = tuple(aleph2_clip_issues(body, float(clip.seconds)))
    if issues:
        raise bad_body(*issues)
    guides = []
    for index, keyframe in enumerate(body.get("keyframes", [])):
        moment = keyframe["seconds"] if "seconds" in keyframe else keyframe["at"] * float(clip.seconds)
        window = keyframe.get("range")
        guide = _guide(sandbox, keyframe["uri"], ("keyframes", index, "uri"))
        if window:
            guide = guide._replace(window=(int(window["start_seconds"]), int(window["end_seconds"])))
        guides.append(guide._replace(seconds=float(moment)))
    work = _common(sandbox, body, clip)._replace(guides=tuple(guides), shape=body.get("targetAspectRatio", ""))
    return work._replace(format=body.get("outputFormat", "mp4"), profile=body.get("proresProfile", "4444"))


def comet_work(sandbox: Sandbox, body: dict[str, Any]) -> Work:
    """What a `gen4_aleph` body orders: the first five seconds of the clip, at 24 frames per second.

    Raises:
        Refusal: The body, or a clip or picture in it, cannot be used.

    """
    wrong = comet_issues(_for_the_rules(sandbox, body))
    if wrong:
        raise bad_body(*wrong)
    clip = _clip(sandbox, body, _row("cometapi", "gen4_aleph"))
    given = enumerate(body.get("references", []))
    guides = tuple(_guide(sandbox, one["uri"], ("references", index, "uri")) for index, one in given)
    work = _common(sandbox, body, clip)._replace(guides=guides, seconds=GEN4_SECONDS)
    shape = _COMET_SHAPES.get(body.get("ratio", ""), "") if sandbox.options.comet_ratio else ""
    return work._replace(rate=work.rate or GEN4_RATE, shape=shape)


def _for_the_rules(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", as_https(body, sandbox.fetch_from)) if sandbox.fetch_from else body


def _common(sandbox: Sandbox, body: dict[str, Any], clip: Clip) -> Work:
    options = sandbox.options
    seed = int(body["seed"]) if "seed" in body else random.randint(0, SEED_MAX)  # noqa: S311  # a look, not a secret
    rate = Fraction(options.fps) if options.fps else None
    work = Work(clip, body.get("promptText", ""), seed, rate=rate, extra=options.length_error)
    return work._replace(stretch=options.length_kind == "stretch")


def _clip(sandbox: Sandbox, body: dict[str, Any], row: Model) -> Clip:
    path: Path = ("videoUri",)
    clip = open_clip(_clip_file(sandbox, body["videoUri"], path), path)
    check_clip(clip, row, path)
    return clip


def _clip_file(sandbox: Sandbox, uri: str, path: Path) -> File:
    if uri.startswith("runway://"):
        return _uploaded(sandbox, uri, path)
    data = data_uri(uri, "video")
    if data is None:
        data = _fetched(sandbox, uri, "video", path)
    file = sandbox.new_file(".clip")
    file.write_bytes(data)
    return file


def _uploaded(sandbox: Sandbox, uri: str, path: Path) -> File:
    upload = sandbox.uploads.get(uri)
    if upload is None or upload.path is None or upload.expires <= sandbox.clock():
        said = "Invalid asset: the upload does not exist, is not complete, or has expired"
        raise bad_body(Issue("custom", path, said))
    return upload.path


def _fetched(sandbox: Sandbox, uri: str, media: str, path: Path) -> bytes:
    """The bytes behind a URL, where a test gave a way to get them."""
    if origin_in(uri, sandbox.fetch_from):
        return fetched(uri, media, path)
    host = urlsplit(uri).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if "." not in host:
            raise bad_body(Issue("invalid_string", path, "Invalid url")) from None
    else:
        raise bad_body(Issue("custom", path, "Invalid asset: the host of a URL must be a domain, not an IP address"))
    if sandbox.fetch is None:
        raise bad_body(Issue("custom", path, "Invalid asset: failed to fetch the URL (the sandbox has no network)"))
    try:
        return sandbox.fetch(uri)
    except (OSError, ValueError, KeyError) as error:
        said = f"Invalid asset: failed to fetch the URL ({type(error).__name__})"
        raise bad_body(Issue("custom", path, said)) from None


def _guide(sandbox: Sandbox, uri: str, path: Path) -> Guide:
    data = data_uri(uri, "image")
    if data is not None:
        return Guide(picture_colour(data, uri[5:].partition(";")[0], path))
    if uri.startswith("runway://"):
        data = _uploaded(sandbox, uri, path).read_bytes()
    else:
        data = _fetched(sandbox, uri, "image", path)
    mimes = (name for magic, name in _PICTURE_MAGIC.items() if data.startswith(magic))
    return Guide(picture_colour(data, next(mimes, "application/octet-stream"), path))
