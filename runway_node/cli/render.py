"""`render` and `template`: a template's rows are checked, priced and rendered; the flags become what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Interrupted, RunwayNodeError, WrongUse
from ..models.words import counted
from . import flags
from .asking import asked_for
from .batches import Database
from .order import detach_on_term
from .output import Show, reporting
from .pricing import facts, priced, spent_in_words

if TYPE_CHECKING:
    from ..batch import Asked, Checked, Outcome, Results
    from ..engine import Stop
    from ..models import Event
    from ..settings import Settings

template_app = typer.Typer(no_args_is_help=True, help="Templates: their schema, and whether one is right.")

TemplateFile = Annotated[Path, typer.Argument(metavar="TEMPLATE", show_default=False, help="The .yaml or .json file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A var's value; may be given several times.")
]
Rows = Annotated[
    Path | None,
    typer.Option(
        "--rows", metavar="FILE", help="A .csv or .jsonl: a render a row, its columns the vars; a folder: one a clip."
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--output", "-o",
        help="The folder, or s3://BUCKET/PREFIX, for results; without --rows also a file. Unset: the folder "
        "TEMPLATE-out here with --rows, else this one.",
    ),
]
Media = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR", help="A folder, or s3://BUCKET/PREFIX, that rows may take files from, beside their own."
    ),
]
MaxRefusals = Annotated[
    int, typer.Option(min=1, help="Stop after so many input-moderation refusals of one prompt: each is charged.")
]
RetryRefused = Annotated[
    bool, typer.Option("--retry-refused", help="Send again what input moderation refused in an earlier run.")
]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Begin although balance or daily generations do not suffice for all rows.")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", metavar="threads|dbos", help="threads: this process. dbos: a durable queue, for many machines."
    ),
]
AtOnce = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Rows at once in this process; unset: what keeps the slots busy.")
]
OnInterrupt = Annotated[
    str | None,
    typer.Option(
        metavar="cancel|detach",
        help="What Ctrl-C does to tasks at the provider; unset: cancel. With --engine dbos they always run on.",
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="With --engine dbos: enqueue the rows, and do not wait.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all rows and tell what they cost; order nothing.")]
MaxCreditsAll = Annotated[float | None, typer.Option(min=0, help="Credits that all rows together may order.")]

MaxSeconds = Annotated[
    float | None,
    typer.Option(min=0, help="Paid seconds that all rows together may order; unset: 60 for each paid step of a row."),
]


@template_app.command()
def schema() -> None:
    """Print the JSON Schema of templates, for editors."""
    import json

    from ..templates import schema as made

    typer.echo(json.dumps(made(), indent=2))


@template_app.command()
def check(template: TemplateFile, json: flags.Json = False, debug: flags.Debug = False) -> None:
    """Tell whether a template is right, and which vars it has."""
    with reporting(json=json, debug=debug) as show:
        from ..templates import load

        source = load(template)
        show.result({"vars": {name: var.model_dump(mode="json") for name, var in source.vars.items()}})
        heads = ("var", "type", "unless given", "may be", "")
        show.table(heads, [_var(name, var) for name, var in source.vars.items()])
        show.say(f"{template.name} is right; no file was looked at, render --dry-run does that")


def _var(name: str, var: Any) -> tuple[str, ...]:
    default = "must be given" if var.default is None else var.shown(var.default)
    return name, var.type, default, var.bounds, var.description


def render(
    template: TemplateFile, sets: Sets = None, rows: Rows = None, output: Out = None, media: Media = None,
    max_credits: MaxCreditsAll = None, max_seconds: MaxSeconds = None, max_refusals: MaxRefusals = 3,
    retry_refused: RetryRefused = False, anyway: Anyway = False, dry_run: DryRun = False,
    engine: EngineName = "threads", database: Database = None, detach: Detach = False, at_once: AtOnce = None,
    on_interrupt: OnInterrupt = None, reorder: flags.Reorder = False,
    resubmit_ambiguous: flags.ResubmitAmbiguous = False, force: flags.Force = False, json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Render a template, once or for every row of a table; again, and only what is missing is rendered."""
    with reporting(json=json, debug=debug) as show:
        from ..batch import worst
        from ..engine import Stop
        from ..engine.stop import hear_ctrl_c
        from ..ledger import opened
        from ..models import Limits
        from ..settings import load_settings
        from ..templates import load

        over = {"database_url": database, "max_seconds": max_seconds}
        settings, stop = load_settings(**{name: value for name, value in over.items() if value}), Stop()
        _check_flags(engine, settings, detach=detach, at_once=at_once, on_interrupt=on_interrupt)
        policy = {"reorder": reorder, "resubmit_ambiguous": resubmit_ambiguous, "on_interrupt": on_interrupt}
        given = {name: value for name, value in policy.items() if value}
        with detach_on_term(stop), hear_ctrl_c(stop):
            with opened(settings, create=False):  # a ledger that cannot be used is told once, not by each row
                pass
            asked = asked_for(
                load(template), sets or [], rows, output, media or [],
                settings=settings, policy=given, force=force, retry_refused=retry_refused,
            )  # fmt: skip
            checked = _checked(show, asked, stop)
            most = Limits(max_seconds=max_seconds, max_credits=max_credits)
            priced(show, checked, settings, most, dry_run=dry_run, anyway=anyway, table=rows is not None)
            if dry_run:
                code = worst([one.outcome.exit_code for one in checked if one.outcome])
                show.result({"rows": len(checked), **facts(checked), "exit_code": code})
                raise typer.Exit(code)
            run = _through(show, asked, checked, max_refusals, at_once, queue=engine == "dbos", detach=detach)
            outcomes, untold = _rendered(show, asked, checked, stop, run, table=rows is not None)
        _tell(show, asked, checked, outcomes, stop, untold, table=rows is not None)


def _check_flags(
    engine: str, settings: Settings, *, detach: bool, at_once: int | None, on_interrupt: str | None
) -> None:
    if engine not in {"threads", "dbos"}:
        raise WrongUse(f"--engine {engine!r} is neither threads nor dbos", "Leave it out for this machine alone")
    if on_interrupt not in {None, "cancel", "detach"}:
        raise WrongUse(f"--on-interrupt {on_interrupt!r} is neither cancel nor detach", "Leave it out to cancel")
    if detach and engine != "dbos":
        raise WrongUse("--detach leaves rows to workers, and there are none", "Add --engine dbos")
    if engine == "dbos":
        from ..batch.durable import library

        library()  # a dry run tells as well that it is missing
    if engine == "dbos" and on_interrupt == "cancel":
        raise WrongUse("Rows in a queue run on after Ctrl-C", "Stop them with runway-node batch cancel")
    if engine == "dbos" and at_once and (detach or settings.database_url):
        raise WrongUse("This process does no row itself", "Give --at-once to runway-node worker")


def _checked(show: Show, asked: Asked, stop: Stop) -> list[Checked]:
    from ..batch import check

    count = len(asked.rows)

    def hear(done: int) -> None:
        show.share("checking", done / count, f"{done} of {counted(count, 'row')}")

    found = check(asked, stop=stop, on_row=hear)
    if stop.is_set():
        raise Interrupted("Stopped while the rows were checked", "Nothing was ordered")
    return found


def _rendered(
    show: Show, asked: Asked, checked: list[Checked], stop: Stop, run: Callable[..., str], *, table: bool
) -> tuple[list[Outcome], list[int]]:
    """What came of the rows; and the exit code of a table of them that cannot be written."""
    from ..batch import Results, held_to_plan

    results = Results(asked.outputs, asked.rows, asked.settings, force=asked.force) if table else None
    over = [one.outcome for one in checked if one.outcome is not None]
    before = {one.row.number: one.warnings for one in checked}  # told already
    jobs = [held_to_plan(one) for one in checked if one.outcome is None and one.job is not None]
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        results.add(outcome) if results is not None else None
        show.line({"phase": "row", **outcome.model_dump(mode="json")}) if show.json else None
        if outcome.status != "not sent" and table and outcome not in over:
            show.note(f"row {outcome.row} {outcome.status}: {outcome.error or outcome.output}")
        known = before.get(outcome.row, ())
        for warning in [one for one in outcome.warnings if one not in known] if table else ():
            show.note(f"row {outcome.row} warning: {warning}")
        show.share("rows", len(outcomes) / len(checked), f"{len(outcomes)} of {len(checked)}")

    def hear(row: int, event: Event) -> None:
        if show.json:
            show.line({"row": row, **event.model_dump(mode="json", exclude_none=True)})
        elif not table:
            show.event(event, event.step or "")
        elif event.phase in {"submitted", "retrying"}:
            show.event(event, f"row {row}")

    for outcome in over:
        note(outcome)
    try:
        why = run(jobs, stop=stop, on_event=hear, on_outcome=note) if jobs else ""
    finally:
        untold = _written(show, results)
    if why:
        show.note(f"The batch stopped sending: {why}")
    return outcomes, untold


def _written(show: Show, results: Results | None) -> list[int]:
    """Write the table; its exit code where that fails: what came of the rows weighs more."""
    try:
        results.close() if results is not None else None
    except RunwayNodeError as error:
        show.note(f"Error: {error}")
        return [error.exit_code]
    return []


def _through(
    show: Show, asked: Asked, checked: list[Checked], max_refusals: int, at_once: int | None, *, queue: bool,
    detach: bool,
) -> Callable[..., str]:  # fmt: skip
    """What renders jobs: the durable queue, or this process."""
    from functools import partial

    if queue:
        from .enqueue import through_queue

        every = [one.job for one in checked if one.job is not None and one.job.fingerprint]
        return partial(through_queue, show, asked, every, max_refusals=max_refusals, most=at_once, detach=detach)
    from ..batch import Halting, run_rows

    return partial(run_rows, settings=asked.settings, halting=Halting(max_refusals), most=at_once)


def _tell(
    show: Show, asked: Asked, checked: list[Checked], outcomes: list[Outcome], stop: Stop, untold: list[int], *,
    table: bool,
) -> None:  # fmt: skip
    from ..batch import worst
    from ..batch.records import Records
    from ..batch.results import FILE
    from ..models import sum_known

    show.close()
    spent = sum_known([one.spent for one in outcomes])
    done = sum(one.status == "done" for one in outcomes)
    code = 130 if stop.is_set() else worst([*(one.exit_code for one in outcomes), *untold])
    if not table and not outcomes:  # left to the workers
        show.result({"rows": 1, "done": 0, "exit_code": code})
        return
    if not table:
        outcome = outcomes[0]
        if outcome.status != "done":
            show.error(RunwayNodeError(outcome.error), code, outcome.kind)
            raise typer.Exit(code)
        show.result(outcome.model_dump(mode="json"))
        show.warnings(outcome.warnings)
        show.note("spent: not stated by the provider" if spent is None else f"spent: {spent:g} credits")
        show.say(outcome.output)
        return
    where = Records(asked.outputs).where(FILE)
    show.result({"rows": len(outcomes), "done": done, "spent": spent, "results": where, "exit_code": code})
    if len(outcomes) < len(asked.rows):
        left = counted(len(asked.rows) - len(outcomes), "row")
        show.note(f"{left} left to workers: see runway-node batch status; the same command without --detach "
                  f"waits for what is left, and completes {FILE}")  # fmt: skip
    on = {"left", "not sent"} & {one.status for one in outcomes}
    more = "; the same command goes on with what is missing" if on else ""
    show.note(f"{done} of {counted(len(asked.rows), 'row')} done, {spent_in_words(checked, outcomes)}{more}")
    show.say(where)
    if code:
        raise typer.Exit(code)
