"""The program, with a signal to itself at a named point: `crash.py POINT SIGNAL ARGUMENTS...`. Only tests run it.

The function at the point is wrapped in this process alone: the product has no hooks.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

FFMPEG_STARTS = 0.3
"""Seconds after which ffmpeg is in the middle of its work: at the clip's own speed, two seconds take it two."""


class Point(NamedTuple):
    """One place on an order's way.

    Args:
        name: The function, "module:attribute".
        after: Whether the signal comes when the real call has returned, or before it begins.
        when: Which of its calls: gets what it returned (before: None), then its arguments.
        within: Only while this function runs, "module:attribute".

    """

    name: str
    after: bool
    when: Callable[..., bool] = lambda *_, **__: True
    within: str = ""


def at_work(_: object, __: object, process: Any, *___: object) -> bool:
    """Whether ffmpeg is in the middle of its work."""
    time.sleep(FFMPEG_STARTS)
    return process.poll() is None


FFMPEG = "runway_node.media.opener:_Work.__init__"
FINISHING = "runway_node.engine.finishing"
FITTING = "runway_node.engine.fitting"
LEDGER = "runway_node.ledger:Ledger"

POINTS = {
    "claimed": Point(f"{LEDGER}.claim", after=True),
    "encoding": Point(FFMPEG, after=True, when=at_work, within="runway_node.engine.paying:prepare"),
    "uploading": Point(
        "socket:socket.send", after=True, when=lambda _, __, data: len(data) > 1000,
        within="runway_node.client:Client.upload",
    ),
    "intent written": Point(f"{LEDGER}.intend", after=True, when=lambda got, *_, **__: got[0] == "sent"),
    "id stored": Point(f"{LEDGER}.record", after=True),
    "polling": Point("runway_node.client:Client.task", after=True),  # whatever it says: a busy machine asks late
    "succeeded": Point(f"{LEDGER}.move", after=True, when=lambda _, __, ___, to, *____, **_____: to == "succeeded"),
    "before stored": Point(f"{LEDGER}.keep", after=False),
    "stored": Point(f"{LEDGER}.keep", after=True),
    "conforming": Point(FFMPEG, after=True, when=at_work, within=f"{FITTING}:conform"),
    "before noted": Point(f"{LEDGER}.finish", after=False),
    "before rename": Point(f"{FINISHING}:settle", after=False, within=f"{FINISHING}:publish"),
    "amid rename": Point("runway_node.media.opener:_link", after=True, within=f"{FINISHING}:publish"),
    "after rename": Point(f"{FINISHING}:settle", after=True, within=f"{FINISHING}:publish"),
}  # fmt: skip
"""From the claim to the end; what the server alone sees is no point here: there the test sends the signal."""

LENDING = {
    "lending": Point(
        "runway_node.storage.folder:Folder.put", after=False, within="runway_node.engine.lending:Lender.lend"
    ),
    "lent": Point("runway_node.engine.lending:Lender.lend", after=True),
    "taken away": Point("runway_node.engine.lending:Lender.take_away", after=True),
}
"""The same where the clip goes by a store."""


def wrap(name: str, around: Callable[..., Any]) -> None:
    """Put `around(real, ...)` in the place of the function that a "module:attribute" names."""
    module, _, path = name.partition(":")
    *above, last = path.split(".")
    holder = functools.reduce(getattr, above, importlib.import_module(module))
    real = getattr(holder, last)

    def call(*args: Any, **keywords: Any) -> Any:
        return around(real, *args, **keywords)

    setattr(holder, last, call)


def arm(point: Point, number: int) -> None:
    """Send *number* to this process the first time it gets to *point*."""
    inside, struck = not point.within, False

    def enter(real: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        nonlocal inside
        inside = True
        try:
            return real(*args, **keywords)
        finally:
            inside = False

    def strike(got: Any, *args: Any, **keywords: Any) -> None:
        nonlocal struck
        if inside and not struck and point.when(got, *args, **keywords):
            struck = True
            os.kill(os.getpid(), number)

    def around(real: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        if not point.after:
            strike(None, *args, **keywords)
        got = real(*args, **keywords)
        if point.after:
            strike(got, *args, **keywords)
        return got

    if point.within:
        wrap(point.within, enter)
    wrap(point.name, around)


def slowed(real: Callable[..., Any], args: list[str], **keywords: Any) -> Any:
    """Run ffmpeg at the clip's own speed: done in a blink, it could not be killed at its work."""
    return real(["-readrate", "1", *args], **keywords)


def main(name: str, sign: str, *args: str) -> None:
    """Run the program; at a name that is no point, undisturbed."""
    point = POINTS.get(name) or LENDING.get(name)
    if point is not None:
        arm(point, getattr(signal, sign))
        if point.name == FFMPEG:
            for user in ("prepare", "conform"):
                wrap(f"runway_node.media.{user}:run_ffmpeg", slowed)
    from runway_node.cli import main as program

    program(args)


if __name__ == "__main__":
    main(*sys.argv[1:])
