"""The durable queue under batches. Only this file knows DBOS; read in the source of 3.4.0, tried with 3.0.0 too.

It distributes, and no more: no global limit (one counts a dead worker's rows), the ledger is the account's limiter.
What is not in DBOS's documented face, to be looked at when it is upgraded:

- `DBOS._registry._register_internal_queue`: a queue in memory. A registered one has one `worker_concurrency` for all
  machines, in the database; here each process has its own. `queue_thread` serves `_registry.internal_queues()`.
- `_sys_db.reenqueue_for_recovery(id, executors, queue)`: PENDING goes back to its queue only where its executor is one
  of these: one UPDATE, so of two workers that recover a row one does nothing, and the dequeue gives it to one.
- `update_workflow_outcome` writes only for the run that owns the row (`owner_xid`): one taken over changes nothing.
- `_get_wf_invoke_func` records an `Exception` as the row's end, but no other BaseException: `Left` leaves it PENDING.
- `DBOS._active_workflows_set.activeList()`: the ids of runs in this process, until what they came to is written.
- `DBOS.background_thread_stop_events`: set, nothing is dequeued any more; `DBOS.destroy` does the same.
- The table `workflow_status`: `cancel_workflows` cancels what is under way too, `drop` must not.
- `dbos._dbos._dbos_global_instance`: there is one DBOS in a process, and `DBOS()` gives the one there is.
- `DBOSClient` never makes the tables: `_sys_db.run_migrations`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from ...errors import WrongUse
from .records import CANCELLED, DONE, FAILED, LEFT, RUNNING, WAITING, Outcome, Row, key, latest, parts
from .store import Store

if TYPE_CHECKING:
    from dbos import DBOS, DBOSClient, WorkflowStatus

APPLICATION = "runway-node"
SCHEMA = "runway_node_batches"
"""A schema of our own: another program may use DBOS in the same database, in another way."""

WORKFLOW = "row"
OURS = "runway_node.dbos"
BEGUN_AT_MOST = 100
"""How often a row is begun before it is given up: one that kills its worker must not kill them all for ever."""

AT_ONCE = 500
"""Rows written in one transaction."""

POLL = 1.0
"""Seconds between two looks into the queue."""

ENDED = {"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}

T = TypeVar("T")
Run = Callable[[str, dict[str, Any]], Outcome]


class Left(BaseException):
    """The row is not over: another run goes on with it. No `Exception`, which DBOS would take for the row's end."""


class Queue:
    """The rows in a store.

    Args:
        store: Where they are.
        version: The format of a row; workers of another one leave it alone.

    """

    def __init__(self, store: Store, version: str) -> None:
        hush()
        dbos = library()
        self._store, self.version = store, version
        # An account's rows are for its own workers: others have not its key.
        self.name = f"rows {store.account}".strip()
        with store.telling():
            self._client: DBOSClient = dbos.DBOSClient(
                system_database_engine=store.engine,
                dbos_system_schema=SCHEMA,
                application_name=APPLICATION,
                retry_connection_errors=False,
                lazy=True,
            )
        self._running: DBOS | None = None
        names = (
            "workflow_uuid", "status", "name", "queue_name", "application_version", "recovery_attempts", "updated_at",
            "completed_at",
        )  # fmt: skip
        schema = SCHEMA if store.file is None else None
        self._table = sa.table("workflow_status", *map(sa.column, names), schema=schema)

    def make(self) -> None:
        """Make DBOS's tables, or bring them to its version."""
        with self._store.telling():
            self._client._sys_db.run_migrations()  # noqa: SLF001

    def add(self, batch: str, rows: Iterable[tuple[int, int, dict[str, Any]]]) -> int:
        """Enqueue rows (number, attempt, job); one that is there stays as it is. How many."""
        count, rows = 0, iter(rows)
        while chunk := list(itertools.islice(rows, AT_ONCE)):
            with self._store.telling(), self._store.engine.begin() as conn:
                for number, attempt, job in chunk:
                    self._client.enqueue_in_transaction(conn, self._options(batch, number, attempt), job)
            count += len(chunk)
        return count

    def _options(self, batch: str, number: int, attempt: int) -> Any:
        dbos = library()
        return dbos.EnqueueOptions(
            workflow_name=WORKFLOW,
            queue_name=self.name,
            workflow_id=key(batch, number, attempt),
            app_version=self.version,
            priority=min(max(number, 1), 2**31 - 1),  # batches take turns, each in its rows' order
            serialization_type=dbos.WorkflowSerializationFormat.PORTABLE,  # JSON: nothing that runs when it is read
        )

    def rows(self, batch: str, *, jobs: bool = False) -> dict[int, Row]:
        """The last attempt of each row of a batch, by number."""
        with self._store.telling():
            found = self._client.list_workflows(workflow_id_prefix=f"{batch}:", load_input=jobs)
        return latest(_row(one) for one in found)

    def job(self, batch: str) -> dict[str, Any] | None:
        """The job of one of a batch's rows: what all have in common is in it."""
        with self._store.telling():
            found = self._client.list_workflows(workflow_id_prefix=f"{batch}:", limit=1, load_output=False)
        return _row(found[0]).job if found else None

    def drop(self, batch: str) -> int:
        """Cancel what was never begun, and only that; how many."""
        rows = self._table
        never = (rows.c.status == "ENQUEUED") & (sa.func.coalesce(rows.c.recovery_attempts, 0) == 0)
        now = int(time.time() * 1000)
        query = (
            sa.update(rows)
            .where(rows.c.workflow_uuid.startswith(f"{batch}:", autoescape=True), never)
            .values(status="CANCELLED", queue_name=None, updated_at=now, completed_at=now)
        )
        with self._store.telling(), self._store.engine.begin() as conn:
            return int(conn.execute(query).rowcount)

    def forget(self, batch: str) -> None:
        """Remove all that was kept of a batch's rows, but of those that are not over."""
        rows = self._table
        query = sa.select(rows.c.workflow_uuid).where(
            rows.c.workflow_uuid.startswith(f"{batch}:", autoescape=True), rows.c.status.in_(ENDED)
        )
        with self._store.telling():
            with self._store.engine.begin() as conn:
                over = list(conn.scalars(query))
            for first in range(0, len(over), AT_ONCE):
                self._client.delete_workflows(over[first : first + AT_ONCE])

    def left(self, batch: str | None) -> int:
        """How many rows are not over: of a batch, or of all that workers like this one take."""
        rows = self._table
        query = sa.select(sa.func.count()).select_from(rows).where(rows.c.status.notin_(ENDED), rows.c.name == WORKFLOW)
        if batch is None:
            query = query.where(rows.c.queue_name == self.name, rows.c.application_version == self.version)
        else:
            query = query.where(rows.c.workflow_uuid.startswith(f"{batch}:", autoescape=True))
        with self._store.telling(), self._store.engine.begin() as conn:
            return int(conn.scalar(query) or 0)

    def held(self) -> dict[str, list[str]]:
        """The rows that workers of this version have, by worker."""
        found: dict[str, list[str]] = {}
        with self._store.telling():
            for one in self._client.list_workflows(
                status="PENDING", name=WORKFLOW, app_version=self.version, load_input=False, load_output=False
            ):
                found.setdefault(one.executor_id or "", []).append(one.workflow_id)
        return found

    def recover(self, worker: str, rows: Iterable[str]) -> list[str]:
        """Put back rows that *worker* has; those that it had no more are left alone. Which."""
        with self._store.telling():
            again = self._client._sys_db.reenqueue_for_recovery  # noqa: SLF001
            return [row for row in rows if again(row, [worker], self.name)]

    @contextlib.contextmanager
    def serving(self, token: str, at_once: int, run: Run) -> Iterator[None]:
        """Take rows, *at_once* at most, until this ends or `rest` is called."""
        from dbos import DBOS, _dbos

        if _dbos._dbos_global_instance is not None:  # noqa: SLF001 - `DBOS()` would give it back, with its rows
            raise WrongUse("DBOS runs in this process already", "Start the worker in a process of its own")
        dbos = DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self._store.engine,
                "dbos_system_schema": SCHEMA,
                "application_version": self.version,
                "executor_id": token,
                "use_listen_notify": False,  # a session less; nothing here waits for a notice
                "notification_listener_polling_interval_sec": 0.2,  # nothing is asked; the end waits for it
                "enable_otlp": False,
                "log_level": "WARNING",
                "scheduler_polling_interval_sec": 3600.0,
            }
        )
        try:

            def row(job: dict[str, Any]) -> Outcome:
                return run(str(DBOS.workflow_id), job)

            DBOS.workflow(name=WORKFLOW, max_recovery_attempts=BEGUN_AT_MOST)(row)
            dbos._registry._register_internal_queue(  # noqa: SLF001
                self.name, worker_concurrency=at_once, polling_interval_sec=POLL
            )
            DBOS.listen_queues([])
            with self._store.telling():
                DBOS.launch()
            self._running = dbos
            yield
        finally:
            self._running = None
            DBOS.destroy(destroy_registry=True)

    def rest(self) -> None:
        """Take no row any more."""
        for stop in self._running.background_thread_stop_events if self._running else ():
            stop.set()

    def active(self) -> list[str]:
        """Rows that are run in this process, until what they came to is written."""
        return self._running._active_workflows_set.activeList() if self._running else []  # noqa: SLF001

    @staticmethod
    def once(name: str, ask: Callable[[], T]) -> T:
        """Within a row: the answer to *ask*, the first one for ever, whoever runs the row.

        Raises:
            Left: There was none. DBOS would keep an `Exception` as the answer, for ever too.

        """
        from dbos import DBOS

        def answer() -> T:
            try:
                return ask()
            except Exception as error:
                raise Left from error

        try:
            return DBOS.run_step({"name": name}, answer)
        except Exception as error:  # its own: the row is another run's by now, or the database fails
            raise Left from error


def _row(one: WorkflowStatus) -> Row:
    batch, number, attempt = parts(one.workflow_id)
    state, outcome = WAITING, None
    if one.status == "SUCCESS" and isinstance(one.output, dict):
        outcome, state = one.output, str(one.output.get("status") or DONE)
    elif one.status == "CANCELLED":
        state = CANCELLED
    elif one.status in ENDED:
        why = str(one.error or f"It was begun {one.recovery_attempts} times and never came to an end")
        state, outcome = FAILED, {"status": FAILED, "output": None, "error": why, "exit_code": 1}
    elif one.status == "PENDING":
        state = RUNNING
    elif one.recovery_attempts:
        state = LEFT
    return Row(
        batch, number, attempt, state, one.executor_id or "", one.app_version or "", outcome,
        one.input["args"][0] if one.input else None,
    )  # fmt: skip


class _Forward(logging.Handler):
    """DBOS's log as a part of ours, links without what follows the question mark."""

    def emit(self, record: logging.LogRecord) -> None:
        words = re.sub(r"(\w+://)[^/@\s]*@", r"\1", record.getMessage())
        logging.getLogger(OURS).log(record.levelno, "%s", words)


def hush() -> None:
    """Let DBOS print nothing: its log goes to ours. Before its own handler, which it adds only where there is none.

    What no handler takes Python prints: so there is one, for the pool under it too.
    """
    for name in (OURS, "sqlalchemy.pool"):
        if not logging.getLogger(name).handlers:
            logging.getLogger(name).addHandler(logging.NullHandler())
    theirs = logging.getLogger("dbos")
    if not any(isinstance(handler, _Forward) for handler in theirs.handlers):
        theirs.handlers[:] = [_Forward()]
        theirs.propagate = False
        theirs.setLevel(logging.WARNING)


def library() -> Any:
    """DBOS.

    Raises:
        WrongUse: It is not installed.

    """
    try:
        import dbos
    except ModuleNotFoundError:
        raise WrongUse("A batch's queue needs DBOS", "pip install 'runway-node[dbos]'") from None
    return dbos
