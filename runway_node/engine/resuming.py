"""Calls that no run works on, by themselves: resumed, cancelled, or given the task that a person found."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..client import Client, Later
from ..errors import Interrupted, LedgerError, RunwayNodeError, SettingsError, Unknown, Unreachable, WrongUse
from ..ledger import PAID, Attempt, Ledger, OrderRow, State
from ..models import Event, Finished, OnProgress, OpenOrder, Policy
from ..settings import BASE_URL_VARIABLES, KEY_VARIABLES, Settings, load_settings
from .again import named_again, step_of
from .books import told
from .collecting import clear_remote, collect, left, restored, shared
from .desk import Desk
from .files import workshop
from .finishing import already, finished, variant_of
from .fitting import Fitting, suffix_for
from .gathering import gathered
from .obtaining import Obtained
from .report import Report
from .stop import Stop, hear_ctrl_c

TO_COLLECT: tuple[State, ...] = ("submitted", "succeeded")


@contextlib.contextmanager
def open_desk(
    settings: Settings, stop: threading.Event | None = None, on_progress: OnProgress | None = None
) -> Iterator[Desk]:
    """A desk outside a run."""
    with (
        Ledger(settings) as ledger,
        ledger.holder() as token,
        Desk(settings, ledger, token, stop or Stop(), Report(on_progress)) as desk,
    ):
        desk.salvage()
        yield desk


def resume(
    *,
    settings: Settings | None = None,
    policy: Policy | None = None,
    stop: threading.Event | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Finished, ...]:
    """Finish all that is submitted or succeeded and that no live run works on; orders nothing.

    Takes are fetched, and finished files made where the clip is still there: the same order again, or `export`, has
    them at once. At most `max_concurrency` at a time.

    Raises:
        LedgerError: The ledger cannot be used.
        KeyboardInterrupt, Interrupted: Stopped; the tasks run on.

    """
    settings = settings or load_settings()
    policy = (policy or Policy()).model_copy(update={"on_interrupt": "detach"})
    stop = stop if isinstance(stop, Stop) else Stop(stop)
    listener = _one_at_a_time(on_progress)
    with hear_ctrl_c(stop), open_desk(settings, stop, listener) as desk:
        rows = [(row, order) for row, order in desk.books.latest(TO_COLLECT)]

        finishing = threading.Lock()

        def one(pair: tuple[Attempt, OrderRow]) -> Finished | None:
            held = desk.ledger.adopt(pair[0], desk.token)
            if held is None:
                return None
            try:
                return _resumed(desk, held, pair[1], policy, listener, finishing)
            finally:
                # The others may take long: who has the same order, or waits for its slot, goes on with it now.
                with contextlib.suppress(LedgerError):
                    desk.ledger.let_go(held)

        with ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="runway-resume") as pool:
            found = [one for one in pool.map(one, rows) if one is not None]
        for row, _ in desk.books.latest(["expired"]):
            restored(desk, row)
        for row, _ in desk.books.latest(["stored"]):
            if not stop.is_set():
                shared(desk, row)
            clear_remote(desk, row)
        if stop.is_set():
            raise Interrupted("Stopped", "What is not here yet runs on: resume again")
        paths = {one.digest: one.path for one in found if one.path is not None}
        return tuple(one.model_copy(update={"path": paths.get(one.digest)}) for one in found)


def _one_at_a_time(listener: OnProgress | None) -> OnProgress | None:
    """The caller's listener, called by one thread at a time."""
    if listener is None:
        return None
    guard = threading.Lock()

    def hear(event: Event) -> object:
        with guard:
            return listener(event)

    return hear  # type: ignore[return-value]  # what the listener returns is passed on


def _resumed(
    desk: Desk, row: Attempt, order: OrderRow, policy: Policy, listener: OnProgress | None, finishing: threading.Lock
) -> Finished:
    """One call brought home; what goes wrong with it stops none of the others. An order's last one makes its file."""
    with desk.beside(report=Report(listener)) as own:
        own.report.digest = order.digest
        try:
            got = Obtained(*collect(own, row, policy, patient=True), before=True)
        except RunwayNodeError as error:
            now = desk.ledger.current(row)
            return Finished(digest=order.digest, task_id=row.task_id, state=now.state, error=str(error))
        told = Finished(digest=order.digest, task_id=row.task_id, state="stored", take=got.take.path)
        try:
            calls = desk.books.calls(order.digest)
            if len(calls) == 1:
                return told.model_copy(update={"path": _finish(own, row, order, policy, [got])})
            with finishing:
                away = [desk.books.name_of(one) for one, _ in desk.books.calls(order.digest) if one.state != "stored"]
                if not away:
                    return told.model_copy(update={"path": _finish(own, row, order, policy, None)})
        except RunwayNodeError as error:
            # The take is here, which is what was paid for.
            return told.model_copy(update={"error": str(error)})
    missing = f"{len(away)} of {len(calls)} calls are not here: the same order again goes on with it"
    return told.model_copy(update={"error": missing if _nobody_brings(desk, order) else ""})


def _nobody_brings(desk: Desk, order: OrderRow) -> bool:
    """Whether a call of the order is neither here nor being fetched."""
    return any(row.state not in {*TO_COLLECT, "stored"} for row, _ in desk.books.calls(order.digest))


def _finish(desk: Desk, row: Attempt, order: OrderRow, policy: Policy, got: list[Obtained] | None) -> Path:
    """The order's finished file, from these takes, or from all that are here."""
    with workshop(desk.settings, f"{desk.token}-{row.segment[:12]}", desk.ledger.needed) as folder:
        suffix = suffix_for(step_of(order), None)
        there = already(desk, order.scope, order.digest, variant_of(policy, suffix), None, force=False)
        if there is None:
            fitting = Fitting(named_again(order, desk.settings, policy), folder, suffix)
            there = finished(desk, fitting, got or gathered(desk, order), None, force=False)
    return there.path


def cancel(which: str, *, settings: Settings | None = None) -> tuple[Finished, ...]:
    """Cancel an order's remote tasks; a finished one is fetched instead, for cancelling would destroy its result.

    Args:
        which: The start of the order's digest, with ":3" for its third call alone; or the task's id.

    Returns:
        What became of each task that was running.

    Raises:
        Unknown: There is no such order or task; says what there is.
        WrongUse: There is nothing to cancel, or the provider cannot.

    """
    with open_desk(settings or load_settings()) as desk:
        rows = desk.books.calls(which)
        running = [(row, order) for row, order in rows if row.state == "submitted"]
        if not running:
            row, order = rows[-1]
            raise WrongUse(f"Order {order.digest[:12]} is {row.state}: there is no running task", _instead(row, desk))
        if not desk.client(running[0][0]).cancels:
            tasks = ", ".join(str(row.task_id) for row, _ in running)
            raise WrongUse(f"{running[0][0].provider} has no cancel", f"Task {tasks} runs on and will be billed")
        return tuple(_cancelled(desk, row, order) for row, order in running)


def _cancelled(desk: Desk, row: Attempt, order: OrderRow) -> Finished:
    """One task cancelled; what goes wrong with it stops none of the others."""
    try:
        client = desk.client(row)
    except SettingsError as error:
        return Finished(digest=order.digest, task_id=row.task_id, state=row.state, error=str(error))
    held = desk.ledger.adopt(row, desk.token)
    became = left(desk, held or row, client, cancel=True, held=held is not None)
    now = desk.ledger.current(row)
    take = next((desk.settings.data_dir / take.path for take in desk.ledger.takes_of(now)), None)
    return Finished(
        digest=order.digest, task_id=row.task_id, state=now.state, take=take,
        error="" if now.state in {"cancelled", "stored"} else became,
    )  # fmt: skip


def _instead(row: Attempt, desk: Desk) -> str:
    if row.state in {"claimed", "intent"} and desk.ledger.alive(row.holder):
        return "A run is about to order it: stop that one with Ctrl-C"
    if row.state == "stored":
        return f"It is owned: runway-node export {row.order_digest[:12]} -o OUT"
    return "See runway-node tasks"


def attach(which: str, task_id: str, *, settings: Settings | None = None) -> OpenOrder:
    """Give an order the task that a person found for it; the same order again, or `resume`, then collects it.

    Args:
        which: The start of the order's digest, with ":3" for its third call.
        task_id: As the provider lists it.

    Raises:
        Unknown: There is no such order here, or no such task there.
        WrongUse: The order needs none, or the task is another order's.
        Unreachable: The provider cannot be asked.

    """
    settings = settings or load_settings()
    with open_desk(settings) as desk:
        row, order = _to_attach(desk, which, task_id)
        key = settings.key(row.provider).get_secret_value()
        _same_server(desk, row, key)
        asked = settings.model_copy(update={f"{row.provider}_base_url": row.base_url})
        with Client(asked, row.provider) as client:
            try:
                task = client.task(task_id)
            except Later as error:
                raise Unreachable(f"{row.provider} cannot be asked about task {task_id}: {error.what}") from error
        if task is None:
            raise Unknown(
                f"{row.provider} knows no task {task_id}",
                "Check the id, and that the key is the one it was ordered with",
            )
        row = desk.ledger.attach(row, task_id, desk.ledger.fingerprint(row.origin, key))
        desk.tell(row, "submitted", f"task {task_id} was attached")
        return told(desk.ledger, row, order)


def _same_server(desk: Desk, row: Attempt, key: str) -> None:
    """Refuse to show a key to a server that neither the order nor the settings named it for."""
    known = desk.ledger.fingerprint(row.origin, key) == row.fingerprint
    if not known and desk.settings.base_url(row.provider) != row.base_url:
        raise SettingsError(
            f"Order {row.order_digest[:12]} was placed at {row.base_url}, with another key than the one that is set",
            f"Set {BASE_URL_VARIABLES[row.provider]} to that address and {KEY_VARIABLES[row.provider]} to a key for it",
        )


def _to_attach(desk: Desk, which: str, task_id: str) -> tuple[Attempt, OrderRow]:
    """The call that can be given the task; of several that wait for one, a person says which."""
    rows = desk.books.calls(which)
    if len(rows) == 1:
        return _attachable(desk, rows[0][0], task_id), rows[0][1]
    waiting = [(row, order) for row, order in rows if _waits(desk, row) or row.task_id == task_id]
    if len(waiting) == 1:
        return _attachable(desk, waiting[0][0], task_id), waiting[0][1]
    if not waiting:
        raise WrongUse(f"No call of order {which} needs a task", "See runway-node tasks")
    names = ", ".join(desk.books.name_of(row) for row, _ in waiting)
    raise WrongUse(f"{len(waiting)} calls of order {which} wait for a task", f"Say which it is: {names}")


def _waits(desk: Desk, row: Attempt) -> bool:
    return row.state in {"ambiguous", "expired"} or (row.state == "intent" and not desk.ledger.alive(row.holder))


def _attachable(desk: Desk, row: Attempt, task_id: str) -> Attempt:
    """The row, if it can be given a task."""
    if row.state == "intent" and not desk.ledger.alive(row.holder):
        row = desk.move(row, "ambiguous", "its run died while it was being sent")
    same = row.task_id == task_id and row.state in PAID and not desk.ledger.alive(row.holder)
    if row.state in {"ambiguous", "expired"} or same:
        return row
    if row.state == "submitted":
        raise WrongUse(f"Order {row.order_digest[:12]} has task {row.task_id}", "resume collects it")
    raise WrongUse(f"Order {row.order_digest[:12]} is {row.state}: it needs no task", "See runway-node tasks")
