"""A template's vars: declared, typed, defaulted; and their values put into its tree. No expressions.

A value that is `${name}` and nothing else keeps its type; within other text it is written out. It is put into the
parsed tree, never into the text, so no value can become structure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .problems import Place, TemplateError, listed, near, nearest, said
from .values import Color, Duration, color, file, seconds, written

NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_USE = re.compile(r"\$\$|\$\{(" + NAME + r")\}|(\$\{[^}]*\}?)")
_TRUE, _FALSE = {"true", "yes", "1", "on"}, {"false", "no", "0", "off"}
LONGEST_TEXT = 10_000


class _Var(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""

    def check(self, value: Any) -> Any:
        """The value, as the type has it; from text too, such as a cell of a table.

        Raises:
            ValueError: It is not of this type, or outside its bounds.

        """
        return self._value(value)

    def _value(self, value: Any) -> Any:
        raise NotImplementedError

    @property
    def bounds(self) -> str:
        """What it may be, in short; "" where the type says it all."""
        least, most = getattr(self, "min", None), getattr(self, "max", None)
        if least is None:
            return "" if most is None else f"up to {self.shown(most)}"
        return f"{self.shown(least)} or more" if most is None else f"{written(least)} to {self.shown(most)}"

    def shown(self, value: Any) -> str:
        """A value for a table."""
        return written(value)

    @model_validator(mode="after")
    def _default_fits(self) -> _Var:
        default = getattr(self, "default", None)
        if default is not None:
            try:
                self.check(default)
            except ValueError as error:
                raise ValueError(f"its default: {error}") from None
        return self


class StringVar(_Var):
    """Text."""

    type: Literal["string"]
    default: str | None = None
    min_length: int = Field(0, ge=0)
    max_length: int = Field(1000, ge=1, le=LONGEST_TEXT)
    choices: list[str] | None = Field(None, min_length=1)

    @property
    def bounds(self) -> str:
        """Its choices, or how long it may be."""
        return listed(self.choices) if self.choices else f"{self.min_length} to {self.max_length} letters"

    def _value(self, value: Any) -> str:
        text = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
        if text is None:
            raise ValueError(f"{said(value)} is no text")
        if not self.min_length <= len(text) <= self.max_length:
            raise ValueError(f"{said(text)} has {len(text)} characters, not {self.min_length} to {self.max_length}")
        if self.choices is not None and text not in self.choices:
            raise ValueError(f"{said(text)} is none of {listed(self.choices)}{nearest(text, self.choices)}")
        return text


class NumberVar(_Var):
    """A number."""

    type: Literal["number"]
    default: float | None = None
    min: float | None = None
    max: float | None = None

    def _value(self, value: Any) -> float:
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{said(value)} is no number")
        _within(number, self.min, self.max)
        return number


class IntegerVar(_Var):
    """A whole number."""

    type: Literal["integer"]
    default: int | None = None
    min: int | None = None
    max: int | None = None

    def _value(self, value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"[-+]?\d{1,18}", str(value).strip()):
            raise ValueError(f"{said(value)} is no whole number")
        _within(int(value), self.min, self.max)
        return int(value)


class BooleanVar(_Var):
    """True or false."""

    type: Literal["boolean"]
    default: bool | None = None

    def _value(self, value: Any) -> bool:
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(f"{said(value)} is neither true nor false")
        return word in _TRUE


class DurationVar(_Var):
    """A length of time."""

    type: Literal["duration"]
    default: Duration | None = None
    min: Duration | None = None
    max: Duration | None = None

    def shown(self, value: Any) -> str:
        """Seconds."""
        return f"{written(value)} s"

    def _value(self, value: Any) -> Fraction:
        found = seconds(value)
        _within(found, self.min, self.max, " s")
        return found


class ColorVar(_Var):
    """A colour."""

    type: Literal["color"]
    default: Color | None = None

    def _value(self, value: Any) -> str:
        return color(value)


class PathVar(_Var):
    """A file: relative to where its value is given (the folder of the rows, or the one the command runs in)."""

    type: Literal["path"]
    default: str | None = None

    def _value(self, value: Any) -> Path | str:
        if isinstance(value, Path):
            return value
        return str(file(value)).strip()


Var = Annotated[
    StringVar | NumberVar | IntegerVar | BooleanVar | DurationVar | ColorVar | PathVar, Field(discriminator="type")
]
TYPES: dict[str, type[_Var]] = {
    "string": StringVar, "number": NumberVar, "integer": IntegerVar, "boolean": BooleanVar,
    "duration": DurationVar, "color": ColorVar, "path": PathVar,
}  # fmt: skip


def _within(value: Any, least: Any, most: Any, unit: str = "") -> None:
    if least is not None and value < least:
        raise ValueError(f"{float(value):g}{unit} is less than {float(least):g}{unit}")
    if most is not None and value > most:
        raise ValueError(f"{float(value):g}{unit} is more than {float(most):g}{unit}")


def check_given(declared: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse values for what is no var.

    Raises:
        TemplateError: One is; it names the nearest.

    """
    for name in given:
        if name not in declared:
            raise TemplateError(f"there is no var {said(name)}{nearest(name, declared) or _there_are(declared)}")


def values_of(declared: Mapping[str, Any], given: Mapping[str, Any], *, loose: bool = False) -> dict[str, Any]:
    """A value for each var: the given one, else its default.

    Args:
        declared: The vars by name.
        given: From `--set`, or a row; an empty cell is not given.
        loose: Names that are no vars are left alone (a table's other columns).

    Raises:
        TemplateError: One is missing, of another type, or no var at all.

    """
    if not loose:
        check_given(declared, given)
    found: dict[str, Any] = {}
    for name, var in declared.items():
        value = given.get(name)
        empty = value is None or (value == "" and (var.type != "string" or var.default is not None))
        if empty and var.default is None:
            other = near(name, [other for other in given if other not in declared]) if loose else None
            what, mend = f"the var {name} has no value", f"Give it one, such as --set {name}=..."
            raise TemplateError(f"{what}; is it {other}?", "") if other else TemplateError(what, mend)
        try:
            found[name] = var.check(var.default if empty else value)
        except ValueError as error:
            raise TemplateError(f"{name}: {error}") from None
    return found


def _there_are(declared: Mapping[str, Any]) -> str:
    return f"; there are {listed(declared)}" if declared else "; the template has none"


def uses(text: str) -> set[str]:
    """The vars that a text uses."""
    return {match[1] for match in _USE.finditer(text) if match[1]}


def fill(tree: Any, values: Mapping[str, Any], place: Place = ()) -> Any:
    """The tree with every `${name}` replaced; `$$` is a dollar.

    Raises:
        TemplateError: A name that is no var, or something that is no name: there are no expressions.

    """
    if isinstance(tree, dict):
        return {key: fill(value, values, (*place, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fill(value, values, (*place, number)) for number, value in enumerate(tree)]
    return _filled(tree, values, place) if isinstance(tree, str) and "$" in tree else tree


def _filled(text: str, values: Mapping[str, Any], place: Place) -> Any:
    whole = re.fullmatch(r"\$\{(" + NAME + r")\}", text)

    def value(name: str) -> Any:
        if name not in values:
            hint = nearest(name, values) or _there_are(values)
            raise TemplateError(f"there is no var {said(name)}{hint}", place=place)
        return values[name]

    def put(match: re.Match[str]) -> str:
        if match[2]:
            raise TemplateError(
                f"{said(match[2])} is no var: there are no expressions", "Write ${name}; $$ is a dollar", place=place
            )
        return written(value(match[1])) if match[1] else "$"

    if whole:
        return value(whole[1])
    return _USE.sub(put, text)
