"""One order driven from ComfyUI's event loop: the engine in a thread, the person's Stop heard, progress shown.

Nothing here knows a node or a clip; what it needs of ComfyUI it is given.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from ...engine import Stop
from ...models import Event

T = TypeVar("T")

LOOK = 0.2
"""Seconds between two looks: at the person's Stop, at progress, at the end."""

PATIENCE = 10.0
"""Seconds that an interrupted node waits for its remote task to be cancelled; the thread goes on for longer."""

LEAVING = 10.0
"""Seconds that a server which ends waits for an order that is just being sent, so that its answer is not lost."""

_running: weakref.WeakSet[_Run[Any]] = weakref.WeakSet()


class Host(NamedTuple):
    """What the loop needs of ComfyUI.

    Args:
        interrupted: Whether the person pressed Stop.
        show: Shows one event.
        give_up: Makes the exception by which a node ends as interrupted.

    """

    interrupted: Callable[[], bool]
    show: Callable[[Event], Awaitable[None]]
    give_up: Callable[[], BaseException]


class _Run(Generic[T]):
    """Work in a thread of its own, never in a pool that its siblings wait for; it hears a `Stop`."""

    def __init__(self, work: Callable[[Stop, Callable[[Event], None]], T]) -> None:
        self.stop = Stop()
        self.outcome: Future[T] = Future()
        self.latest: Event | None = None
        self._work = work
        context = contextvars.copy_context()
        # A daemon: a server that ends must not wait minutes for a task. What is ordered is in the ledger.
        self.thread = threading.Thread(target=context.run, args=(self._go,), name="runway-node", daemon=True)
        _running.add(self)
        self.thread.start()

    def _go(self) -> None:
        try:
            self.outcome.set_result(self._work(self.stop, self._hear))
        except BaseException as error:  # noqa: BLE001 - handed to the node
            self.outcome.set_exception(error)

    def _hear(self, event: Event) -> None:
        self.latest = event


async def drive(work: Callable[[Stop, Callable[[Event], None]], T], host: Host) -> T:
    """Do *work* beside the loop and give what it gives.

    The person's Stop stops it as its policy says, and ends as ComfyUI's own interruption. A cancelled await, which is
    what a failing sibling causes, leaves the remote task running for the next run to collect.
    """
    run, shown = _Run(work), None
    try:
        while not run.outcome.done():
            if host.interrupted():
                run.stop.set()
                await _patient(run)
                raise host.give_up()
            if run.latest is not shown:
                shown = run.latest
                assert shown is not None
                await host.show(shown)
            await asyncio.sleep(LOOK)
    except asyncio.CancelledError:
        # Both may come of the same Stop: then it is the person's, whichever node heard it first.
        run.stop.set() if host.interrupted() else run.stop.detach()
        raise
    if run.latest is not None and run.latest is not shown:
        await host.show(run.latest)
    return run.outcome.result()


async def _patient(run: _Run[T]) -> None:
    until = time.monotonic() + PATIENCE
    while not run.outcome.done() and time.monotonic() < until:  # noqa: ASYNC110 - a thread's, not the loop's, to end
        await asyncio.sleep(LOOK / 2)


@atexit.register
def _leave() -> None:
    """The server ends: stop what was not sent, leave what is running, let what is just being sent have its answer."""
    runs = [run for run in _running if run.thread.is_alive()]
    for run in runs:
        run.stop.detach()
    until = time.monotonic() + LEAVING
    for run in runs:
        with contextlib.suppress(RuntimeError):
            run.thread.join(max(0.0, until - time.monotonic()))
