"""Batches: rows of a template over as many machines as there are, on a durable queue (the extra `dbos`).

This room distributes and remembers; it does not know what a row is. That it is paid once is the ledger's matter: a row
that two workers run is one order there, and the second adopts the first one's task.
"""

from .queue import library
from .records import ALL, BEGAN, CANCELLED, LEFT, OPEN, WAITING, Batch, OnChange, Outcome, Row, Status, Work, Worker
from .verbs import VERSION, Durable
from .workers import serve

__all__ = [
    "ALL",
    "BEGAN",
    "CANCELLED",
    "LEFT",
    "OPEN",
    "VERSION",
    "WAITING",
    "Batch",
    "Durable",
    "OnChange",
    "Outcome",
    "Row",
    "Status",
    "Work",
    "Worker",
    "library",
    "serve",
]
