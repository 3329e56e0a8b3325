"""What a batch will cost, told and held to before it is begun; and what it did. Nothing here orders anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import OverLimit
from ..models.words import counted
from .output import Show

if TYPE_CHECKING:
    from ..batch import Checked, Outcome, Price
    from ..models import Limits
    from ..settings import Settings


def priced(
    show: Show, checked: list[Checked], settings: Settings, most: Limits, *, dry_run: bool, anyway: bool,
    table: bool,
) -> None:  # fmt: skip
    """Tell what it will cost; refuse what is over a limit.

    Raises:
        OverLimit: All rows together cost more than allowed, or than the account has.
        SettingsError: There is no key for what must be paid.

    """
    from ..batch import compare, price

    show.close()
    whole = price(checked)
    if dry_run:
        _table(show, checked)
    for one in checked if dry_run or table else ():
        told = [one.outcome.error] if one.outcome and one.outcome.error else one.warnings
        for line in told:
            show.note(f"row {one.row.number}: {line}")
    show.note(_summary(checked, whole))
    _allowed(whole, most)
    providers = {plan.provider for one in checked if one.outcome is None for _, plan in one.plans}
    for provider in sorted(providers):
        share = price(checked, provider)
        if share.pays and not dry_run:
            settings.key(provider)
        if share.pays and settings.has_key(provider):
            for line in compare(share, settings, provider, anyway=anyway or dry_run):
                show.note(line)


def _allowed(whole: Price, most: Limits) -> None:
    cost = "an unknown price" if whole.credits is None else f"{whole.credits:g} credits"
    for name, limit, value, told in (
        ("--max-seconds", most.max_seconds, whole.seconds, f"order {whole.seconds:g} s of paid video"),
        ("--max-credits", most.max_credits, whole.credits, f"cost {cost}"),
    ):
        if limit is not None and whole.pays and (value is None or value > limit):
            raise OverLimit(
                f"All rows together {told}, and {name} allows {limit:g}; nothing was ordered",
                "Render fewer rows, or allow more", credits=whole.credits,
            )  # fmt: skip


def facts(checked: list[Checked]) -> dict[str, Any]:
    """The price of all rows, as JSON's values."""
    from ..batch import price

    whole = price(checked)
    calls = sum(whole.pays.values())
    return {"paid_calls": calls, "owned_takes": whole.owned, "credits": whole.credits, "seconds": whole.seconds}


def _table(show: Show, checked: list[Checked]) -> None:
    from ..batch import calls_to_pay
    from ..models import sum_known

    heads = ("row", "output", "size", "frames", "paid calls", "owned takes", "credits", "")
    lines = []
    for one in checked:
        plans = [plan for _, plan in one.plans]
        pays = [plan.to_pay_credits for plan in plans]
        cost = "unknown" if None in pays else f"{sum_known(pays) or 0:g}"
        owned = sum(plan.standing.count("owned") for plan in plans)
        calls = sum(calls_to_pay(plan) for plan in plans)
        name = one.job.output if one.job else one.outcome.output if one.outcome else ""
        word = one.outcome.status if one.outcome else ""
        facts = {"row": one.row.number, "output": name, "width": one.size[0], "height": one.size[1],
                 "frames": one.frames, "paid_calls": calls, "owned_takes": owned}  # fmt: skip
        told = {} if one.outcome is None else {"status": one.outcome.status, "error": one.outcome.error}
        show.line({"phase": "row", **facts, "credits": sum_known(pays), **told}) if show.json else None
        shape = ("{}x{}".format(*one.size), str(one.frames), str(calls), str(owned), cost)
        lines.append((str(one.row.number), name, *(shape if one.outcome is None else ("",) * len(shape)), word))
    show.table(heads, lines)


def _summary(checked: list[Checked], whole: Price) -> str:
    done = sum(one.outcome is not None and one.outcome.status == "done" for one in checked)
    bad = sum(one.outcome is not None and one.outcome.status != "done" for one in checked)
    count = sum(whole.pays.values())
    cost = "at an unknown price" if whole.credits is None else f"{whole.credits:g} credits"
    cost += "" if whole.dollars is None else f" (${whole.dollars:.2f})"
    parts = [counted(len(checked), "row")]
    parts += [f"{done} done before"] if done else []
    parts += [f"{bad} cannot be rendered"] if bad else []
    parts += [f"{counted(count, 'paid call')}, {cost}" if count else "nothing to pay"]
    parts += [f"{counted(whole.owned, 'take')} owned"] if whole.owned else []
    shapes = {(one.size, one.frames, one.fps) for one in checked if one.frames}
    for (width, height), frames, fps in shapes if len(shapes) == 1 else ():
        parts += [f"{width}x{height}, {frames} frames at {float(fps):.6g} fps, {float(frames / fps):.2f} s"]
    return "; ".join(parts)


def spent_in_words(checked: list[Checked], outcomes: list[Outcome]) -> str:
    """What the command was charged, and what it may have been beyond what the provider says."""
    from ..models import sum_known

    known = f"{sum(one.spent for one in outcomes if one.spent is not None):g} credits spent"
    unsure = {one.row for one in outcomes if one.spent is None or one.status in {"left", "unknown"}}
    if not unsure:
        return known
    planned = [plan.to_pay_credits for one in checked if one.row.number in unsure for _, plan in one.plans]
    most = sum_known(planned)
    more = "an unknown price" if most is None else f"up to {most:g} credits"
    return f"{known}, and {more} for {counted(len(unsure), 'row')} whose cost the provider has not stated"
