"""Where each row's result goes: a name from its vars, within the folder, and never the same one twice. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ..templates import TemplateError
from ..templates.declared import fill, uses
from ..templates.values import written

LONGEST = 200
"""Bytes of a name; most disks take 255, and a temporary name beside it needs some."""

_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def output_name(pattern: str, values: Mapping[str, Any], suffix: str) -> str:
    """The file's name for a row: the pattern's folders stay, a value cannot make one; *suffix* ends it once.

    Raises:
        TemplateError: Nothing fit is left of it.

    """
    clean = {name: fit(written(value)) for name, value in values.items()}
    parts = [fit(str(fill(part, clean))) for part in pattern.replace("\\", "/").split("/")]
    if any(not part or part.strip(". ") == "" or _RESERVED.fullmatch(part.split(".")[0]) for part in parts):
        raise TemplateError(
            f"no file's name is left of {pattern!r} with {_told(pattern, values)}", "Change output.name"
        )
    whole = "/".join(parts)
    name = whole if whole.lower().endswith(suffix) and whole.lower() != suffix else whole + suffix
    if len(name.encode()) > LONGEST:
        raise TemplateError(f"the output's name is longer than {LONGEST} bytes", "Shorten output.name")
    return name


def fit(text: str) -> str:
    """*text* as part of a file's name, on any system."""
    return _UNFIT.sub("_", unicodedata.normalize("NFC", text)).strip().strip(".").strip()


def _told(pattern: str, values: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{name}={str(values[name])[:40]!r}" for name in sorted(uses(pattern)) if name in values) or "no vars"
    )


def same(name: str) -> str:
    """What two names have in common that are one file on some disk."""
    return unicodedata.normalize("NFKC", name).casefold()


def collisions(names: Sequence[str | None]) -> dict[int, int]:
    """Rows (by place) whose name an earlier row has, and which row that is; the earlier ones too."""
    first: dict[str, int] = {}
    found: dict[int, int] = {}
    for place, name in enumerate(names):
        if name is None:
            continue
        other = first.setdefault(same(name), place)
        if other != place:
            found[place] = other
            found.setdefault(other, place)
    return found
