"""A sandbox in a process of its own, `python -m tests.bench.ready FILE [SECONDS [AT_ONCE]]`: FILE is every answer."""

from __future__ import annotations

import sys
from pathlib import Path

from runway_node.sandbox import Sandbox, serve


def main() -> None:
    """Serve until standard input closes; each task takes SECONDS, none unless told."""
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    more = {"concurrency": int(sys.argv[3])} if len(sys.argv) > 3 else {}
    with serve(Sandbox(ready=Path(sys.argv[1]), seconds_per_task=seconds, **more)) as served:
        sys.stdout.write(f"{served.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
    served.sandbox.close()


if __name__ == "__main__":
    main()
