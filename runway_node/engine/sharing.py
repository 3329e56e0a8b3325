"""A paid take kept in the shared store too, and had from there by who has not got it. Nothing here asks a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Interrupted, RunwayNodeError
from ..ledger import Attempt, TakeRow
from ..media.conform import verify
from ..media.content import file_hash
from ..media.opener import settle
from ..media.shapes import Probe
from ..models import Take
from ..settings import is_remote
from ..storage import Missing, open_store
from .desk import Desk


def share(desk: Desk, row: Attempt, take: Take, *, again: bool = False) -> None:
    """Put the take into the setting's store, where it is not yet; that this fails is a warning, no more.

    Args:
        again: What is there is known to be damaged, or gone.

    """
    name = desk.settings.store
    if name is None:
        return
    try:
        known = {one.sha256 for one in desk.ledger.takes_of(row) if one.store == name}
        if take.sha256 in known and not again:
            return
        key = take.path.relative_to(desk.settings.data_dir).as_posix()
        open_store(name, desk.stop).put(take.path, key)
        desk.ledger.also(row, name, key, take.sha256, take.path.stat().st_size)
    except (RunwayNodeError, OSError) as error:
        why = error.what if isinstance(error, RunwayNodeError) else error.strerror
        desk.report.warn(f"the paid take was not put into {name} ({why}); the same order again puts it there")


def from_stores(desk: Desk, row: Attempt, notes: list[str]) -> tuple[Take, Probe] | None:
    """The stored call's take, brought from a store that has it, checked, and noted as here.

    Args:
        notes: Grows by why each of the stores does not serve.

    Raises:
        Interrupted: Stopped.

    """
    kept = desk.ledger.takes_of(row)
    for name, copy in _copies(desk, kept):
        path = desk.settings.data_dir / copy.path
        part = path.with_name(f".{path.stem}-{desk.token}.part")
        try:
            desk.report("fetching", f"the paid take is in {name}")
            open_store(name, desk.stop).get(copy.path, part, most=copy.size)
            if file_hash(part) != copy.sha256:
                notes.append(f"{name}: what is there is damaged")
                continue
            answer = verify(part, row.task_id or "")
            settle(part, path)
        except Interrupted:
            raise
        except Missing:
            notes.append(f"{name}: it is not there")
        except RunwayNodeError as error:
            notes.append(f"{name}: {error.what}")
        except OSError as error:
            notes.append(f"{name}: {error.strerror}")
        else:
            desk.keep(row, path.relative_to(desk.settings.data_dir).as_posix(), copy.sha256, copy.size)
            return Take(path=path, sha256=copy.sha256, task_id=row.task_id or "", credits=row.cost), answer
        finally:
            part.unlink(missing_ok=True)
    return None


def _copies(desk: Desk, kept: Sequence[TakeRow]) -> Iterator[tuple[str, TakeRow]]:
    """The stores that the ledger knows to have the take, ours first; and ours where it may know it by another name."""
    named = {take.store: take for take in kept if is_store(take.store)}
    ours = desk.settings.store
    if ours is not None and named:
        yield ours, named.pop(ours, next(iter(named.values())))
    yield from named.items()


def is_store(name: str) -> bool:
    """Whether what a take's row calls its store is one of these, and no machine's own data folder."""
    return is_remote(name) or Path(name).is_absolute()
