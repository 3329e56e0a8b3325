"""One order driven from ComfyUI's event loop: the engine in a thread, the person's Stop heard, progress shown.

The Stop is a flag that whoever hears it first takes down, and a node that is not async holds the loop meanwhile: so it
is looked at from a thread, and what was heard once stays heard.

Nothing here knows a node or a clip; what it needs of ComfyUI it is given.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import logging
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from ...engine import Stop
from ...errors import Interrupted
from ...models import Event

T = TypeVar("T")
log = logging.getLogger("runway_node")

LOOK = 0.2
"""Seconds between two looks at progress and at the end."""

HEARD = 0.05
"""Seconds between two looks at the person's Stop."""

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
    """Work in a thread of its own, never in a pool that its siblings wait for; it hears a `Stop`.

    `pressed`: the person's Stop was heard. `sent`: something may be at the provider, or on its way there.
    """

    def __init__(self, work: Callable[[Stop, Callable[[Event], None]], T], interrupted: Callable[[], bool]) -> None:
        self.stop = Stop()
        self.outcome: Future[T] = Future()
        self.latest: Event | None = None
        self.pressed = self.sent = False
        self._work, self._interrupted = work, interrupted
        context = contextvars.copy_context()
        # Daemons: a server that ends must not wait minutes for a task. What is ordered is in the ledger.
        self.thread = threading.Thread(target=context.run, args=(self._go,), name="runway-node", daemon=True)
        _running.add(self)
        self.thread.start()
        threading.Thread(target=self._listen, name="runway-stop", daemon=True).start()

    def press(self) -> None:
        """The person's Stop: what runs is stopped as its policy says."""
        self.pressed = True
        self.stop.set()

    def leave(self) -> None:
        """Nobody waits any more: what is ordered is left running, unless the person wants it stopped."""
        if self._interrupted():
            self.press()
        if not self.pressed and not self.outcome.done():
            self.stop.detach()
            task = self.latest.task_id if self.latest else None
            log.warning("The graph ended; %s", f"task {task} is left running" if task else "nothing more is sent")

    def _listen(self) -> None:
        while not self.outcome.done():
            if self._interrupted():
                self.press()
                return
            time.sleep(HEARD)

    def _go(self) -> None:
        try:
            self.outcome.set_result(self._work(self.stop, self._hear))
        except BaseException as error:  # noqa: BLE001 - handed to the node
            self.outcome.set_exception(error)

    def _hear(self, event: Event) -> None:
        self.latest = event
        self.sent = self.sent or event.task_id is not None or event.phase in {"intent", "submitting"}


async def drive(work: Callable[[Stop, Callable[[Event], None]], T], host: Host) -> T:
    """Do *work* beside the loop and give what it gives.

    The person's Stop stops it as its policy says, and ends as ComfyUI's own interruption. A cancelled await, which is
    what a failing sibling causes, leaves the remote task running for the next run to collect.
    """
    run, shown = _Run(work, host.interrupted), None
    try:
        while not run.outcome.done():
            if run.pressed:
                await _patient(run)
                raise host.give_up()
            if run.latest is not shown:
                shown = run.latest
                await _show(host, shown)
            await asyncio.sleep(LOOK)
    except BaseException:
        run.leave()
        raise
    if run.latest is not shown:
        await _show(host, run.latest)
    return run.outcome.result()


async def _show(host: Host, event: Event | None) -> None:
    """Progress is a courtesy: other packs hang on it too, and their failures must not end what is paid."""
    if event is not None:
        try:
            await host.show(event)
        except Exception:
            log.debug("Progress could not be shown", exc_info=True)


async def _patient(run: _Run[T]) -> None:
    """Let the remote task be cancelled; where nothing was sent there is nothing to wait for."""
    until = time.monotonic() + PATIENCE
    while run.sent and not run.outcome.done() and time.monotonic() < until:  # noqa: ASYNC110 - a thread's to end
        await asyncio.sleep(LOOK / 2)
    error = run.outcome.exception() if run.outcome.done() else None
    if error is not None and not isinstance(error, Interrupted):
        log.warning("%s", error)


@atexit.register
def _leave() -> None:
    """The server ends: stop what was not sent, leave what is running, let what is just being sent have its answer."""
    runs = [run for run in _running if run.thread.is_alive()]
    for run in runs:
        if not run.pressed:
            run.stop.detach()
    until = time.monotonic() + LEAVING
    for run in runs:
        with contextlib.suppress(RuntimeError):
            run.thread.join(max(0.0, until - time.monotonic()))
