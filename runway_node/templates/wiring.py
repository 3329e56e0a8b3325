"""What each step is applied to: names made into steps or files, and the steps in order. Nothing here opens a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .places import Places, is_there
from .problems import Place, TemplateError, nearest, said
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


def node_of(number: int, step: Any, ids: dict[str, int], files: Places, *, there: bool) -> Node:
    """A step with what its `in` and `file` name.

    Raises:
        TemplateError: They name nothing, with the field's place.

    """
    place: Place = ("steps", number)

    def found(value: Any, *field: str | int) -> Input:
        try:
            return _input(value, ids, files, there=there)
        except TemplateError as error:
            raise TemplateError(error.what, error.mend, place=(*place, *field)) from None

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


def _input(value: Any, ids: dict[str, int], files: Places, *, there: bool) -> Input:
    if isinstance(value, Path):
        return value
    if value in ids:
        return Ref(ids[value])
    path = files.find(value)
    hint = nearest(value, ids)  # a typo is one before the files are there, too
    if (there or hint) and not is_there(path):
        raise TemplateError(f"there is no step and no file {said(value)}{hint}")
    return path


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
