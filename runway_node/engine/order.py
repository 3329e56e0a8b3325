"""One order from the clip to the finished file. Each room does its part; here they only meet.

The order of things: look, plan, prepare, deliver, submit, wait, fetch, conform, put the sound back, publish.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TypeVar

from ..client import Client, Later
from ..errors import Interrupted, MediaError, OutputError, RunwayNodeError, SourceError, StillRunning
from ..media.conform import conform, off_shape
from ..media.opener import settle
from ..media.pictures import picture_bytes
from ..media.prepare import prepare
from ..media.probe import probe as look
from ..media.shapes import Frames, Probe
from ..media.sound import finish
from ..models import Model, Policy, Result, Step, Take, check, find_model, model_table
from ..planning import MAX_SECONDS, Plan, check_limits, cut_of, fit_of, make_plan
from ..settings import Provider, Settings
from ..wire import Task
from .delivery import clip_budget, deliver_clip, deliver_pictures, place
from .fetching import fetch
from .report import Report
from .waiting import Limits, Stopped, wait

log = logging.getLogger("runway_node")

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm")
LEAST_POLL = 5.0
"""Seconds between two looks that Runway asks for (its API documentation); less is used on loopback only."""

Seconds = float | Fraction | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that is decided before anything is sent."""

    source: Path | Frames
    probe: Probe
    step: Step
    model: Model
    plan: Plan
    policy: Policy
    settings: Settings
    stamp: tuple[int, ...]


def decide(
    source: Path | Frames,
    step: Step,
    start: Seconds,
    end: Seconds,
    policy: Policy,
    settings: Settings,
    provider: Provider,
) -> Order:
    """Look at the clip and plan; sends nothing.

    Raises:
        StepError, SourceError, SettingsError: What is wrong with what was given.

    """
    model = find_model(step, provider, settings)
    check(step, model, model_table(settings))
    if policy.delivery == "upload" and model.upload_bytes is None:
        raise SourceError(f"{provider} has no upload", 'Leave delivery at "auto"')
    stamp = _stamp(source)
    probe = source.probe() if isinstance(source, Frames) else look(source)
    if not probe.whole and (end is None or round(Fraction(end) * probe.fps) > probe.frames):
        usable = float(probe.duration)
        raise SourceError(
            f"The clip is cut off or damaged after {usable:.2f} s",
            f"Use a whole copy, or an end of {usable:.2f} (--end)",
        )
    plan = make_plan(probe, step, model, policy, start=start, end=end)
    for frame in step.keyframes:
        latest = max(frame.seconds or 0, frame.range[0] if frame.range else 0)
        if latest > plan.seconds or (frame.range and frame.range[1] > ceil(plan.seconds)):
            raise SourceError(
                f"A keyframe lies outside the range, which is {float(plan.seconds):.2f} s long",
                "Keyframes count from the start of the range",
            )
    for picture in (*step.references, *(frame.picture for frame in step.keyframes)):
        if picture.url is None:
            picture_bytes(picture, model.picture_chars)
    return Order(
        source=source, probe=probe, step=step, model=model, plan=plan, policy=policy, settings=settings, stamp=stamp
    )


def within_limits(order: Order) -> None:
    """Refuse an order that costs more than the policy, or else the settings, allow.

    Raises:
        OverLimit: It does.

    """
    settings, policy = order.settings, order.policy
    default = None if settings.loopback(order.plan.provider) else MAX_SECONDS
    check_limits(
        order.plan,
        policy.max_seconds or settings.max_seconds or default,
        policy.max_credits or settings.max_credits,
    )


def check_output(out: Path | None, source: Path | Frames, *, force: bool) -> None:
    """Refuse an output that could not be written, before anything is paid.

    Raises:
        OutputError: It exists, is the source, or its folder cannot be written.

    """
    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out.name} has no ending that says a container", f"Use one of {', '.join(SUFFIXES)}")
    if isinstance(source, Path) and out.exists() and source.exists() and out.samefile(source):
        raise OutputError(f"{out} is the clip itself", "Choose another output")
    try:
        exists = out.exists()
        out.parent.mkdir(parents=True, exist_ok=True)
        with _beside(out):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{out} cannot be written ({why})", "Choose another name or folder") from error
    if exists and (not force or not out.is_file()):
        raise OutputError(f"{out} exists", "Choose another output, or replace it with force (--force)")


def carry_out(order: Order, out: Path | None, stop: threading.Event, report: Report, *, force: bool) -> Result:
    """Send, wait, fetch, fit, publish."""
    for warning in order.plan.warnings:
        report.warn(warning)
    with Client(order.settings, order.plan.provider) as client, _workshop(order.settings) as folder:
        task = _sent(order, client, folder, stop, report)
        take, answer = _paid(order, client, task, stop, report)
        return _finished(order, take, answer, folder, out, stop, report, force=force)


def _sent(order: Order, client: Client, folder: Path, stop: threading.Event, report: Report) -> str:
    """Prepare, deliver and place the order; the task's id."""
    plan, model, segment = order.plan, order.model, order.plan.segments[0]
    cut = cut_of(plan, segment, order.probe, clip_budget(model, plan))
    clip = folder / "clip.mp4"
    report("preparing", f"encoding {cut.frames} frames of {cut.width}x{cut.height}")
    prepare(
        order.source,
        order.probe,
        cut,
        clip,
        stop=stop,
        on_frame=lambda n: report("preparing", fraction=min(1.0, n / cut.frames)),
    )
    pictures = deliver_pictures(client, order.step, model, stop, report)
    carried = deliver_clip(client, model, clip, insist=order.policy.delivery == "upload", stop=stop, report=report)
    if _stamp(order.source) != order.stamp:
        raise SourceError("The clip changed while it was being sent", "Nothing was ordered; run it again")
    created = place(client, order.step, model, plan, carried, pictures, stop, report)
    assert created.task_id is not None
    return created.task_id


def _paid(order: Order, client: Client, task_id: str, stop: threading.Event, report: Report) -> tuple[Take, Probe]:
    """Wait for the task and fetch what it made; on a stop, say what became of it."""
    settings, policy = order.settings, order.policy
    local = settings.loopback(order.plan.provider)
    interval = settings.poll_interval if local else max(LEAST_POLL, settings.poll_interval)
    limits = Limits(interval=interval, queue=policy.queue_timeout, running=policy.timeout or settings.timeout)
    seconds = float(order.plan.billed_seconds)
    try:
        task = wait(client, task_id, limits, stop, report)
        return fetch(client, task, seconds, settings, interval, stop, report)
    except StillRunning as error:
        if policy.on_timeout == "cancel":
            became = _left(order, client, task_id, report, cancel=True)
            raise StillRunning(f"Task {task_id} took too long; {became}", "Raise timeout", task_id=task_id) from error
        raise
    except Stopped:
        cancel = policy.on_interrupt == "cancel" and not getattr(stop, "detached", False)
        became = _left(order, client, task_id, report, cancel=cancel)
        report("interrupted", became)
        raise Interrupted(f"Stopped; {became}", task_id=task_id) from None


def _left(order: Order, client: Client, task_id: str, report: Report, *, cancel: bool) -> str:
    """What becomes of a task nobody waits for any more. A finished one is fetched: cancelling would destroy it."""
    provider = order.plan.provider
    runs_on = f"task {task_id} runs on at {provider} and will be billed"
    if not cancel:
        return runs_on
    try:
        task = _tried(lambda: client.task(task_id))
        if task is not None and task.status == "succeeded":
            return _kept(order, client, task, report)
        if task is not None and task.ended:
            return f"task {task_id} had already ended ({task.status})"
        if not client.cancels:
            return f"{runs_on} ({provider} has no cancel)"
        _tried(lambda: client.cancel(task_id))
    except Later as error:
        return f"{runs_on}: it could not be cancelled ({error.what})"
    if task is None:
        return f"{provider} did not list task {task_id}; it was told to cancel it, and may bill it all the same"
    report("cancelled", f"task {task_id} was cancelled")
    return f"task {task_id} was cancelled"


def _tried(ask: Callable[[], T]) -> T:
    """Ask a few times: one hiccup must not leave a task running that somebody wanted to stop."""
    for seconds in (0.5, 1.0, 2.0):
        try:
            return ask()
        except Later:
            time.sleep(seconds)
    return ask()


def _kept(order: Order, client: Client, task: Task, report: Report) -> str:
    try:
        take, _ = fetch(client, task, float(order.plan.billed_seconds), order.settings, 1.0, threading.Event(), report)
    except RunwayNodeError as error:
        return f"task {task.id} had finished; its result could not be fetched ({error.what})"
    return f"task {task.id} had finished; its result is {take.path}"


def _finished(
    order: Order,
    take: Take,
    answer: Probe,
    folder: Path,
    out: Path | None,
    stop: threading.Event,
    report: Report,
    *,
    force: bool,
) -> Result:
    """Conform the take, put the sound back, publish. Whatever fails here, the take stays."""
    plan, segment = order.plan, order.plan.segments[0]
    suffix = out.suffix.lower() if out else ".mp4"
    fit = fit_of(plan, segment, order.probe, order.step, order.policy)
    if off_shape(answer, fit):
        report.warn(f"the answer's shape ({answer.width}x{answer.height}) is another one; it was padded, not stretched")
    stored = order.settings.data_dir / "results" / f"{take.path.stem}{suffix}"
    pictures = folder / ("pictures.webm" if suffix == ".webm" else "pictures.mp4")
    report("conforming", f"{fit.frames} frames at {float(fit.fps):.3f} fps")
    try:
        conform(
            take.path,
            answer,
            fit,
            pictures,
            stop=stop,
            on_frame=lambda n: report("conforming", fraction=min(1.0, n / fit.frames)),
        )
        if _stamp(order.source) != order.stamp:
            raise SourceError("The clip changed while its transformation ran", "Put its sound back by hand")
        for warning in finish(pictures, order.probe, plan.first, plan.last, stored, stop=stop):
            report.warn(warning)
        if stop.is_set():
            raise Interrupted("Stopped before the result was put in place")
        path = publish(stored, out, report, force=force) if out else stored
    except Interrupted as error:
        raise Interrupted(f"{error.what}; the paid result is {take.path}", task_id=take.task_id) from None
    except Exception as error:
        what = error.what if isinstance(error, RunwayNodeError) else str(error)
        mend = error.mend if isinstance(error, RunwayNodeError) else ""
        raise MediaError(f"{what}; the paid result is kept: {take.path}", mend, task_id=take.task_id) from error
    report("done", str(path), fraction=1.0, credits=take.credits)
    return Result(
        path=path,
        frames=fit.frames,
        takes=(take,),
        cost=take.credits,
        seed=order.step.effective_seed(),
        provider=plan.provider,
        model=plan.model,
        warnings=tuple(report.warnings),
    )


def publish(stored: Path, out: Path, report: Report, *, force: bool) -> Path:
    """Copy the stored result to *out*; one that appeared there meanwhile is left alone, unless *force*."""
    with _beside(out) as part:
        shutil.copyfile(stored, part)
        try:
            settle(part, out, new=not force)
        except FileExistsError:
            report.warn(f"{out} appeared meanwhile and was left alone; the result is {stored}")
            return stored
    return out


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A file in the same folder that is gone afterwards, unless it was moved."""
    handle, name = tempfile.mkstemp(prefix=f".{out.stem}-", suffix=out.suffix, dir=out.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _workshop(settings: Settings) -> Iterator[Path]:
    """A folder for the run's own files, gone when it ends."""
    root = settings.data_dir / "work"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"The data folder {settings.data_dir} cannot be written ({error.strerror})", "Set RUNWAY_NODE_DATA_DIR"
        ) from error
    with folder as name:
        yield Path(name)


def _stamp(source: Path | Frames) -> tuple[int, ...]:
    """What changes when a file does."""
    if isinstance(source, Frames) or not source.exists():
        return ()
    stat = source.stat()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
