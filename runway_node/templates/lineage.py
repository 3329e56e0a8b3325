"""What a step's clip comes from, as a mark: its steps and the contents of their files. Nothing here looks at a frame.

A clip that is drawn on its way to a paid step is ordered under this mark, not under its frames: another machine, or
another release of Pillow or ffmpeg, draws a little otherwise, and would pay for the same edit again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..media.content import file_hash
from ..models import Policy
from .wiring import Input, Node, Ref

# How a take is got, and what a step is called, changes nothing of what it shows; its files count by their contents.
_LEFT_OUT = {*Policy.model_fields, "id", "source", "file", "font", "references", "keyframes"}


class Lineage:
    """Marks of a recipe's steps.

    Args:
        find: Where a file that a step's field names is.

    """

    def __init__(self, find: Callable[[Any], Path]) -> None:
        self._find = find
        self._marks: dict[int, str] = {}
        self._contents: dict[Path, str] = {}

    def add(self, node: Node) -> None:
        """Note a step, after those it needs."""
        fields = node.step.model_dump(exclude=_LEFT_OUT, exclude_defaults=True)
        told = [node.step.type, *(f"{name}={_plain(fields[name])}" for name in sorted(fields) if name != "type")]
        told += [f"in {self._of(one)}" for one in node.inputs]
        told += [] if node.file is None else [f"file {self._of(node.file)}"]
        told += [f"{name} {self._content(value)}" for name, value in _stills(node.step)]
        self._marks[node.number] = hashlib.sha256("\n".join(told).encode()).hexdigest()

    def key(self, node: Node) -> str:
        """The name under which the clip that goes into *node* is ordered, where it is drawn."""
        told = [*(self._of(one) for one in node.inputs), _plain(node.step.range and node.step.range.model_dump())]
        return f"template {hashlib.sha256(' '.join(told).encode()).hexdigest()[:40]}"

    def _of(self, one: Input) -> str:
        return self._marks[one.number] if isinstance(one, Ref) else self._content(one)

    def _content(self, value: Any) -> str:
        if str(value).startswith("https://"):
            return str(value)
        path = value if isinstance(value, Path) else self._find(value)
        if path not in self._contents:
            self._contents[path] = file_hash(path)
        return self._contents[path]


def _stills(step: Any) -> Iterator[tuple[str, Any]]:
    """The files that a step's fields name, beside its inputs; and when each is shown."""
    if getattr(step, "font", None) is not None:
        yield "font", step.font
    for one in getattr(step, "references", ()):
        yield "reference", one
    for one in getattr(step, "keyframes", ()):
        yield f"keyframe {one.seconds} {one.at} {one.range}", one.picture


def _plain(value: Any) -> str:
    """A field's value in one way of writing it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(Fraction(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
