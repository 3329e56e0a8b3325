"""A sandbox in a process of its own, `python -m tests.bench.ready FILE`: every order is answered at once with FILE."""

from __future__ import annotations

import sys
from pathlib import Path

from runway_node.sandbox import Sandbox, serve


def main() -> None:
    """Serve until standard input closes."""
    with serve(Sandbox(ready=Path(sys.argv[1]))) as served:
        sys.stdout.write(f"{served.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
    served.sandbox.close()


if __name__ == "__main__":
    main()
