"""What is wrong with a template, a row or a flag, said by its place: path, line, and the nearest right word."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from ..errors import SourceError, StepError, WrongUse
from ..models.words import complaint

HangsOn = Literal["here", "wiring", "nothing"]
"""Which vars could mend an error: those used at its place, those that name a step's inputs, or none."""

Place = tuple[str | int, ...]
"""The way from a tree's root to a value: ("steps", 2, "transition", "duration")."""


class TemplateError(WrongUse):
    """A template, a row of a batch or a value for one of its vars is wrong; nothing was sent.

    Args:
        place: Where in the template; () where it is about the whole, or about something else.
        hangs_on: The vars whose values could mend it.

    """

    def __init__(self, what: str, mend: str = "", *, place: Place = (), hangs_on: HangsOn = "here") -> None:
        super().__init__(what, mend)
        self.place, self.hangs_on = place, hangs_on

    def about(self, *place: str | int) -> TemplateError:
        """The same, about what stands at *place*."""
        return TemplateError(self.what, self.mend, place=place, hangs_on=self.hangs_on)

    def at(self, place: Place, lines: Mapping[Place, int] | None = None, file: str = "") -> TemplateError:
        """The same, told with its place."""
        where = located(place, lines, file)
        what = f"{where}: {self.what}" if where else self.what
        return TemplateError(what, self.mend, place=place, hangs_on=self.hangs_on)


class Unfit(ValueError):
    """What a validator says of a part of what it validates.

    Args:
        place: The part.
        hangs_on: As in `TemplateError`.

    """

    def __init__(self, what: str, *place: str | int, hangs_on: HangsOn = "here") -> None:
        super().__init__(what)
        self.place, self.hangs_on = place, hangs_on


@contextlib.contextmanager
def about(*place: str | int) -> Iterator[None]:
    """Have what is wrong within told of what stands at *place*."""
    try:
        yield
    except TemplateError as error:
        raise error.about(*place, *error.place) from error
    except (SourceError, StepError) as error:
        raise TemplateError(error.what, error.mend, place=place) from error


def located(place: Place, lines: Mapping[Place, int] | None = None, file: str = "") -> str:
    """Such as "t.yaml: steps[2].transition.duration, line 14": the line of the nearest thing that was written."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    known = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), None) if lines else None
    where = ", ".join(part for part in (path, f"line {known}" if known else "") if part)
    return f"{file}: {where}" if file and where else where


def near(word: str, among: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of *among* that is most like *word*."""
    words = {one.lower(): one for one in among}
    begun = [one for one in words if len(word) > 2 and one.startswith(f"{word.lower()}.")]  # runway, for its only step
    found = begun or difflib.get_close_matches(word.lower()[:100], words, n=1, cutoff=cutoff)
    return words[found[0]] if found else None


def nearest(word: str, among: Iterable[str]) -> str:
    """What to add to a message where one of *among* is like *word*, else ""."""
    found = near(word, among)
    return f"; did you mean {found}?" if found else ""


def listed(words: Iterable[str]) -> str:
    """Names for an error's line, some of them where there are many."""
    names = list(words)
    more = f", and {len(names) - 40} more" if len(names) > 40 else ""
    return ", ".join(name if len(name) <= 80 else said(name) for name in names[:40]) + more


def said(value: object) -> str:
    """A value for an error's line: short, on one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def told(error: ValidationError, kind: type[BaseModel], tree: Any, place: Place = ()) -> TemplateError:
    """Pydantic's first complaint in our words, with the whole place.

    Args:
        kind: What was validated.
        tree: What it was validated from.
        place: Where that stands in the template.

    """
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    loc, name = first["loc"], first["type"]
    given, last = _at(tree, loc), str(loc[-1]) if loc else ""
    what, mend = first["msg"].removeprefix("Value error, "), ""
    here: Place = (*place, *loc)
    hangs_on: HangsOn = "here"
    if name == "extra_forbidden":
        fields = _names(_model_at(kind, loc[:-1]))
        like = near(last, fields) or next((name for name in _MEANT.get(last, ()) if name in fields), None)
        mend = "" if like or given is not None else _quoted(_at(tree, loc[:-1]), last)
        hint = f"did you mean {like}?" if like else f"there are {', '.join(fields)}"
        what = f"there is no field {said(last)}" + ("" if mend else f"; {hint}")
        what += "; an effect's own fields go under `with`" if kind.__name__ == "Effect" and len(loc) == 1 else ""
        hangs_on = "nothing"
    elif name in {"model_type", "dict_type"}:
        fields = _names(_model_at(kind, loc))
        what = f"{said(given)} is no mapping" + (f"; its fields are {', '.join(fields)}" if fields else "")
    elif name == "missing":
        here, what, hangs_on = here[:-1], f"{last} is missing", "nothing"
    elif name == "literal_error":
        choices = first["ctx"]["expected"]
        hint = nearest(str(given), re.findall("'(.*?)'", choices))
        what = f"{said(given)} is not {choices}{hint}"
    elif given == "" and name == "string_too_short":
        what = "it is empty"
    elif name != "value_error":
        what = f"{said(given)} is wrong: {complaint(first)}"
    elif isinstance(unfit := first["ctx"]["error"], Unfit):
        here, hangs_on = (*here, *unfit.place), unfit.hangs_on
    return TemplateError(what, mend, place=here, hangs_on=hangs_on)


_MEANT = {
    **dict.fromkeys(("input", "inputs", "source", "src", "clip", "video"), ("in",)),
    "start": ("at",), "duration": ("for",), "for": ("duration",), "length": ("duration", "for"),
}  # fmt: skip
"""Fields by other words that are often written for them."""


def _quoted(fields: dict[str, Any], word: str) -> str:
    """The mend for a word without a value: in one line, what stands after a comma is taken for the next field."""
    before = list(fields)[: list(fields).index(word)]
    if not before or not isinstance(text := fields[before[-1]], str):
        return ""
    return f'Quote text that holds a comma: {before[-1]}: "{text}, {word}"'


def _names(kind: type[BaseModel] | None) -> list[str]:
    return [] if kind is None else [field.alias or name for name, field in kind.model_fields.items()]


def _model_at(kind: type[BaseModel], loc: Place) -> type[BaseModel] | None:
    """The model that checks what stands at *loc* below *kind*."""
    here: Any = kind
    for part in loc:
        if isinstance(part, int):
            continue
        fields = getattr(here, "model_fields", {})
        field = next((field for name, field in fields.items() if part in {name, field.alias}), None)
        here = None if field is None else _model_in(field.annotation)
    return here if here is not None and issubclass(here, BaseModel) else None


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one)) is not None), None)


def _at(tree: Any, place: Place) -> Any:
    for part in place:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree
