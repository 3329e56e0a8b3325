"""A claimed call made into a paid task: prepare, deliver, wait for a slot, say so in the ledger, and send it once.

Nothing after the intent is repeated but what surely was not sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..client import Later, order_body
from ..errors import Ambiguous, Interrupted, LedgerError, MediaError, RunwayNodeError
from ..ledger import Attempt, Moved
from ..media.prepare import prepare
from ..media.shapes import Cut, Frames
from ..models import Picture
from ..planning import Segment, cut_of, step_for
from ..wire import Created
from .delivery import (
    again,
    clip_budget,
    deliver_clip,
    deliver_pictures,
    inline_bytes,
    lent_clip,
    order_fields,
)
from .desk import Desk
from .order import Named, Order
from .slots import wait_for_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A clip that is ready to be sent, and what it was cut by."""

    path: Path
    cut: Cut


class Supply(Protocol):
    """What a call is made of."""

    def clip(self, desk: Desk, segment: Segment) -> Prepared:
        """The segment's clip, encoded."""

    def guide(self, desk: Desk, segment: Segment) -> Picture | None:
        """The picture that a chained call begins with; waits for it."""


def prepared(order: Order, segment: Segment, source: Path | Frames, path: Path, desk: Desk) -> Prepared:
    """Encode a segment's clip to *path*."""
    cut = cut_of(order.plan, segment, order.probe, clip_budget(desk, order))
    desk.report("preparing", f"encoding {cut.frames} frames of {cut.width}x{cut.height}")
    prepare(
        source,
        order.probe,
        cut,
        path,
        stop=desk.stop,
        on_frame=lambda n: desk.report("preparing", fraction=min(1.0, n / cut.frames)),
    )
    return Prepared(path=path, cut=cut)


def pay(desk: Desk, named: Named, row: Attempt, supply: Supply) -> Attempt:
    """Order the claimed call; gives it as submitted.

    Raises:
        Ambiguous: It may have been ordered.
        RunwayNodeError: It was surely not; the ledger says so.
        Interrupted: Stopped before it was sent; the claim is free for whoever wants it.
        Moved: Somebody else took the claim over.

    """
    segment = named.plan.segments[row.position]
    try:
        send = _ready(desk, named, row, segment, supply)
    except Interrupted:
        desk.lender.take_away(row, desk.report)
        raise
    except (Moved, LedgerError):
        raise
    except RunwayNodeError as error:
        desk.move(row, "refused", error.what, error)
        raise
    return _send(desk, row, named.order, send)


def _ready(desk: Desk, named: Named, row: Attempt, segment: Segment, supply: Supply) -> Callable[[], Created]:
    """Everything that costs nothing, done; and the POST, to be called once."""
    order, client = named.order, desk.client(row)
    clip = supply.clip(desk, segment)
    step = step_for(order.plan, segment, order.step, supply.guide(desk, segment))
    pictures = deliver_pictures(client, step, order.model, desk.stop, desk.report)
    carried = _carried(desk, order, row, supply, clip)
    fields = order_fields(step, order.model, order.plan, segment, named.row.seed, pictures)
    try:
        body = order_body(fields, order.model.clip_field, carried)
    except OSError as error:
        raise MediaError(f"The encoded clip cannot be read ({error.strerror})", "Run it again") from error
    return lambda: client.submit(body, order.model.name)


def _carried(desk: Desk, order: Order, row: Attempt, supply: Supply, clip: Prepared) -> str | Path:
    """The clip as the body holds it: a link, an upload's URI, or itself."""
    link = lent_clip(desk, order, row, clip.path)
    if link is not None:
        return link
    # By another way it may have to be smaller.
    clip = supply.clip(desk, order.plan.segments[row.position])
    size, model = clip.path.stat().st_size, order.model
    if size > inline_bytes(model) and model.upload_bytes is None:
        raise MediaError(f"The clip is {size / 1e6:.1f} MB, too large to go inline", "Run it again")
    insist = order.policy.delivery in {"upload", "storage"}
    return deliver_clip(desk.client(row), model, clip.path, insist=insist, stop=desk.stop, report=desk.report)


def _send(desk: Desk, row: Attempt, order: Order, send: Callable[[], Created]) -> Attempt:
    """The POST, and again what surely was not sent; in between the call is only claimed, and holds no slot."""

    def once() -> Created:
        nonlocal row
        if row.state != "intent":
            row = wait_for_slot(desk, row, order)
        desk.tell(row, "submitting", f"{row.model} on {row.provider}")
        try:
            return send()
        except Later as error:
            row = desk.move(row, "claimed", f"{error.what}; nothing was ordered")
            raise

    try:
        # The first slot may take long; the tries after a refusal have two minutes.
        row = wait_for_slot(desk, row, order)
        created = again(once, desk.stop, desk.report)
    except Interrupted:
        if row.state == "intent":
            desk.move(row, "claimed", "stopped before it was sent")
        desk.lender.take_away(row, desk.report)
        raise
    except (Moved, LedgerError):
        raise
    except Ambiguous as error:
        with contextlib.suppress(Moved):  # who thought us dead said the same
            desk.move(row, "ambiguous", error.what, error)
        raise explained(desk, row, error) from error
    except RunwayNodeError as error:
        desk.move(row, "refused", error.what, error)
        raise
    assert created.task_id is not None
    return desk.record(row, created.task_id, created.estimated)


def explained(desk: Desk, row: Attempt, error: RunwayNodeError | None = None) -> Ambiguous:
    """The error for a call that may have been ordered: what is known, and what a person can do."""
    digest = desk.books.name_of(row)
    what = error.what if error else (
        f"Order {digest} was about to be sent, or was, when its run died: it may have been billed"
    )  # fmt: skip
    return Ambiguous(
        f"{what.rstrip('.')}. {_balance(desk, row)}",
        f"Look at the account's usage, then either: runway-node attach {digest} TASK_ID; or order it again, "
        "at the risk of paying twice: resubmit_ambiguous (--resubmit-ambiguous)",
    )


def _balance(desk: Desk, row: Attempt) -> str:
    """Whether the account's balance fell since the intent, and whether that says anything."""
    if row.balance is None or row.sent is None:
        return f"{row.provider} does not tell a balance that could show it"
    now = desk.balance(row)
    if now is None:
        return "The account's balance cannot be asked for now"
    fell = row.balance - now
    told = f"The balance fell by {fell:g} credits since" if fell > 0 else f"The balance has not fallen since ({now:g})"
    try:
        others = desk.books.others(row, row.sent)
    except LedgerError:
        return f"{told}, but whether other orders make that inconclusive cannot be told now"
    return f"{told}, but other orders on this account since ({others}) make that inconclusive" if others else told
