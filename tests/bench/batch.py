"""A batch at a provider that takes its time: how busy its slots are, what a row costs beside its ffmpeg calls, memory.

Every row is a clip that can be sent as it is, and the answers are ready: what is left is the batch's own work.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from runway_node.batch import Asked, Halting, Outcome, Row, check, run_rows
from runway_node.engine import Stop
from runway_node.models import Event
from runway_node.settings import load_settings
from runway_node.templates import Places, Source

from . import measure
from .footage import bare, make
from .measure import Sizes, child, server, shown, taken

POLL, FPS, SECONDS = 0.5, 24, 5
ROWS, SLOTS, TASK = 200, 20, 10
"""The proof of a batch: not smaller in the quick form, where it would prove nothing. TASK: seconds that each takes."""
TEMPLATE = """
version: 1
vars: {clip: {type: path}, look: {type: string}}
output: {name: "${look}"}
steps:
  - {type: runway.video_to_video, in: "${clip}", prompt: "${look}"}
"""


def rows(folder: Path, sizes: Sizes) -> list[measure.Row]:
    """All figures of a batch."""
    clip = make(folder / "row.mp4", width=640, height=360, fps=FPS, seconds=SECONDS)
    answer = make(folder / "row-answer.mp4", width=640, height=360, fps=FPS, seconds=SECONDS, sound=False)
    with server("ready", answer, TASK, SLOTS) as url:
        told = child("batch", clip, url, folder / "batch")
    by_hand = statistics.median(taken(lambda: _bare(clip, answer, folder)).cpu for _ in range(sizes.posts))
    name = f"{ROWS} rows of {TASK} s, {SLOTS} at once"
    return [
        measure.Row(name=f"{name}: slots idle (busy: from the order to the look that ends it)", ours="",
                    value=100 - told["busy"], bound=5, unit="%"),
        measure.Row(name=f"{name}: places idle at the provider", ours="", value=100 - told["running"], unit="%"),
        measure.Row(name=f"{name}: CPU of a row", ours=shown(told["cpu"] / ROWS, "s"), bare=shown(by_hand, "s"),
                    value=told["cpu"] / ROWS / by_hand),
        measure.Row(name=f"{name}: memory at the end beside that at a quarter", ours=shown(told["end"], "MB"),
                    bare=shown(told["quarter"], "MB"), value=told["end"] / told["quarter"], bound=1.1),
    ]  # fmt: skip


def _bare(clip: Path, answer: Path, folder: Path) -> None:
    """The ffmpeg calls of one row: what is sent copied, the answer decoded once, its pictures and the sound joined."""
    bare("-i", clip, "-map", "0:V:0", "-c:v", "copy", "-an", "-movflags", "+faststart", folder / "sent.mp4")
    bare("-i", answer, "-map", "0:V:0", "-f", "null", "-")
    both = ("-i", answer, "-i", clip, "-map", "0:V:0", "-map", "1:a:0", "-c", "copy", "-movflags", "+faststart")
    bare(*both, folder / "joined.mp4")


class _Watch:
    """When each row had a slot; and this process's memory as rows come to their end."""

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.done: list[Outcome] = []
        self.memory: list[float] = []

    def event(self, row: int, event: Event) -> None:
        if event.phase == "intent":
            self.begun[row] = time.perf_counter()
        elif event.phase == "succeeded" and row not in self.ended:
            self.ended[row] = time.perf_counter()

    def outcome(self, outcome: Outcome) -> None:
        self.done.append(outcome)
        self.memory.append(_memory())

    def busy(self, seconds: float | None = None) -> float:
        """Percent of the slots' time that was used while rows were waiting; *seconds*: of each row's own time."""
        full = sorted(self.begun.values())[SLOTS - 1]
        last = max(self.begun.values())
        used = 0.0
        for row, begun in self.begun.items():
            ended = self.ended[row] if seconds is None else begun + seconds
            used += max(0.0, min(ended, last) - max(begun, full))
        return 100 * used / (SLOTS * (last - full))


def _memory() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """One batch in a process of its own; its last line is what was measured."""
    clip, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    settings = load_settings(
        provider="runway", runway_key="sandbox-key", runway_base_url=url, data_dir=folder / "data", poll_interval=POLL,
        max_concurrency=SLOTS,
    )  # fmt: skip
    table = [Row(number, number, {"clip": clip, "look": f"dusk {number}"}) for number in range(1, ROWS + 1)]
    asked = Asked(
        source=Source(TEMPLATE, folder), rows=table, places=Places(base=folder, anywhere=True),
        outputs=str(folder / "out"), settings=settings,
    )  # fmt: skip
    watch = _Watch()

    def work() -> None:
        jobs = [one.job for one in check(asked) if one.job is not None]
        run_rows(jobs, settings, halting=Halting(), stop=Stop(), on_event=watch.event, on_outcome=watch.outcome)

    sample = taken(work)
    if len(watch.done) != ROWS or any(one.status != "done" for one in watch.done):
        raise RuntimeError(str([one for one in watch.done if one.status != "done"][:3]))
    told: dict[str, Any] = {
        "busy": watch.busy(), "running": watch.busy(TASK), "cpu": sample.cpu,
        "wall": sample.wall, "quarter": max(watch.memory[: ROWS // 4]), "end": max(watch.memory[-ROWS // 4 :]),
        "threads": threading.active_count(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
