"""`login`: a key typed once into the private settings file, looked at first where that is free. It is never shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import KeyRefused, RunwayNodeError, SettingsError, WrongUse
from . import flags
from .output import Show, reporting

if TYPE_CHECKING:
    from ..settings import Provider, Settings


def login(
    provider: Annotated[str | None, typer.Option(help="runway or cometapi; unset: it is asked for.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Take the key out of the settings file again.")] = False,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Keep a provider's key in the settings file, readable by you alone; it is asked for, or read from stdin."""
    with reporting(json=json, debug=debug) as show:
        from ..settings import KEY_VARIABLES, load_settings, save_key, settings_path

        whose = _whose(show, provider, tuple(KEY_VARIABLES))
        if forget:
            save_key(whose, None)
            show.result({"provider": whose, "forgotten": True})
            show.say(f"{settings_path()} holds no key for {whose}")
            return
        # Built once with it: what cannot be a key is refused before anything is written.
        settings = load_settings(**{f"{whose}_key": _typed(whose, KEY_VARIABLES[whose])})
        balance = _looked_at(settings, whose)
        private = save_key(whose, settings.key(whose))
        show.result({"provider": whose, "settings": str(settings_path()), "private": private, "balance": balance})
        show.say(f"The key for {whose} is in {settings_path()}; {balance}")
        if not private:
            show.note(f"warning: {settings_path()} could not be made readable by you alone: others may read the key")
        if load_settings().key(whose) != settings.key(whose):
            show.note(f"warning: {KEY_VARIABLES[whose]} is set, and is used before the settings file")


def _whose(show: Show, provider: str | None, known: tuple[Provider, ...]) -> Provider:
    if provider is None and sys.stdin.isatty() and not show.json:
        provider = typer.prompt(f"Provider ({', '.join(known)})", default="runway", err=True).strip()
    found = next((one for one in known if one == provider), None)
    if found is None:
        said = "It is not said whose key it is" if provider is None else f"There is no provider {provider!r}"
        raise WrongUse(said, f"Say --provider {' or --provider '.join(known)}")
    return found


def _typed(provider: Provider, variable: str) -> str:
    if sys.stdin.isatty():
        typed: str = typer.prompt(
            f"Key for {provider} (what {variable} would be; not shown)", hide_input=True, err=True
        )
    else:
        typed = sys.stdin.readline()
    if not typed.strip():
        raise SettingsError("No key was given", "Type it, or give it on stdin")
    return typed


def _looked_at(settings: Settings, provider: Provider) -> str:
    """What the account says of it, for free.

    Raises:
        KeyRefused: It is not the provider's.

    """
    from ..client import Client

    try:
        with Client(settings, provider) as client:
            account = client.account()
    except KeyRefused:
        raise
    except RunwayNodeError as error:
        return f"it could not be tried: {error}"
    if account is None:
        return f"{provider} has no free way to try it"
    return "it works" + ("" if account.credits is None else f": {account.credits:g} credits are left")
