"""Batches' verbs: `worker` does rows, `batch` looks at them, cancels, resumes and forgets. None knows what a row is."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Interrupted, WrongUse
from ..models.words import counted
from ..settings import Settings, load_settings
from . import flags
from .order import detach_on_term
from .output import Show, reporting

if TYPE_CHECKING:
    from ..batch.durable import Batch, Durable, Row, Status, Work, Worker

app = typer.Typer(help="Batches on a durable queue.", no_args_is_help=True, rich_markup_mode=None)

Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The Postgres that ledger and queue share. Better in RUNWAY_NODE_DATABASE_URL: others see a command "
        "line. Unset: a file on this machine.",
    ),
]
Which = Annotated[
    str | None, typer.Argument(metavar="[BATCH]", show_default=False, help="Its name; needed where there are several.")
]

STATES = ("waiting", "running", "left", "done", "cancelled")
"""Of a batch's rows; all others have failed, in one way or another."""

UNTOLD = (
    "results.csv is written by render: give the same render command again once the rows are over; what is done is "
    "not ordered again"
)
"""Workers have the rows' jobs, not the table that they come from."""

HEADS = (
    "batch", "template", "output folder", "begun", "state", "done", "failed", "waiting", "under way", "left",
    "cancelled", "credits spent",
)  # fmt: skip


def work_of(settings: Settings, durable: Durable, unfit: Callable[[str], None]) -> Work:
    """What a worker does for a row."""
    from ..batch.queued import work_of as made

    return made(settings, durable, unfit=unfit)


def worker(
    database: Database = None,
    at_once: Annotated[
        int | None, typer.Option(metavar="N", help="Rows at once; unset: as many as keep the slots busy.", min=1)
    ] = None,
    until_done: Annotated[
        str | None, typer.Option(metavar="BATCH", help="End when this batch is done, with its worst exit code.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is left.")] = False,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Do rows of batches, beside any number of workers. SIGTERM leaves paid tasks running, and rows to others."""
    with reporting(json=json, debug=debug) as show:
        from ..batch import at_once as rows_at_once
        from ..batch.durable import ALL, Durable, serve
        from ..engine import Stop
        from ..engine.stop import hear_ctrl_c

        if drain and until_done:
            raise WrongUse("--drain and --until-done are two ends", "Give one of them")
        settings, stop, told = _settings(database), Stop(), _Teller(show)
        with Durable(settings) as durable, detach_on_term(stop), hear_ctrl_c(stop):
            unfit: list[str] = []

            def leave(why: str) -> None:
                unfit.append(why)
                stop.detach()

            work = work_of(settings, durable, leave)
            if until_done:
                durable.status(until_done)
            serve(
                durable, work, at_once=at_once or rows_at_once(settings), stop=stop,
                until_done=ALL if drain else until_done, on_change=told,
            )  # fmt: skip
            if unfit:
                raise WrongUse(f"{unfit[0]} (rows are left to other workers)")
            if stop.is_set() and not (stop.detached and not (drain or until_done)):
                raise Interrupted("The worker was stopped", "Its rows are left to other workers, or to its next start")
            rows = durable.status(until_done).batches[0].rows if until_done else ()
        show.result({"rows": dict(told.counts)})
        show.say(f"Rows: {_counts(told.counts) or 'none'}")
        show.note(UNTOLD) if (drain or until_done) and told.counts else None
        failed = any(word not in {"done", "left", "cancelled"} for word in told.counts)
        if code := worst(rows) or int(drain and failed):
            raise typer.Exit(code)


@app.command()
def status(
    which: Which = None, database: Database = None, json: flags.Json = False, debug: flags.Debug = False
) -> None:
    """Tell how far a batch is, or all of them, and which workers there are."""
    with reporting(json=json, debug=debug) as show:
        from ..batch.durable import Durable

        with Durable(_settings(database), create=False) as durable:
            found = durable.status(which)
        for batch in found.batches:
            show.line({"phase": "batch", **_batch(batch)}) if show.json else None
            for row in batch.rows if which and show.json else ():
                show.line({"phase": "row", **_row(row)})
        for one in found.workers if show.json else ():
            show.line({"phase": "worker", **_worker(one)})
        show.result({"batches": len(found.batches), "workers": len(found.workers)})
        _tell(show, found, rows=which is not None)


@app.command()
def cancel(
    which: Which = None, database: Database = None, json: flags.Json = False, debug: flags.Debug = False
) -> None:
    """Send nothing of a batch any more; what is at the provider is finished and kept."""
    with reporting(json=json, debug=debug) as show:

        with _opened(database, which, lambda one: one.open and not one.stopped) as (durable, batch):
            dropped = durable.cancel(batch)
            going = durable.status(batch).batches[0].open
        show.result({"batch": batch, "cancelled": dropped, "open": going})
        show.say(f"Batch {batch}: {counted(dropped, 'row')} will not be begun" + _begun(going))


@app.command()
def resume(
    which: Which = None, database: Database = None, json: flags.Json = False, debug: flags.Debug = False
) -> None:
    """Let a cancelled or halted batch go on: what was not begun, and the rows that made it halt."""
    with reporting(json=json, debug=debug) as show:
        with _opened(database, which, lambda one: one.stopped) as (durable, batch):
            count = durable.resume(batch)
        show.result({"batch": batch, "resumed": count})
        show.say(f"Batch {batch}: {counted(count, 'row')} for a worker to do: runway-node worker")


@app.command()
def forget(
    which: Which = None, database: Database = None, json: flags.Json = False, debug: flags.Debug = False
) -> None:
    """Remove a batch that is over from the database. Its results, takes and orders stay."""
    with reporting(json=json, debug=debug) as show:
        with _opened(database, which, lambda one: not one.open) as (durable, batch):
            count = durable.forget(batch)
        show.result({"batch": batch, "forgotten": count})
        show.say(f"Batch {batch} is forgotten, {counted(count, 'row')}")


def _begun(count: int) -> str:

    if not count:
        return ""
    return f"; of {counted(count, 'row')} begun before, what is at the provider is finished, and nothing more is sent"


def worst(rows: tuple[Row, ...]) -> int:
    """The exit code of several rows; one that is not done has at least 1."""
    from ..batch import worst as worst_of

    return worst_of([int((row.outcome or {}).get("exit_code") or 1) for row in rows if row.state != "done"])


class _Teller:
    """What a worker does, a line each."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.counts: Counter[str] = Counter()

    def __call__(self, change: dict[str, Any]) -> None:
        phase = change["phase"]
        if phase == "ended":
            self.counts[str(change["status"])] += 1
        elif phase == "left":
            self.counts[phase] += 1
        if self._show.json:
            self._show.line(change)
        elif "row" in change:
            more = change.get("error") or change.get("output") or ""
            word = change.get("status", phase)
            self._show.note(f"{change['batch']} row {change['row']}: {word} {more}".rstrip())
        elif phase == "recovered":
            self._show.note(f"{counted(len(change['rows']), 'row')} of a worker that is gone taken over")
        elif phase == "lost":
            self._show.note("The database was lost; waiting for it")
        else:
            self._show.note(f"Worker {change['worker']} does up to {counted(change['at_once'], 'row')} at once")


def _settings(database: str | None) -> Settings:
    return load_settings(**({"database_url": database} if database else {}))


@contextlib.contextmanager
def _opened(database: str | None, which: str | None, fits: Callable[[Batch], object]) -> Iterator[tuple[Durable, str]]:
    """The batches, and the name of the one that is meant: the named one, or the only one that fits."""
    from ..batch.durable import Durable

    with Durable(_settings(database), create=False) as durable:
        yield durable, _one(which, [one for one in durable.status().batches if fits(one)])


def _one(which: str | None, found: list[Batch]) -> str:
    if which is not None:
        return which
    if len(found) != 1:
        names = ", ".join(batch.id for batch in found)
        what = f"There are several such batches: {names}" if found else "There is no batch that this would change"
        raise WrongUse(what, "See: runway-node batch status")
    return found[0].id


def _tell(show: Show, found: Status, *, rows: bool) -> None:
    from ..batch.durable import OPEN, VERSION

    if not found.batches and not found.workers:
        show.say("There is no batch, and no worker")
        return
    if found.batches:
        show.table(HEADS, [_line(batch) for batch in found.batches])
    for batch in found.batches:
        if batch.stopped:
            why = f": {batch.reason}" if batch.reason else ""
            show.say(f"{batch.id} was {batch.stopped}{why}; it goes on with: runway-node batch resume {batch.id}")
        elif not batch.open and any(row.state != "done" for row in batch.rows):
            show.say(f"{batch.id} has rows that failed; the same render command does them again")
        others = {row.version for row in batch.rows if row.state in OPEN} - {VERSION}
        if others:
            show.say(f"{batch.id} has rows for workers of another release ({', '.join(sorted(others))})")
    if found.batches:
        show.say(UNTOLD)
    if rows:
        show.say("")
        lines = [_cells(row) for batch in found.batches for row in batch.rows]
        show.table(("row", "state", "attempt", "what it came to"), lines)
    if found.workers:
        show.say("")
        show.table(
            ("worker", "host", "process", "since", "last seen", "rows", ""), [_who(one) for one in found.workers]
        )


def _line(batch: Batch) -> tuple[str, ...]:
    state = batch.stopped or ("open" if batch.open else "over")
    counts = {name: batch.counts.get(name, 0) for name in STATES}
    failed = len(batch.rows) - sum(counts.values())
    rows = (counts["done"], failed, *(counts[name] for name in ("waiting", "running", "left", "cancelled")))
    spent = _spent(batch)
    told = "not stated" if spent is None else f"{spent:g}"
    return batch.id, _template(batch), _outputs(batch), _when(batch.created), state, *map(str, rows), told


def _template(batch: Batch) -> str:
    """As the batch's name has it (`queued.batch_name`)."""
    return batch.id.rpartition("-")[0] or batch.id


def _outputs(batch: Batch) -> str:
    return str((batch.job or {}).get("outputs") or "-")


def _spent(batch: Batch) -> float | None:
    """Credits that its rows' calls were charged, in all their attempts; None where the provider does not say."""
    from ..models import sum_known

    ends = (end for row in batch.rows for end in (*row.before, row.outcome or {}))
    return sum_known([end.get("spent", 0.0) for end in ends])


def _cells(row: Row) -> tuple[str, ...]:
    came = row.outcome or {}
    return str(row.number), row.state, str(row.attempt), str(came.get("error") or came.get("output") or "-")


def _who(one: Worker) -> tuple[str, ...]:
    word = "" if one.alive else "gone"
    return one.token, one.host, str(one.pid), _when(one.since), _when(one.seen), str(one.running), word


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _batch(batch: Batch) -> dict[str, Any]:
    return {
        "batch": batch.id, "created": batch.created, "stopped": batch.stopped, "reason": batch.reason,
        "open": batch.open, "counts": batch.counts, "template": _template(batch), "outputs": _outputs(batch),
        "spent": _spent(batch),
    }  # fmt: skip


def _row(row: Row) -> dict[str, Any]:
    told = {"batch": row.batch, "row": row.number, "attempt": row.attempt, "worker": row.worker, "version": row.version}
    return {**told, **(row.outcome or {}), "status": row.state}


def _worker(one: Worker) -> dict[str, Any]:
    return {
        "worker": one.token, "host": one.host, "pid": one.pid, "version": one.version, "since": one.since,
        "seen": one.seen, "running": one.running, "alive": one.alive,
    }  # fmt: skip
