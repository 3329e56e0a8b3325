"""`run` and `plan`: the flags become a Step and a Policy, the engine does the rest."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from ..errors import OverLimit
from . import flags
from .output import Show, reporting

if TYPE_CHECKING:
    from ..engine import Stop
    from ..models import Result
    from ..planning import Plan


def run(
    source: flags.Source, prompt: flags.Prompt = "", output: flags.Output = None,
    start: flags.Start = None, end: flags.End = None, provider: flags.Provider = None, model: flags.Model = None,
    seed: flags.Seed = None, take: flags.Take = None, key: flags.Key = None, reference: flags.Reference = None,
    keyframe: flags.KeyframeFlag = None, aspect: flags.Aspect = None, moderation: flags.Moderation = None,
    output_format: flags.OutputFormat = None, max_seconds: flags.MaxSeconds = None,
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
        with detach_on_term(stop):
            result = carry_out(
                source, step, output, **flags.span(start, end),
                policy=policy, stop=stop, on_progress=show.event, force=force,
            )  # fmt: skip
        tell_result(show, result)


def plan(
    source: flags.Source, prompt: flags.Prompt = "", start: flags.Start = None, end: flags.End = None,
    provider: flags.Provider = None, model: flags.Model = None, seed: flags.Seed = None, take: flags.Take = None,
    key: flags.Key = None, reference: flags.Reference = None, keyframe: flags.KeyframeFlag = None,
    aspect: flags.Aspect = None, moderation: flags.Moderation = None, output_format: flags.OutputFormat = None,
    max_seconds: flags.MaxSeconds = None, max_credits: flags.MaxCredits = None,
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

        found = look_ahead(source, flags.step(given), **flags.span(start, end), policy=flags.policy(given))
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
    show.say(str(result.path))


def short(digest: str) -> str:
    """As much of a digest as a person reads; every command takes it for the whole."""
    return digest[:12]


def spent(result: Result) -> str:
    """What this run added to the bill, and what was there already."""
    takes = len(result.takes)
    if takes == result.owned:
        return f"nothing spent in this run; {'its take was' if takes == 1 else f'all {takes} takes were'} owned before"
    now = "an amount the provider does not state was" if result.spent is None else f"{result.spent:g} credits"
    return f"{now} spent in this run; {result.owned} of {takes} takes owned before"


def tell_plan(show: Show, plan: Plan) -> None:
    """What will be sent, why, and the price."""
    from ..models import price_text

    show.result(plan.model_dump(mode="json"))
    calls = len(plan.segments)
    fps, sent_fps, billed = float(plan.fps), float(plan.sent_fps), float(plan.billed_seconds)
    show.say(f"{plan.source}: {plan.width}x{plan.height} at {fps:g} fps, {float(plan.seconds):g} s")
    show.say(f"{plan.model} ({plan.provider}), {calls} call{'s' * (calls != 1)}, {billed:g} s billed")
    show.say(f"sent as {plan.sent_width}x{plan.sent_height} at {sent_fps:g} fps ({plan.delivery})")
    for piece in plan.segments:
        what = f"frames [{piece.first}, {piece.last}), {float(piece.seconds):g} s billed"
        where = f"; {plan.standing[piece.index]}" if plan.standing else ""
        show.say(f"  {piece.index + 1}: {what}; {piece.why}{where}")
    show.say(price_text(plan.credits, plan.provider))
    show.say(standing(plan))
    show.warnings(plan.warnings)
    if plan.over:
        show.note(f"A run would be refused: {plan.over}")
        raise typer.Exit(OverLimit.exit_code)


def standing(plan: Plan) -> str:
    """What of it is owned, under way, to pay or unknown, and what a run would pay."""
    from ..models import price_text

    counts = ", ".join(f"{plan.standing.count(word)} {word}" for word in dict.fromkeys(plan.standing))
    named = f"order {short(plan.digest)}" if plan.digest else "order not known before it is rendered"
    pays = f"{float(plan.to_pay):g} s, {price_text(plan.to_pay_credits, plan.provider)}" if plan.to_pay else "nothing"
    if plan.digest and "unknown" in plan.standing:
        return f"{named}: {counts}; a run would stop there and pay nothing: see runway-node tasks"
    return f"{named}: {counts}; a run would pay {pays}"
