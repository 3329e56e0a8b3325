"""Widgets' values as Step, Policy and times, and what happened as text. Pure: no ComfyUI, no file, no clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from math import ceil, isfinite
from typing import Any, NamedTuple

from ...errors import Ambiguous, RunwayNodeError, SourceError, StepError
from ...models import Event, Keyframe, Model, OwnedTake, Policy, Result, Step, build, check, price_text
from ...planning import Plan
from ...settings import Settings

UNSET: dict[str, Any] = {
    "model": "auto", "provider": "auto", "seed": -1, "aspect": "source", "moderation": "default", "overlap": -1,
}  # fmt: skip
"""What a widget shows for a field that is not set: a graph has no empty ones."""

KEYFRAMES = "RUNWAY_KEYFRAMES"
"""The socket type of chained keyframes."""

NEWEST = 50
"""Takes that the list offers."""


def step_of(widgets: Mapping[str, Any], references: Sequence[Any] = (), keyframes: Sequence[Keyframe] = ()) -> Step:
    """The Step that a node's widgets name; one that is left alone counts as not there.

    Raises:
        StepError: A value is wrong.

    """
    plain = Step.model_fields.keys() - {"references", "keyframes", "key"}
    given = {name: widgets[name] for name in plain if widgets.get(name) not in {None, UNSET.get(name)}}
    if name := (widgets.get("clip_name") or "").strip():
        given["key"] = name
    if references:
        given["references"] = tuple(references)
    if keyframes:
        given["keyframes"] = tuple(keyframes)
    return build(Step, **given)


def policy_of(widgets: Mapping[str, Any], settings: Settings | None = None) -> Policy:
    """The Policy that they name; 0 is no limit of the node's own, and a setting that is lower holds."""
    given = {}
    for name in ("max_seconds", "max_credits"):
        limits = [limit for limit in (widgets.get(name), getattr(settings, name, None)) if limit]
        if limits:
            given[name] = min(limits)
    return build(Policy, **given, allow_sdr=bool(widgets.get("allow_sdr")))


def refusal(widgets: Mapping[str, Any], linked: Collection[str], table: Sequence[Model], provider: str | None) -> str:
    """Why these widgets and links cannot be an order, one line; "" where nothing is wrong yet.

    Args:
        linked: The inputs that are linked, whose values are not known yet.
        table: The models that there are.
        provider: Who would be asked; None where that is not known before a key is.

    """
    values = {name: value for name, value in widgets.items() if name not in linked}
    try:
        step = step_of(values)
        asked = step.provider or provider
        rows = [row for row in table if not row.retired and asked in {None, row.provider}]
        rows = [row for row in rows if step.model in {None, row.name}]
        if not rows:
            there = ", ".join(f"{row.name} ({row.provider})" for row in table if not row.retired)
            where = f" on {asked}" if asked else ""
            raise StepError(f"There is no model {step.model}{where}", f"There is {there}")
        return _best([_refused_by(row, step, values, linked, table) for row in rows])
    except StepError as error:
        return str(error)


def _best(found: Sequence[str]) -> str:
    return "" if "" in found else found[0]


def _refused_by(
    row: Model, step: Step, values: Mapping[str, Any], linked: Collection[str], table: Sequence[Model]
) -> str:
    for field in ("references", "keyframes"):
        if field in linked and field not in row.takes:
            able = " or ".join(f"{other.name} ({other.provider})" for other in table if field in other.takes)
            return f"{row.name} on {row.provider} does not take {field}. Unplug it, or use {able}"
    # A linked prompt is not known yet, and keyframes may stand for one.
    unknown = "prompt" not in values or "keyframes" in linked
    try:
        check(step.model_copy(update={"prompt": step.prompt or "linked"}) if unknown else step, row, tuple(table))
    except StepError as error:
        return str(error)
    return ""


class Span(NamedTuple):
    """Seconds [start, end) of the file that is given to the engine; None for its own ends."""

    start: Fraction | None
    end: Fraction | None


def span_of(window: tuple[float, float], start: float, end: float, fps: Callable[[], Fraction]) -> Span:
    """Where the node's range lies in the file of a clip that is trimmed itself.

    A trim shows the frames that begin within it (ComfyUI 0.33), a range those nearest to its ends.

    Args:
        window: The clip's own start in its file and its length, 0 for all that is left.
        start, end: The node's widgets, from the trimmed clip's start; an end of 0 is the clip's.
        fps: The file's rate, asked for where there is a trim.

    Raises:
        SourceError: Nothing lies between them.

    """
    if not all(isfinite(seconds) for seconds in (start, end)):
        raise SourceError("start and end are seconds", "Give numbers")
    if end and end <= start:
        raise SourceError(f"There is no frame from {start:g} s to {end:g} s", "Give an end after the start, or 0")
    begins, lasts = _exact(window[0]), _exact(window[1])
    stop = None
    if begins or lasts:
        rate = fps()
        first, last = (ceil(time * rate - WITHIN) for time in (begins, begins + lasts))
        begins, stop = first / rate, last / rate if lasts else None
    if stop is not None and begins + _exact(start) >= stop:
        raise SourceError(f"There is no frame from {start:g} s on", f"The clip is {float(stop - begins):g} s long")
    ends = [begins + _exact(end)] * bool(end) + ([] if stop is None else [stop])
    return Span(begins + _exact(start) or None, min(ends) if ends else None)


WITHIN = Fraction(1, 100)
"""Frames: a file's clock rounds a frame's time by less than that."""


def _exact(seconds: float) -> Fraction:
    # A float that was a round number of milliseconds, or of frames, becomes that again.
    return Fraction(seconds).limit_denominator(1_000_000)


# --- what is shown ---


def line(event: Event) -> str:
    """One line under the node: what is going on, how far it is, what it cost so far."""
    if event.phase in {"warning", "retrying"}:
        return event.message
    parts = [event.phase + (f" {clock(event.seconds)}" if event.seconds is not None else "")]
    if event.segments > 1:
        parts.append(f"segment {event.segment + 1} of {event.segments}")
    parts.append(f"{event.overall:.0%}")
    if event.credits is not None:
        parts.append(f"{event.credits:g} credits so far")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as "00:40" or "1:02:05"."""
    hours, rest = divmod(int(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02}:{rest % 60:02}"


def info(result: Result, notes: Sequence[str] = ()) -> str:
    """What became of the order: its tasks, its cost, what the ledger had, what was lost on the way."""
    took = len(result.takes)
    cost = "not told by the provider" if result.cost is None else f"{result.cost:g} credits"
    spent = "not told" if result.spent is None else f"{result.spent:g}"
    return "\n".join(
        [
            f"{result.model} on {result.provider}, seed {result.seed}, order {result.digest[:12]}",
            f"cost: {cost}; spent in this run: {spent}",
            f"from the ledger: {result.owned} of {took} takes",
            "tasks: " + ", ".join(take.task_id for take in result.takes),
            *(f"warning: {_graphs(text)}" for text in (*result.warnings, *notes)),
        ]
    )


def _graphs(text: str) -> str:
    """A warning's advice in the words of a graph."""
    return text.replace("give both the same key", "give both the same clip_name")


def plan_text(plan: Plan) -> str:
    """The plan for a person: a line a call, what it costs, and whether it may."""
    rate = float(plan.fps)
    rows = []
    for segment, price, word in zip(plan.segments, _wide(plan.prices, plan), _wide(plan.standing, plan), strict=True):
        told = price_text(price, plan.provider)
        rows.append(
            f"{segment.index + 1}: {segment.first / rate:.2f} to {segment.last / rate:.2f} s, "
            f"{float(segment.seconds):g} s billed, {told}{f', {word}' if word else ''}; {segment.why}"
        )
    to_pay = f"{float(plan.to_pay):g} s, {price_text(plan.to_pay_credits, plan.provider)}"
    billed = f"{float(plan.billed_seconds):g} s, {price_text(plan.credits, plan.provider)}"
    order = "one after another" if plan.chained else f"{plan.at_once} at once"
    return "\n".join(
        [
            f"{plan.model} on {plan.provider}: {float(plan.seconds):.2f} s in {len(plan.segments)} call(s), {order}",
            *rows,
            f"billed: {billed}; to pay now: {to_pay}",
            *(f"warning: {text}" for text in plan.warnings),
            *([f"It would be refused: {plan.over}"] if plan.over else []),
        ]
    )


def _wide(values: Sequence[Any], plan: Plan) -> Sequence[Any]:
    return values or (None,) * len(plan.segments)


def choices(takes: Sequence[OwnedTake]) -> list[str]:
    """The newest orders with takes, for a list; the digest, by which `chosen` knows one, comes last."""
    found: dict[str, str] = {}
    for take in takes:
        words = " ".join(take.prompt.split())[:32] or "(no prompt)"
        found.setdefault(take.digest, f"{_when(take.at)} {take.source}: {words} [{take.digest[:12]}]")
    return list(found.values())[:NEWEST]


def chosen(choice: str, named: str) -> str:
    """The digest or task id that is meant: what is typed, else what is chosen from the list.

    Raises:
        StepError: Neither.

    """
    if named.strip():
        return named.strip()
    _, bracket, digest = choice.rpartition("[")
    if not bracket:
        raise StepError("No take is chosen", "Choose one from the list, or type a digest or a task's id")
    return digest.rstrip("]")


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def told(error: RunwayNodeError) -> str:
    """The error's line, with what a graph has beside the program's flags."""
    more = ""
    if isinstance(error, Ambiguous):
        more = ' In the graph, another number in "take" is another order, and paid as one.'
    return f"{error}{more}"
