"""What a batch would order, compared with what the account has: before the first call is paid. Sends nothing."""

from __future__ import annotations

from ..client import Client, Later
from ..errors import OverLimit, Unreachable
from ..models.words import counted
from ..settings import Provider, Settings
from ..wire import Account
from .checking import Price


def compare(price: Price, settings: Settings, provider: Provider, *, anyway: bool = False) -> list[str]:
    """Look at balance and remaining daily generations, where the provider tells them; free of charge.

    Args:
        anyway: Tell what is short instead of refusing.

    Returns:
        What a person should know, a line each.

    Raises:
        KeyRefused: The key is.
        OverLimit: The account has not enough for all.

    """
    if not price.pays:
        return []
    try:
        with Client(settings, provider) as client:
            account = client.account()
    except (Later, Unreachable) as error:
        return [f"the account's balance could not be asked for ({error.what})"]
    if account is None:
        return [f"{provider} does not tell the account's balance"]
    lacking = short(price, account)
    if lacking and not anyway:
        raise OverLimit(
            f"{'; '.join(lacking)}; nothing was ordered",
            "Render fewer rows, or add --anyway: what is not rendered then, the same command renders later",
            credits=price.credits,
        )
    return lacking or [f"the account has {account.credits:g} credits"] if account.credits is not None else lacking


def short(price: Price, account: Account) -> list[str]:
    """Where the account has less than the batch needs. Pure."""
    told = []
    if account.credits is not None and price.credits is not None and price.credits > account.credits:
        told.append(f"the batch needs {price.credits:g} credits, the account has {account.credits:g}")
    for model, count in price.pays.items():
        most = account.per_day.get(model)
        left = None if most is None else max(0, most - account.used_today.get(model, 0))
        if left is not None and count > left:
            calls = counted(count, "call")
            told.append(f"the batch orders {calls} of {model}, the account may order {left} more today")
    return told
