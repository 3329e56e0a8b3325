"""Importing the package in a fresh interpreter: how long it takes, and what of others it loads.

The interpreter is bare: what this folder imports for itself would be found loaded already and look free.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from .measure import ROOT, Row, Sizes

LOOK = """
import sys, time
before = set(sys.modules)
began = time.perf_counter()
import runway_node
seconds = time.perf_counter() - began
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"runway_node"}
import json
print(json.dumps({"seconds": seconds, "foreign": sorted(new - sys.stdlib_module_names)}))
"""


def rows(sizes: Sizes) -> list[Row]:
    """The time, and the third-party modules."""
    found = [_look() for _ in range(sizes.repeats)]
    foreign = sorted({name for one in found for name in one["foreign"]})
    seconds = [one["seconds"] for one in found]
    spread = (min(seconds) * 1000, max(seconds) * 1000)
    time = Row(name="import runway_node", ours="", value=statistics.median(seconds) * 1000, spread=spread, unit="ms")
    loaded = ", ".join(foreign[:3]) or "none"
    return [time, Row(name="third-party modules it loads", ours=loaded, value=len(foreign), bound=0, unit="")]


def _look() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
