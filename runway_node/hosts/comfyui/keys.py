"""A key that is in no widget and no graph: the environment's, the settings file's, or a line in ComfyUI's user folder.

A key is read here and handed to `Settings` at once; no word that is shown or logged has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import folder_paths

from ...errors import SettingsError
from ...private import is_private, make_private
from ...settings import KEY_VARIABLES, Provider, Settings, load_settings

FILE = "runway_node.key"

_LOOKS: dict[str, Provider] = {"key_": "runway", "sk-": "cometapi"}
"""How the providers' keys begin, as far as is known; any other line says whose it is."""


class Found(NamedTuple):
    """Settings with all keys there are, and what is to be said of where they lie."""

    settings: Settings
    notes: tuple[str, ...] = ()


def key_file() -> Path:
    """Where a key may be put for ComfyUI alone."""
    return Path(folder_paths.get_user_directory()) / FILE


def found_settings() -> Found:
    """The settings, with the key file's keys where nothing else has one.

    Raises:
        SettingsError: A setting or the key file is wrong.

    """
    settings, path = load_settings(), key_file()
    try:
        keys = keys_in(path.read_text(encoding="utf-8-sig"), path)
    except FileNotFoundError:
        return Found(settings)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The key file {path} cannot be read: {error}", "Save it as UTF-8, or remove it") from None
    new = {f"{provider}_key": key for provider, key in keys.items() if not settings.has_key(provider)}
    notes = () if is_private(path) or make_private(path) else (f"others on this machine may read the key in {path}",)
    return Found(load_settings(**new) if new else settings, notes)


def keys_in(text: str, path: Path) -> dict[Provider, str]:
    """The keys in a key file: one a line, bare or as "RUNWAYML_API_SECRET=…"; "#" begins a remark.

    Raises:
        SettingsError: A line says not whose key it is; the line itself is never shown.

    """
    names = {variable: provider for provider, variable in KEY_VARIABLES.items()}
    keys: dict[Provider, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if equals and name.strip() in names:
            keys[names[name.strip()]] = value.strip().strip("\"'")
            continue
        provider = next((one for start, one in _LOOKS.items() if name.startswith(start)), None)
        if provider is None:
            raise SettingsError(
                f"Line {number} of {path} does not say whose key it is", f"Write {' or '.join(names)}, =, and the key"
            )
        keys[provider] = line.strip()
    return keys


def check_key(settings: Settings, provider: str | None) -> None:
    """See that there is a key for *provider*, or for one of them, in ComfyUI's words.

    Raises:
        SettingsError: There is none, or there are two and nothing says which.

    """
    keyed = [one for one in KEY_VARIABLES if settings.has_key(one)]
    asked = provider or settings.provider
    if asked in keyed or (asked is None and len(keyed) == 1):
        return
    if asked is None and keyed:
        raise SettingsError("There are keys for both providers", 'Choose one in the widget "provider"')
    names = [name for one, name in KEY_VARIABLES.items() if asked in {None, one}]
    raise SettingsError(
        f"There is no key for {asked}" if asked else "There is no API key",
        f"Write it as one line into {key_file()}, or run: runway-node login, "
        f"or set {' or '.join(names)} before ComfyUI starts. No key goes into a node",
    )
