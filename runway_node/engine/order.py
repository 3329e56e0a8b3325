"""One order: all that is decided before anything is sent. Looking and planning here, deeds elsewhere."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeGuard

from pydantic import ValidationError

from ..errors import LedgerError, SettingsError, SourceError, StepError, StoreError
from ..ledger import Call, Ledger, OrderRow
from ..media.content import file_hash, picture_content
from ..media.pictures import picture_bytes
from ..media.probe import probe as look
from ..media.scenes import scene_cuts
from ..media.shapes import Frames, Probe
from ..models import Limits, Model, Picture, Policy, Step, check, find_model, model_table
from ..planning import MAX_SECONDS, Plan, bounds_of, check_keyframes, make_plan, windows
from ..settings import Provider, Settings, origin_of
from ..storage import open_store
from .identity import digest_of, seed_of, segment_digest

Seconds = float | Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is ordered for which frames, and how."""

    source: Path | Frames
    probe: Probe
    step: Step
    model: Model
    plan: Plan
    policy: Policy
    settings: Settings
    stamp: tuple[int, ...]
    span: tuple[Seconds, Seconds] = (None, None)
    keep_rest: bool = False

    @property
    def origin(self) -> str:
        """The API's origin; "sandbox" for any on loopback."""
        return origin_of(self.settings.base_url(self.plan.provider))

    def changed(self) -> bool:
        """Whether the clip's file, or a still's, is not what it was when it was looked at."""
        return stamp(self.source, self.step) != self.stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An order with its identity, and its plan as the ledger froze it."""

    order: Order
    row: OrderRow
    calls: tuple[Call, ...]

    @property
    def digest(self) -> str:
        """The order's digest."""
        return self.row.digest

    @property
    def scope(self) -> str:
        """Whose rows."""
        return self.row.scope

    @property
    def plan(self) -> Plan:
        """The plan that is followed."""
        return self.order.plan


def decide(
    source: Path | Frames,
    step: Step,
    start: Seconds,
    end: Seconds,
    policy: Policy,
    settings: Settings,
    provider: Provider,
    *,
    keep_rest: bool = False,
) -> Order:
    """Look at the clip and plan; sends nothing.

    Raises:
        StepError, SourceError, SettingsError: What is wrong with what was given.

    """
    model = find_model(step, provider, settings)
    check(step, model, model_table(settings))
    if policy.delivery == "upload" and model.upload_bytes is None:
        raise SourceError(f"{provider} has no upload", 'Leave delivery at "auto"')
    if policy.delivery == "storage":
        _check_lends(settings)
    if policy.delete_remote and provider != "runway":
        raise StepError(f"{provider} cannot delete a task", "Leave delete_remote out")
    if keep_rest and isinstance(source, Frames):
        raise SourceError("The rest of frames from Python cannot be kept", "Give a file, or leave keep_rest out")
    before = stamp(source, step)
    probe = source.probe() if isinstance(source, Frames) else look(source)
    plan = make_plan(probe, step, model, policy, start=start, end=end, lends=settings.delivery_store is not None)
    check_keyframes(plan, step, model)
    if keep_rest and ((plan.width, plan.height) != (probe.width, probe.height) or probe.hdr):
        other = "standard range" if probe.hdr else f"{plan.width}x{plan.height}"
        raise StepError(f"The clip's rest cannot be kept beside a part in {other}", "Leave aspect or keep_rest out")
    for picture in stills(step):
        if picture.url is None:
            picture_bytes(picture, model.picture_chars)
    return Order(
        source=source, probe=probe, step=step, model=model, plan=plan, policy=policy, settings=settings,
        stamp=before, span=(start, end), keep_rest=keep_rest,
    )  # fmt: skip


def _check_lends(settings: Settings) -> None:
    """Refuse delivery by storage where there is none."""
    if settings.delivery_store is None:
        raise SettingsError("There is no store to deliver by", "Set RUNWAY_NODE_DELIVERY_STORE, or leave delivery out")
    with contextlib.suppress(StoreError):  # the run says it, and goes another way
        open_store(settings.delivery_store)


def to_look_at(order: Order) -> list[tuple[int, int]]:
    """Frames within which a scene cut would decide where a call ends; frames from Python are not looked at."""
    plan = order.plan
    if isinstance(order.source, Frames) or len(plan.segments) == 1:
        return []
    return windows(plan.first, plan.last, bounds_of(order.probe, order.step, order.model), plan.fps)


def at_scenes(order: Order, stop: threading.Event | None = None) -> Order:
    """The order, cut at the scene cuts that are found where they would decide.

    Raises:
        Interrupted: `stop` was set.

    """
    spans = to_look_at(order)
    if not spans or not isinstance(order.source, Path):
        return order
    cuts = scene_cuts(order.source, order.probe, spans, stop=stop)
    start, end = order.span
    lends = order.settings.delivery_store is not None
    plan = make_plan(order.probe, order.step, order.model, order.policy, start=start, end=end, cuts=cuts, lends=lends)
    check_keyframes(plan, order.step, order.model)
    return replace(order, plan=plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the clip is: its identity, its file's hash ("" for frames), and how it looks (files need no sketch)."""

    identity: str
    file: str = ""
    sketch: str = ""


def content_of(order: Order) -> Content | None:
    """What the clip is: the user's own name for it, or its file's hash; None for frames that are not rendered yet.

    Raises:
        SourceError: The file cannot be read, or changed while it was.

    """
    key = order.step.key
    if isinstance(order.source, Frames):
        return None if key is None else Content(identity=f"key:{key}")
    file = file_hash(order.source)
    if order.changed():
        raise SourceError("The clip changed while it was read", "Nothing was ordered; run it again")
    return Content(identity=file if key is None else f"key:{key}", file=file)


def name(order: Order, ledger: Ledger, scope: str, content: Content, stop: threading.Event | None = None) -> Named:
    """Give the order its identity, and the plan that the ledger froze for it; a new one is cut at its scenes.

    Raises:
        LedgerError: A newer program froze the plan in a way that this one cannot read.
        Interrupted: `stop` was set.

    """
    step, plan = order.step, order.plan
    pictures = [picture_content(picture) for picture in stills(step)]
    digest = digest_of(content.identity, plan, step, order.origin, pictures)
    known = ledger.order(scope, digest)
    if known is None:
        order = at_scenes(order, stop)
        plan = order.plan
    else:
        # How the clip is carried is this run's to say; all else is as it was frozen.
        order = replace(order, plan=plan_of(known).model_copy(update={"delivery": plan.delivery}))
    row = OrderRow(
        scope=scope,
        digest=digest,
        content=content.identity,
        file=content.file,
        kin=digest_of("", plan, step, order.origin, pictures),
        sketch=content.sketch,
        source=plan.source,
        path=str(order.source.absolute()) if isinstance(order.source, Path) else "",
        step=known.step if known else _step_json(step),
        plan=known.plan if known else plan.frozen(),
        seed=known.seed if known else seed_of(step, digest),
    )
    return Named(order=order, row=row, calls=calls_of(order, digest))


def plan_of(row: OrderRow) -> Plan:
    """The plan that the order froze.

    Raises:
        LedgerError: A newer program wrote it in a way that this one cannot read.

    """
    try:
        return Plan.model_validate_json(row.plan)
    except ValidationError as error:
        raise LedgerError(
            f"The plan of order {row.digest[:12]} cannot be read", "Update runway-node, or give the order another key"
        ) from error


def calls_of(order: Order, digest: str) -> tuple[Call, ...]:
    """The paid calls of the order's plan, and what each reserves."""
    return tuple(
        Call(
            segment=segment_digest(digest, segment.index),
            position=segment.index,
            seconds=float(segment.seconds),
            credits=order.model.price(segment.seconds, order.step.output_format),
        )
        for segment in order.plan.segments
    )


def _step_json(step: Step) -> str:
    """The step for people and for finishing it again: without its stills, whose links may be signed."""
    return step.model_dump_json(exclude={"references", "keyframes"})


def limits_of(order: Order) -> Limits:
    """What this run may order: by the policy, else the settings, else 60 seconds where it is paid."""
    settings, policy = order.settings, order.policy
    default = None if settings.loopback(order.plan.provider) else MAX_SECONDS
    return Limits(
        max_seconds=policy.max_seconds or settings.max_seconds or default,
        max_credits=policy.max_credits or settings.max_credits,
        max_credits_per_day=policy.max_credits_per_day or settings.max_credits_per_day,
    )


def stamp(source: Path | Frames, step: Step) -> tuple[int, ...]:
    """What changes when the clip's file, or a still's, does."""
    stats = [path.stat() for path in (source, *(picture.path for picture in stills(step))) if _is_file(path)]
    return tuple(one for stat in stats for one in (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))


def _is_file(path: Path | Frames | None) -> TypeGuard[Path]:
    return isinstance(path, Path) and path.exists()


def stills(step: Step) -> tuple[Picture, ...]:
    """The step's references and keyframes, in order."""
    return (*step.references, *(frame.picture for frame in step.keyframes))
