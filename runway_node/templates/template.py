"""A template: read, checked, and with values for its vars made into a recipe. Nothing here opens a clip."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ..errors import RunwayNodeError
from .declared import NAME, TYPES, Var, fill, uses, values_of
from .places import Places, is_there, no_file, of_template
from .problems import Place, TemplateError, located, nearest, said, told
from .reading import MOST_BYTES, Lines, read
from .steps import KINDS, AnyStep, Written
from .values import Words
from .wiring import Known, Node, ids_of, node_of, ordered

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
CLIPS = (*SUFFIXES, ".m4v", ".avi", ".mxf", ".mpg", ".ts")
"""What is taken for a clip by its name."""
MOST_STEPS = 500
Suffix = Literal[".mp4", ".mov", ".mkv", ".webm"]


class Output(Written):
    """What is written."""

    name: Words | None = Field(default=None, min_length=1, max_length=500)
    """The file's name without its ending, from vars: "${sku}-dusk". Unset: the clip's name, or the row's number."""
    suffix: Suffix = ".mp4"


class Template(Written):
    """An edit, written once and rendered for many clips."""

    version: Literal[1]
    description: str = ""
    vars: dict[str, Var] = Field(default_factory=dict)
    output: Output = Output()
    steps: list[AnyStep] = Field(min_length=1, max_length=MOST_STEPS)
    render: str | None = None
    """The id of the step whose clip is the result; unset: the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A template with values: what is to be made, in order, each step after those it needs."""

    nodes: tuple[Node, ...]
    last: int
    output: Output
    files: Places
    lines: Lines = field(repr=False, default_factory=dict)
    file: str = ""

    def leading_to(self, number: int, made: Collection[int] = ()) -> list[Node]:
        """The nodes that one needs, itself the last, in order; not those that are *made*, nor what only these need."""
        by_number = {node.number: node for node in self.nodes}
        needed, todo = set[int](), [number]
        while todo:
            one = todo.pop()
            if one not in needed and one not in made:
                needed.add(one)
                todo += by_number[one].needs
        return [node for node in self.nodes if node.number in needed]

    def rounds(self, counts: Callable[[Node], bool]) -> list[list[Node]]:
        """The nodes that count, in rounds: each needs only such of earlier rounds."""
        depth: dict[int, int] = {}
        found: defaultdict[int, list[Node]] = defaultdict(list)
        for node in self.nodes:
            before = max((depth[one] for one in node.needs), default=0)
            depth[node.number] = before + counts(node)
            if counts(node):
                found[before].append(node)
        return [found[number] for number in sorted(found)]

    def wrong(self, node: Node, error: TemplateError, *more: str | int) -> TemplateError:
        """The error, told with the step's place."""
        return error.at((*node.place, *more, *error.place), self.lines, self.file)

    def where(self, node: Node) -> str:
        """A step's place, for what is told of it."""
        return located(node.place, self.lines, self.file)


class Source:
    """A template as it was read, to be given values.

    Args:
        text: YAML or JSON.
        folder: Where the files that it names are.
        name: What outputs are named by.
        file: Whose lines the lines are that are told once there are values: of rows, there are others.

    Raises:
        TemplateError: It cannot be used, whatever the values; with path and line.

    """

    def __init__(self, text: str, folder: Path, name: str = "template", file: str = "") -> None:
        self.text, self.folder, self.name, self.file = text, folder, name, file
        self.tree, self.lines = read(text)
        if not isinstance(self.tree, dict):
            raise TemplateError("A template is a mapping, with version, vars and steps")
        self.vars = self._vars()
        self._check()

    def recipe(self, values: Mapping[str, Any], *, there: bool = True) -> Recipe:
        """The recipe for these values; path vars are `Path`s by now.

        Args:
            there: Whether the files that the template names must be there.

        Raises:
            TemplateError: A step does not take them.

        """
        try:
            tree = fill(self.tree, values)
            recipe = _recipe(tree, self.lines, of_template(self.folder), there=there)
        except TemplateError as error:
            raise error.at(error.place, self.lines, self.file) from None
        return replace(recipe, file=self.file)

    def values(self, given: Mapping[str, Any], places: Places, *, loose: bool = False) -> dict[str, Any]:
        """A value for each var; files are looked for in *places*, default ones beside the template.

        Raises:
            TemplateError: One is missing or does not fit.

        """
        found = values_of(self.vars, given, loose=loose)
        for name, var in self.vars.items():
            if var.type == "path":
                own = given.get(name) in {None, ""}
                try:
                    if not isinstance(found[name], Path):
                        found[name] = (of_template(self.folder) if own else places).value(found[name])
                    if isinstance(found[name], Path) and not is_there(found[name]):
                        raise no_file(found[name])
                except TemplateError as error:
                    raise TemplateError(f"{name}: {error.what}", error.mend) from None
        return found

    def _vars(self) -> dict[str, Any]:
        tree = {} if self.tree.get("vars") is None else self.tree["vars"]
        if not isinstance(tree, dict):
            raise TemplateError("vars is a mapping of names").at(("vars",), self.lines)
        found = {}
        for name, raw in tree.items():
            place: Place = ("vars", name)
            if not re.fullmatch(NAME, name):
                raise TemplateError(f"{said(name)} is no var's name: letters, digits, _").at(place, self.lines)
            kind = raw.get("type") if isinstance(raw, dict) else None
            if not isinstance(kind, str) or kind not in TYPES:
                hint = nearest(str(kind), TYPES) or f"; there are {', '.join(TYPES)}"
                raise TemplateError(f"a var has a type, not {said(kind)}{hint}").at(place, self.lines)
            try:
                found[name] = TYPES[kind].model_validate(raw)
            except ValidationError as error:
                wrong = told(error, TYPES[kind], raw, place)
                raise wrong.at(wrong.place, self.lines) from None
        return found

    def _check(self) -> None:
        """What is wrong whatever the values are: checked with values that fit, where a var is used it may differ."""
        samples = {name: _sample(var) for name, var in self.vars.items()}
        tree: Any = None
        try:
            tree = fill(self.tree, samples)
            _recipe(tree, self.lines, of_template(self.folder), there=False)
        except TemplateError as error:
            if tree is None or not self._mended_by_a_value(error):
                raise error.at(error.place, self.lines) from None

    def _mended_by_a_value(self, error: TemplateError) -> bool:
        if error.hangs_on == "wiring":
            texts = {name for name, var in self.vars.items() if var.type == "string"}
            steps = [step for step in self.tree["steps"] if isinstance(step, dict)]
            wiring = [self.tree.get("render"), [(step.get("in"), step.get("file")) for step in steps]]
            return bool(texts & uses(json.dumps(wiring)))
        return error.hangs_on == "here" and bool(_used(self.tree, error.place))

    def by_var(self, error: RunwayNodeError) -> RunwayNodeError:
        """The error with the vars in front that are used at its very place; of a whole step's, any could be meant."""
        place = error.place if isinstance(error, TemplateError) else ()
        names = sorted(_used(self.tree, place)) if len(place) > len(("steps", 0)) or place[:1] == ("output",) else []
        return TemplateError(f"{', '.join(names)}: {error.what}", error.mend) if names else error

    @property
    def digest(self) -> str:
        """Of the tree: what the template says, however it is laid out."""
        return hashlib.sha256(json.dumps(self.tree, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Source:
    """The template in a file.

    Raises:
        TemplateError: It cannot be read, or used.

    """
    try:
        if path.exists() and not path.is_file():
            raise TemplateError(f"{path} is not a file", "Check the path")
        if path.suffix.lower() in CLIPS and path.exists():
            raise _a_video(path)
        if path.stat().st_size > MOST_BYTES:
            raise TemplateError(f"{path.name}: a template has at most {MOST_BYTES >> 20} MiB", "Is it the template?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{path} cannot be read ({error.strerror})", "Check the path") from None
    except UnicodeDecodeError:
        raise TemplateError(f"{path} is not UTF-8 text", "Save it as UTF-8") from None
    try:
        return Source(text, path.absolute().parent, path.stem, path.name)
    except TemplateError as error:
        raise TemplateError(f"{path.name}: {error.what}", error.mend, place=error.place) from None


def _a_video(path: Path) -> TemplateError:
    return TemplateError(
        f"{path.name} looks like a video, and a template is a .yaml or .json file",
        f"Give the template first: runway-node render TEMPLATE --set clip={path.name}",
    )


def _sample(var: Any) -> Any:
    """A value that fits the var."""
    if var.default is not None:
        value = var.check(var.default)
        return Path("sample.mp4") if var.type == "path" else value
    match var.type:
        case "string":
            return var.choices[0] if var.choices else "x" * max(1, var.min_length)
        case "path":
            return Path("sample.mp4")
        case "color":
            return "white"
        case "boolean":
            return True
    least = var.min if var.min is not None else min(1, var.max) if var.max is not None else 1
    return Fraction(least) if var.type == "duration" else least


def _used(tree: Any, place: Place) -> set[str]:
    """The vars that what stands at *place* uses anywhere."""
    for part in place:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return set()  # what is not there needs no value
    return uses(json.dumps(tree))


def _recipe(tree: Any, lines: Lines, files: Places, *, there: bool = True) -> Recipe:
    """Check a filled tree, part by part, so that each error has its place."""
    fields = list(Template.model_fields)
    for name in tree:
        if name not in fields:
            hint = nearest(name, fields) or f"; there are {', '.join(fields)}"
            raise TemplateError(f"there is no field {said(name)}{hint}", place=(name,), hangs_on="nothing")
    _known_version(tree.get("version"))
    if not isinstance(tree.get("description", ""), str):
        raise TemplateError(f"{said(tree['description'])} is no text", place=("description",))
    output = _one(Output, {} if tree.get("output") is None else tree["output"], ("output",))
    raw = tree.get("steps")
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST_STEPS:
        raise TemplateError(f"steps is a list of 1 to {MOST_STEPS} steps", place=("steps",), hangs_on="nothing")
    steps = [_step(one, ("steps", number)) for number, one in enumerate(raw)]
    clips = [name for name, var in (tree.get("vars") or {}).items() if var["type"] == "path"]
    known = Known(ids=ids_of(steps), vars=clips, files=files, there=there)
    nodes = [node_of(number, step, known) for number, step in enumerate(steps)]
    last = len(nodes) - 1
    if (wanted := tree.get("render")) is not None:
        if not isinstance(wanted, str) or wanted not in known.ids:
            raise known.no_step(wanted).about("render")
        last = known.ids[wanted]
    return Recipe(nodes=ordered(nodes, last), last=last, output=output, files=files, lines=lines)


def _known_version(version: Any) -> None:
    if version == 1 and not isinstance(version, bool):
        return
    if version is None:
        raise TemplateError("version is missing", "Begin with `version: 1`", place=("version",))
    newer = isinstance(version, (int, float)) and version > 1
    mend = "A newer runway-node is needed" if newer else "Write `version: 1`"
    raise TemplateError(f"this runway-node knows version 1, not {said(version)}", mend, place=("version",))


def _one(kind: Any, raw: Any, place: Place) -> Any:
    if not isinstance(raw, dict):
        raise TemplateError(f"{said(raw)} is no mapping of fields", place=place)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise told(error, kind, raw, place) from None


def _step(raw: Any, place: Place) -> Any:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind is None:
        raise TemplateError(f"a step has a type: {', '.join(KINDS)}", place=place, hangs_on="nothing")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = nearest(str(kind), KINDS) or f"; there are {', '.join(KINDS)}"
        raise TemplateError(f"there is no step type {said(kind)}{hint}", place=(*place, "type"))
    return _one(KINDS[kind], raw, place)
