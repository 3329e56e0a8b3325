"""A template's text made into a tree: YAML or JSON, read event by event. Nothing here knows what the tree means.

No aliases, anchors, tags, merge keys or second documents; no key twice; depth, size and count are bounded while it is
read, so a bomb costs nothing. Plain words are YAML 1.2's: `no`, `1:30` and `012` stay text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from .problems import Place, TemplateError, said

MOST_BYTES = 1 << 20
MOST_DEPTH = 32
MOST_NODES = 20_000

# The one with the C library is a hundred times faster; both give the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

_MENDS = {
    "mapping values are not allowed": 'Quote text that holds a colon: "..."',
    "expected ',' or '}'": 'Quote what holds a brace, such as "${clip}"',
    "expected ',' or ']'": 'Quote what holds a brace, such as "${clip}"',
    "unexpected end of stream": "Close the quote or bracket that is open",
    "expected node content": "Write a value between the commas, or quote the text that holds them",
}

Lines = dict[Place, int]
"""The line, from 1, on which the value at each place begins."""


class Text(NamedTuple):
    """A template as it was written: its tree and where each value stands."""

    tree: Any
    lines: Lines


def read(text: str) -> Text:
    """The tree of a YAML or JSON text.

    Raises:
        TemplateError: It is too large, too deep, no YAML, or uses what templates have not; with the line.

    """
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise TemplateError(f"A template has at most {MOST_BYTES >> 20} MiB", "Split it")
    try:
        return _Reader(yaml.parse(_paired(text.removeprefix("\ufeff")), Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        what = str(error.problem or error.context)
        mend = next((mend for words, mend in _MENDS.items() if words in what), "Mend it there")
        raise TemplateError(f"{where}this is no YAML: {what}", mend) from None
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise TemplateError(f"This is no YAML: {_first_line(error)}", "Save it as UTF-8 text") from None


def _paired(text: str) -> str:
    """JSON with the characters that it wrote as two halves put together: libyaml refuses a half."""
    if not text.lstrip().startswith("{"):
        return text
    return _PAIR.sub(lambda found: found[1] + _whole(chr(int(found[2], 16)) + chr(int(found[3], 16))), text)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class _Reader:
    """Builds the tree while the events come."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._lines: Lines = {}
        self._nodes = 0

    def document(self) -> Text:
        tree: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._no(event, "a second document begins", "A template is one document")
                tree = self._value(next(self._events), ())
        return Text(tree, self._lines)

    def _value(self, event: Any, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._no(event, f"a template has at most {MOST_NODES} values", "Split it")
        if len(place) > MOST_DEPTH:
            raise self._no(event, f"this is nested deeper than {MOST_DEPTH} levels", "Write it flatter")
        if isinstance(event, AliasEvent):
            raise self._no(event, f"an alias (*{event.anchor}) is not taken", "Write the value out, or use a var")
        if getattr(event, "anchor", None):
            raise self._no(event, "an anchor (&) is not taken", "Write the value out, or use a var")
        if getattr(event, "tag", None) is not None:
            raise self._no(event, f"a tag ({event.tag}) is not taken", "Leave it out")
        self._lines[place] = event.start_mark.line + 1
        match event:
            case ScalarEvent():
                return _scalar(event)
            case SequenceStartEvent():
                return self._sequence(place)
            case MappingStartEvent():
                return self._mapping(place)
        raise self._no(event, "a value is missing", "Mend it there")

    def _sequence(self, place: Place) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._value(event, (*place, len(found))))
        return found

    def _mapping(self, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent) or event.anchor or event.tag or event.start_mark is None:
                raise self._no(event, "a key is one plain word", "Mend it there")
            key = _whole(event.value)
            if key in found:
                raise self._no(event, f"the key {key!r} is here twice", "Keep one of them")
            if key == "<<":
                raise self._no(event, "a merge key (<<) is not taken", "Write the values out, or use vars")
            line = event.start_mark.line + 1
            found[key] = self._value(next(self._events), (*place, key))
            self._lines[*place, key] = line
        return found

    def _no(self, event: Any, what: str, mend: str) -> TemplateError:
        return TemplateError(f"line {event.start_mark.line + 1}: {what}", mend)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.style:  # quoted, or a block
        return _whole(text)
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    # What a float cannot hold, a number of forty digits or 1e999, stays as it was written.
    if _NUMBER.fullmatch(text) and not text.lstrip("+-").isdigit() and math.isfinite(number := float(text)):
        return number
    return _whole(text)


def _whole(text: str) -> str:
    """*text* with the halves of a character that JSON wrote as two put together."""
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeError:
        raise TemplateError(f"{said(text)} holds half a character", "Save it as UTF-8 text") from None
