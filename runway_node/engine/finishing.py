"""Takes made into the file that was asked for: conformed, the sound put back, noted in the ledger, put in place.

Whatever fails here, the takes stay. A finished file that is still there is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import Interrupted, LedgerError, MediaError, OutputError, RunwayNodeError, SourceError
from ..ledger import ResultRow
from ..media.content import file_hash
from ..media.opener import settle
from ..media.sound import finish
from ..models import Policy, Result, sum_known
from ..settings import Settings
from .desk import Desk
from .files import beside
from .fitting import Fitting
from .obtaining import Obtained

WHOLE = "-whole"
"""What marks the file that has the rest of the clip too."""


def variant_of(policy: Policy, suffix: str, *, keep_rest: bool = False) -> str:
    """What tells two finished files of one order apart."""
    return f"{policy.conform}{WHOLE if keep_rest else ''}{suffix}"


def already(desk: Desk, scope: str, digest: str, variant: str, out: Path | None, *, force: bool) -> Result | None:
    """The finished file of an earlier run, put in place; None where it is to be made.

    Raises:
        OutputError: Something else is at *out*.

    """
    found = desk.ledger.result(scope, digest, variant)
    if out is not None and out.exists() and not force:
        same = desk.ledger.results_with(file_hash(out))
        ours = [row for row in same if (row.scope, row.digest) == (scope, digest)]
        ours = [row for row in ours if (WHOLE in row.variant) == (WHOLE in variant)]
        if not ours:
            raise refused(out)
        return _told(desk, ours[0], out)
    if found is None:
        return None
    stored = desk.settings.data_dir / found.path
    if not stored.is_file() or file_hash(stored) != found.sha256:
        return None
    try:
        return _told(desk, found, publish(stored, out, desk, force=force) if out else stored)
    except FileNotFoundError:
        return None  # freed by gc just now


def refused(out: Path) -> OutputError:
    """The error for an output that exists."""
    return OutputError(
        f"{out} exists, and is not this order's result", "Choose another output, or replace it with force (--force)"
    )


def _told(desk: Desk, found: ResultRow, path: Path) -> Result:
    facts = json.loads(found.facts)
    for take in facts["takes"]:
        take["path"] = desk.settings.data_dir / take["path"]
    warnings = tuple(facts.pop("warnings", ())) + tuple(desk.report.warnings)
    desk.report("owned", "finished before; nothing was sent")
    desk.report("done", str(path), fraction=1.0)
    known = {**facts, "path": path, "warnings": tuple(dict.fromkeys(warnings))}
    return Result.model_validate({**known, "spent": 0.0, "owned": len(facts["takes"])})


def finished(desk: Desk, fitting: Fitting, got: Sequence[Obtained], out: Path | None, *, force: bool) -> Result:
    """Make the file, keep it, put it in place."""
    takes = tuple(one.take for one in got)
    kept = ", ".join(str(take.path) for take in takes)
    task_id = takes[0].task_id
    try:
        stored = _made(desk, fitting, got)
        if desk.stop.is_set():
            raise Interrupted("Stopped before the result was put in place")
        result = _note(desk, fitting, got, stored)
        path = publish(stored, out, desk, force=force) if out else stored
    except Interrupted as error:
        raise Interrupted(f"{error.what}; the paid result is {kept}", task_id=task_id) from None
    except Exception as error:
        what = error.what if isinstance(error, RunwayNodeError) else str(error)
        mend = error.mend if isinstance(error, RunwayNodeError) else ""
        whole = all(take.path.is_file() for take in takes)
        told = f"the paid result is kept: {kept}" if whole else f"the paid result is no longer at {kept}"
        raise MediaError(f"{what}; {told}", mend, task_id=task_id) from error
    desk.report("done", str(path), fraction=1.0, credits=result.cost)
    return result.model_copy(update={"path": path, "warnings": tuple(desk.report.warnings)})


def _made(desk: Desk, fitting: Fitting, got: Sequence[Obtained]) -> Path:
    order, plan = fitting.named.order, fitting.named.plan
    pairs = zip(plan.segments, got, strict=True)
    strips = [one.strip or fitting.make(desk, segment, one.take, one.answer) for segment, one in pairs]
    if order.changed():
        raise SourceError("The clip changed while its transformation ran", "Put its sound back by hand")
    if len(strips) > 1 or fitting.rest:
        desk.report("joining", f"{len(strips)} answers, {sum(strip.tail is not None for strip in strips)} cross-faded")
    whole = fitting.folder / f"whole{fitting.suffix}"
    first, last = (0, fitting.frames) if fitting.rest else (plan.first, plan.last)
    for warning in finish(fitting.film(desk, strips), order.probe, first, last, whole, stop=desk.stop):
        desk.report.warn(warning, lasting=True)
    # Made in the run's own folder: what a crash leaves there is swept up by the next run.
    variant = variant_of(order.policy, fitting.suffix, keep_rest=order.keep_rest)
    stored = result_path(order.settings, fitting.named.digest, variant)
    stored.parent.mkdir(parents=True, exist_ok=True)
    try:
        settle(whole, stored, new=True)
    except FileExistsError:
        # Another run with the same order was quicker, and may be giving its file to a next step: it is left alone.
        if file_hash(stored) != file_hash(whole):
            settle(whole, stored)
    return stored


def result_path(settings: Settings, digest: str, variant: str) -> Path:
    """Where the finished file is kept."""
    return settings.home / "results" / f"{digest[:24]}-{variant}"


def _note(desk: Desk, fitting: Fitting, got: Sequence[Obtained], stored: Path) -> Result:
    costs = [one.take.credits for one in got]
    spent = [one.take.credits for one in got if not one.before]
    named, plan = fitting.named, fitting.named.plan
    result = Result(
        path=stored,
        frames=fitting.frames,
        takes=tuple(one.take for one in got),
        cost=sum_known(costs),
        spent=sum_known(spent),
        owned=sum(one.before for one in got),
        digest=named.digest,
        seed=named.row.seed,
        provider=plan.provider,
        model=plan.model,
        warnings=tuple(desk.report.warnings),
    )
    row = ResultRow(
        scope=named.scope,
        digest=named.digest,
        variant=variant_of(named.order.policy, fitting.suffix, keep_rest=named.order.keep_rest),
        store=desk.ledger.store,
        path=stored.relative_to(desk.settings.data_dir).as_posix(),
        sha256=file_hash(stored),
        made=0.0,
        facts=_facts(result.model_copy(update={"warnings": tuple(desk.report.lasting)}), desk.settings.data_dir),
    )
    try:
        desk.ledger.finish(row)
    except LedgerError as error:
        desk.report.warn(f"the ledger could not be told of {stored} ({error.what})")
    return result


def _facts(result: Result, data_dir: Path) -> str:
    """The result as the ledger keeps it: its files by where they are in the data folder, which may be moved."""
    told = result.model_dump(mode="json", exclude={"path", "spent", "owned", "url"})
    for take in told["takes"]:
        take["path"] = Path(take["path"]).relative_to(data_dir).as_posix()
    return json.dumps(told)


def publish(stored: Path, out: Path, desk: Desk, *, force: bool) -> Path:
    """Copy the stored result to *out*; one that appeared there meanwhile is left alone, unless *force*."""
    with beside(out, desk.token, desk.ledger.needed) as part:
        shutil.copyfile(stored, part)
        try:
            settle(part, out, new=not force)
        except FileExistsError:
            if file_hash(out) == file_hash(stored):
                return out
            desk.report.warn(f"{out} appeared meanwhile and was left alone; the result is {stored}")
            return stored
    return out
