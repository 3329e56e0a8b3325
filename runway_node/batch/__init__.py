"""Batches: a template rendered for many rows, in this process or over many machines. Nothing here makes a frame."""

from .account import compare
from .checking import Asked, Checked, Price, calls_to_pay, check, held_to_plan, price
from .halting import MAX_REFUSALS, Halting
from .jobs import Job, Outcome
from .results import Results
from .rows import Row, read_rows
from .running import at_once, run_rows, worst

__all__ = [
    "MAX_REFUSALS", "Asked", "Checked", "Halting", "Job", "Outcome", "Price", "Results", "Row", "at_once",
    "calls_to_pay", "check", "compare", "held_to_plan", "price", "read_rows", "run_rows", "worst",
]  # fmt: skip
