"""What each step is applied to: names made into steps or files, and the steps in order. Nothing here opens a clip."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .places import Places, is_there, near_file
from .problems import Place, TemplateError, about, listed, near, said
from .steps import Concat


class Ref(NamedTuple):
    """Another step, by its place among the steps."""

    number: int


Input = Ref | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A step and where its inputs come from.

    Args:
        number: Its place among the template's steps.
        step: What it does.
        inputs: What it is applied to; for a concat, all clips.
        file: Another file or step that it uses: an overlay's picture, a sound.

    """

    number: int
    step: Any
    inputs: tuple[Input, ...]
    file: Input | None = None

    @property
    def needs(self) -> list[int]:
        """The nodes that its inputs are."""
        return [one.number for one in (*self.inputs, self.file) if isinstance(one, Ref)]

    @property
    def place(self) -> Place:
        """Where it stands in the template."""
        return ("steps", self.number)


def ids_of(steps: list[Any]) -> dict[str, int]:
    """The steps that have a name.

    Raises:
        TemplateError: Two have the same.

    """
    ids: dict[str, int] = {}
    for number, step in enumerate(steps):
        if step.id is not None and step.id in ids:
            raise TemplateError(f"the id {step.id} is steps[{ids[step.id]}]'s already", place=("steps", number, "id"))
        if step.id is not None:
            ids[step.id] = number
    return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a step's `in` and `file` can name.

    Args:
        ids: Steps, by their names.
        vars: Of files: their names are often written without `${}`.
        files: Where files may be.
        there: Whether they must be there.

    """

    ids: dict[str, int]
    vars: Collection[str]
    files: Places
    there: bool

    def input(self, value: Any, own: str | None) -> Input:
        """What the step called *own* means by a name.

        Raises:
            TemplateError: It is no step's, and no file that is there.

        """
        if isinstance(value, Path):
            return value
        if value in self.ids:
            return Ref(self.ids[value])
        path = self.files.find(value)
        plain = path.name == value and not path.suffix  # no file's name: a typo before the files are there, too
        if is_there(path) or not (self.there or plain):
            return path
        if plain:
            raise self.no_step(value, own)
        like = self._like(value, own) or near_file(path)
        what = f"there is no step and no file {said(value)}"
        raise TemplateError(f"{what}; did you mean {like}?" if like else what, "" if like else "Check its name")

    def no_step(self, value: Any, own: str | None = None) -> TemplateError:
        """The error for a name that is no step's."""
        what, like = f"there is no step {said(value)}", self._like(str(value), own)
        if like:
            return TemplateError(f"{what}; did you mean {like}?")
        what += f" among {listed(self.ids)}" if self.ids else ": none has an id"
        return TemplateError(what, "Write it as the `id` of the one that is meant")

    def _like(self, value: str, own: str | None) -> str | None:
        words = {name: f"${{{name}}}" for name in self.vars} | {name: name for name in self.ids if name != own}
        found = near(value, words, 0.6 if len(value) > 2 else 0.5)  # r4 for r3
        return words[found] if found else None


def node_of(number: int, step: Any, known: Known) -> Node:
    """A step with what its `in` and `file` name.

    Raises:
        TemplateError: They name nothing, with the field's place.

    """
    place: Place = ("steps", number)

    def found(value: Any, *field: str | int) -> Input:
        with about(*place, *field):
            return known.input(value, step.id)

    if isinstance(step, Concat):
        inputs = tuple(found(one, "in", index) for index, one in enumerate(step.source))
    elif step.source is not None:
        inputs = (found(step.source, "in"),)
    elif number:
        inputs = (Ref(number - 1),)
    else:
        raise TemplateError("in is missing: the first step has none before it", place=place, hangs_on="nothing")
    file = getattr(step, "file", None)
    return Node(number=number, step=step, inputs=inputs, file=None if file is None else found(file, "file"))


def ordered(nodes: list[Node], last: int) -> tuple[Node, ...]:
    """The nodes that the last one needs, each after those it needs itself.

    Raises:
        TemplateError: They go in a circle, or one leads nowhere.

    """
    order: list[Node] = []
    state: dict[int, str] = {}

    def visit(number: int) -> None:
        if state.get(number) == "done":
            return
        if state.get(number) == "open":
            raise TemplateError(
                "the steps go in a circle here", "Let `in` name an earlier step", place=nodes[number].place,
                hangs_on="wiring",
            )  # fmt: skip
        state[number] = "open"
        for one in nodes[number].needs:
            visit(one)
        state[number] = "done"
        order.append(nodes[number])

    visit(last)
    for node in nodes:
        if node.number not in state:
            raise TemplateError(
                "nothing uses this step", "Name it in another step's `in`, or in `render`", place=node.place,
                hangs_on="wiring",
            )  # fmt: skip
    return tuple(order)
