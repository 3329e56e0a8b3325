"""The ledger beside bare sqlite3: one order's three commits in turn, and eight processes that want the same 200 orders.

`python -m tests.bench.ledger FOLDER ORDERS [URL]` is one of the eight; it prints when it began and ended, its count.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from runway_node.ledger import FILE, Attempt
from tests.ledgers import FREE, Room, Run, order

from .measure import Row, Sizes, child, taken, versus

THERE, EACH = 1000, 100
"""Orders in the ledger beforehand, and orders a round."""

CROWD, WANTED = 8, 200


def rows(folder: Path, sizes: Sizes) -> list[Row]:
    """Both questions."""
    return [_commits(folder / "ledger", sizes), *_crowd(folder, sizes)]


def _commits(folder: Path, sizes: Sizes) -> Row:
    room = Room(folder, None)
    run = room.run()
    claimed = run.claim("shape").row
    shape = (run.ledger.order("", claimed.order_digest), claimed)
    for number in range(THERE):
        run.ledger.move(run.paid(f"there-{number}"), "succeeded")
    with closing(sqlite3.connect(folder / FILE)) as source, closing(sqlite3.connect(folder / "bare.db")) as copy:
        source.backup(copy)  # the same tables, indices and rows
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=FULL")
        rounds = [_round(run, bare, shape) for _ in range(sizes.repeats)]
    room.close()
    name = f"claim + intent + record, {THERE} orders there / the same 3 commits in bare sqlite3"
    ours, same = zip(*rounds, strict=True)
    return versus(name, list(ours), list(same), 3.0)


def _round(run: Run, bare: sqlite3.Connection, shape: tuple[object, object]) -> tuple[float, float]:
    """Seconds an order takes, ours and bare: order by order in turn, so that a slow disk slows both."""
    ours, same, begun = 0.0, 0.0, time.monotonic_ns()
    for number in range(EACH):
        name, paid = f"{begun}-{number}", list[Attempt]()
        ours += taken(lambda name=name, paid=paid: paid.append(run.paid(name))).wall
        run.ledger.move(paid[0], "succeeded")  # five are in flight at most, not a hundred
        same += taken(functools.partial(_bare, bare, shape, name)).wall
    return ours / EACH, same / EACH


def _bare(bare: sqlite3.Connection, shape: tuple[object, object], name: str) -> None:
    """The rows of one order, of equal size in equal tables, in three commits."""
    made, row = (_values(one) for one in shape)
    made["digest"] = row["order_digest"] = row["segment"] = order(name).digest
    key = "scope = :scope AND segment = :segment AND attempt = :attempt"
    commits = (
        (("orders", made), ("attempts", row)),
        ((f"SET state = 'intent', sent = 1.0, sender = :holder WHERE {key}", row),),
        ((f"SET state = 'submitted', task_id = :segment WHERE {key}", row),),
    )
    for commit in commits:
        bare.execute("BEGIN IMMEDIATE")
        for what, values in commit:
            if what.startswith("SET"):
                bare.execute(f"UPDATE runway_node_attempts {what}", values)
            else:
                names = ", ".join(values)
                bare.execute(f"INSERT INTO runway_node_{what} ({names}) VALUES (:{', :'.join(values)})", values)
        bare.execute("COMMIT")


def _values(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in type(row).__slots__}  # type: ignore[attr-defined]


def _crowd(folder: Path, sizes: Sizes) -> list[Row]:
    seconds = []
    for number in range(min(3, sizes.repeats)):
        room = Room(folder / f"crowd-{number}", None)
        room.open()
        with ThreadPoolExecutor(CROWD) as threads:
            told = list(threads.map(lambda _, room=room: child("ledger", room.folder, WANTED), range(CROWD)))
        sent = [row.segment for row in room.rows()]
        room.close()
        if len(sent) != len(set(sent)) or len(sent) != WANTED or sum(one["sent"] for one in told) != WANTED:
            raise RuntimeError(f"{len(sent)} calls were sent for {WANTED} orders")
        seconds.append(max(one["ended"] for one in told) - min(one["began"] for one in told))
    rate = [WANTED / one for one in seconds]
    name = f"{CROWD} processes claim the same {WANTED} orders, each paid once"
    wall = f"{statistics.median(seconds):.2f} s"
    return [
        Row(
            name=name, ours=wall, value=statistics.median(rate), spread=(min(rate), max(rate)), unit="orders/s"
        )
    ]  # fmt: skip


def main() -> None:
    """One of the crowd: wants every order, and sends those that it may."""
    folder, wanted, *url = sys.argv[1:]
    room = Room(Path(folder), (url or [""])[0] or None)
    run = room.run()
    began, sent = time.time(), 0
    for number in range(int(wanted)):
        claim = run.claim(f"order-{number}", FREE)
        if claim.verdict == "claim":
            run.ledger.record(run.intend(claim.row, slots=int(wanted))[1], f"task-{number}")
            sent += 1
    sys.stdout.write(json.dumps({"began": began, "ended": time.time(), "sent": sent}) + "\n")
    run.die()
    room.close()


if __name__ == "__main__":
    main()
