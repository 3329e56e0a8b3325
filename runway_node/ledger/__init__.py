"""The ledger: what was ordered, paid and stored, so that nothing is paid twice and nothing paid is lost.

Only this room writes the database. It decides by what is in there; it sends nothing and opens no clip.
"""

from . import rescue
from .books import Books
from .database import FILE, Database, file_system
from .ledger import IllegalMove, Ledger, Moved
from .records import Attempt, Call, Claim, OrderRow, ResultRow, Sending, TakeRow, Terms
from .rows import Alive
from .shared import opened
from .states import IN_FLIGHT, MOVES, OPEN, PAID, PAYS, STATES, STUCK, Seen, State, Verdict, may, verdict

__all__ = [
    "FILE",
    "IN_FLIGHT",
    "MOVES",
    "OPEN",
    "PAID",
    "PAYS",
    "STATES",
    "STUCK",
    "Alive",
    "Attempt",
    "Books",
    "Call",
    "Claim",
    "Database",
    "IllegalMove",
    "Ledger",
    "Moved",
    "OrderRow",
    "ResultRow",
    "Seen",
    "Sending",
    "State",
    "TakeRow",
    "Terms",
    "Verdict",
    "file_system",
    "may",
    "opened",
    "rescue",
    "verdict",
]
