"""`python -m runway_node` is the program `runway-node`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
