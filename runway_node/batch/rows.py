"""The rows of a batch, from CSV or JSON lines: bounded, and each with its line. What a cell means is the template's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..templates import TemplateError
from ..templates.template import CLIPS

MOST_ROWS = 10_000
MOST_BYTES = 16 << 20
MOST_CELL = 64 << 10
MOST_COLUMNS = 200
TOLD = ("status", "output", "take", "cost", "spent", "error")
"""Columns of results.csv that are ours: given back as rows, they are no cells."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 1, the line it begins on, its cells by column."""

    number: int
    line: int
    cells: dict[str, Any]


def read_rows(path: Path, clip: str | None = None) -> list[Row]:
    """The rows of a .csv, or of a file of one JSON object a line; or a row for each clip of a folder.

    Args:
        clip: The var that a folder's clips are for.

    Raises:
        TemplateError: It cannot be read; is too large; a row has more cells than columns; with the line.

    """
    if path.is_dir():
        return _folder(path, clip)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TemplateError(f"{path.name} has more than {MOST_BYTES >> 20} MB", "Split it")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TemplateError(f"{path} cannot be read ({error.strerror})", "Check the path") from None
    except UnicodeDecodeError:
        raise TemplateError(f"{path.name} is not UTF-8 text", "Save it as UTF-8") from None
    kind = path.suffix.lower()
    if kind not in {".csv", ".jsonl", ".ndjson"}:
        raise TemplateError(f"{path.name} is neither .csv nor .jsonl", "Rename or convert it")
    rows: list[Row] = []
    for row in _csv(path, text) if kind == ".csv" else _jsonl(path, text):
        if len(rows) == MOST_ROWS:
            raise TemplateError(f"{path.name} has more than {MOST_ROWS} rows", "Split it")
        rows.append(row)
    if not rows:
        raise TemplateError(f"{path.name} holds no row", "Give it one")
    return rows


def _folder(path: Path, clip: str | None) -> list[Row]:
    if clip is None:
        raise TemplateError(
            f"{path} is a folder, and the template has not exactly one path var without a default",
            "Write the rows into a .csv",
        )
    try:
        files = sorted(
            file for file in path.iterdir() if file.suffix.lower() in CLIPS and not file.name.startswith(".")
        )
    except OSError as error:
        raise TemplateError(f"{path} cannot be read ({error.strerror})", "Check the path") from None
    if not 0 < len(files) <= MOST_ROWS:
        raise TemplateError(f"{path} holds {len(files)} clips ({', '.join(CLIPS)})", f"Give it 1 to {MOST_ROWS}")
    return [Row(number, 0, {clip: file.name}) for number, file in enumerate(files, 1)]


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heads = [head.strip() for head in next(reader, [])]
        _columns(path, heads)
        for number, cells in enumerate((row for row in reader if any(row)), 1):
            if len(cells) > len(heads):
                raise TemplateError(
                    f"{path.name}, line {reader.line_num}: more cells than columns", "Quote commas in it"
                )
            if any(len(cell) > MOST_CELL for cell in cells):
                raise TemplateError(f"{path.name}, line {reader.line_num}: a cell of more than {MOST_CELL >> 10} KB")
            named = zip(heads, [*cells, *[""] * (len(heads) - len(cells))], strict=True)
            yield Row(number, reader.line_num, {head: cell for head, cell in named if head not in TOLD})
    except csv.Error as error:
        raise TemplateError(f"{path.name}, line {reader.line_num}: {error}", "Mend it there") from None


def _columns(path: Path, heads: list[str]) -> None:
    if len(heads) > MOST_COLUMNS:
        raise TemplateError(f"{path.name} has more than {MOST_COLUMNS} columns", "Leave some out")
    if len(heads) == 1 and (mark := next((one for one in ";\t" if one in heads[0]), None)):
        raise TemplateError(f"{path.name}, line 1: its columns are parted by {mark!r}", "Part them by commas")
    twice = next((head for number, head in enumerate(heads) if head in heads[:number]), None)
    if twice is not None or "" in heads:
        raise TemplateError(
            f"{path.name}, line 1: " + (f"the column {twice!r} is there twice" if twice else "a column has no name"),
            "Name each column once",
        )


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    number = 0
    for line, words in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028
        if not words.strip():
            continue
        if len(words) > 4 * MOST_CELL:
            raise TemplateError(f"{path.name}, line {line}: more than {4 * MOST_CELL >> 10} KB", "Is it a row?")
        try:
            cells = json.loads(words, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise TemplateError(f"{path.name}, line {line}: no JSON object ({error})", "Mend it there") from None
        if not isinstance(cells, dict) or len(cells) > MOST_COLUMNS:
            raise TemplateError(f"{path.name}, line {line}: a row is one JSON object", "Mend it there")
        wrong = next((name for name, value in cells.items() if isinstance(value, (dict, list))), None)
        if wrong is not None:
            raise TemplateError(f"{path.name}, line {line}: {wrong!r} is no single value", "Give text or a number")
        number += 1
        yield Row(number, line, {name: value for name, value in cells.items() if name not in TOLD})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found
