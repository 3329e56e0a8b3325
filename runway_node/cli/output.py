"""What a person or a program sees: progress and errors on stderr, results on stdout (under `--json`: JSON lines).

Nothing here knows what is ordered.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import logging
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import typer

from ..errors import Interrupted, RunwayNodeError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..models import Event

REPEAT_AFTER = 30.0
"""Where no bar can be drawn, a phase that lasts is told again after so many seconds."""

_KEPT = frozenset({"owned", "submitted", "warning", "retrying"})
"""Phases whose message stays on the screen: a task id is worth its money."""

_ENDS = frozenset({"refused", "failed", "cancelled", "ambiguous", "interrupted"})
"""Phases that a person is told as the command's error, once."""


def unsigned(text: str) -> str:
    """*text* with the query of every link, where signatures are, cut off."""
    return re.sub(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*", r"\1?(cut)", text)


class Show:
    """One command's output.

    Args:
        json: Events and results as JSON lines on stdout, nothing for a person.
        debug: Errors with their traceback.

    """

    def __init__(self, *, json: bool, debug: bool) -> None:
        self.json = json
        self.debug = debug
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._last: dict[str, tuple[str, float]] = {}
        self._warned: set[str] = set()

    def line(self, values: Mapping[str, Any]) -> None:
        """One JSON line on stdout; a reader that went away is no reason to fail."""
        self._out(jsonlib.dumps(values, default=str))

    def say(self, text: str) -> None:
        """A line for a person on stdout."""
        if not self.json:
            self._out(text)

    def note(self, text: str) -> None:
        """A line for a person on stderr."""
        if self.json:
            return
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            _print(text, "stderr")

    def event(self, event: Event, who: str = "") -> None:
        """One event of an order: what `on_progress` is called with; *who* tells several orders apart."""
        if self.json:
            self.line(event.model_dump(mode="json", exclude_none=True))
            return
        call = f"call {event.segment + 1}/{event.segments}" if event.segments > 1 else ""
        named = " ".join(part for part in (who, call, event.phase) if part)
        if event.phase in _KEPT:
            self._warned.add(event.message)
            self.note(f"{named}: {event.message}" + _task(event))
        elif event.phase in _ENDS:
            self._gone(f"{who} {call}")
        elif _screen("stderr"):
            self._draw(event, who, who or (event.phase if not call else "all calls"), event.overall)
            if call:
                self._draw(event, f"{who} {call}", named, event.segment_overall)
                if event.phase == "conforming" and event.fraction == 1.0:  # made to fit, it waits to be joined
                    self._gone(f"{who} {call}")
        elif not call:
            self._tell(event, who, named)
        elif event.phase == "stored":
            self.note(f"{named}; {event.overall:.0%} of the whole")

    def share(self, label: str, done: float, note: str) -> None:
        """How far a command of many parts is; nothing where no bar can be drawn."""
        if not self.json and _screen("stderr"):
            self._bar(label, label, done, note)

    def _draw(self, event: Event, key: str, label: str, done: float) -> None:
        self._bar(key, label, done, _words(event))

    def _bar(self, key: str, label: str, done: float, note: str) -> None:
        """A bar of its own for each *key*."""
        if self._progress is None:
            self._progress, self._bars = _progress(), {}
            self._progress.start()
        if key not in self._bars:
            self._bars[key] = self._progress.add_task("", total=1.0, phase="", note="")
        self._progress.update(self._bars[key], completed=done, phase=label, note=note)

    def _gone(self, key: str) -> None:
        if self._progress is not None and key in self._bars:
            self._progress.remove_task(self._bars.pop(key))

    def _tell(self, event: Event, who: str, named: str) -> None:
        phase, told = self._last.get(who, ("", 0.0))
        now = time.monotonic()  # of work here no event tells how long it has lasted
        if event.phase != phase or now - told >= REPEAT_AFTER:
            self._last[who] = (event.phase, now)
            share = "" if event.fraction is None or event.phase != phase else f"{event.fraction:.0%}"
            words = ", ".join(part for part in (_words(event), share) if part)
            self.note(f"{named}: {words}" if words else named)

    def result(self, values: Mapping[str, Any]) -> None:
        """The last JSON line of a command that did what it was asked."""
        self.close()
        if self.json:
            self.line({"phase": "result", **values})

    def warnings(self, warnings: Sequence[str]) -> None:
        """Those that no event told."""
        for warning in warnings:
            if warning not in self._warned:
                self.note(f"warning: {warning}")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table for a person on stdout: a line a row, or where the screen is too narrow, a line a cell.

        So nothing is cut or folded, and every id and path can be copied.
        """
        lines = table_lines((heads, rows))
        if not _screen("stdout") or max(map(len, lines)) <= shutil.get_terminal_size().columns:
            for line in lines:
                self.say(line)
            return
        wide = max(len(head) for head in heads)
        for number, row in enumerate(rows):
            self.say("" if number else "-" * wide)
            for head, cell in zip(heads, row, strict=True):
                self.say(f"{head:<{wide}}  {cell}".rstrip()) if cell else None

    def error(self, error: BaseException, exit_code: int, kind: str = "") -> None:
        """One line: what is wrong, and the mend; the traceback under `--debug`."""
        self.close()
        message = unsigned(" ".join(str(error).split())) or type(error).__name__
        if self.debug:
            _print(unsigned("".join(traceback.format_exception(error))), "stderr")
        _print(f"Error: {message}", "stderr")
        if self.json:
            task_id = getattr(error, "task_id", None)
            facts = {"message": message, "exit_code": exit_code, "task_id": task_id}
            self.line({"phase": "error", "error": kind or type(error).__name__, **facts})

    def close(self) -> None:
        """Leave the screen as a person's next line needs it."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _out(self, text: str) -> None:
        _print(text, "stdout")


def table_lines(table: tuple[Sequence[str], Sequence[Sequence[str]]]) -> list[str]:
    """Heads and rows in columns."""
    heads, rows = table
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]


def _print(text: str, name: Literal["stdout", "stderr"]) -> None:
    """A line on a stream that may be gone: what is paid for goes on, and the exit code stays what it is."""
    stream = getattr(sys, name)
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # `| head` closed the pipe; Python's own flush at exit must not fail.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _screen(name: Literal["stdout", "stderr"]) -> bool:
    stream = getattr(sys, name)
    return stream is not None and bool(stream.isatty())


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.table import Column

    note = Column(no_wrap=True, overflow="ellipsis")
    return Progress(
        TextColumn("{task.fields[phase]:<10}", markup=False),
        BarColumn(24),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=note),
        console=Console(stderr=True),
        transient=True,  # an error's line must not stand under a bar that has stopped on its way
    )


def _words(event: Event) -> str:
    seconds = "" if event.seconds is None else f"{event.seconds:.0f} s"
    if seconds and seconds in event.message:
        return event.message
    return ", ".join(part for part in (seconds, event.message) if part)


def _task(event: Event) -> str:
    known = event.task_id and event.task_id not in event.message
    return f" (task {event.task_id})" if known else ""


class _Unsigned(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return unsigned(super().format(record))


@contextlib.contextmanager
def _log(debug: bool) -> Iterator[None]:
    """The package's log on stderr under `--debug`, nowhere otherwise."""
    logger = logging.getLogger("runway_node")
    handler = logging.StreamHandler(sys.stderr) if debug else logging.NullHandler()
    handler.setFormatter(_Unsigned("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    if debug:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


@contextlib.contextmanager
def reporting(*, json: bool, debug: bool) -> Iterator[Show]:
    """A command's output; an error becomes its one line and its exit code.

    Raises:
        typer.Exit: With the error's exit code.

    """
    show = Show(json=json, debug=debug)
    with _log(debug):
        try:
            yield show
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as error:
            told = error.__cause__ if isinstance(error.__cause__, RunwayNodeError) else Interrupted("Interrupted")
            show.error(told, Interrupted.exit_code)
            raise typer.Exit(Interrupted.exit_code) from error
        except RunwayNodeError as error:
            show.error(error, error.exit_code)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            mend = "" if debug else ". This is our fault: run it again with --debug and report it"
            show.error(_Unforeseen(f"{type(error).__name__}: {error}{mend}").with_traceback(error.__traceback__), 1)
            raise typer.Exit(1) from error
        finally:
            show.close()


class _Unforeseen(RunwayNodeError):
    """An error that is none of ours: a fault of this program."""
