"""One row rendered: the job becomes a film in its place, or an outcome that says why not. It raises nothing of ours."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from ..engine import Stop
from ..errors import (
    Ambiguous,
    Interrupted,
    LedgerError,
    Moderated,
    OutputError,
    OverLimit,
    RunwayNodeError,
    SourceError,
    StillRunning,
    StoreError,
    WrongUse,
    all_of,
)
from ..media.content import file_hash
from ..settings import Settings
from ..storage import deliver
from ..templates import Places, Rendered, Source, render
from ..templates.steps import VideoToVideo
from ..templates.template import Recipe
from .halting import reason, refusal_of, refused
from .jobs import FORMAT, Hashes, Job, Outcome, Status, fingerprint
from .meter import Meter, Tell
from .records import Records, staging

log = logging.getLogger(__name__)


def render_row(
    job: Job, settings: Settings, stop: Stop, tell: Tell | None = None, *, began: float | None = None
) -> Outcome:
    """Render a row; what is there already is not made again.

    Args:
        began: When the batch was given, by the ledger's clock: rows that share an order share its failure.
        stop: Stops it; its `hold` keeps from being sent what is not sent yet.

    """
    prompt, meter = "", Meter(tell)
    try:
        records = Records(job.outputs)
        made = records.made(job.output, job.fingerprint)
        if made is not None:
            return kept(job, made)
        if stop.is_set():
            return not_sent(job)
        recipe = job.recipe(settings, stop)
        prompt = prompts(recipe)
        hashes = Hashes()
        _as_checked(job, recipe, hashes)
        rendered = _render(job, recipe, records, settings, stop, meter, hashes, began=began)
    except RunwayNodeError as error:
        for one in all_of(error):
            if isinstance(one, Moderated) and one.retry == "no":
                _remember(job, one)
        if isinstance(error, Interrupted) and not (stop.is_set() and (meter.ordered or error.task_id)):
            return _held(job, error, meter).model_copy(update=_paid(meter, settings))
        made = _meanwhile(job) if isinstance(error, (OutputError, StoreError)) else None
        paid = _paid(meter, settings)
        if any(isinstance(one, Ambiguous) for one in all_of(error)):
            paid["spent"] = None
        return failed(job.row, error, prompt, **paid) if made is None else _kept(job, made, meter)
    except Exception as error:  # noqa: BLE001 - one bad row does not stop the others
        made = _meanwhile(job) if isinstance(error, OSError) else None
        return failed(job.row, unforeseen(error), **_paid(meter, settings)) if made is None else _kept(job, made, meter)
    return _done(job, rendered).model_copy(update={"spent": meter.spent})


def _kept(job: Job, made: dict[str, Any], meter: Meter) -> Outcome:
    """What another run put there, while this one paid perhaps."""
    return kept(job, made).model_copy(update={"spent": meter.spent})


def not_sent(job: Job) -> Outcome:
    """A row that was not begun, for the batch stopped."""
    return Outcome(row=job.row, status="not sent", error="the batch stopped before it")


def _held(job: Job, error: Interrupted, meter: Meter) -> Outcome:
    """A row that was not sent, or only a part of it, for the batch stopped."""
    sent = meter.ordered or error.task_id
    what = "the batch stopped before all of it was sent; the same command goes on with it"
    return Outcome(
        row=job.row, status="left" if sent else "not sent", error=what if sent else "the batch stopped before it",
        kind=type(error).__name__, exit_code=1, task=error.task_id or "",
    )  # fmt: skip


def _paid(meter: Meter, settings: Settings) -> dict[str, Any]:
    """What a row that came to nothing has cost all the same, and the takes that it left."""
    return {"spent": meter.spent, "takes": tuple(str(settings.data_dir / path) for path in meter.stored)}


def _meanwhile(job: Job) -> dict[str, Any] | None:
    """The record of what another run of the same row made, which was quicker."""
    with contextlib.suppress(RunwayNodeError, OSError):  # the place may be what went wrong
        return Records(job.outputs).made(job.output, job.fingerprint)
    return None


def _as_checked(job: Job, recipe: Recipe, hashes: Hashes) -> None:
    """Refuse a row whose files are others by now than those that were checked and priced."""
    source = Source(job.template, job.folder)
    values = source.values(job.values, Places(base=job.folder, anywhere=True))
    if fingerprint(source, values, recipe, hashes) != job.fingerprint:
        raise SourceError("A file of this row was changed after it was checked", "Give the same command again")


def _remember(job: Job, error: Moderated) -> None:
    """Note that moderation refused the row: the same again would be charged again, and count against the account."""
    with contextlib.suppress(OutputError):
        records = Records(job.outputs)
        if not records.exists(job.output):
            records.add(job.output, {"format": FORMAT, "fingerprint": job.fingerprint, "refused": error.what})


def refused_before(record: dict[str, Any] | None, fingerprint: str) -> RunwayNodeError | None:
    """The error for a row whose very content moderation refused before."""
    if record is None or record["fingerprint"] != fingerprint or "refused" not in record:
        return None
    return RunwayNodeError(
        f"{record['refused']}, in an earlier run; it was not sent again",
        "Change the prompt or the clip, or send it all the same: --retry-refused",
    )


def prompts(recipe: Recipe) -> str:
    """The prompts of a recipe's paid steps, as one."""
    return "\n".join(node.step.prompt for node in recipe.nodes if isinstance(node.step, VideoToVideo))


def _render(
    job: Job, recipe: Recipe, records: Records, settings: Settings, stop: Stop, meter: Meter, hashes: Hashes,
    *, began: float | None,
) -> Rendered:  # fmt: skip
    if records.exists(job.output) and not job.force:
        raise occupied(records, job.output)
    out = staging(job.outputs, settings) / job.output

    def note(film: Path, rendered: Rendered) -> None:
        _as_checked(job, recipe, hashes)  # else it would be remembered as made from what it was not made from
        outcome = _done(job, rendered).model_dump(mode="json", include={"takes", "cost"})
        told = {"format": FORMAT, "fingerprint": job.fingerprint, **outcome}
        records.add(job.output, {**told, "sha256": file_hash(film), "size": film.stat().st_size})

    force = job.force or records.remote  # a file of an earlier try, on its way to the bucket
    rendered = render(
        recipe, out, settings, stop=stop, on_progress=meter, on_film=note, force=force, began=began, **job.policy
    )
    if records.remote:
        deliver(out, records.where(job.output), replace=job.force)
        out.unlink(missing_ok=True)
    return rendered


def occupied(records: Records, output: str) -> OutputError:
    """The error for an output that exists and is another's, or was made from something else."""
    ours = records.untouched(output)
    what = "was made from other values or files" if ours else "exists, and was not made by this batch"
    where = records.where(output)
    return OutputError(f"{where} {what}", "Remove it, choose another folder (-o), or replace it with --force")


def _done(job: Job, rendered: Rendered) -> Outcome:
    takes = tuple(str(take.path) for result in rendered.results for take in result.takes)
    return Outcome(
        row=job.row, status="done", output=Records(job.outputs).where(job.output), takes=takes, cost=rendered.cost,
        spent=rendered.spent, warnings=rendered.warnings,
    )  # fmt: skip


def kept(job: Job, record: dict[str, Any]) -> Outcome:
    """A row that was done before."""
    takes: tuple[str, ...] = ()
    with contextlib.suppress(TypeError):
        takes = tuple(str(take) for take in record.get("takes") or ())
    return Outcome(
        row=job.row,
        status="done",
        output=Records(job.outputs).where(job.output),
        takes=takes,
        cost=record.get("cost"),
        spent=0.0,
    )


def unforeseen(error: BaseException) -> RunwayNodeError:
    """An error that is none of ours: a fault of this program; the log has where it is."""
    log.debug("A fault of this program", exc_info=error)
    return RunwayNodeError(
        f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        "This is our fault: run it again with --debug and report it",
    )


def failed(
    row: int, error: RunwayNodeError, prompt: str = "", *, spent: float | None = 0.0, takes: tuple[str, ...] = ()
) -> Outcome:
    """The outcome that an error is.

    Args:
        prompt: Of its paid steps.
        spent: Credits that were charged for calls that this run sent.
        takes: That are owned all the same.

    """
    return Outcome(
        row=row, status=_word(error), error=_said(error), kind=type(error).__name__,
        cost=getattr(error, "credits", None) if not isinstance(error, OverLimit) else None,
        takes=takes, spent=spent, exit_code=error.exit_code, again=getattr(error, "retry", ""), halt=reason(error),
        refusal=refusal_of(error, prompt), refused=refused(error),
        task=getattr(error, "task_id", None) or "",
    )  # fmt: skip


def _said(error: RunwayNodeError) -> str:
    """The error in one line, with what went wrong beside it: each left task is named."""
    told = " ".join(str(error).split())
    more = dict.fromkeys(" ".join(one.what.rstrip(".").split()) for one in all_of(error)[1:])
    also = [what for what in more if what not in told]
    return f"{told.rstrip('.')}. Also: {'; '.join(also)}" if also else told


def _word(error: RunwayNodeError) -> Status:
    match error:
        case Ambiguous():
            return "unknown"
        case OverLimit():
            return "refused"
        case StillRunning() | Interrupted():
            return "left"
        case LedgerError():
            return "failed"
        case WrongUse():
            return "invalid"
    return "failed"
