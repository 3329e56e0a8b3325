"""How far frames and sound are off, at each rate and length error: a table to read. What is allowed, the tests say."""

from __future__ import annotations

from pathlib import Path

from ..test_sync import ERRORS, KINDS, LONG, RATES, Case, carried
from .measure import Row, Sizes


def rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Frames off at the worst, beside what is allowed: all rates, a few errors, and where there is time ten minutes."""
    cases = [Case(rate, 9) for rate in RATES]
    if sizes.heavy > 1:
        cases += [Case(rate, 9, "cometapi", error, kind) for rate in RATES for kind in KINDS for error in (-2, 6)]
        cases += LONG
    assert {-2, 6} <= set(ERRORS)
    return [_row(case, folder / str(number), folder) for number, case in enumerate(cases)]


def _row(case: Case, folder: Path, clips: Path) -> Row:
    found = carried(case, folder, clips)
    told = f"{found.frames}/{found.wanted} frames, drift {found.drift:+.2f}, sound {found.heard * 1000:.2f} ms"
    name = f"{case} ({found.calls} calls): frames off at the worst"
    return Row(name=name, ours=told, value=found.worst, bound=round(found.allowed, 2), unit="frames")
