"""What a body may hold, as Runway's OpenAPI descriptions and CometAPI's page say it. Pure: JSON in, issues out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..models.table import DATA_URI_CHARS, MODELS
from .refusal import Issue, Path

URL_CHARS = 2048
RUNWAY_URI_CHARS = 5000
SEED_MAX = 2**32 - 1
LARGEST_INTEGER = 2**53 - 1
"""The largest whole number Runway's description allows anywhere."""

OUTPUT_FORMATS = ("mp4", "prores", "png_sequence", "sdr_rec709_10bit")
PRORES_PROFILES = ("422", "4444", "422 Proxy", "422 LT", "422 HQ", "4444 XQ")

Check = Callable[[object, Path], Iterator[Issue]]

_DATA_URI = re.compile(r"data:(?P<mime>[a-z]+/[a-zA-Z0-9.+-]+);base64,(?P<data>.*)", re.DOTALL)
_ROWS = {row.name: row for row in MODELS if not row.retired}


def utf16_units(text: str) -> int:
    """How long JavaScript, and so Runway, says *text* is."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def data_uri(value: str, media: str) -> bytes | None:
    """The bytes of a well-formed base64 data URI of *media* ("video" or "image"), else None."""
    match = _DATA_URI.fullmatch(value)
    if match is None or not match["mime"].startswith(f"{media}/") or len(match["data"]) % 4:
        return None
    try:
        return base64.b64decode(match["data"], validate=True)
    except (binascii.Error, ValueError):
        return None


def _named(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _wrong_type(expected: str, value: object, path: Path) -> Issue:
    return Issue("invalid_type", path, f"Expected {expected}, received {_named(value)}")


def text(least: int, most: int) -> Check:
    """A string of *least* to *most* UTF-16 units."""

    def check(value: object, path: Path) -> Iterator[Issue]:
        if not isinstance(value, str):
            yield _wrong_type("string", value, path)
        elif utf16_units(value) < least:
            yield Issue("too_small", path, f"String must contain at least {least} character(s)")
        elif utf16_units(value) > most:
            yield Issue("too_big", path, f"String must contain at most {most} character(s)")

    return check


def number(least: float, most: float, *, whole: bool = False) -> Check:
    """A JSON number, from *least* to *most*; 5.0 is whole, as in JavaScript."""

    def check(value: object, path: Path) -> Iterator[Issue]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield _wrong_type("number", value, path)
        elif whole and value != int(value):
            yield Issue("invalid_type", path, "Expected integer, received float")
        elif value < least:
            yield Issue("too_small", path, f"Number must be greater than or equal to {least}")
        elif value > most:
            yield Issue("too_big", path, f"Number must be less than or equal to {most}")

    return check


def one_of(*choices: str) -> Check:
    """One of these strings."""

    def check(value: object, path: Path) -> Iterator[Issue]:
        if value not in choices:
            listed = " | ".join(f"'{choice}'" for choice in choices)
            yield Issue("invalid_enum_value", path, f"Invalid enum value. Expected {listed}")

    return check


def any_text(value: object, path: Path) -> Iterator[Issue]:
    """Any string."""
    if not isinstance(value, str):
        yield _wrong_type("string", value, path)


def array(item: Check, least: int, most: int) -> Check:
    """A list of *least* to *most* items."""

    def check(value: object, path: Path) -> Iterator[Issue]:
        if not isinstance(value, list):
            yield _wrong_type("array", value, path)
        elif len(value) < least:
            yield Issue("too_small", path, f"Array must contain at least {least} element(s)")
        elif len(value) > most:
            yield Issue("too_big", path, f"Array must contain at most {most} element(s)")
        else:
            for index, one in enumerate(value):
                yield from item(one, (*path, index))

    return check


def record(fields: Mapping[str, Check], required: frozenset[str] = frozenset()) -> Check:
    """An object with these fields and no others."""

    def check(value: object, path: Path) -> Iterator[Issue]:
        if not isinstance(value, dict):
            yield _wrong_type("object", value, path)
            return
        for name in sorted(required - value.keys()):
            yield Issue("invalid_type", (*path, name), "Required")
        for name, one in value.items():
            if name in fields:
                yield from fields[name](one, (*path, name))
        unknown = [name for name in value if name not in fields]
        if unknown:
            listed = ", ".join(f"'{name}'" for name in unknown)
            yield Issue("unrecognized_keys", path, f"Unrecognized key(s) in object: {listed}")

    return check


def media_uri(media: str, *, uploads: bool) -> Check:
    """An https URL, a `runway://` URI where there are *uploads*, or a data URI.

    What is none of them is read as a URL: so a malformed data URI is answered with the length allowed for URLs
    (seen in runwayml/sdk-python issue 81).
    """

    def check(value: object, path: Path) -> Iterator[Issue]:
        if not isinstance(value, str):
            yield _wrong_type("string", value, path)
            return
        kind, most = "url", URL_CHARS
        if uploads and value.startswith("runway://"):
            kind, most = "upload", RUNWAY_URI_CHARS
        elif data_uri(value, media) is not None:
            kind, most = "data", DATA_URI_CHARS
        if len(value) > most:
            yield Issue("too_big", path, f"String must contain at most {most} character(s)")
        elif len(value) < 13:
            yield Issue("too_small", path, "String must contain at least 13 character(s)")
        elif kind == "url" and not value.startswith("https://"):
            yield Issue("invalid_string", path, "Invalid url")

    return check


_MODERATION = record({"publicFigureThreshold": one_of("auto", "low")})
_RANGE = record(
    {"start_seconds": number(0, LARGEST_INTEGER, whole=True), "end_seconds": number(1, LARGEST_INTEGER, whole=True)},
    frozenset({"start_seconds", "end_seconds"}),
)
_KEYFRAME = record(
    {"uri": media_uri("image", uploads=True), "seconds": number(0, 30), "at": number(0, 1), "range": _RANGE},
    frozenset({"uri"}),
)
_ALEPH2 = record(
    {
        "model": one_of("aleph2"),
        "videoUri": media_uri("video", uploads=True),
        "promptText": text(1, _ROWS["aleph2"].prompt_units),
        "keyframes": array(_KEYFRAME, 1, _ROWS["aleph2"].keyframes),
        "seed": number(0, SEED_MAX, whole=True),
        "ratio": any_text,
        "targetAspectRatio": one_of(*_ROWS["aleph2"].shapes),
        "contentModeration": _MODERATION,
        "outputFormat": one_of(*OUTPUT_FORMATS),
        "proresProfile": one_of(*PRORES_PROFILES),
    },
    frozenset({"model", "videoUri"}),
)
_REFERENCE = record({"type": one_of("image"), "uri": media_uri("image", uploads=False)}, frozenset({"type", "uri"}))
_COMET = record(
    {
        "model": any_text,
        "videoUri": media_uri("video", uploads=False),
        "promptText": text(1, _ROWS["gen4_aleph"].prompt_units),
        "seed": number(0, SEED_MAX, whole=True),
        "references": array(_REFERENCE, 0, _ROWS["gen4_aleph"].references),
        "ratio": one_of(*_ROWS["gen4_aleph"].ratios),
        "contentModeration": _MODERATION,
    },
    frozenset({"model", "videoUri", "promptText"}),
)


def _keyframe_moment(keyframe: dict[str, Any], path: Path) -> Iterator[Issue]:
    if ("seconds" in keyframe) == ("at" in keyframe):
        yield Issue("invalid_union", path, "Exactly one of 'seconds' and 'at' is required")


def _ranges(keyframes: list[dict[str, Any]], path: Path) -> Iterator[Issue]:
    ranged = ["range" in keyframe for keyframe in keyframes]
    if any(ranged) and not all(ranged):
        yield Issue("custom", path, "All keyframes must either set a range or none may")
    for index, keyframe in enumerate(keyframes):
        window = keyframe.get("range")
        if window is None:
            continue
        start, end = window["start_seconds"], window["end_seconds"]
        if start >= end:
            yield Issue("custom", (*path, index, "range"), "end_seconds must be greater than start_seconds")
        elif "seconds" in keyframe and not start <= keyframe["seconds"] < end:
            yield Issue("custom", (*path, index, "seconds"), "Keyframe timestamp must fall within its range")


def aleph2_issues(body: dict[str, Any]) -> list[Issue]:
    """What Runway's validator says about an `aleph2` body, clip and pictures not yet opened."""
    issues = list(_ALEPH2(body, ()))
    if issues:
        return issues
    keyframes = body.get("keyframes", [])
    for index, keyframe in enumerate(keyframes):
        issues += _keyframe_moment(keyframe, ("keyframes", index))
    issues += _ranges(keyframes, ("keyframes",))
    if "proresProfile" in body and body.get("outputFormat") != "prores":
        issues.append(Issue("custom", ("proresProfile",), "proresProfile is only valid when outputFormat is 'prores'"))
    return issues


def aleph2_clip_issues(body: dict[str, Any], seconds: float) -> Iterator[Issue]:
    """What can only be said once the clip's length is known, in *seconds*."""
    for index, keyframe in enumerate(body.get("keyframes", [])):
        path: Path = ("keyframes", index)
        moment = keyframe["seconds"] if "seconds" in keyframe else keyframe["at"] * seconds
        if moment > seconds:
            yield Issue("custom", (*path, "seconds"), "Keyframe timestamp must not be after the end of the video")
        window = keyframe.get("range")
        if window and "at" in keyframe and not window["start_seconds"] <= moment < window["end_seconds"]:
            yield Issue("custom", (*path, "at"), "Keyframe timestamp must fall within its range")
        if window and window["start_seconds"] >= seconds:
            yield Issue("custom", (*path, "range"), "Range must start before the end of the video")


def comet_issues(body: dict[str, Any]) -> list[Issue]:
    """What is wrong with a body for CometAPI's `/runwayml/v1/video_to_video`."""
    return list(_COMET(body, ()))
