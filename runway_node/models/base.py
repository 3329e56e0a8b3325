"""The two shapes of value every room shares: a frozen record, and an exact number that survives JSON."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class Frozen(BaseModel):
    """A record that is checked once on the way in and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _fraction(value: object) -> Fraction:
    try:
        return Fraction(value) if isinstance(value, (str, int, Fraction)) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a number or a fraction like 24000/1001") from None


Rational = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str, return_type=str)]
"""A rate in frames per second, or a time in seconds, kept exact: "24000/1001" in JSON."""
