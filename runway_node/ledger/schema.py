"""The tables, and how an older ledger becomes this one. Only this file knows columns' types and schema versions.

Money is credits, times are seconds since the epoch by the database's clock, digests are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
)

metadata = MetaData()

versions = Table(
    "runway_node_versions",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied", Float, nullable=False),
)

secrets = Table(
    # One random key a ledger, under which API keys are fingerprinted: a fingerprint can't be tried out elsewhere.
    "runway_node_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

orders = Table(
    "runway_node_orders",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("created", Float, nullable=False),
    Column("content", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("kin", Text, nullable=False),
    Column("sketch", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Index("runway_node_orders_kin", "scope", "kin"),
)

attempts = Table(
    "runway_node_attempts",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("segment", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("order_digest", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("holder", Text),
    Column("sender", Text),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("credits", Float),
    Column("cost", Float),
    Column("balance", Float),
    Column("claimed", Float, nullable=False),
    Column("sent", Float),
    Column("ended", Float),
    Column("task_id", Text),
    Column("error", Text),
    Column("delete_remote", Integer, nullable=False, default=0),
    Index("runway_node_attempts_state", "scope", "state"),
    Index("runway_node_attempts_claimed", "scope", "claimed"),
    Index("runway_node_attempts_task", "task_id"),
)

takes = Table(
    "runway_node_takes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("segment", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("store", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored", Float, nullable=False),
)

results = Table(
    "runway_node_results",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("store", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("made", Float, nullable=False),
    Column("facts", Text, nullable=False),
    Index("runway_node_results_sha256", "scope", "sha256"),
)


def _first(conn: Connection) -> None:
    metadata.create_all(conn)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first,)
"""The n-th takes version n - 1 to n. Released ones never change: a new version is a new line at the end."""


def version_of(conn: Connection) -> int:
    """The ledger's version; 0 where there is none yet."""
    if not inspect(conn).has_table(versions.name):
        return 0
    return int(conn.scalar(select(func.max(versions.c.version))) or 0)


def foreign(conn: Connection) -> list[str]:
    """Tables that are not the ledger's."""
    return sorted(set(inspect(conn).get_table_names()) - set(metadata.tables))


def migrate(conn: Connection, now: float) -> None:
    """Bring the ledger to this version, within the caller's transaction."""
    have = version_of(conn)
    for number, step in enumerate(MIGRATIONS[have:], have + 1):
        step(conn)
        conn.execute(insert(versions).values(version=number, applied=now))
