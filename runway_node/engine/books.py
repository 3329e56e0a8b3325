"""The verbs that read the ledger: what is open, owned and spent; and those that hand out or free its files."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import OutputError, TaskGone, WrongUse
from ..ledger import Attempt, Books, Ledger, OrderRow, TakeRow, rescue
from ..media.content import file_hash
from ..media.opener import settle
from ..models import (
    DOLLARS_PER_CREDIT,
    Freed,
    Garbage,
    OpenOrder,
    OwnedTake,
    Policy,
    Result,
    Spend,
    SpendLine,
)
from ..settings import Provider, Settings, load_settings
from .again import named_again, step_of
from .desk import Desk
from .fetching import take_path
from .files import abandoned, beside, check_output, workshop
from .finishing import already, finished, refused, variant_of
from .fitting import Fitting, check_holds, suffix_for
from .gathering import gathered, obtained
from .obtaining import Obtained
from .remote import unused
from .report import Report
from .sharing import is_store
from .stop import Stop

ADVICE = {
    "claimed": "being prepared: wait",
    "intent": "being sent: wait",
    "submitted": "ordered: run the same command again, or runway-node resume",
    "succeeded": "ready, not fetched: run the same command again, or runway-node resume",
    "ambiguous": "it may have been billed: look at the account's usage, then runway-node attach {call} TASK_ID, "
    "or run it again with --resubmit-ambiguous",
    "expired": "its result is lost: restore its take from a copy, or runway-node attach {call} TASK_ID if the "
    "provider still has it, or run it again with --reorder, which pays again",
    "stored": "owned: runway-node export {call} -o OUT",
}


def orders(*, settings: Settings | None = None) -> tuple[OpenOrder, ...]:
    """Every paid call that is not over, oldest first, and what to do about it.

    Raises:
        LedgerError: The ledger cannot be read.

    """
    with Ledger(settings or load_settings(), create=False) as ledger:
        if not ledger.missing:
            ledger.salvage()
        return tuple(told(ledger, row, order) for row, order in Books(ledger).open())


def told(ledger: Ledger, row: Attempt, order: OrderRow) -> OpenOrder:
    """One row of the list."""
    busy = ledger.alive(row.holder)
    lost = row.state == "intent" and not busy
    advice = ADVICE["ambiguous" if lost else row.state].format(call=Books(ledger).name_of(row))
    return OpenOrder(
        digest=order.digest,
        segment=row.position,
        attempt=row.attempt,
        state="ambiguous" if lost else row.state,
        busy=busy,
        at=_when(row.sent or row.claimed),
        source=order.source,
        prompt=json.loads(order.step)["prompt"],
        provider=row.provider,
        model=row.model,
        task_id=row.task_id,
        seconds=row.seconds,
        credits=row.credits,
        account=row.scope.partition("#")[0],
        advice="a run works on it: wait" if busy else advice,
    )


def takes(source: str | os.PathLike[str] | None = None, *, settings: Settings | None = None) -> tuple[OwnedTake, ...]:
    """Every paid result that is owned, newest first; one that is here is not listed again for a shared store.

    Args:
        source: Only those of this clip, whatever it is called now.

    Raises:
        SourceError: The clip cannot be read.

    """
    settings = settings or load_settings()
    content = None if source is None else file_hash(Path(source))
    with Ledger(settings, create=False) as ledger:
        found = Books(ledger).owned(content)
        here = {row.key for take, row, _ in found if take.store == ledger.store}
        return tuple(_owned(ledger, *one) for one in found if one[1].key not in here or one[0].store == ledger.store)


def _owned(ledger: Ledger, take: TakeRow, row: Attempt, order: OrderRow) -> OwnedTake:
    step = step_of(order)
    ours = take.store == ledger.store
    # A take in a shared store comes to the same place here.
    near = ours or is_store(take.store)
    path = (ledger.settings.data_dir if near else Path(take.store.partition(":")[2])) / take.path
    return OwnedTake(
        digest=order.digest,
        segment=row.position,
        at=_when(take.stored),
        source=order.source,
        prompt=step.prompt,
        seed=order.seed,
        take=step.take,
        provider=row.provider,
        model=row.model,
        task_id=row.task_id or "",
        credits=row.cost,
        path=path,
        there=ours and path.is_file() and path.stat().st_size == take.size,
        store=take.store or f"this machine:{ledger.settings.data_dir}",
        account=row.scope.partition("#")[0],
    )


def export(
    which: str,
    out: str | os.PathLike[str] | None = None,
    *,
    untouched: bool = False,
    force: bool = False,
    policy: Policy | None = None,
    settings: Settings | None = None,
) -> Result:
    """Write an owned order's finished file to *out*; made again from its takes where it is not there any more.

    Args:
        which: The start of the order's digest, or a task's id: of any of its calls, it is the whole order's file.
        out: Where it goes; unset: it stays in the data folder.
        untouched: The take itself, exactly as the provider made it: neither length, rate nor sound are mended. Of an
            order of several calls one must be named: the start of its digest and ":3", or the task's id.
        force: Replace *out* if it exists.

    Raises:
        Unknown: There is no such order.
        NotFetched: It has no take (yet).
        WrongUse: One call of several is named, which has no finished file of its own.
        SourceError: The clip is gone, so that its sound cannot be put back: `untouched` needs none.
        OutputError: *out* exists or cannot be written.

    """
    settings, path = settings or load_settings(), None if out is None else Path(out)
    with (
        Ledger(settings) as ledger,
        ledger.holder() as token,
        workshop(settings, token, ledger.needed) as folder,
        Desk(settings, ledger, token, Stop(), Report(None)) as desk,
    ):
        rows = desk.books.calls(which)
        order = rows[0][1]
        policy, step = policy or Policy(), step_of(order)
        if path is not None:
            check_output(path, Path(order.path), settings, token, ledger.needed)
        if ":" in which and not untouched and len(desk.books.calls(which.partition(":")[0])) > 1:
            mend = "Give the digest alone, or untouched (--untouched) for that call's take"
            raise WrongUse(f"{which} is one call of an order", mend)
        if untouched:
            return _untouched(desk, order, _only(desk, rows), path, force=force)
        if path is not None:
            check_holds(path, step)
        suffix = suffix_for(step, path)
        if there := already(desk, order.scope, order.digest, variant_of(policy, suffix), path, force=force):
            return there
        got = gathered(desk, order)
        if path is not None:
            for one in got:
                check_output(path, one.take.path, settings, token, ledger.needed)
        fitting = Fitting(named_again(order, settings, policy), folder, suffix)
        return finished(desk, fitting, got, path, force=force)


def _only(desk: Desk, rows: list[tuple[Attempt, OrderRow]]) -> Attempt:
    if len(rows) > 1:
        names = ", ".join(desk.books.name_of(row) for row, _ in rows)
        raise WrongUse(f"The order has {len(rows)} takes", f"Say which: {names}")
    return rows[0][0]


def _untouched(desk: Desk, order: OrderRow, row: Attempt, out: Path | None, *, force: bool) -> Result:
    got = obtained(desk, row)
    if out is not None:
        _copy(desk, got, out, force=force)
    return Result(
        path=out or got.take.path, frames=got.answer.frames, takes=(got.take,), cost=row.cost, spent=0.0, owned=1,
        digest=order.digest, seed=order.seed, provider=row.provider, model=row.model,
    )  # fmt: skip


def _copy(desk: Desk, got: Obtained, out: Path, *, force: bool) -> None:
    check_output(out, got.take.path, desk.settings, desk.token, desk.ledger.needed)
    if out.exists() and not force:
        raise refused(out)
    if out.suffix.lower() != got.take.path.suffix:
        ending = got.take.path.suffix
        raise OutputError(f"The take is an {ending[1:]} file", f"Name it {out.with_suffix(ending).name}")
    with beside(out, desk.token, desk.ledger.needed) as part:
        shutil.copyfile(got.take.path, part)
        settle(part, out, new=not force)


def spend(since: datetime | None = None, *, settings: Settings | None = None) -> Spend:
    """What this account label spent since a moment (naive ones are local time), by provider and model.

    Raises:
        LedgerError: The ledger cannot be read.

    """
    with Ledger(settings or load_settings(), create=False) as ledger:
        sent = Books(ledger).sent(None if since is None else since.timestamp())
    groups: dict[tuple[Provider, str], list[Attempt]] = defaultdict(list)
    for row in sent:
        if row.state != "refused":
            groups[row.provider, row.model].append(row)
    lines = tuple(_line(*names, rows) for names, rows in sorted(groups.items()))
    charged, reserved = sum(line.charged for line in lines), sum(line.reserved for line in lines)
    dollars = sum(line.charged for line in lines if line.provider == "runway") * DOLLARS_PER_CREDIT
    return Spend(since=since, lines=lines, charged=charged, reserved=reserved, dollars=round(dollars, 2))


def _line(provider: Provider, model: str, rows: list[Attempt]) -> SpendLine:
    open_ones = [row for row in rows if row.cost is None]
    return SpendLine(
        provider=provider,
        model=model,
        calls=len(rows),
        seconds=sum(row.seconds for row in rows),
        charged=sum(row.cost or 0.0 for row in rows),
        reserved=sum(row.credits or 0.0 for row in open_ones),
        unknown=sum(1 for row in open_ones if row.credits is None),
    )


def gc(
    *,
    takes: bool = False,
    older_than: timedelta | None = None,
    dry_run: bool = True,
    settings: Settings | None = None,
) -> Freed:
    """Free what can be had again: finished files, clips from buckets, what dead runs left. Stores are left alone.

    Args:
        takes: Paid takes too; then *older_than* must be given. An order whose take is gone is lost: having it again
            means paying again. Where a shared store (or another machine) has the take, it stays owned.
        older_than: Only takes stored longer ago than this.
        dry_run: Only say what would be freed.

    Raises:
        WrongUse: Takes without an age, or an age without takes.

    """
    if takes != (older_than is not None):
        raise WrongUse("Takes are freed by age only", "Give takes and older_than together (--takes --older-than 90d)")
    settings = settings or load_settings()
    with Ledger(settings, create=not dry_run) as ledger:
        if ledger.missing:
            return Freed(files=(), size=0, done=not dry_run)
        books = Books(ledger)
        old = _old(ledger, books, older_than) if older_than is not None else []
        inputs = [_garbage(path, "a clip from a bucket, fetched again when it is wanted") for path in unused(settings)]
        going = {garbage.path for garbage in (*inputs, *(garbage for garbage, _ in old))}
        found = [*_leftovers(settings, ledger, books), *_results(ledger, books, going), *inputs]
        files = tuple(found) + tuple(garbage for garbage, _ in old)
        kept = len({*_finished(settings)} - {garbage.path for garbage in files})
        if not dry_run:
            for garbage in found:
                _remove(garbage.path)
            for garbage, row in old:
                # The ledger first: a run that comes now fetches it anew instead of working on it.
                if not ledger.alive(ledger.current(row).holder):
                    _forget(ledger, garbage, row)
                    _remove(garbage.path)
    return Freed(files=files, size=sum(garbage.size for garbage in files), done=not dry_run, kept=kept)


def _finished(settings: Settings) -> list[Path]:
    folder = settings.home / "results"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _leftovers(settings: Settings, ledger: Ledger, books: Books) -> Iterator[Garbage]:
    for folder in abandoned(settings.data_dir / "work", ledger.needed):
        yield _garbage(folder, "left by a run that died")
    live = {
        take_path(settings, row, row.task_id).stem
        for row, _ in books.latest()
        if row.task_id and ledger.alive(row.holder)
    }
    for pattern in ("*.part", "*.etag"):
        for path in (settings.home / "takes").glob(pattern):
            if path.stem not in live:
                yield _garbage(path, "part of a download that nobody goes on with")
    for path in rescue.rooms(settings.data_dir):
        if not ledger.needed(rescue.token_of(path)):
            yield _garbage(path, "left by a run that died")


def _results(ledger: Ledger, books: Books, going: set[Path]) -> Iterator[Garbage]:
    """Finished files that no run is about, whose takes and clips are here, whole, and stay: they can be made again."""
    settings = ledger.settings
    whole: dict[str, set[str]] = defaultdict(set)
    wanted: dict[str, int] = {}
    for take, row, order in books.owned():
        path = settings.data_dir / take.path
        if path in going or ledger.alive(row.holder) or not _is(path, take.sha256):
            continue
        clip = Path(order.path)
        if not order.path or (clip.parent not in going and _is(clip, order.file)):
            whole[order.digest[:24]].add(row.segment)
            wanted[order.digest[:24]] = len(json.loads(order.plan)["segments"])
    safe = {digest for digest, segments in whole.items() if len(segments) == wanted[digest]}
    # A template's next step may be at work on what this one gave.
    clips = {Path(order.path) for row, order in books.latest() if order.path and ledger.alive(row.holder)}
    for path in _finished(settings):
        if path.name[:24] in safe and path not in clips:
            yield _garbage(path, "a finished file; made again from its takes when it is wanted")


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and file_hash(path) == sha256


def _old(ledger: Ledger, books: Books, age: timedelta) -> list[tuple[Garbage, Attempt]]:
    """Takes of that age in this folder, those whose file is gone already too: the ledger is to know it."""
    before = (datetime.now(UTC) - age).timestamp()
    return [
        (_garbage(ledger.settings.data_dir / take.path, f"a PAID take of {_when(take.stored):%Y-%m-%d}"), row)
        for take, row, _ in books.owned()
        if take.stored < before and take.store == ledger.store and not ledger.alive(row.holder)
    ]


def _forget(ledger: Ledger, garbage: Garbage, row: Attempt) -> None:
    """The folder has the take no longer; the order is lost unless another one has it."""
    if ledger.forget_take(row) == 0:
        lost = TaskGone(
            f"The take {garbage.path.name} was freed by gc",
            "Order it again: reorder (--reorder)",
            task_id=row.task_id or "",
        )
        ledger.move(row, "expired", lost)


def _garbage(path: Path, why: str) -> Garbage:
    files: Iterable[Path] = path.rglob("*") if path.is_dir() else (path,)
    return Garbage(path=path, size=sum(file.stat().st_size for file in files if file.is_file()), why=why)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
