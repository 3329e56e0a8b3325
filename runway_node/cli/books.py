"""The ledger's verbs: what is open, owned and spent; finish, cancel, attach, export, free. None orders anything.

Each prints one thing a line: a table for a person, under `--json` one object an item and a last line `result`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RunwayNodeError
from . import flags
from .order import detach_on_term, short, tell_result
from .output import Show, reporting

if TYPE_CHECKING:
    from ..models import Event, Finished, Freed, OpenOrder, OwnedTake, Spend

Which = Annotated[str, typer.Argument(metavar="ID", help="The start of an order's digest, or a task's id.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="The start of an order's digest.")]

WORDS = 40
"""Characters of a prompt that a table shows."""

NO_SANDBOX = "Sandbox orders are not in it: nothing is paid there"


def tasks(json: flags.Json = False, debug: flags.Debug = False) -> None:
    """List every paid call that is not over, and what to do about each."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import orders

        found = orders()
        _items(show, "task", found)
        show.result({"tasks": len(found)})
        if not found:
            show.say("Nothing is open: no paid call is under way, waiting to be fetched, or unclear")
            return
        heads = ("order", "call", "state", "since", "clip", "prompt", "model", "credits")
        show.table(heads, [_open(one) for one in found])
        show.say("")
        for one in found:
            # Not in the table: an id that is folded cannot be copied.
            task = f"task {one.task_id}: " if one.task_id else ""
            call = f":{one.segment + 1}" if _several(found, one) else ""
            show.say(f"{short(one.digest)}{call}: {task}{one.advice}")


def _open(one: OpenOrder) -> tuple[str, ...]:
    call = f"{one.segment + 1}" + (f", attempt {one.attempt}" if one.attempt > 1 else "")
    reserved = "unknown" if one.credits is None else f"{one.credits:g}"
    return (
        short(one.digest), call, one.state, _when(one.at), one.source, _words(one.prompt),
        f"{one.model} ({one.provider})", reserved,
    )  # fmt: skip


def takes(
    source: Annotated[
        Path | None, typer.Argument(metavar="SRC", show_default=False, help="Only this clip's, whatever its name.")
    ] = None,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """List the paid results that are owned, newest first."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import takes as owned

        found = owned(source)
        _items(show, "take", found)
        show.result({"takes": len(found)})
        if not found:
            show.say(f"No take of {source} is owned" if source else "No take is owned yet: runway-node run makes one")
            return
        heads = ("order", "stored", "clip", "prompt", "seed", "take", "credits", "file")
        show.table(heads, [_owned(one, several=_several(found, one)) for one in found])


def _several(found: Iterable[OwnedTake | OpenOrder], one: OwnedTake | OpenOrder) -> bool:
    """Whether the order has several calls, as far as the list shows."""
    return any(other.digest == one.digest and other.segment for other in found)


def _owned(one: OwnedTake, *, several: bool) -> tuple[str, ...]:
    cost = "not told" if one.credits is None else f"{one.credits:g}"
    where = str(one.path) if one.there else f"NOT HERE: {one.path} (stored by {one.store})"
    return (
        short(one.digest) + (f":{one.segment + 1}" if several else ""), _when(one.at), one.source, _words(one.prompt),
        str(one.seed), str(one.take), cost, where,
    )  # fmt: skip


def resume(
    timeout: flags.Timeout = None, queue_timeout: flags.QueueTimeout = None,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Finish all that was ordered and not fetched; orders nothing. Ends with 1 where something could not be had."""
    given = locals()
    with reporting(json=json, debug=debug) as show:
        from ..engine import Stop
        from ..engine import resume as finish

        def hear(event: Event) -> None:
            show.event(event, short(event.digest or ""))

        stop = Stop()
        with detach_on_term(stop):
            found = finish(policy=flags.policy(given), stop=stop, on_progress=hear)
        _items(show, "finished", found)
        failed = [one for one in found if one.error]
        show.result({"finished": len(found) - len(failed), "unfinished": [one.digest for one in failed]})
        told = set()
        for one in found:
            if one.path is None or one.path not in told:  # the calls of one order have one file
                _tell_finished(show, one)
            told.add(one.path)
        if not found:
            show.say("Nothing to resume: no ordered call waits to be fetched")
        if failed:
            show.note(f"Could not be finished: {', '.join(short(one.digest) for one in failed)}")
            raise typer.Exit(1)


def _tell_finished(show: Show, one: Finished) -> None:
    order = f"order {short(one.digest)}"
    if one.path is not None:
        show.say(f"{short(one.digest)}  {one.path}")
    elif one.take is not None:
        show.note(f"{order} has its take, {one.take}, but no finished file: {one.error}")
    else:
        show.note(f"{order} is {one.state}: {one.error}")


def cancel(which: Which, json: flags.Json = False, debug: flags.Debug = False) -> None:
    """Cancel a running task; one that has finished is fetched instead. It may be charged all the same."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import cancel as stop_it

        found = stop_it(which)
        failed = [one for one in found if one.error]
        if failed:
            told = "; ".join(one.error for one in failed)
            raise RunwayNodeError(f"Order {short(failed[0].digest)}: {told}", "See runway-node tasks")
        _items(show, "cancelled", found if len(found) > 1 else ())
        show.result(found[0].model_dump(mode="json") if len(found) == 1 else {"cancelled": len(found)})
        for one in found:
            finish = f"runway-node export {short(one.digest)} -o OUT makes the file of it"
            came = f"had finished: its take is {one.take}; {finish}" if one.take else "was cancelled"
            show.say(f"Task {one.task_id} {came}")


def attach(
    which: Digest,
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id, as the provider lists it.")],
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Tell which task an order became, where the answer was lost; nothing is ordered."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import attach as give

        told = give(which, task_id)
        show.result(told.model_dump(mode="json"))
        show.say(f"Order {short(told.digest)} has task {told.task_id} now; {told.advice}")


def export(
    which: Which,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to; its suffix says the container.")],
    untouched: Annotated[
        bool, typer.Option("--untouched", help="The take as the provider made it: its length, rate and silence.")
    ] = False,
    conform: flags.Conform = None, force: flags.Force = False, json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Write an owned order's finished file; made again from its take where it is gone. Nothing is ordered."""
    given = locals()
    with reporting(json=json, debug=debug) as show:
        from ..engine import export as hand_out

        result = hand_out(which, output, untouched=untouched, force=force, policy=flags.policy(given))
        tell_result(show, result)


def spend(
    since: Annotated[
        str | None, typer.Option(metavar="DAY|AGE", help="Only since then: 2026-11-01, or 7d for 7 days ago.")
    ] = None,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Tell what was spent, by provider and model."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import spend as look_up

        found = look_up(None if since is None else flags.since(since, datetime.now().astimezone()))
        _items(show, "spend", found.lines)
        show.result({**found.model_dump(mode="json", exclude={"lines"}), "note": NO_SANDBOX})
        _tell_spend(show, found)


def _tell_spend(show: Show, found: Spend) -> None:
    when = f" since {found.since:%Y-%m-%d %H:%M}" if found.since else ""
    if not found.lines:
        show.say(f"Nothing was spent{when}. {NO_SANDBOX}")
        return
    heads = ("provider", "model", "calls", "seconds", "credits", "reserved", "of unknown cost")
    rows = [
        (one.provider, one.model, str(one.calls), f"{one.seconds:g}", f"{one.charged:g}", f"{one.reserved:g}",
         f"{one.unknown} call{'s' * (one.unknown != 1)}" if one.unknown else "")
        for one in found.lines
    ]  # fmt: skip
    show.table(heads, rows)
    dollars = f", ${found.dollars:.2f} of them at Runway's price" if found.dollars else ""
    may = f"; up to {found.reserved:g} more for calls whose cost is not told (yet)" if found.reserved else ""
    show.say(f"\n{found.charged:g} credits charged{when}{dollars}{may}. {NO_SANDBOX}")


def gc(
    takes: Annotated[bool, typer.Option("--takes", help="PAID takes too; only with --older-than.")] = False,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="With --takes: only those stored longer ago: 90d, 12w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Free it. Without: only say what would be freed.")] = False,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Free what can be had again: finished files, clips from buckets that are not in use, and what dead runs left."""
    with reporting(json=json, debug=debug) as show:
        from ..engine import gc as free

        age = None if older_than is None else flags.age(older_than, "--older-than")
        found = free(takes=takes, older_than=age, dry_run=not yes)
        _items(show, "garbage", found.files)
        show.result({"files": len(found.files), "size": found.size, "done": found.done, "kept": found.kept})
        _tell_freed(show, found)


def _tell_freed(show: Show, found: Freed) -> None:
    if found.kept:
        show.note(f"Kept: {found.kept} finished, whose take or clip is not where it was: they could not be made again")
    if not found.files:
        show.say("There is nothing to free")
        return
    show.table(("size", "file", "why"), [(_size(one.size), str(one.path), one.why) for one in found.files])
    count = f"{len(found.files)} file{'s' * (len(found.files) != 1)}, {_size(found.size)}"
    show.say(f"\nFreed {count}" if found.done else f"\nWould free {count}; nothing was freed: add --yes")


def _items(show: Show, phase: str, found: Iterable[Any]) -> None:
    """One JSON line each."""
    for one in found if show.json else ():
        show.line({"phase": phase, **one.model_dump(mode="json")})


def _when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _words(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= WORDS else f"{text[: WORDS - 3]}..."


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.1f} kB"
