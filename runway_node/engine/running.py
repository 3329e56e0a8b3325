"""One run, from the order to the file: the rooms meet here. What is there already is not made again."""

from __future__ import annotations

import threading
from pathlib import Path

from ..ledger import PAID, Ledger, Terms
from ..media.content import Rendered, alike, file_hash
from ..media.shapes import Frames
from ..models import Result, price_text
from ..planning import Segment, cut_of
from .collecting import clear_remote, to_clear
from .delivery import clip_budget
from .desk import Desk
from .files import check_output, workshop
from .finishing import already, finished, refused
from .obtaining import obtain
from .order import Content, Named, Order, content_of, name
from .paying import Prepared, prepared
from .report import Report


def carry_out(order: Order, out: Path | None, stop: threading.Event, report: Report, *, force: bool) -> Result:
    """Name the order, look what is owned, get the rest, finish and publish."""
    settings = order.settings
    price = price_text(order.plan.credits, order.plan.provider)
    report("planned", f"{float(order.plan.billed_seconds):g} s on {order.model.name}: {price}")
    with (
        Ledger(settings) as ledger,
        ledger.holder() as token,
        workshop(settings, token, ledger.needed) as folder,
        Desk(settings, ledger, token, stop, report) as desk,
    ):
        began = ledger.now()
        desk.salvage()
        if out is not None:
            check_output(out, order.source, settings, token, ledger.needed)
            if out.exists() and not force and not ledger.results_with(file_hash(out)):
                raise refused(out)
        scope, terms = _scope(order, ledger)
        named, first = _named(desk, order, scope, folder)
        report.digest = named.digest
        for warning in named.plan.warnings:
            report.warn(warning, lasting=True)
        there = already(desk, scope, named.digest, order.policy, out, force=force)
        if there is not None:
            for call in named.calls:
                row = ledger.last(scope, call.segment)
                if row is not None and order.policy.delete_remote:
                    clear_remote(desk, to_clear(desk, row, order.policy))
            return there.model_copy(update={"warnings": tuple(dict.fromkeys((*there.warnings, *report.warnings)))})
        _tell_unlike(desk, named)

        def ready(segment: Segment) -> Prepared:
            cut = cut_of(named.plan, segment, order.probe, clip_budget(order.model, named.plan))
            if first is not None and first.cut == cut:
                return first
            return prepared(named.order, segment, order.source, folder / f"clip-{segment.index}.mp4", desk)

        got = obtain(desk, named, terms or _terms(order, ledger), ready, began)
        return finished(desk, named, got, folder, out, force=force)


def _scope(order: Order, ledger: Ledger) -> tuple[str, Terms | None]:
    """Whose rows; without a key what is finished can still be had, but nothing asked for or ordered."""
    if order.settings.has_key(order.plan.provider) or order.origin == "sandbox":
        terms = _terms(order, ledger)
        return ledger.scope(terms.origin, terms.fingerprint), terms
    if isinstance(order.source, Frames) and order.step.key is None:
        order.settings.key(order.plan.provider)  # before a long rendering, not after it
    return ledger.account, None


def _terms(order: Order, ledger: Ledger) -> Terms:
    remove = order.policy.delete_remote == "after_stored"
    return ledger.terms(order.plan.provider, order.plan.model, delete_remote=remove)


def _named(desk: Desk, order: Order, scope: str, folder: Path) -> tuple[Named, Prepared | None]:
    """The order's identity; frames from Python have one only once they are rendered, straight into the encoder."""
    content = content_of(order)
    if content is not None:
        named = name(order, desk.ledger, scope, content)
        known = desk.ledger.order(scope, named.digest)
        decides = [desk.ledger.last(scope, call.segment) for call in named.calls]
        if known and known.file != content.file and any(row and row.state in PAID for row in decides):
            desk.report.warn(
                f'the key "{order.step.key}" was given to another clip before ({known.source}): '
                "this is that order's result; another clip wants another key"
            )
        return named, None
    assert isinstance(order.source, Frames)
    rendered = Rendered(order.source)
    clip = prepared(order, order.plan.segments[0], rendered.frames, folder / "clip.mp4", desk)
    content = Content(identity=rendered.content, sketch=rendered.sketch)
    return name(order, desk.ledger, scope, content), clip


def _tell_unlike(desk: Desk, named: Named) -> None:
    """Say that a clip rendered otherwise than one that looks the same and was paid for."""
    row = named.row
    if not row.sketch or desk.ledger.order(row.scope, row.digest) is not None:
        return
    for other in desk.ledger.kin(row.scope, row.kin):
        if not alike(other.sketch, row.sketch):
            continue
        paid = [(take, call) for take, call, order in desk.books.owned(other.content) if order.digest == other.digest]
        if paid:
            take, call = paid[0]
            desk.report.warn(
                f"this clip renders differently from one that looks the same and was paid for (order "
                f"{other.digest[:12]}, task {call.task_id}, {desk.settings.data_dir / take.path}). "
                f"If it should be the same, for noise or a clock is in it, give both the same key"
            )
            return
