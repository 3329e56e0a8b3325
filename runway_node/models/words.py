"""Words of ours that stand in many places: what a value must be where pydantic found it wrong, and counts of things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WANTED = {
    "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number", "int_from_float": "a whole number", "float_type": "a number",
    "float_parsing": "a number", "finite_number": "a number", "bool_type": "true or false",
    "bool_parsing": "true or false", "list_type": "a list", "tuple_type": "a list", "dict_type": "a mapping",
    "path_type": "a file's name", "literal_error": "{expected}", "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more", "less_than": "less than {lt}", "less_than_equal": "{le} at most",
    "string_too_short": "text of {min_length} letters or more",
    "string_too_long": "text of {max_length} letters at most",
    "too_short": "a list of {min_length} or more", "too_long": "a list of {max_length} at most",
}  # fmt: skip
_PATTERNS = {"[A-Za-z_]": "a name: a letter, then letters, digits, _ or -", r"[1-9]\d{0,3}:": "a ratio such as 16:9"}


def wanted(found: Mapping[str, Any]) -> str:
    """What the value should have been, of one entry of `ValidationError.errors()`; else pydantic's message."""
    kind, bounds = found["type"], found.get("ctx", {})
    if kind == "string_pattern_mismatch":
        known = next((words for begin, words in _PATTERNS.items() if bounds["pattern"].startswith(f"^{begin}")), None)
        return known or f"text like {bounds['pattern']}"
    if kind in _WANTED:
        return _WANTED[kind].format(**bounds)
    return str(found["msg"]).removeprefix("Value error, ")


def complaint(found: Mapping[str, Any]) -> str:
    """What is wrong, for a line that names the field: such as "it must be a number"."""
    said = wanted(found)
    return f"it must be {said}" if found["type"] in _WANTED or found["type"] == "string_pattern_mismatch" else said


def counted(count: int, noun: str) -> str:
    """Such as "1 row" and "2 rows"."""
    return f"{count} {noun}{'s' * (count != 1)}"
