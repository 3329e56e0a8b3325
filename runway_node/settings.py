"""Settings: keys, base URLs, folders, limits, raw model rows.

Only this file reads the environment, and reads and writes the settings file. A key is a `SecretStr` from here to the
request's header.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import SettingsError
from .private import is_private, write_private

Provider = Literal["cometapi", "runway"]

KEY_VARIABLES: dict[Provider, str] = {"cometapi": "COMETAPI_KEY", "runway": "RUNWAYML_API_SECRET"}
"""Where each provider's key is read from: CometAPI's documentation and Runway's SDK use these names."""

BASE_URL_VARIABLES: dict[Provider, str] = {"cometapi": "COMETAPI_BASE_URL", "runway": "RUNWAYML_BASE_URL"}

# People paste the base URL with the path that other tools want; the routes below it are ours to add.
_KNOWN_TAILS = ("/runwayml/v1", "/runwayml", "/v1")


@functools.lru_cache(maxsize=64)
def is_loopback(url: str) -> bool:
    """Whether *url* names this machine by a loopback address or as localhost."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str:
    """The origin of a base URL; any on loopback is the same one: "sandbox"."""
    if is_loopback(url):
        return "sandbox"
    parts = urlsplit(url)
    port = "" if parts.port in {None, 443} else f":{parts.port}"
    return f"https://{parts.hostname}{port}"


def _base_url(value: str) -> str:
    value = value.strip().rstrip("/")
    for tail in _KNOWN_TAILS:
        value = value.removesuffix(tail)
    return _web_address(value)


def _web_address(value: str) -> str:
    value = value.strip().rstrip("/")
    parts = urlsplit(value)
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("a base URL is https://HOST, with no user, query or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(value)):
        raise ValueError("a base URL is https; plain http is accepted on loopback only")
    return value


BaseUrl = Annotated[str, BeforeValidator(_base_url)]

REMOTE = ("s3://", "gs://", "az://")
"""How the names of buckets begin."""


def is_remote(text: object) -> bool:
    """Whether *text* names a bucket, or something in one, and no file."""
    return isinstance(text, str) and text.startswith(REMOTE)


def _store_name(value: object) -> object:
    """A bucket's URL or a folder's absolute path, without an end that says nothing."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        return value
    if not is_remote(value):
        folder = Path(value).expanduser()
        if "://" in value or not folder.is_absolute():
            raise ValueError("a store is s3://BUCKET/PREFIX, gs://, az://, or the absolute path of a folder")
        return str(folder)
    parts = urlsplit(value)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("a store is s3://BUCKET/PREFIX: keys are the bucket's own variables' business, not the name's")
    return value.rstrip("/")


WebAddress = Annotated[str, BeforeValidator(_web_address)]
StoreName = Annotated[str, BeforeValidator(_store_name)]


def _both(name: str, variable: str) -> AliasChoices:
    return AliasChoices(name, variable)


class Settings(BaseSettings):
    """What this machine and this person bring to every order.

    Read from keyword arguments, then the environment, then the settings file (`settings_path()`), in that order.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True, env_prefix="RUNWAY_NODE_"
    )

    cometapi_key: SecretStr | None = Field(None, validation_alias=_both("cometapi_key", KEY_VARIABLES["cometapi"]))
    cometapi_base_url: BaseUrl = Field(
        "https://api.cometapi.com", validation_alias=_both("cometapi_base_url", BASE_URL_VARIABLES["cometapi"])
    )
    runway_key: SecretStr | None = Field(None, validation_alias=_both("runway_key", KEY_VARIABLES["runway"]))
    runway_base_url: BaseUrl = Field(
        "https://api.dev.runwayml.com", validation_alias=_both("runway_base_url", BASE_URL_VARIABLES["runway"])
    )
    provider: Provider | None = None
    """Used where a step names none; unset: the one whose key is set."""
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("runway-node", appauthor=False))
    """Where the ledger and paid results are kept; a local disk, not a network share."""
    database_url: SecretStr | None = None
    """Postgres for the ledger, "postgresql://user:password@host/name"; unset: SQLite in the data folder."""
    account: str = ""
    """Whose orders these are: takes, claims, slots and daily credits of one label are never seen by another."""
    poll_interval: float = Field(5.0, gt=0, le=300)
    """Seconds between two looks at a task. Runway asks for no less than 5; less is used on loopback only."""
    max_concurrency: int = Field(5, ge=1, le=100)
    """Paid calls under way at once with one key, over all processes that share the ledger."""
    max_seconds: float | None = Field(None, gt=0)
    """Paid seconds one run may order; unset: 60, and no limit on loopback."""
    max_credits: float | None = Field(None, gt=0)
    """Credits one run may order; unset: no limit."""
    max_credits_per_day: float | None = Field(None, gt=0)
    """Credits all runs of one account label may order in a UTC day; unset: no limit."""
    timeout: float = Field(1800.0, gt=0)
    """Seconds a task may run, time in the provider's queue apart."""
    store: StoreName | None = None
    """Where paid takes are kept too, for all machines that share the ledger: a bucket, or a shared folder."""
    delivery_store: StoreName | None = None
    """Where a clip may be put for the provider to read, and is removed from when its task ends."""
    public_base_url: WebAddress | None = None
    """Under which `delivery_store`'s objects can be read by anybody who knows their names; unset: links are signed."""
    models: tuple[dict[str, Any], ...] = ()
    """Rows added to, or laid over, the model table: `[[models]]` in the settings file (see `models.Model`)."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.delivery_store and not is_remote(self.delivery_store) and not self.public_base_url:
            raise ValueError("a folder as delivery_store needs public_base_url: nobody can sign a link to it")
        return self

    @field_validator("data_dir")
    @classmethod
    def _one_place(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("account")
    @classmethod
    def _label(cls, label: str) -> str:
        if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})?", label):
            raise ValueError("a label is letters, digits, dots, dashes and underscores, at most 64")
        return label

    @field_validator("cometapi_key", "runway_key", mode="before")
    @classmethod
    def _header_safe(cls, key: object) -> object:
        text = key.get_secret_value() if isinstance(key, SecretStr) else key
        if not isinstance(text, str):
            return key
        text = text.strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a key is one line of ASCII without spaces")
        return SecretStr(text) if text else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, settings file; no .env of whatever folder we are started in."""
        return init_settings, env_settings, _SettingsFile(settings_cls)

    def key(self, provider: Provider) -> SecretStr:
        """The key for *provider*; raises `SettingsError` where there is none."""
        key = self.cometapi_key if provider == "cometapi" else self.runway_key
        if key is None:
            raise SettingsError(
                f"There is no key for {provider}", f"Set {KEY_VARIABLES[provider]}, or run: runway-node login"
            )
        return key

    def base_url(self, provider: Provider) -> str:
        """The origin that *provider*'s routes are added to."""
        return self.cometapi_base_url if provider == "cometapi" else self.runway_base_url

    def loopback(self, provider: Provider) -> bool:
        """Whether *provider* is played by a server on this machine, such as the sandbox: nothing is paid there."""
        return is_loopback(self.base_url(provider))

    def choose_provider(self, asked: Provider | None = None) -> Provider:
        """The provider to use: the one asked for, the one set, or the only one with a key.

        Raises:
            SettingsError: There is no key, or there are two and nothing says which.

        """
        if asked or self.provider:
            return asked or self.provider  # type: ignore[return-value]  # mypy: one of the two is set
        keyed: list[Provider] = [p for p in KEY_VARIABLES if self.has_key(p)]
        if len(keyed) == 1:
            return keyed[0]
        names = " and ".join(KEY_VARIABLES.values())
        if keyed:
            raise SettingsError(
                f"{names} are both set", "Say which to use: provider=, --provider or RUNWAY_NODE_PROVIDER"
            )
        raise SettingsError(
            "There is no API key",
            f"Set {names.replace(' and ', ' or ')}, or run: runway-node login; without one there is: runway-node demo",
        )

    @property
    def home(self) -> Path:
        """The folder of this account label's files, below the data folder."""
        return self.data_dir / "accounts" / self.account if self.account else self.data_dir

    def has_key(self, provider: Provider) -> bool:
        """Whether there is a key for *provider*."""
        return (self.cometapi_key if provider == "cometapi" else self.runway_key) is not None


def settings_path() -> Path:
    """The settings file: `RUNWAY_NODE_SETTINGS`, else `settings.toml` in the user's configuration folder."""
    named = os.environ.get("RUNWAY_NODE_SETTINGS")
    return Path(named) if named else platformdirs.user_config_path("runway-node", appauthor=False) / "settings.toml"


def plain_http_buckets() -> bool:
    """Whether the environment lets the storage library speak plain http, as to a server of one's own.

    It reads these variables itself, and forgets them where it is given options of ours.
    """
    names = ("ALLOW_HTTP", "AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in names)


def load_settings(**values: object) -> Settings:
    """`Settings(**values)`, with a bad one as a single clear line.

    Raises:
        SettingsError: A value is wrong, or the settings file cannot be read; the value itself is never shown.

    """
    try:
        return Settings(**values)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"Setting {where}: {message}", f"Mend it in the environment or in {settings_path()}"
        ) from None


def save_key(provider: Provider, key: SecretStr | None) -> bool:
    """Put *key* into the settings file, or with None take it out; the file's other lines stay as they are.

    Returns:
        Whether the file could be made readable by its owner alone.

    Raises:
        SettingsError: The file is not TOML, or cannot be written.

    """
    path, name = settings_path(), f"{provider}_key"
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        # Keys of a file without its tables stand before the first of these: a line in one is the table's.
        table = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
        kept = [line for line in lines[:table] if not re.match(rf"\s*{name}\s*=", line, re.IGNORECASE)]
        ours = [] if key is None else [f"{name} = {json.dumps(key.get_secret_value())}"]
        text = "\n".join([*ours, *kept, *lines[table:]]) + "\n"
        found = tomllib.loads(text).get(name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error}", "Mend or remove it") from None
    if found != (None if key is None else key.get_secret_value()):
        raise SettingsError(f"The settings file {path} holds {name} in a way that is not understood", "Edit it by hand")
    try:
        return write_private(path, text)
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be written: {error}", "Check its folder") from None


class _SettingsFile(PydanticBaseSettingsSource):
    """The settings file as a source; a file that holds a key must be private."""

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False  # the base class asks for it; __call__ answers whole

    def __call__(self) -> dict[str, Any]:
        path = settings_path()
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text)
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"The settings file {path} cannot be read: {error}", "Mend or remove it") from None
        if isinstance(values.get("data_dir"), str):
            # Not below whatever folder we are started in: each would have a ledger of its own.
            values["data_dir"] = str(path.absolute().parent / Path(values["data_dir"]).expanduser())
        holds_secret = any(name.lower() in {"cometapi_key", "runway_key", "database_url"} for name in values)
        if holds_secret and not is_private(path):
            raise SettingsError(f"{path} holds a key but others can read it", f'Run: chmod 600 "{path}"')
        return values
