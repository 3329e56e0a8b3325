"""`run` and `plan`: the flags become a Step and a Policy, the engine does the rest."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import typer

from ..errors import OverLimit, RunwayNodeError
from . import flags
from .output import Show, reporting, table_lines

if TYPE_CHECKING:
    from ..engine import Stop
    from ..models import Policy, Result, Step
    from ..planning import Plan


def run(
    source: flags.Source, prompt: flags.Prompt = "", output: flags.Output = None,
    start: flags.Start = None, end: flags.End = None, provider: flags.Provider = None, model: flags.Model = None,
    seed: flags.Seed = None, take: flags.Take = None, key: flags.Key = None, reference: flags.Reference = None,
    keyframe: flags.KeyframeFlag = None, aspect: flags.Aspect = None, moderation: flags.Moderation = None,
    output_format: flags.OutputFormat = None, cut_at: flags.CutAt = None, overlap: flags.Overlap = None,
    continuity: flags.Continuity = None, keep_rest: flags.KeepRest = False, max_seconds: flags.MaxSeconds = None,
    max_credits: flags.MaxCredits = None, max_credits_per_day: flags.MaxCreditsPerDay = None,
    timeout: flags.Timeout = None, queue_timeout: flags.QueueTimeout = None, on_timeout: flags.OnTimeout = None,
    on_interrupt: flags.OnInterrupt = None, delivery: flags.Delivery = None, conform: flags.Conform = None,
    allow_sdr: flags.AllowSdr = False, reorder: flags.Reorder = False,
    resubmit_ambiguous: flags.ResubmitAmbiguous = False, delete_remote: flags.DeleteRemote = None,
    force: flags.Force = False, json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Transform a clip, or a range of it; it costs money where the key is a real one. Once: the same again is free."""
    given = locals()
    with reporting(json=json, debug=debug) as show:
        from ..engine import Stop
        from ..engine import run as carry_out

        stop = Stop()
        step, policy = flags.step(given), flags.policy(given)
        with detach_on_term(stop), _told_where_over(show, source, step, policy, flags.span(start, end)):
            result = carry_out(
                source, step, output, **flags.span(start, end),
                policy=policy, stop=stop, on_progress=show.event, keep_rest=keep_rest, force=force,
            )  # fmt: skip
        tell_result(show, result)


@contextlib.contextmanager
def _told_where_over(show: Show, source: str, step: Step, policy: Policy, span: flags.Span) -> Iterator[None]:
    """An order that would cost too much is told with its plan."""
    try:
        yield
    except OverLimit:
        from ..engine import plan as look_ahead

        with contextlib.suppress(RunwayNodeError):
            found = look_ahead(source, step, **span, policy=policy)
            show.line({"phase": "plan", **found.model_dump(mode="json")}) if show.json else None
            for line in (*table_lines(_plan_table(found)), *_summary(found)):
                show.note(line)
        raise


def plan(
    source: flags.Source, prompt: flags.Prompt = "", start: flags.Start = None, end: flags.End = None,
    provider: flags.Provider = None, model: flags.Model = None, seed: flags.Seed = None, take: flags.Take = None,
    key: flags.Key = None, reference: flags.Reference = None, keyframe: flags.KeyframeFlag = None,
    aspect: flags.Aspect = None, moderation: flags.Moderation = None, output_format: flags.OutputFormat = None,
    cut_at: flags.CutAt = None, overlap: flags.Overlap = None, continuity: flags.Continuity = None,
    keep_rest: flags.KeepRest = False, max_seconds: flags.MaxSeconds = None, max_credits: flags.MaxCredits = None,
    max_credits_per_day: flags.MaxCreditsPerDay = None, timeout: flags.Timeout = None,
    queue_timeout: flags.QueueTimeout = None, on_timeout: flags.OnTimeout = None,
    on_interrupt: flags.OnInterrupt = None, delivery: flags.Delivery = None, conform: flags.Conform = None,
    allow_sdr: flags.AllowSdr = False, reorder: flags.Reorder = False,
    resubmit_ambiguous: flags.ResubmitAmbiguous = False, delete_remote: flags.DeleteRemote = None,
    json: flags.Json = False, debug: flags.Debug = False,
) -> None:  # fmt: skip
    """Tell what `run` with the same flags would do and cost, and what is owned; needs no key, sends nothing."""
    given = locals()
    with reporting(json=json, debug=debug) as show:
        from ..engine import plan as look_ahead

        found = look_ahead(
            source, flags.step(given), **flags.span(start, end), policy=flags.policy(given), keep_rest=keep_rest
        )
        tell_plan(show, found)


@contextlib.contextmanager
def detach_on_term(stop: Stop) -> Iterator[None]:
    """SIGTERM (on Windows Ctrl-Break) ends this program, not the paid task."""

    def hear(*_: object) -> None:
        # In a thread: an Event's lock may be held by the very code that the signal interrupted.
        threading.Thread(target=stop.detach, daemon=True).start()

    names = ("SIGTERM", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell_result(show: Show, result: Result) -> None:
    """The path on stdout, the rest beside it."""
    show.result(result.model_dump(mode="json"))
    cost = "the provider states no cost" if result.cost is None else f"{result.cost:g} credits"
    show.warnings(result.warnings)
    show.note(f"{result.frames} frames by {result.model} ({result.provider}), seed {result.seed}, {cost}")
    show.note(f"order {short(result.digest)}: {spent(result)}")
    show.say(result.url or str(result.path))


def short(digest: str) -> str:
    """As much of a digest as a person reads; every command takes it for the whole."""
    return digest[:12]


def spent(result: Result) -> str:
    """What this run added to the bill, and what was there already."""
    from ..models.words import counted

    takes = len(result.takes)
    if takes == result.owned:
        return f"nothing spent in this run; {'its take was' if takes == 1 else f'all {takes} takes were'} owned before"
    now = "an amount the provider does not state was" if result.spent is None else f"{result.spent:g} credits"
    return f"{now} spent in this run; {result.owned} of {counted(takes, 'take')} owned before"


def tell_plan(show: Show, plan: Plan) -> None:
    """What will be sent, why, and the price."""
    show.result(plan.model_dump(mode="json"))
    fps, sent_fps = float(plan.fps), float(plan.sent_fps)
    show.say(f"{plan.source}: {plan.width}x{plan.height} at {fps:g} fps, {float(plan.seconds):g} s")
    show.say(f"sent as {plan.sent_width}x{plan.sent_height} at {sent_fps:g} fps, {_how(plan)}\n")
    show.table(*_plan_table(plan))
    show.say("")
    for line in _summary(plan):
        show.say(line)
    show.say(standing(plan))
    show.warnings(plan.warnings)
    if plan.over:
        show.note(f"A run would be refused: {plan.over}")
        raise typer.Exit(OverLimit.exit_code)


def _plan_table(plan: Plan) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A row for each paid call."""
    prices = plan.prices or (None,) * len(plan.segments)
    standing = plan.standing or ("",) * len(plan.segments)
    rows: list[tuple[str, ...]] = [
        (
            str(piece.index + 1), f"[{piece.first}, {piece.last})", _clock(piece.first / plan.fps),
            _clock(piece.last / plan.fps), f"{float(piece.seconds):.2f} s",
            "unknown" if price is None else f"{price:g}", word, piece.why,
        )
        for piece, price, word in zip(plan.segments, prices, standing, strict=True)
    ]  # fmt: skip
    return ("call", "frames", "from", "to", "billed", "credits", "", "it ends there, for"), rows


def _clock(seconds: Fraction) -> str:
    minutes, rest = divmod(float(seconds), 60)
    return f"{int(minutes)}:{rest:05.2f}"


def _summary(plan: Plan) -> Iterator[str]:
    """What all calls come to, what the overlaps are of that, and how they follow one another."""
    from ..models import price_text

    calls, billed = len(plan.segments), float(plan.billed_seconds)
    price = price_text(plan.credits, plan.provider)
    yield f"{plan.model} ({plan.provider}), {calls} call{'s' * (calls != 1)}, {billed:g} s billed: {price}"
    if plan.overlap_seconds:
        cost = price_text(plan.overlap_credits, plan.provider)
        shared = float(plan.overlap_seconds)
        yield f"{shared:g} s of that are overlaps ({cost}): frames that two calls share, to be cross-faded"
    if plan.chained:
        yield f"one after another: each begins with the last picture of the one before it; {_wait(plan)}"
    elif calls > 1:
        yield f"side by side, up to {plan.at_once} at once; {_wait(plan)}"


def _wait(plan: Plan) -> str:
    if not plan.rounds:
        return "nothing to wait for"
    return "the wait is one call's" if plan.rounds == 1 else f"the wait is that of {plan.rounds} calls in a row"


def _how(plan: Plan) -> str:
    """How the clip goes to the provider."""
    ways = {"upload": "inline, or uploaded where it does not fit", "storage": "by the delivery store where that works"}
    return ways.get(plan.delivery, "inline")


def standing(plan: Plan) -> str:
    """What of it is owned, under way, to pay or unknown, and what a run would pay."""
    from ..models import price_text

    counts = ", ".join(f"{plan.standing.count(word)} {word}" for word in dict.fromkeys(plan.standing))
    named = f"order {short(plan.digest)}" if plan.digest else "order not known before it is rendered"
    pays = f"{float(plan.to_pay):g} s, {price_text(plan.to_pay_credits, plan.provider)}" if plan.to_pay else "nothing"
    if plan.digest and "unknown" in plan.standing:
        return f"{named}: {counts}; a run would stop there and pay nothing: see runway-node tasks"
    return f"{named}: {counts}; a run would pay {pays}"
