"""`models` and `doctor`: what there is to order with, and whether this machine can. Free without `--spend`."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import RunwayNodeError, SettingsError
from . import flags
from .output import reporting

if TYPE_CHECKING:
    from ..models import Model
    from ..settings import Provider, Settings

FREE_BYTES = 1 << 30
"""Less free disk than this is told as missing: a run keeps what was sent, what came and what it made of it."""

_MARKS = {True: "ok", False: "NO", None: "-"}


def models(json: flags.Json = False, debug: flags.Debug = False) -> None:
    """List the models: what each takes and costs, and where to add one."""
    with reporting(json=json, debug=debug) as show:
        from ..models import model_table
        from ..settings import load_settings, settings_path

        table = model_table(load_settings())
        for row in table if json else ():
            show.line({"phase": "model", **row.model_dump(mode="json")})
        show.result({"models": len(table), "settings": str(settings_path())})
        if not json:
            heads = ("provider", "model", "seconds", "fps", "size", "takes", "credits/s", "")
            show.table(heads, [_row(row) for row in table])
        show.say(f"\nAdd a row, or change one, under [[models]] in {settings_path()}")


def _row(row: Model) -> tuple[str, ...]:
    least, most, fps = float(row.seconds_min), float(row.seconds_max), float(row.fps_max)
    if row.retired:
        return row.provider, row.name, "", "", "", "", "", f"retired: {row.retired}"
    price = "unknown" if row.credits_per_second is None else f"{row.credits_per_second:g}, least {row.credits_min:g}"
    size = f"{row.long_side}x{row.short_side}"
    return row.provider, row.name, f"{least:g}-{most:g}", f"{fps:g}", size, ", ".join(sorted(row.takes)), price, ""


class Check(NamedTuple):
    """One thing that was looked at: None is neither good nor bad."""

    name: str
    fine: bool | None
    found: str


def doctor(
    spend: Annotated[bool, typer.Option("--spend", help="Make one smallest real order; write a report.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --spend: do not ask.")] = False,
    provider: flags.Provider = None, json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Look whether everything is there: key, balance, ffmpeg, folder, ledger, disk. Free of charge without --spend."""
    with reporting(json=json, debug=debug) as show:
        from ..settings import load_settings

        settings = load_settings(**({"provider": provider} if provider else {}))
        missing = []
        for check in _checks(settings):
            missing += [check.name] if check.fine is False else []
            show.say(f"{_MARKS[check.fine]:<3} {check.name:<14} {check.found}")
            if json:
                show.line({"phase": "check", **check._asdict()})
        if spend and not missing:
            from .proof import order_one

            order_one(show, settings, versions(), sure=yes)
            return
        show.result({"missing": missing})
        if missing:
            show.note(f"Missing: {', '.join(missing)}")
            raise typer.Exit(1)


def _checks(settings: Settings) -> Iterator[Check]:
    from ..settings import KEY_VARIABLES, settings_path

    yield Check("python", None, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    there = "" if settings_path().exists() else " (not there, not needed)"
    yield Check("settings file", None, f"{settings_path()}{there}")
    for provider, variable in KEY_VARIABLES.items():
        # Whether there is a key, never which.
        held = "set" if settings.has_key(provider) else "not set"
        yield Check(provider, None, f"{variable} is {held}; {settings.base_url(provider)}")
    yield from _provider_checks(settings)
    yield _ffmpeg()
    yield _folder(settings.data_dir)
    yield _ledger(settings)
    yield from _stores(settings)
    yield _disk(settings.data_dir)
    yield Check("poll interval", None, f"{settings.poll_interval:g} s (never under 5 s against a real provider)")


def _provider_checks(settings: Settings) -> Iterator[Check]:
    from ..models import DEFAULT_MODELS

    try:
        provider = settings.choose_provider()
        settings.key(provider)
    except SettingsError as error:
        yield Check("provider", False, str(error))
        return
    local = ", on this machine: nothing is paid" if settings.loopback(provider) else ""
    yield Check("provider", True, f"{provider} with {DEFAULT_MODELS[provider]} would be used{local}")
    yield _balance(settings, provider)


def _balance(settings: Settings, provider: Provider) -> Check:
    from ..client import Client
    from ..models import DEFAULT_MODELS

    try:
        with Client(settings, provider) as client:
            account = client.account()
    except RunwayNodeError as error:
        return Check("balance", False, str(error))
    if account is None:
        return Check("balance", None, f"{provider} has no free way to ask; see its own console")
    credits_left = "not told" if account.credits is None else f"{account.credits:g} credits"
    slots = account.at_once.get(DEFAULT_MODELS[provider])
    return Check("balance", True, credits_left + (f", {slots} at once" if slots else ""))


def _ffmpeg() -> Check:
    try:
        import imageio_ffmpeg

        from ..media.opener import ffmpeg_exe

        return Check("ffmpeg", True, f"{imageio_ffmpeg.get_ffmpeg_version()} at {ffmpeg_exe()}")
    except (ImportError, RuntimeError, OSError) as error:
        return Check("ffmpeg", False, f"{error}; reinstall imageio-ffmpeg, or name one in IMAGEIO_FFMPEG_EXE")


def _folder(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("data folder", False, f"{folder}: {error.strerror}; set RUNWAY_NODE_DATA_DIR")
    return Check("data folder", True, str(folder))


def _ledger(settings: Settings) -> Check:
    """Where it is, on what, and what is open in it; opened as every order opens it, but never made here."""
    from ..ledger import Books, Ledger, file_system
    from ..ledger.database import local

    try:
        if settings.database_url is None:
            local(settings.data_dir)
        with Ledger(settings, create=False) as ledger:
            where = ledger.database.where
            held = "not there yet: the first order makes it" if ledger.missing else _open(len(Books(ledger).open()))
    except RunwayNodeError as error:
        return Check("ledger", False, str(error))
    kind = "" if settings.database_url else f", on {file_system(settings.data_dir) or 'an unknown file system'}"
    label = f', account "{settings.account}"' if settings.account else ""
    return Check("ledger", True, f"{where}{kind}{label}; {held}")


def _open(calls: int) -> str:
    return f"{calls} call{'s' * (calls != 1)} open" + (": see runway-node tasks" if calls else "")


def _stores(settings: Settings) -> Iterator[Check]:
    """Whether they answer; and whether the provider could read a link into the one for clips."""
    from ..engine.lending import probed
    from ..storage import open_store

    if settings.store:
        try:
            open_store(settings.store).head("runway-node-doctor")
            yield Check("store", True, f"{settings.store}: takes are kept there too")
        except RunwayNodeError as error:
            yield Check("store", False, str(error))
    if settings.delivery_store:
        where = settings.public_base_url or "signed links"
        try:
            why = probed(settings, settings.base_url(settings.choose_provider()))
        except SettingsError:
            return
        found = f"not read by providers: {why}" if why else "providers can read it"
        yield Check("delivery store", not why, f"{settings.delivery_store}, by {where}: {found}")


def _disk(folder: Path) -> Check:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Check("free disk", free >= FREE_BYTES, f"{free / 1e9:.1f} GB")


def versions() -> dict[str, Any]:
    """What a report says of this machine."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform(), "os": os.name}
    packages = "runway-node httpx av moviepy imageio-ffmpeg numpy pydantic rich sqlalchemy typer"
    for name in packages.split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    found["ffmpeg"] = _ffmpeg().found.partition(" at ")[0]
    return found
