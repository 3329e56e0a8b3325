"""What the ledger says of a plan: which of it is owned, under way, to be paid, or not known. Reads only."""

from __future__ import annotations

from ..ledger import Attempt, Ledger
from ..planning import Plan, Standing
from .order import Named, Order, content_of, name


def with_standing(order: Order) -> Plan:
    """The plan that a run would follow, and what of it that run would pay.

    Raises:
        LedgerError: The ledger is there and cannot be read.

    """
    content = content_of(order)
    if content is None:
        # Only rendering can tell whether these frames were paid for before.
        plan = order.plan
        at_most = {"to_pay": plan.billed_seconds, "to_pay_credits": plan.credits}
        return plan.model_copy(update={"standing": ("unknown",) * len(plan.segments), **at_most})
    with Ledger(order.settings, create=False) as ledger:
        scope = None if ledger.missing else _scope(order, ledger)
        if scope is None:
            named = name(order, ledger, ledger.account, content) if ledger.missing else None
            return _told(order.plan, named, ["to pay"] * len(order.plan.segments))
        named = name(order, ledger, scope, content)
        said = [standing(ledger, ledger.last(scope, call.segment)) for call in named.calls]
        return _told(named.plan, named, said)


def _scope(order: Order, ledger: Ledger) -> str | None:
    """Whose rows; a sandbox's are told apart by the key."""
    if not order.settings.has_key(order.plan.provider):
        return None if order.origin == "sandbox" else ledger.account
    terms = ledger.terms(order.plan.provider, order.plan.model)
    return ledger.scope(terms.origin, terms.fingerprint)


def standing(ledger: Ledger, row: Attempt | None) -> Standing:
    """Where a segment stands by its newest attempt."""
    if row is None or row.state in {"refused", "failed", "cancelled"}:
        return "to pay"
    if row.state == "stored":
        return "owned"
    if row.state in {"ambiguous", "expired"}:
        return "unknown"
    if row.state in {"claimed", "intent"} and not ledger.alive(row.holder):
        return "to pay" if row.state == "claimed" else "unknown"
    return "under way"


def _told(plan: Plan, named: Named | None, said: list[Standing]) -> Plan:
    to_pay = [segment for segment, word in zip(plan.segments, said, strict=True) if word == "to pay"]
    share = plan.credits if len(to_pay) == len(plan.segments) else _price(named, said)
    return plan.model_copy(
        update={
            "digest": named.digest if named else None,
            "standing": tuple(said),
            "to_pay": sum(segment.seconds for segment in to_pay),
            "to_pay_credits": share,
        }
    )


def _price(named: Named | None, said: list[Standing]) -> float | None:
    prices = [call.credits for call, word in zip(named.calls, said, strict=True) if word == "to pay"] if named else []
    return sum(price for price in prices if price is not None) if None not in prices else None
