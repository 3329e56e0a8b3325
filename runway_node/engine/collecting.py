"""A paid task brought home: waited for, fetched, checked, stored. What is found here never becomes a second order."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

from ..client import Client, Later
from ..errors import Interrupted, NotFetched, RunwayNodeError, StillRunning, TaskCancelled, TaskEnded, TaskGone
from ..ledger import Attempt, Moved, State, TakeRow
from ..media.codecs import default_suffix
from ..media.conform import verify
from ..media.content import file_hash
from ..media.shapes import Probe
from ..models import Policy, Take
from ..wire import Task, task_error
from .desk import Desk, interval_of, orphaned_sandbox
from .fetching import fetch, take_path
from .sharing import from_stores, share
from .waiting import Deadlines, Stopped, wait


def collect(desk: Desk, row: Attempt, policy: Policy, *, patient: bool = False) -> tuple[Take, Probe]:
    """Wait for a submitted call and fetch what it made; on a stop, say what became of it.

    Args:
        patient: A server on this machine that does not answer may come back.

    Raises:
        TaskFailed, TaskCancelled, TaskGone: It ended otherwise; the ledger says so.
        StillRunning: A deadline passed; it was left running, unless the policy cancels.
        NotFetched: It is paid for and could not be had; the next run tries again.
        Interrupted: Stopped.
        Moved: Somebody else changed the call meanwhile.

    """
    client, task_id = desk.client(row), row.task_id or ""
    running = policy.timeout or desk.settings.timeout
    deadlines = Deadlines(interval=interval_of(desk, row), queue=policy.queue_timeout, running=running)
    try:
        if (there := _there(desk, row)) is not None:
            return there
        if row.state != "succeeded":
            task = wait(
                client,
                task_id,
                deadlines,
                desk.stop,
                desk.report,
                missed=lambda: desk.unmoved(row),
                gone_at_once=orphaned_sandbox(desk, row) and not patient,
            )
            row = desk.move(row, "succeeded", "the model is done", cost=task.credits)
        else:
            task = Task(id=task_id, status="succeeded", credits=row.cost)
        return _brought(desk, row, task, client)
    except TaskEnded as error:
        ended(desk, row, error)
        raise
    except StillRunning as error:
        if policy.on_timeout == "cancel":
            became = left(desk, row, client, cancel=True)
            mend = "To wait longer raise timeout (--timeout)"
            raise StillRunning(f"It took longer than allowed: {became}", mend, task_id=task_id) from error
        raise
    except Stopped:
        cancel = policy.on_interrupt == "cancel" and not getattr(desk.stop, "detached", False)
        became = left(desk, row, client, cancel=cancel)
        desk.tell(row, "interrupted", became)
        raise Interrupted(f"Stopped; {became}", task_id=task_id) from None


def _there(desk: Desk, row: Attempt) -> tuple[Take, Probe] | None:
    """The take, where a run that died before it could write it down had brought it home already."""
    path = _place(desk, row, row.task_id or "")
    known = {take.sha256 for take in desk.ledger.takes_of(row) if take.store == desk.ledger.store}
    if not path.is_file() or (known and file_hash(path) not in known):
        return None
    try:
        answer = verify(path, row.task_id or "")
    except NotFetched:
        return None
    if row.state != "succeeded":
        row = desk.move(row, "succeeded", "it was fetched before")
    return _kept_at(desk, row, path, file_hash(path)), answer


def _kept_at(desk: Desk, row: Attempt, path: Path, sha256: str) -> Take:
    """The take at *path*, checked and synced, written down; then put where it is shared, the remote task deleted."""
    desk.lender.take_away(row, desk.report)  # before it is stored: after that nobody looks for it
    row = desk.keep(row, path.relative_to(desk.settings.data_dir).as_posix(), sha256, path.stat().st_size)
    take = Take(path=path, sha256=sha256, task_id=row.task_id or "", credits=row.cost)
    share(desk, row, take)
    clear_remote(desk, row)
    return take


def ended(desk: Desk, row: Attempt, error: TaskEnded) -> None:
    """Write down how a call ended without a result."""
    if isinstance(error, TaskGone):
        desk.move(row, "expired", error.what, error)
    else:
        state: State = "cancelled" if isinstance(error, TaskCancelled) else "failed"
        desk.move(row, state, error.what, error, cost=error.credits)


def _brought(desk: Desk, row: Attempt, task: Task, client: Client) -> tuple[Take, Probe]:
    """Fetch, check and store."""
    path = _place(desk, row, task.id)
    take, answer = fetch(client, task, path, row.seconds, interval_of(desk, row), desk.stop, desk.report)
    return _kept_at(desk, row, path, take.sha256), answer


def _place(desk: Desk, row: Attempt, task_id: str) -> Path:
    """Where the take belongs; its ending is that of what was asked for."""
    order = desk.ledger.order(row.scope, row.order_digest)
    asked = json.loads(order.step).get("output_format", "mp4") if order else "mp4"
    return take_path(desk.settings, row, task_id, default_suffix(asked))


def to_clear(desk: Desk, row: Attempt, policy: Policy) -> Attempt:
    """The row as it is, with this run's wish that the remote task be deleted."""
    row = desk.ledger.current(row)
    if policy.delete_remote and not row.delete_remote:
        return desk.ledger.change(row, delete_remote=1)
    return row


def clear_remote(desk: Desk, row: Attempt) -> None:
    """Delete the remote task of a stored take, where it was asked for and not done yet, and the take is whole here."""
    if row.delete_remote != 1:
        return
    try:
        row = desk.ledger.current(row)
        if row.delete_remote != 1 or row.state != "stored" or row.task_id is None:
            return
        if _whole(desk, row) is None:
            raise NotFetched("its take is not whole here; the same order again fetches it")
        client = desk.client(row)
        if not client.cancel(row.task_id) and client.task(row.task_id) is not None:
            raise NotFetched(f"{row.provider} denied it, and lists it all the same")
        desk.ledger.change(row, delete_remote=2)
    except RunwayNodeError as error:
        desk.report.warn(f"task {row.task_id} was not deleted at {row.provider} ({error.what})")


def left(desk: Desk, row: Attempt, client: Client, *, cancel: bool, held: bool = True) -> str:
    """What becomes of a task nobody waits for any more. A finished one is fetched: cancelling would destroy it.

    Args:
        cancel: Cancel it, if it has not ended and the provider can.
        held: We hold the call; a finished one that another run holds is that run's to fetch.

    """
    runs_on = f"task {row.task_id} runs on at {row.provider} and will be billed; the same order, or resume, collects it"
    if not cancel:
        return runs_on
    if not client.cancels:
        runs_on = f"{runs_on} ({row.provider} has no cancel)"
    lost = False
    for seconds in (0.5, 1.0, 2.0, 0.0):
        try:
            return _stopped(desk, row, client, held=held, lost=lost) or runs_on
        except Later as error:
            # One hiccup must not leave a task running that somebody wanted to stop.
            lost, said = lost or error.lost, error.what
            time.sleep(seconds)
    return f"{runs_on}: it could not be cancelled ({said})"


def _stopped(desk: Desk, row: Attempt, client: Client, *, held: bool, lost: bool) -> str:
    """Look, and cancel what has not ended; what became of it, or "" where it runs on.

    Args:
        lost: An earlier try may have been obeyed, its answer did not come.

    """
    task_id = row.task_id or ""
    task = client.task(task_id)
    if task is not None and task.ended:
        return _over(desk, row, task, client, held=held)
    if row.state == "succeeded":
        return f"task {task_id} had finished; {row.provider} did not list it just now"
    if not client.cancels:
        return ""
    # A single "no such task" says nothing: what is written down as cancelled is ordered, and paid, anew.
    if not client.cancel(task_id) and not (lost and task is None and client.task(task_id) is None):
        return f"{row.provider} does not list task {task_id}, so it was not cancelled; it may run on and be billed"
    ours = TaskCancelled(
        f"Task {task_id} was cancelled here", "Run it again to order it anew", task_id=task_id, retry="now"
    )
    with contextlib.suppress(Moved):
        desk.move(row, "cancelled", f"task {task_id} was cancelled", ours)
    return f"task {task_id} was cancelled"


def _over(desk: Desk, row: Attempt, task: Task, client: Client, *, held: bool) -> str:
    """What becomes of a task that ended before it could be cancelled."""
    if row.state == "succeeded":
        return f"task {task.id} had finished; the same order, or runway-node resume, fetches its result"
    if task.status == "succeeded" and not held:
        return f"task {task.id} had finished; the run that works on it fetches it"
    if task.status == "succeeded":
        return _kept(desk, row, task, client)
    with contextlib.suppress(Moved):
        ended(desk, row, task_error(task))
    return f"task {task.id} had already ended ({task.status})"


def _kept(desk: Desk, row: Attempt, task: Task, client: Client) -> str:
    """Bring a finished task's result home, whatever the stop says."""
    try:
        with desk.beside(stop=threading.Event()) as calm:
            row = calm.move(row, "succeeded", "the model is done", cost=task.credits)
            take, _ = _brought(calm, row, task, client)
    except RunwayNodeError as error:
        return f"task {task.id} had finished; its result could not be fetched ({error.what})"
    return f"task {task.id} had finished; its result is {take.path}"


def owned(desk: Desk, row: Attempt) -> tuple[Take, Probe] | None:
    """The stored call's take, its hash checked; None where another run mends it.

    A damaged or missing one is said, and fetched again while the provider has it.

    Raises:
        TaskGone: It is lost: nobody has it any more.
        NotFetched: It is damaged here and cannot be had now, or another machine has it.

    """
    kept = desk.ledger.takes_of(row)
    here = next((take for take in kept if take.store == desk.ledger.store), None)
    if (whole := _whole(desk, row)) is not None:
        return whole, verify(whole.path, whole.task_id)
    held = desk.ledger.adopt(row, desk.token)
    if held is None:
        if desk.stop.wait(0.2):
            raise Interrupted("Stopped while another run mends the order's take", "That run goes on")
        return None
    notes: list[str] = []
    if (got := from_stores(desk, held, notes)) is not None:
        with contextlib.suppress(RunwayNodeError):
            desk.ledger.let_go(held)
        return got
    if notes:
        desk.report.warn(f"the paid take cannot be had from {'; '.join(notes)}; fetching it from task {row.task_id}")
    elsewhere = next((take for take in kept if take.store != desk.ledger.store), None)
    path = desk.settings.data_dir / (here or kept[0]).path if kept else Path()
    why = "is damaged" if path.is_file() else "is missing"
    if elsewhere is None or here is not None:
        desk.report.warn(f"the paid take {path} {why}; fetching it again from task {row.task_id}")
    mended = _mended(desk, held, elsewhere, path, why, notes)
    if notes:
        share(desk, held, mended[0], again=True)
    return mended


def restored(desk: Desk, row: Attempt) -> bool:
    """Whether the take of a call that was given up is here again, whole: then it is owned as before."""
    take = _whole(desk, row) if row.state == "expired" else None
    if take is None:
        return False
    with contextlib.suppress(Moved):
        desk.keep(row, take.path.relative_to(desk.settings.data_dir).as_posix(), take.sha256, take.path.stat().st_size)
    return True


def shared(desk: Desk, row: Attempt) -> None:
    """The stored call's take put into the shared store too, where it is whole here and not there yet."""
    if desk.settings.store is None or desk.settings.store in {take.store for take in desk.ledger.takes_of(row)}:
        return
    if (take := _whole(desk, row)) is not None:
        share(desk, row, take)


def _whole(desk: Desk, row: Attempt) -> Take | None:
    """The stored call's take, where this data folder has its file and its hash is right."""
    for take in desk.ledger.takes_of(row):
        path = desk.settings.data_dir / take.path
        if path.is_file() and file_hash(path) == take.sha256:
            return Take(path=path, sha256=take.sha256, task_id=row.task_id or "", credits=row.cost)
    return None


def _mended(
    desk: Desk, row: Attempt, elsewhere: TakeRow | None, path: Path, why: str, notes: list[str]
) -> tuple[Take, Probe]:
    try:
        client, task_id = desk.client(row), row.task_id or ""
        if row.delete_remote == 2 and _denied(client, task_id):
            raise TaskGone(f"Task {task_id} was deleted at {row.provider}", task_id=task_id)
        return _brought(desk, row, Task(id=task_id, status="succeeded", credits=row.cost), client)
    except Stopped:
        raise Interrupted(
            "Stopped while the paid take was fetched again", "The same order goes on with it", task_id=row.task_id
        ) from None
    except (TaskGone, NotFetched) as error:
        if elsewhere is not None:
            raise NotFetched(
                f"The paid take of order {row.order_digest[:12]} is kept at {elsewhere.store}, in {elsewhere.path}, "
                f"and the provider does not have it any more{_noted(notes)}",
                "Make it reachable, or copy it here, below the data folder, under the same name",
                task_id=row.task_id,
            ) from error
        if isinstance(error, NotFetched):
            raise
        lost = TaskGone(
            f"The paid take {path} {why}, and {row.provider} does not have task {row.task_id} any more",
            "Restore the file from a copy, or order and pay it again: reorder (--reorder)",
            task_id=row.task_id or "",
        )
        desk.move(row, "expired", lost.what, lost)
        raise lost from error
    finally:
        with contextlib.suppress(RunwayNodeError):
            desk.ledger.let_go(row)


def _noted(notes: list[str]) -> str:
    """Why the stores did not serve."""
    return f" ({'; '.join(notes)})" if notes else ""


def _denied(client: Client, task_id: str) -> bool:
    try:
        return client.task(task_id) is None
    except Later:
        return False
