"""Takes made into the file that was asked for: conformed, the sound put back, noted in the ledger, put in place.

Whatever fails here, the takes stay. A finished file that is still there is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import Interrupted, LedgerError, MediaError, OutputError, RunwayNodeError, SourceError
from ..ledger import ResultRow
from ..media.codecs import default_suffix
from ..media.content import file_hash
from ..media.join import blend
from ..media.opener import cores, settle
from ..media.shapes import Strip
from ..media.sound import finish
from ..models import Policy, Result, sum_known
from ..planning import fit_of
from .bench import body_path, fit_take
from .desk import Desk
from .files import beside
from .obtaining import Obtained
from .order import Named, Order


def variant_of(policy: Policy, suffix: str) -> str:
    """What tells two finished files of one order apart."""
    return f"{policy.conform}{suffix}"


def already(desk: Desk, scope: str, digest: str, policy: Policy, out: Path | None, *, force: bool) -> Result | None:
    """The finished file of an earlier run, put in place; None where it is to be made.

    Raises:
        OutputError: Something else is at *out*.

    """
    suffix = out.suffix.lower() if out else ".mp4"
    found = desk.ledger.result(scope, digest, variant_of(policy, suffix))
    if out is not None and out.exists() and not force:
        same = desk.ledger.results_with(file_hash(out))
        ours = [row for row in same if (row.scope, row.digest) == (scope, digest)]
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


def finished(
    desk: Desk, named: Named, got: Sequence[Obtained], folder: Path, out: Path | None, *, force: bool
) -> Result:
    """Make the file, keep it, put it in place."""
    takes = tuple(one.take for one in got)
    kept = ", ".join(str(take.path) for take in takes)
    task_id = takes[0].task_id
    suffix = out.suffix.lower() if out else ".mp4"
    try:
        stored = _made(desk, named, got, folder, suffix)
        if desk.stop.is_set():
            raise Interrupted("Stopped before the result was put in place")
        result = _note(desk, named, got, stored, suffix)
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


def _made(desk: Desk, named: Named, got: Sequence[Obtained], folder: Path, suffix: str) -> Path:
    order, plan = named.order, named.plan
    strips = [
        one.strip
        or fit_take(desk, named, segment, one.take, one.answer, body_path(named, segment, folder, suffix), suffix)
        for segment, one in zip(plan.segments, got, strict=True)
    ]
    if order.changed():
        raise SourceError("The clip changed while its transformation ran", "Put its sound back by hand")
    if len(strips) > 1:
        desk.report("joining", f"{len(strips)} answers, {sum(strip.tail is not None for strip in strips)} cross-faded")
    parts = _parts(desk, named, strips, folder, suffix)
    whole = folder / f"whole{suffix}"
    for warning in finish(
        parts, plan.fps, order.probe, plan.first, plan.last, whole, stop=desk.stop, done=lambda part: part.unlink()
    ):
        desk.report.warn(warning, lasting=True)
    # Made in the run's own folder: what a crash leaves there is swept up by the next run.
    stored = result_path(order, named.digest, suffix)
    stored.parent.mkdir(parents=True, exist_ok=True)
    settle(whole, stored)
    return stored


def _parts(desk: Desk, named: Named, strips: Sequence[Strip], folder: Path, suffix: str) -> list[Path]:
    """The film's parts in order: the strips' bodies, and between those that share frames the cross-faded seam."""
    order, segments = named.order, named.plan.segments

    def seam(index: int) -> Path | None:
        tail, head = strips[index].tail, strips[index + 1].head
        if tail is None or head is None:
            return None
        path = folder / f"seam-{index}{strips[index].body.suffix}"
        fit = fit_of(named.plan, segments[index], order.probe, order.step, order.policy)
        blend(tail, head, fit, path, suffix=suffix, stop=desk.stop)
        tail.unlink()
        head.unlink()
        return path

    with ThreadPoolExecutor(cores(), thread_name_prefix="runway-seams") as pool:
        seams = [*pool.map(seam, range(len(strips) - 1)), None]
    return [part for strip, between in zip(strips, seams, strict=True) for part in (strip.body, between) if part]


def suffix_for(order: Order, out: Path | None) -> str:
    """The ending of the finished file: the output's, else that of the data folder's own."""
    return out.suffix.lower() if out else default_suffix(order.step.output_format)


def result_path(order: Order, digest: str, suffix: str) -> Path:
    """Where the finished file is kept."""
    return order.settings.home / "results" / f"{digest[:24]}-{order.policy.conform}{suffix}"


def _note(desk: Desk, named: Named, got: Sequence[Obtained], stored: Path, suffix: str) -> Result:
    costs = [one.take.credits for one in got]
    spent = [one.take.credits for one in got if not one.before]
    plan = named.plan
    result = Result(
        path=stored,
        frames=plan.last - plan.first,
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
        variant=variant_of(named.order.policy, suffix),
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
    told = result.model_dump(mode="json", exclude={"path", "spent", "owned"})
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
