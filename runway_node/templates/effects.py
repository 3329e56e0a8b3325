"""moviepy's effects by name: which there are, and whether given fields are theirs. Only this file looks them up.

A template names no module and no function: only effects of moviepy's own two folders, and only plain values.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..models.words import wanted
from .problems import Unfit, nearest, said


@functools.cache
def effects() -> dict[str, type[Any]]:
    """The effects by name."""
    from moviepy import Effect, afx, vfx

    found = {**vars(vfx), **vars(afx)}
    return {
        name: kind
        for name, kind in sorted(found.items())
        if isinstance(kind, type) and issubclass(kind, Effect) and kind is not Effect and _plain(kind)
    }


def _plain(kind: type[Any]) -> bool:
    """Whether all that it needs can be written in a template."""
    needed = [field for field in fields_of(kind).values() if field.default is inspect.Parameter.empty]
    return all(_writable(field.annotation) for field in needed)


def fields_of(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """What an effect is made with; annotations as types, where they can be had."""
    hints: dict[str, Any] = {}
    try:
        hints = typing.get_type_hints(kind)
    except (NameError, TypeError):
        hints = {field.name: field.type for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    return {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in inspect.signature(kind).parameters.items()
    }


def _writable(annotation: Any) -> bool:
    """Whether a value of this type can be written in a template."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return any(_writable(one) for one in typing.get_args(annotation))
    if inspect.isclass(annotation) and not typing.get_origin(annotation):
        from moviepy.Clip import Clip

        return not issubclass(annotation, Clip) and annotation.__name__ != "ndarray"
    return "allable" not in str(annotation)  # moviepy writes the builtin function for the type, too


def check_effect(name: str, given: Mapping[str, Any]) -> None:
    """Refuse an effect that there is not, and fields that are not its own.

    Raises:
        ValueError: What is wrong, and the nearest right word.

    """
    make_effect(name, given)


def make_effect(name: str, given: Mapping[str, Any]) -> Any:
    """The effect.

    Raises:
        ValueError: There is none such, or it does not take these fields.

    """
    fields = checked(name, given)
    try:
        return effects()[name](**fields)
    except Exception as error:  # noqa: BLE001 - whatever an effect says of its fields
        raise Unfit(f"{name} does not take these fields: {_words(error)}", "with") from None


def checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """An effect's fields, each of its own type.

    Raises:
        ValueError: There is no such effect, or these are not its fields.

    """
    kind = effects().get(name)
    if kind is None:
        raise Unfit(f"there is no effect {said(name)}{nearest(name, effects()) or _all()}", "name")
    fields = fields_of(kind)
    for field in given:
        if field not in fields:
            hint = nearest(field, fields) or f"; it has {', '.join(fields) or 'none'}"
            raise Unfit(f"{name} has no field {said(field)}{hint}", "with", field, hangs_on="nothing")
    for field, parameter in fields.items():
        if parameter.default is inspect.Parameter.empty and field not in given:
            raise Unfit(f"{name} needs {field}", "with", hangs_on="nothing")
    return {
        field: _bounded(name, field, _checked(field, fields[field].annotation, value)) for field, value in given.items()
    }


POSITIVE = {
    "Resize": ("width", "height", "new_size"), "MultiplySpeed": ("factor", "final_duration"),
    "Crop": ("width", "height"),
}  # fmt: skip
NOT_NEGATIVE = {"Margin": ("margin_size", "left", "right", "top", "bottom")}
"""Fields of which moviepy says nothing, or nothing clear, where they are less."""


def _bounded(name: str, field: str, value: Any) -> Any:
    numbers = _numbers(value)
    if field in POSITIVE.get(name, ()) and any(number <= 0 for number in numbers):
        raise Unfit(f"{said(value)} is wrong: it must be more than 0", "with", field)
    if field in NOT_NEGATIVE.get(name, ()) and any(number < 0 for number in numbers):
        raise Unfit(f"{said(value)} is wrong: it must be 0 or more", "with", field)
    return value


MOST = 20_000
"""The largest number that an effect is given: pixels, seconds, repetitions."""


def _checked(field: str, annotation: Any, value: Any) -> Any:
    value, adapter = _tupled(value), _adapter(annotation)
    try:
        right = value if adapter is None or value is None else adapter.validate_python(value, strict=False)
    except ValidationError as error:
        words = dict.fromkeys(map(wanted, error.errors(include_url=False)))  # of a union, one for each member
        raise Unfit(f"{said(value)} is wrong: it must be {' or '.join(words)}", "with", field) from None
    if not all(abs(number) <= MOST for number in _numbers(right)):
        raise Unfit(f"{said(value)} is no number up to {MOST}", "with", field)
    return right


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    if annotation is inspect.Parameter.empty or not _writable(annotation):
        return None
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        annotation = typing.Union[tuple(one for one in typing.get_args(annotation) if _writable(one))]  # noqa: UP007
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # noqa: BLE001 - an annotation that nobody can check: moviepy's own errors must do
        return None


def _tupled(value: Any) -> Any:
    """Lists as the tuples that moviepy means; exact fractions as its floats."""
    if isinstance(value, list):
        return tuple(_tupled(one) for one in value)
    return float(value) if type(value).__name__ == "Fraction" else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, (tuple, list)):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, (int, float)) else []


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _all() -> str:
    return f"; there are {', '.join(effects())}"
