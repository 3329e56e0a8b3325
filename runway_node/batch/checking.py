"""All rows looked at before anything is paid: values, files, names, limits, price. Sends nothing."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import OutputError, OverLimit, RunwayNodeError, SourceError
from ..media.opener import cores
from ..models import dollars_of, sum_known
from ..planning import Plan
from ..settings import Provider, Settings
from ..storage import is_remote
from ..templates import Looked, Places, Source, TemplateError, look
from .jobs import Hashes, Job, Outcome, brought, files_of, fingerprint, jsonable
from .names import collisions, output_name
from .records import Records
from .results import FILE
from .rows import Row
from .work import failed, kept, occupied, refused_before, unforeseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A row as it was looked at.

    Args:
        row: As it was given.
        job: What is to be rendered; None where it cannot be.
        outcome: Where the row is over already: done before, or not to be rendered.
        plans: Of its paid steps.
        frames: How many the result will have.
        size: Its width and height, in pixels.
        fps: Its rate.
        warnings: What will be lost or changed.

    """

    row: Row
    job: Job | None = None
    outcome: Outcome | None = None
    plans: tuple[tuple[str, Plan], ...] = ()
    frames: int = 0
    size: tuple[int, int] = (0, 0)
    fps: Fraction = Fraction(1)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command asks for.

    Args:
        source: The template.
        rows: To render it for.
        places: Where the files that rows name may be.
        given: Values that hold for every row that has none of its own; files as `Path`s by now.
        outputs: The folder, or the s3://BUCKET/PREFIX, that results go to.
        name: The output's name of a single render, which the command said.
        policy: What overrules the template's policies.
        force: Replace outputs.
        retry_refused: Send again what moderation refused before.
        settings: Keys, limits, folders.

    """

    source: Source
    rows: Sequence[Row]
    places: Places
    given: dict[str, Any] = field(default_factory=dict)
    outputs: str
    name: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    retry_refused: bool = False
    settings: Settings


def check(
    asked: Asked, *, stop: threading.Event | None = None, on_row: Callable[[int], None] | None = None
) -> list[Checked]:
    """Look at all rows.

    Args:
        stop: Ends it early: rows that were not looked at are "not sent".
        on_row: Called with how many are done.

    Raises:
        OutputError: No row's result could be put there.

    """
    Records(asked.outputs).check(asked.name or FILE, asked.settings)
    inputs: set[Input] = set()
    found = [_named(asked, row, inputs) for row in asked.rows if stop is None or not stop.is_set()]
    clash = collisions([one.job.output if one.job else None for one in found])
    for place, other in clash.items():
        job = found[place].job
        assert job is not None
        error = TemplateError(
            f"its output {job.output} is row {asked.rows[other].number}'s too", "Let output.name use a var that differs"
        )
        found[place] = _wrong(asked.rows[place], error)
    records, hashes, done = Records(asked.outputs), Hashes(), 0

    def one(checked: Checked) -> Checked:
        if checked.job is None or (stop is not None and stop.is_set()):
            return checked
        return _looked(asked, checked, records, hashes, inputs, stop)

    with ThreadPoolExecutor(cores(), thread_name_prefix="runway-look") as pool:
        looked = []
        for checked in pool.map(one, found):
            looked.append(checked)
            done += 1
            if on_row is not None:
                on_row(done)
    return looked


Input = str | tuple[int, int]
"""A file that a row reads: by its device and number, or its URL."""


def _input(file: Path | str) -> Input | None:
    if is_remote(file):
        return str(file)
    with contextlib.suppress(OSError, ValueError):
        found = Path(file).stat()
        return found.st_dev, found.st_ino
    return None


def _named(asked: Asked, row: Row, inputs: set[Input]) -> Checked:
    """The row's values, and its output's name; the files that it reads are added to *inputs*."""
    try:
        _is_text({**row.cells, **asked.given})
        given = {name: value for name, value in asked.given.items() if row.cells.get(name) in {None, ""}}
        values = asked.source.values({**row.cells, **given}, asked.places, loose=True)
        files = {name: Path(value) if is_remote(value) else value for name, value in values.items()}
        recipe = asked.source.recipe(files, there=False)
        named = [file for file in (*values.values(), *files_of(recipe)) if is_remote(file) or isinstance(file, Path)]
        read = map(_input, named)
        inputs.update(one for one in read if one is not None)
        name = asked.name or output_name(_pattern(asked, row, files), files, recipe.output.suffix)
        job = Job(
            row=row.number, template=asked.source.text, file=asked.source.file, folder=asked.source.folder,
            values=jsonable(values),
            outputs=asked.outputs, output=name, fingerprint="", policy=asked.policy, force=asked.force,
        )  # fmt: skip
    except RunwayNodeError as error:
        return _wrong(row, asked.source.by_var(error))
    except Exception as error:  # noqa: BLE001 - one bad row does not stop the others
        return _wrong(row, unforeseen(error))
    return Checked(row=row, job=job)


def _is_text(cells: dict[str, Any]) -> None:
    for name, value in cells.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise TemplateError(f"{name} holds what is no text: {str(value)[:40]!a}", "Write it anew") from None


def _pattern(asked: Asked, row: Row, values: dict[str, Any]) -> str:
    """The output's name as the template has it, else by the row's first file, else by its number.

    As it was written: a value that is put into it must not become a folder.
    """
    written = (asked.source.tree.get("output") or {}).get("name")
    if written is not None:
        return str(written)
    path = next((name for name, var in asked.source.vars.items() if var.type == "path" and name in values), None)
    return f"${{{path}}}-{asked.source.name}" if path else f"{asked.source.name}-{row.number}"


def _looked(
    asked: Asked, checked: Checked, records: Records, hashes: Hashes, inputs: set[Input], stop: threading.Event | None
) -> Checked:
    job = checked.job
    assert job is not None
    try:
        values = asked.source.values(job.values, Places(base=job.folder, anywhere=True))
        recipe = asked.source.recipe(brought(values, asked.settings, stop))
        try:
            job = job.model_copy(update={"fingerprint": fingerprint(asked.source, values, recipe, hashes)})
        except SourceError:  # a file that is not there: the look names the step
            look(recipe, asked.settings, **asked.policy)
            raise
        record = records.made(job.output, job.fingerprint)
        if record is not None:
            return replace(checked, job=job, outcome=kept(job, record))
        before = refused_before(records.of(job.output), job.fingerprint)
        if before is not None and not asked.retry_refused:
            raise before
        where = records.where(job.output)
        if _input(where) in inputs:
            raise OutputError(f"{where} is a file that rows are made from", "Choose another folder (-o)")
        if records.exists(job.output) and not job.force:
            raise occupied(records, job.output)
        records.check(job.output, asked.settings)
        looked: Looked = look(recipe, asked.settings, **asked.policy)
        over = next((plan.over for _, plan in looked.plans if plan.over), "")
        if over:
            raise OverLimit(over)  # with its mend
    except RunwayNodeError as error:
        return _wrong(checked.row, asked.source.by_var(error))
    except Exception as error:  # noqa: BLE001 - one bad row does not stop the others
        return _wrong(checked.row, unforeseen(error))
    return replace(
        checked, job=job, plans=looked.plans, frames=looked.frames, size=(looked.width, looked.height), fps=looked.fps,
        warnings=looked.warnings,
    )  # fmt: skip


def _wrong(row: Row, error: RunwayNodeError) -> Checked:
    return Checked(row=row, outcome=failed(row.number, error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a batch will order.

    Args:
        calls: Paid calls in all, those that are owned too.
        owned: How many of them are owned.
        pays: Calls still to be paid, by model.
        credits: What these cost; None where a price is unknown.
        dollars: The same; None where a provider publishes no price in them.
        seconds: Billed seconds of them.

    """

    calls: int
    owned: int
    pays: dict[str, int]
    credits: float | None
    dollars: float | None
    seconds: float


def price(checked: Iterable[Checked], provider: Provider | None = None) -> Price:
    """The price of all rows together, or of one provider's share; an order that several rows have is paid once."""
    seen: set[str] = set()
    calls = owned = 0
    pays: dict[str, int] = {}
    whole: float | None = 0.0
    dollars: float | None = 0.0
    seconds = 0.0
    for plan in (plan for one in checked if one.outcome is None for _, plan in one.plans):
        if provider is not None and plan.provider != provider:
            continue
        if plan.digest and plan.digest in seen:
            continue
        seen.add(plan.digest or "")
        count = calls_to_pay(plan)
        calls, owned = calls + len(plan.segments), owned + plan.standing.count("owned")
        if count:
            pays[plan.model] = pays.get(plan.model, 0) + count
            cost = plan.to_pay_credits
            whole = None if whole is None or cost is None else whole + cost
            priced = dollars_of(cost, plan.provider)
            dollars = None if dollars is None or priced is None else dollars + priced
            seconds += float(plan.to_pay)
    return Price(calls=calls, owned=owned, pays=pays, credits=whole, dollars=dollars, seconds=seconds)


def held_to_plan(one: Checked) -> Job:
    """A row's job, each of its paid steps allowed to pay what was planned and no more, whoever renders it."""
    assert one.job is not None
    if not one.plans:
        return one.job
    reorder = bool(one.job.policy.get("reorder"))
    seconds, costs = zip(*(_at_most(plan, reorder=reorder) for _, plan in one.plans), strict=True)
    most: dict[str, float] = {"max_seconds": max(1, *seconds)}
    if None not in costs:
        most["max_credits"] = max(0.01, *costs)
    return one.job.model_copy(update={"policy": {**one.job.policy, **most}})


def _at_most(plan: Plan, *, reorder: bool) -> tuple[int, float | None]:
    """Seconds, whole ones, and credits that a run of the plan may pay: what is under way may come to nothing."""
    standing = plan.standing or ("to pay",) * len(plan.segments)
    calls = [
        (segment.seconds, price)
        for segment, price, word in zip(plan.segments, plan.prices, standing, strict=True)
        if reorder or word != "owned"
    ]
    return math.ceil(sum(seconds for seconds, _ in calls)), sum_known([price for _, price in calls])


def calls_to_pay(plan: Plan) -> int:
    """How many of a plan's calls a run would pay: of frames that are not rendered yet, all may be."""
    return len(plan.segments) if not plan.digest else plan.standing.count("to pay")
