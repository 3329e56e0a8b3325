"""results.csv: the rows as they were given, and what came of each."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError
from ..media.opener import settle
from ..settings import Settings
from ..storage import deliver, is_remote
from .jobs import Outcome
from .records import staging
from .rows import TOLD, Row

FILE = "results.csv"
EARLIER = tuple(name for name in TOLD if name != "spent")
"""Our columns as they were at first: such a table is ours too."""
EVERY = 2.0
"""Seconds between two writings while rows come to their ends: thousands of rows are not written thousands of times."""


class Results:
    """The table of one batch, kept up to date.

    Args:
        outputs: The folder, or bucket, that it is written to; to a bucket only when `close` is called.
        rows: As they were given.
        force: Replace a table that is another's.

    Raises:
        OutputError: There is another's.

    """

    def __init__(self, outputs: str, rows: Sequence[Row], settings: Settings, *, force: bool = False) -> None:
        self.path = staging(outputs, settings) / FILE
        if not (force or is_remote(outputs)):
            _check_ours(self.path)
        self._url = f"{outputs}/{FILE}" if is_remote(outputs) else None
        self._rows = rows
        self._columns = list(dict.fromkeys(name for row in rows for name in row.cells))
        self._outcomes: dict[int, Outcome] = {}
        self._written = 0.0

    def add(self, outcome: Outcome) -> None:
        """Note what came of a row."""
        self._outcomes[outcome.row] = outcome
        if time.monotonic() - self._written > EVERY:
            with contextlib.suppress(OutputError):  # rows are under way: `close` tells
                self.write()

    def close(self) -> None:
        """Write it where it is to be.

        Raises:
            OutputError, StoreError: It cannot be written.

        """
        self.write()
        if self._url is not None:
            deliver(self.path, self._url, replace=True)

    def write(self) -> None:
        """Write it, whole.

        Raises:
            OutputError: The folder cannot be written.

        """
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow([*self._columns, *TOLD])
        for row in self._rows:
            table.writerow(
                [*(row.cells.get(name, "") for name in self._columns), *_told(self._outcomes.get(row.number))]
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                    file.write(text.getvalue())
                settle(Path(name), self.path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written ({error.strerror})", "Choose another folder") from error
        self._written = time.monotonic()


def _check_ours(path: Path) -> None:
    """Refuse to replace a table that was not written here."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            heads = next(csv.reader([file.readline(1 << 20)]), [])
    except FileNotFoundError:
        return
    except (OSError, csv.Error) as error:
        raise OutputError(f"{path} cannot be read ({error})", "Remove it, or choose another folder (-o)") from error
    if tuple(head for head in heads[-len(TOLD) :] if head in TOLD) not in {TOLD, EARLIER}:
        raise OutputError(
            f"{path} was not made by a batch", "Remove it, choose another folder (-o), or replace it with --force"
        )


def _told(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return [""] * len(TOLD)
    cost, spent = ("" if one is None else f"{one:g}" for one in (outcome.cost, outcome.spent))
    return [outcome.status, outcome.output, "; ".join(outcome.takes), cost, spent, outcome.error]
