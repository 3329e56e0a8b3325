"""What the ledger says of a plan: which of it is owned, under way, to be paid, or not known. Reads only."""

from __future__ import annotations

from ..errors import OverLimit
from ..ledger import Ledger, Verdict, opened
from ..models import check_limits, dollars_of, sum_known
from ..planning import Plan, Standing
from .finishing import variant_of
from .fitting import suffix_for
from .order import Named, Order, at_scenes, content_of, limits_of, name

WORDS: dict[Verdict, Standing] = {
    "claim": "to pay", "take over": "to pay", "adopt": "under way", "wait": "under way", "owned": "owned",
    "ambiguous": "unknown", "expired": "unknown", "ended": "to pay",
}  # fmt: skip


def with_standing(order: Order) -> Plan:
    """The plan that a run would follow, and what of it that run would pay, or would refuse to.

    Raises:
        LedgerError: The ledger is there and cannot be read.

    """
    content = content_of(order)
    at_once = order.settings.max_concurrency
    with opened(order.settings, create=False) as ledger:
        scope = ledger.account if ledger.missing else _scope(order, ledger)
        if content is None:
            # Only rendering can tell whether these frames were paid for before.
            said: list[Standing] = ["unknown"] * len(order.plan.segments)
            at_most = {"to_pay": order.plan.billed_seconds, "to_pay_credits": order.plan.credits}
            return _judged(order, ledger, scope, _told(order.plan, None, said, at_once).model_copy(update=at_most))
        if scope is None:
            order = at_scenes(order)
            said = ["to pay"] * len(order.plan.segments)
            return _judged(order, ledger, scope, _told(order.plan, None, said, at_once))
        named = name(order, ledger, scope, content)
        return _judged(order, ledger, scope, _told(named.plan, named, _standings(order, ledger, named), at_once))


def _scope(order: Order, ledger: Ledger) -> str | None:
    """Whose rows; a sandbox's are told apart by the key."""
    if not order.settings.has_key(order.plan.provider):
        return None if order.origin == "sandbox" else ledger.account
    terms = ledger.terms(order.plan.provider, order.plan.model)
    return ledger.scope(terms.origin, terms.fingerprint)


def _standings(order: Order, ledger: Ledger, named: Named) -> list[Standing]:
    policy = order.policy
    kept = ledger.result(named.scope, named.digest, variant_of(policy, suffix_for(order.step, None)))
    if kept is not None and (order.settings.data_dir / kept.path).is_file():
        return ["owned"] * len(named.calls)
    again = {"reorder": policy.reorder, "resubmit": policy.resubmit_ambiguous}
    return [WORDS[ledger.look(named.scope, call.segment, **again)[1]] for call in named.calls]


def _told(plan: Plan, named: Named | None, said: list[Standing], at_once: int) -> Plan:
    to_pay = [segment for segment, word in zip(plan.segments, said, strict=True) if word == "to pay"]
    share = _price(named, said) if named else plan.credits
    whole = sum_known([call.credits for call in named.calls]) if named else plan.credits
    return plan.model_copy(
        update={
            "digest": named.digest if named else None,
            # At today's price: the plan that an order froze may know an older one.
            "credits": whole,
            "dollars": dollars_of(whole, plan.provider),
            "standing": tuple(said),
            "to_pay": sum(segment.seconds for segment in to_pay),
            "to_pay_credits": share,
            "at_once": at_once,
            "prices": tuple(call.credits for call in named.calls) if named else plan.prices,
        }
    )


def _price(named: Named, said: list[Standing]) -> float | None:
    return sum_known([call.credits for call, word in zip(named.calls, said, strict=True) if word == "to pay"])


def _judged(order: Order, ledger: Ledger, scope: str | None, plan: Plan) -> Plan:
    """The plan, and why a run would refuse it for its cost."""
    if not plan.to_pay:
        return plan
    try:
        check_limits(
            limits_of(order), float(plan.to_pay), plan.to_pay_credits, plan.model,
            lambda: 0.0 if scope is None else ledger.today(scope), provider=plan.provider,
        )  # fmt: skip
    except OverLimit as error:
        return plan.model_copy(update={"over": str(error)})
    return plan
