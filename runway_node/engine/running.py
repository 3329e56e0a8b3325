"""One run, from the order to the file: the rooms meet here. What is there already is not made again."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from ..ledger import PAID, STUCK, Ledger, Terms, opened
from ..media.content import Rendered, alike, file_hash
from ..media.opener import cores
from ..media.shapes import Frames
from ..models import Result, price_text
from ..planning import reach_back
from .bench import Workbench, clip_path
from .collecting import clear_remote, to_clear
from .desk import Desk
from .files import check_output, workshop
from .finishing import already, finished, refused, variant_of
from .fitting import Fitting, check_holds, suffix_for
from .obtaining import Obtained, Obtaining
from .order import Content, Named, Order, content_of, name, to_look_at
from .paying import Prepared, prepared
from .report import Report
from .side_by_side import side_by_side


def carry_out(
    order: Order,
    out: Path | None,
    stop: threading.Event,
    report: Report,
    *,
    force: bool,
    began: float | None = None,
) -> Result:
    """Name the order, look what is owned, get the rest, finish and publish."""
    settings = order.settings
    price = price_text(order.plan.credits, order.plan.provider)
    report("planned", f"{float(order.plan.billed_seconds):g} s on {order.model.name}: {price}, less what is owned")
    with (
        opened(settings) as ledger,
        ledger.holder() as token,
        workshop(settings, token, ledger.needed) as folder,
        Desk(settings, ledger, token, stop, report) as desk,
    ):
        began = ledger.now() if began is None else began
        desk.salvage()
        if out is not None:
            check_holds(out, order.step)
            check_output(out, order.source, settings, token, ledger.needed)
            if out.exists() and not force and not ledger.results_with(file_hash(out)):
                raise refused(out)
        scope, terms = _scope(order, ledger)
        named, clips = _named(desk, order, scope, folder)
        report.digest = named.digest
        for warning in named.plan.warnings:
            report.warn(warning, lasting=True)
        variant = variant_of(order.policy, suffix_for(order.step, out), keep_rest=order.keep_rest)
        there = already(desk, scope, named.digest, variant, out, force=force)
        if there is not None:
            for call in named.calls:
                row = ledger.last(scope, call.segment)
                if row is not None and order.policy.delete_remote:
                    clear_remote(desk, to_clear(desk, row, order.policy))
            return there.model_copy(update={"warnings": tuple(dict.fromkeys((*there.warnings, *report.warnings)))})
        _tell_unlike(desk, named)
        fitting = Fitting(named, folder, suffix_for(order.step, out))
        fitting.tell(desk)
        bench = Workbench(named, folder, clips, fitting)
        with contextlib.closing(bench):
            got = _obtained(desk, named, terms or _terms(order, ledger), bench, began)
        return finished(desk, bench.fitting, got, out, force=force)


def _obtained(desk: Desk, named: Named, terms: Terms, bench: Workbench, began: float) -> list[Obtained]:
    """The takes of all calls, each made to fit as soon as it is here."""
    obtaining = Obtaining(desk, named, terms, bench, began)
    claims = obtaining.begin()
    segments = named.plan.segments

    def work(own: Desk, index: int) -> Obtained:
        try:
            got = obtaining.one(own, index, claims.get(index))
            return got if len(segments) == 1 else bench.fitted(own, segments[index], got)
        finally:
            bench.drop(segments[index])

    if any(claim.verdict in STUCK for claim in claims.values()):
        obtaining.halt.set()
    weights = [float(segment.seconds) for segment in segments]
    # Those under way from before hold slots until somebody looks at them, whatever their place.
    adopted = sum(claim.verdict == "adopt" for claim in claims.values())
    at_once = desk.settings.max_concurrency + 2 * cores() + adopted
    return side_by_side(desk, weights, work, obtaining.halt, at_once)


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


def _named(desk: Desk, order: Order, scope: str, folder: Path) -> tuple[Named, dict[int, Prepared]]:
    """The order's identity; frames from Python have one only once they are rendered, straight into the encoder."""
    content = content_of(order)
    if content is not None:
        if to_look_at(order):
            desk.report("planned", "looking for scene cuts where a call might end")
        named = name(order, desk.ledger, scope, content, desk.stop)
        known = desk.ledger.order(scope, named.digest)
        decides = [desk.ledger.last(scope, call.segment) for call in named.calls]
        if known and known.file != content.file and any(row and row.state in PAID for row in decides):
            desk.report.warn(
                f'the key "{order.step.key}" was given to another clip before ({known.source}): '
                "this is that order's result; another clip wants another key"
            )
        return named, {}
    assert isinstance(order.source, Frames)
    rendered = Rendered(order.source, kept=reach_back(order.plan))
    try:
        clips = {
            segment.index: prepared(order, segment, rendered.frames, clip_path(folder, segment), desk)
            for segment in order.plan.segments
        }
        rendered.finish()
    finally:
        rendered.close()
    content = Content(identity=rendered.content, sketch=rendered.sketch)
    return name(order, desk.ledger, scope, content), clips


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
