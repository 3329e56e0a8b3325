"""How figures are taken: rivals in turn (A B A B), medians, ratios inside one run. Nothing here knows what is measured.

Other work shares the machine, so a ratio is the median of the rounds' own ratios: a slow minute slows both rivals.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured: footage seconds, bytes, rounds; `heavy` rounds of what takes minutes."""

    repeats: int
    long_seconds: int
    cut_start: int
    cut_seconds: int
    clip_seconds: int
    upload_bytes: int
    posts: int
    heavy: int
    film_seconds: int
    short_film: int
    moviepy_parts: int
    task_seconds: float


FULL = Sizes(
    repeats=5, long_seconds=60, cut_start=20, cut_seconds=5, clip_seconds=5, upload_bytes=100_000_000, posts=10,
    heavy=2, film_seconds=120, short_film=60, moviepy_parts=24, task_seconds=20,
)  # fmt: skip
QUICK = Sizes(
    repeats=2, long_seconds=8, cut_start=3, cut_seconds=2, clip_seconds=4, upload_bytes=40_000_000, posts=3,
    heavy=1, film_seconds=20, short_film=12, moviepy_parts=2, task_seconds=1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: seconds by the wall, and of CPU with all children that ended meanwhile."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Args:
        name: What is measured.
        ours, bare: The two rivals' medians, with their unit.
        value: The figure that has a bound, and its spread over the rounds.
        bound: The most it should be; None where it is only told.
        unit: What `value` and `bound` count: "x" for a ratio.

    """

    name: str
    ours: str
    bare: str = ""
    value: float | None = None
    spread: tuple[float, float] | None = None
    bound: float | None = None
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """Within the bound or over it; nothing where there is no bound."""
        if self.bound is None or self.value is None:
            return ""
        return "ok" if self.value <= self.bound else "OVER"


def taken(work: Callable[[], object]) -> Sample:
    """Do *work* once and measure it."""
    cpu, wall = _cpu(), time.perf_counter()
    work()
    return Sample(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """What lies in *folder* at its fullest while the block runs: its bytes, told in the list's one place."""
    most, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], sum(_bytes(path) for path in folder.rglob("*")))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def in_turn(rivals: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Each rival once a round, in the same order, *repeats* rounds."""
    found: dict[str, list[T]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, work in rivals.items():
            found[name].append(work())
    return found


def versus(name: str, ours: list[float], bare: list[float], bound: float | None, unit: str = "s") -> Row:
    """A row that sets one rival's measurements against another's, taken in the same rounds."""
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    return Row(
        name=name,
        ours=shown(statistics.median(ours), unit),
        bare=shown(statistics.median(bare), unit),
        value=statistics.median(ratios),
        spread=(min(ratios), max(ratios)),
        bound=bound,
    )


def shown(value: float, unit: str) -> str:
    """*value* with a fitting unit: short times in milliseconds."""
    return f"{value * 1000:.1f} ms" if unit == "s" and value < 1 else f"{value:.2f} {unit}"


def child(module: str, *words: object) -> Any:
    """What `python -m tests.bench.MODULE` prints: its last line, as JSON."""
    done = subprocess.run(_command(module, words), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"tests.bench.{module} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def server(module: str, *words: object) -> Iterator[str]:
    """`python -m tests.bench.MODULE` as a process of its own: its first line says where it is; it ends with the block.

    It ends by itself when its standard input closes, so none is left behind whatever happens here.
    """
    process = subprocess.Popen(
        _command(module, words), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin
        assert process.stdout
        where = process.stdout.readline().strip()
        if not where:
            raise RuntimeError(f"tests.bench.{module} did not start")
        yield where
        process.stdin.close()


def _command(module: str, words: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
