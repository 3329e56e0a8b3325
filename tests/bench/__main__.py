"""The one command: `python -m tests.bench`, and `--quick` for smaller sizes that still print every figure.

It exits with 0 whatever the figures are; only what breaks is an error.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path

from . import batch, importing, ledger, long, preparing, sending, sync, whole
from .measure import FULL, QUICK, Row, Sizes, server

LEGEND = (
    "value: the median of the rounds' own ratios ours/bare (rivals in turn, A B A B), then their spread;",
    "import and memory: a median, and its spread (memory: peak minus idle after imports, in ours and bare).",
    f"The whole step: nothing is subtracted, its one poll pause of {whole.POLL * 1000:.0f} ms included.",
)


PARTS = ("importing", "ledger", "sending", "preparing", "whole", "long", "sync", "batch")


def main() -> None:
    """Measure everything, a part at a time, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the step costs beside bare work.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and two rounds")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    told = parser.parse_args()
    sizes = QUICK if told.quick else FULL
    rows: list[Row] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="runway-bench-") as folder:
        for part in [told.only] if told.only else PARTS:
            sys.stderr.write(f"{part} ...\n")
            found, said = _measured(part, Path(folder), sizes)
            rows += found
            notes += said
    _table(rows, sizes.repeats)
    sys.stdout.write("\n".join(["", *LEGEND, *notes, ""]))


def _measured(part: str, folder: Path, sizes: Sizes) -> tuple[list[Row], list[str]]:
    if part == "importing":
        return importing.rows(sizes), []
    if part == "ledger":
        return ledger.rows(folder, sizes), []
    if part == "preparing":
        return preparing.rows(folder, sizes), []
    if part == "batch":
        return batch.rows(folder, sizes), []
    if part == "sync":
        return sync.rows(folder, sizes), []
    if part == "long":
        return long.rows(folder, sizes)
    if part == "whole":
        rows, notes = whole.rows(folder, sizes)
        return rows, ["", "Where the whole step's time goes (medians):", *notes]
    with server("sink") as url:
        return sending.rows(folder, sizes, url), []


def _table(rows: list[Row], repeats: int) -> None:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("httpx", "av", "imageio-ffmpeg"))
    python = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(f"\nPython {python}, {versions}, {os.cpu_count()} cores, rounds: {repeats}\n\n")
    lines = [("what", "ours", "bare", "value", "spread", "wanted", "")]
    lines += [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width for width in widths))
    for line in lines:
        text = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        sys.stdout.write("  ".join(text).rstrip() + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    unit = "" if row.unit == "x" else f" {row.unit}".rstrip()
    places = 2 if row.unit == "x" else 1 if row.unit else 0
    value = "" if row.value is None else f"{row.value:.{places}f}{unit}"
    spread = "" if row.spread is None else f"{row.spread[0]:.{places}f} - {row.spread[1]:.{places}f}"
    wanted = "" if row.bound is None else f"<= {row.bound:g}{unit}"
    return row.name, row.ours, row.bare, value, spread, wanted, row.verdict


if __name__ == "__main__":
    main()
