"""Who is who: which runs live, whose rows are whose, with which account a call can be asked for. Decides no call."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, select

from ..errors import LedgerError
from ..settings import Provider, Settings, origin_of
from .database import Database
from .holders import holders
from .records import Terms
from .schema import secrets
from .shelf import Shelf


class Who(Shelf):
    """A ledger as it is opened: its database, its runs, the account label that looks at it.

    Args:
        settings: Where it is, whose it is.
        create: Make it where there is none; else `missing` tells, and every question has an empty answer.

    Raises:
        LedgerError: It cannot be used; nothing was changed.

    """

    def __init__(self, settings: Settings, *, create: bool = True) -> None:
        self.settings = settings
        self.account = settings.account
        database = Database(settings, create=create)
        # SQLite's ledger lies beside its takes: wherever the folder is moved to, they are there.
        here = "" if database.sqlite else f"{socket.gethostname()}:{settings.data_dir.absolute()}"
        super().__init__(database, here)
        self._holders = holders(self.database, settings.data_dir) if not self.missing else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holders is not None:
            self._holders.close()
        self.database.close()

    @contextlib.contextmanager
    def holder(self) -> Iterator[str]:
        """Be alive: the token under which rows are held; with the end of this they are free."""
        assert self._holders is not None
        try:
            token = self._holders.hold()
        except OSError as error:
            raise LedgerError(
                f"The data folder {self.settings.data_dir} cannot be written ({error.strerror})",
                "Set RUNWAY_NODE_DATA_DIR",
            ) from error
        try:
            yield f"{self._name}{token}"
        finally:
            self._holders.release(token)

    def alive(self, token: str | None, conn: Connection | None = None) -> bool:
        """Whether the run with this token lives."""
        if token is None or self._holders is None or not token.startswith(self._name):
            return False
        return self._holders.alive(conn, token.removeprefix(self._name))

    def needed(self, token: str) -> bool:
        """Whether files that bear this token may still be needed: its run lives, or is another ledger's.

        Several ledgers may share a data folder, and nobody here can see another one's runs.
        """
        return not token.startswith(self._name) or self.alive(token)

    @functools.cached_property
    def _name(self) -> str:
        """What all tokens of this ledger begin with."""
        return hashlib.sha256(f"{self._secret} name".encode()).hexdigest()[:8]

    def fingerprint(self, origin: str, key: str) -> str:
        """What tells one API key from another without telling the key."""
        return hmac.new(self._secret.encode(), f"{origin}\0{key}".encode(), hashlib.sha256).hexdigest()[:32]

    def unguessable(self, *parts: str) -> str:
        """A name that nobody can guess, and that this ledger always makes again of the same parts."""
        return hmac.new(self._secret.encode(), "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:40]

    @functools.cached_property
    def _secret(self) -> str:
        with self.database.read() as conn:
            return str(conn.scalar(select(secrets.c.value).where(secrets.c.name == "fingerprint")))

    def scope(self, origin: str, fingerprint: str) -> str:
        """Whose rows: the account's label; on loopback each key has a world of its own: anything may be behind it."""
        return f"{self.account}#sandbox-{fingerprint[:16]}" if origin == "sandbox" else self.account

    def terms(self, provider: Provider, model: str, *, delete_remote: bool = False) -> Terms:
        """What these settings freeze into a row; the key must be there."""
        base_url = self.settings.base_url(provider)
        origin = origin_of(base_url)
        fingerprint = self.fingerprint(origin, self.settings.key(provider).get_secret_value())
        return Terms(
            provider=provider,
            model=model,
            base_url=base_url,
            origin=origin,
            fingerprint=fingerprint,
            delete_remote=delete_remote,
        )
