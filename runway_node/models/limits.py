"""What an order may cost, and the one line that says it costs more. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from ..errors import OverLimit
from ..settings import Provider
from .base import Frozen
from .table import DOLLARS_PER_CREDIT


class Limits(Frozen):
    """None is no limit.

    Args:
        max_seconds, max_credits: What one run may order.
        max_credits_per_day: What all runs of one account label may order in a UTC day.

    """

    max_seconds: float | None = None
    max_credits: float | None = None
    max_credits_per_day: float | None = None


def check_limits(
    limits: Limits,
    seconds: float,
    credits: float | None,
    model: str,
    today: Callable[[], float | None] = lambda: 0.0,
    *,
    provider: Provider = "runway",
    before: tuple[float, float | None] = (0.0, 0.0),
) -> None:
    """Refuse an order that costs more than allowed.

    Args:
        seconds, credits: What the run would order; credits None where the price is unknown.
        model, provider: Whose price it is.
        before: Seconds and credits that the same run ordered already.
        today: Credits that were reserved or spent since midnight UTC, None where that is not known; asked for only
            where it matters.

    Raises:
        OverLimit: By how much, and what raises the limit.

    """
    # Sums of prices in cents: what comes to exactly the limit is within it, whatever floats make of it.
    more = None if credits is None else round(credits, 6)
    seconds = round(before[0] + seconds, 6)
    credits = None if more is None or before[1] is None else round(before[1] + more, 6)  # noqa: A001 - the field's word

    def over(allowed: str, mend: str) -> OverLimit:
        told = f"It would order {seconds:g} paid seconds ({price_text(credits, provider)}), {allowed}"
        return OverLimit(told, mend, seconds=seconds, credits=credits)

    if limits.max_seconds is not None and seconds > limits.max_seconds:
        raise over(
            f"{limits.max_seconds:g} seconds are allowed",
            f"{_raise('max_seconds', seconds)}, or shorten the range",
        )
    for name in ("max_credits", "max_credits_per_day"):
        if getattr(limits, name) is not None and credits is None:
            raise over(
                f"{name} is {getattr(limits, name):g}, and the price of {model} is unknown",
                f"{_leave_out(name)}, or give the model a credits_per_second in the settings file",
            )
    if limits.max_credits is not None and credits is not None and credits > limits.max_credits:
        raise over(
            f"{limits.max_credits:g} credits are allowed", f"{_raise('max_credits', credits)}, or shorten the range"
        )
    if limits.max_credits_per_day is not None and more is not None:
        _check_day(limits.max_credits_per_day, more, today(), over)


def _check_day(allowed: float, credits: float, spent: float | None, over: Callable[[str, str], OverLimit]) -> None:
    if spent is None:
        raise over(
            f"max_credits_per_day is {allowed:g}, and calls of unknown cost were made today",
            f"{_leave_out('max_credits_per_day')}, or wait for midnight UTC",
        )
    wanted = round(spent + credits, 6)
    if wanted > allowed:
        raise over(
            f"{spent:g} credits are spent or reserved today, {allowed:g} are allowed",
            f"{_raise('max_credits_per_day', wanted)}, or wait for midnight UTC",
        )


def sum_known(credits: Sequence[float | None]) -> float | None:
    """Their sum; None where one is not known."""
    known = [one for one in credits if one is not None]
    return sum(known) if len(known) == len(credits) else None


def dollars_of(credits: float | None, provider: Provider) -> float | None:
    """What credits cost; None where the provider names no price for one."""
    return None if credits is None or provider != "runway" else round(credits * DOLLARS_PER_CREDIT, 2)


def price_text(credits: float | None, provider: Provider) -> str:
    """Credits and dollars, where they are known."""
    if credits is None:
        return "price unknown"
    dollars = dollars_of(credits, provider)
    return f"{credits:g} credits" + ("" if dollars is None else f", ${dollars:.2f}")


def _raise(name: str, least: float) -> str:
    to = ceil(least)
    return f'Raise {name} to {to} (argument {name}={to}, flag --{_flag(name)} {to}, widget "{name}")'


def _leave_out(name: str) -> str:
    where = f'argument {name}, flag --{_flag(name)}, widget "{name}", variable RUNWAY_NODE_{name.upper()}'
    return f"Leave {name} out ({where})"


def _flag(name: str) -> str:
    return name.replace("_", "-")
