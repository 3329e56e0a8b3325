"""An order taken up from the ledger alone: for finishing what an earlier run paid, without its caller."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from ..errors import LedgerError, SourceError
from ..ledger import OrderRow
from ..media.content import file_hash
from ..media.probe import probe as look
from ..media.shapes import Frames
from ..models import MODELS, Policy, Step, model_table
from ..planning import Plan
from ..settings import Settings
from .order import Named, Order, calls_of, plan_of, stamp


def step_of(row: OrderRow) -> Step:
    """What was ordered; stills apart, which the ledger knows by their hashes only."""
    told = json.loads(row.step)
    known = {name: value for name, value in told.items() if name in Step.model_fields}
    try:
        return Step.model_validate(known)
    except ValidationError as error:
        raise LedgerError(f"The step of order {row.digest[:12]} cannot be read", "Update runway-node") from error


def named_again(row: OrderRow, settings: Settings, policy: Policy) -> Named:
    """The order with its clip, as far as that is still where it was.

    Raises:
        SourceError: The clip is gone, or is another one by now.

    """
    plan = plan_of(row)
    source = _source(row, plan)
    order = Order(
        source=source,
        probe=source.probe() if isinstance(source, Frames) else look(source),
        step=step_of(row),
        # Only ordering asks the model; one that is no longer in the table can still be finished.
        model=next(
            (one for one in model_table(settings) if (one.provider, one.name) == (plan.provider, plan.model)), MODELS[0]
        ),
        plan=plan,
        policy=policy,
        settings=settings,
        stamp=stamp(source, step_of(row)),
    )
    return Named(order=order, row=row, calls=calls_of(order, row.digest))


def _source(row: OrderRow, plan: Plan) -> Path | Frames:
    if not row.path:
        # Frames had no sound of their own, so nothing of them is needed but their measure.
        return Frames(
            width=plan.width, height=plan.height, fps=Fraction(plan.fps), count=plan.last, read=lambda: iter(())
        )
    path = Path(row.path)
    if not path.is_file():
        raise SourceError(
            f"The clip of order {row.digest[:12]} is not at {path} any more", "Run the order again with it"
        )
    if file_hash(path) != row.file:
        raise SourceError(f"{path} is not the clip of order {row.digest[:12]} any more", "Run the order again with it")
    return path
