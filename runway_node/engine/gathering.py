"""An owned order's takes as they are here, or in a shared store; for verbs that ask no provider."""

from __future__ import annotations

from ..errors import NotFetched
from ..ledger import Attempt, OrderRow
from ..media.conform import verify
from ..media.content import file_hash
from ..models import Take
from .collecting import restored
from .desk import Desk
from .obtaining import Obtained
from .sharing import from_stores


def gathered(desk: Desk, order: OrderRow) -> list[Obtained]:
    """The takes of all the order's calls.

    Raises:
        NotFetched: One is not here.

    """
    return [obtained(desk, row) for row, _ in desk.books.calls(order.digest)]


def obtained(desk: Desk, row: Attempt) -> Obtained:
    """The call's take.

    Raises:
        NotFetched: It is damaged, or not here; says where it is.

    """
    if restored(desk, row):
        row = desk.ledger.current(row)
    kept, task_id = desk.ledger.takes_of(row), row.task_id or ""
    here = next((take for take in kept if (desk.settings.data_dir / take.path).is_file()), None)
    path = desk.settings.data_dir / here.path if here else None
    if row.state == "stored" and here and path and file_hash(path) == here.sha256:
        return Obtained(
            Take(path=path, sha256=here.sha256, task_id=task_id, credits=row.cost), verify(path, task_id), before=True
        )
    notes: list[str] = []
    if row.state == "stored" and (brought := from_stores(desk, row, notes)) is not None:
        return Obtained(*brought, before=True)
    if row.state == "stored" and path:
        raise NotFetched(f"The take {path} is damaged", "Run the same order again: it is fetched again, unpaid")
    away = [take.store for take in kept if take.store != desk.ledger.store]
    why = f" ({'; '.join(notes)})" if notes else ""
    where = f"it is kept at {away[0]}{why}" if away else f"it is {row.state}"
    raise NotFetched(f"Order {desk.books.name_of(row)} has no take here: {where}", "See runway-node tasks")
