"""The engine's faces: `run` blocks, `run_async` hops to a thread of its own, `plan` sends nothing; the ledger's verbs.

One implementation behind all of them; nothing here decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import threading
from pathlib import Path
from typing import Any

from ..errors import SettingsError, SourceError, WrongUse
from ..media.shapes import Frames
from ..models import Event, OnProgress, Policy, Result, Step, build
from ..planning import Plan
from ..settings import KEY_VARIABLES, Settings, load_settings
from ..storage import is_remote, suffix_of
from .books import export, gc, orders, spend, takes
from .finishing import variant_of
from .order import Order, Seconds, decide
from .remote import local_clip, put_out
from .report import Report, hand_over
from .resuming import attach, cancel, resume
from .running import carry_out
from .standing import with_standing
from .stop import Stop, hear_ctrl_c

__all__ = [
    "Plan",
    "Stop",
    "attach",
    "cancel",
    "export",
    "gc",
    "orders",
    "plan",
    "resume",
    "run",
    "run_async",
    "spend",
    "takes",
]

Source = str | os.PathLike[str] | Frames


def run(
    source: Source,
    step: Step | str,
    out: str | os.PathLike[str] | None = None,
    *,
    start: Seconds = None,
    end: Seconds = None,
    policy: Policy | None = None,
    settings: Settings | None = None,
    stop: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    keep_rest: bool = False,
    force: bool = False,
    began: float | None = None,
) -> Result:
    """Transform a clip and wait for it.

    Args:
        source: A video file, also as text that names it in a bucket ("s3://bucket/shot.mp4"), or `Frames` that exist
            only in Python.
        step: What to order; text alone is its prompt.
        out: Where the result goes, a file or "s3://bucket/name.mp4"; its ending decides the container. Unset: the data
            folder.
        start, end: The range in seconds: source frames [round(start*fps), round(end*fps)).
        policy: How it is carried out.
        settings: Keys and limits; unset: from the environment and the settings file.
        stop: Stops the run when set (see `Stop`).
        on_progress: Called with each `Event`.
        keep_rest: Give the whole clip, the range transformed and the rest as it is; its sound is the whole one.
        force: Replace *out* if it exists.
        began: When the command was given, by the ledger's clock; unset: now. What another run's call of the same order
            came to since is this run's outcome too; what came to nothing before is ordered anew.

    Raises:
        RunwayNodeError: Any of the tree in `errors`; says what is wrong and what to do.
        KeyboardInterrupt: Ctrl-C; the task was cancelled first where the provider can.

    """
    policy, settings = policy or Policy(), settings or load_settings()
    where = _source(source, settings, stop)
    step = build(Step, prompt=step) if isinstance(step, str) else step
    stop = stop if isinstance(stop, Stop) else Stop(stop)
    report = Report(on_progress)
    provider = settings.choose_provider(step.provider)
    order = decide(where, step, start, end, policy, settings, provider, keep_rest=keep_rest)
    with hear_ctrl_c(stop):
        return _carry_out(order, out, stop, report, force=force, began=began)


def _carry_out(
    order: Order,
    out: str | os.PathLike[str] | None,
    stop: threading.Event,
    report: Report,
    *,
    force: bool,
    began: float | None,
) -> Result:
    """The order's result at *out*: a file, or an object in a bucket."""
    _check_is_path(out)
    if isinstance(out, str) and is_remote(out):
        variant = variant_of(order.policy, suffix_of(out), keep_rest=order.keep_rest)
        make = functools.partial(carry_out, order, stop=stop, report=report, force=force, began=began)
        return put_out(out, order.settings, variant, make, force=force)
    return carry_out(order, None if out is None else Path(out), stop, report, force=force, began=began)


def plan(
    source: Source,
    step: Step | str,
    *,
    start: Seconds = None,
    end: Seconds = None,
    policy: Policy | None = None,
    settings: Settings | None = None,
    keep_rest: bool = False,
) -> Plan:
    """What `run` would do and cost; sends nothing and needs no key (without one: Runway's default model).

    Raises:
        WrongUse: What `run` would refuse.

    """
    step = build(Step, prompt=step) if isinstance(step, str) else step
    settings = settings or load_settings()
    try:
        provider = settings.choose_provider(step.provider)
    except SettingsError:
        if any(settings.has_key(p) for p in KEY_VARIABLES):
            raise
        provider = "runway"
    policy, where = policy or Policy(), _source(source, settings)
    return with_standing(decide(where, step, start, end, policy, settings, provider, keep_rest=keep_rest))


async def run_async(
    source: Source, step: Step | str, out: str | os.PathLike[str] | None = None, **options: Any
) -> Result:
    """`run`, awaited: in a thread of its own, `on_progress` on this loop.

    Cancelling the await stops the run and leaves the remote task running. The thread goes on until an order that is
    just being sent has its answer, and Python does not end before that.
    """
    loop = asyncio.get_running_loop()
    stop = Stop(options.pop("stop", None))
    listener: OnProgress | None = options.pop("on_progress", None)
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        elif result is not None:
            done.set_result(result)

    def work() -> None:
        result, error = None, None
        try:
            result = run(source, step, out, stop=stop, on_progress=_on_loop(loop, listener, stop), **options)
        except BaseException as caught:  # noqa: BLE001 - handed to the awaiting task
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="runway-node").start()
    try:
        return await done
    except asyncio.CancelledError:
        stop.detach()
        raise


def _on_loop(loop: asyncio.AbstractEventLoop, listener: OnProgress | None, stop: Stop) -> OnProgress:
    """Hands events to the listener on its loop; with the loop gone nobody waits for the run any more."""
    running: set[asyncio.Task[None]] = set()

    def start(event: Event) -> None:
        if listener is None:
            return
        task = loop.create_task(hand_over(listener, event))
        running.add(task)
        task.add_done_callback(running.discard)

    def forward(event: Event) -> None:
        try:
            loop.call_soon_threadsafe(start, event)
        except RuntimeError:
            stop.detach()

    return forward


def _check_is_path(path: object) -> None:
    """Refuse a bucket's URL that pathlib has taken apart: it would be a folder called "s3:"."""
    if isinstance(path, os.PathLike) and is_remote(f"{os.fspath(path)}/".replace(":/", "://", 1)):
        raise WrongUse(f"{path} is no file", "Give what lies in a bucket as text, not as a Path")


def _source(source: Source, settings: Settings, stop: threading.Event | None = None) -> Path | Frames:
    if isinstance(source, Frames):
        return source
    if isinstance(source, str) and is_remote(source):
        return local_clip(source, settings, stop)
    _check_is_path(source)
    try:
        return Path(source)
    except TypeError:
        raise SourceError(f"A clip is a path or Frames, not {type(source).__name__}", "Give a path") from None
