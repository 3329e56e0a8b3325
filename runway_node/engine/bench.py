"""The workbench of one run: clips made ready to be sent, takes made to fit; at most an encoder a core."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from ..errors import Interrupted
from ..media.content import Rendered
from ..media.opener import cores
from ..media.pictures import still
from ..media.prepare import prepare
from ..media.probe import probe as look
from ..media.shapes import Cut, Frames
from ..models import Picture
from ..planning import Segment, cut_of, reach_back
from .delivery import clip_budget
from .desk import Desk
from .fitting import Fitting
from .obtaining import Obtained
from .order import Named
from .paying import Prepared, prepared
from .report import Report
from .turns import HEARD_WITHIN, Turns


def clip_path(folder: Path, segment: Segment) -> Path:
    """Where a segment's clip waits to be sent."""
    return folder / f"clip-{segment.index}.mp4"


class Workbench:
    """What an order's calls are made of, and made into.

    Args:
        named: The order.
        folder: The run's own.
        clips: Those that are ready already, by the segment's place.
        fitting: Makes the takes fit.

    """

    def __init__(self, named: Named, folder: Path, clips: dict[int, Prepared], fitting: Fitting) -> None:
        self._named, self._folder, self._clips, self.fitting = named, folder, clips, fitting
        self._encoders = Turns(cores())
        self._fitted = [threading.Event() for _ in named.plan.segments]
        self._rendering: threading.Thread | None = None
        self._rendered = [threading.Event() for _ in named.plan.segments]
        self._broken: list[BaseException] = []
        self._guard = threading.Lock()

    def clip(self, desk: Desk, segment: Segment) -> Prepared:
        """The segment's clip, encoded."""
        order = self._named.order
        cut = cut_of(order.plan, segment, order.probe, clip_budget(desk, order))
        there = self._clips.get(segment.index)
        if there is not None and there.cut == cut and there.path.exists():
            return there
        if isinstance(order.source, Frames) and len(order.plan.segments) > 1:
            self._wait_for_frames(desk, segment, order.source)
            self._shrink(desk, segment, cut)
        else:
            # What is to be sent goes before what is here: the provider takes longer than we do.
            with self._encoders.take((0, segment.index), desk.stop):
                path = clip_path(self._folder, segment)
                self._clips[segment.index] = prepared(order, segment, order.source, path, desk)
        return self._clips[segment.index]

    def _shrink(self, desk: Desk, segment: Segment, cut: Cut) -> None:
        """Make a rendered clip smaller that is too large for the way it goes by now: its frames cannot be had again."""
        there = self._clips[segment.index]
        if there.path.stat().st_size <= cut.budget:
            return
        probe, path = look(there.path), self._folder / f"clip-{segment.index}-smaller.mp4"
        with self._encoders.take((0, segment.index), desk.stop):
            desk.report("preparing", f"encoding to {cut.budget / 1e6:.1f} MB")
            whole = replace(cut, first=0, last=probe.frames, divide=1, clones=0)
            prepare(there.path, probe, whole, path, stop=desk.stop)
        there.path.unlink()
        self._clips[segment.index] = Prepared(path=path, cut=cut)

    def _wait_for_frames(self, desk: Desk, segment: Segment, source: Frames) -> None:
        """Frames from Python are read once, in order, by a thread that waits for nothing else: a host holds a lock."""
        with self._guard:
            if self._rendering is None:
                quiet = desk.beside(report=Report(None))
                self._rendering = threading.Thread(target=self._render, args=(quiet, source), daemon=True)
                self._rendering.start()
        desk.report("preparing", "rendering the clip")
        while not self._rendered[segment.index].wait(HEARD_WITHIN):
            if self._broken:
                raise self._broken[0]
            if desk.stop.is_set():
                raise Interrupted("Stopped while the clip was rendered")

    def _render(self, desk: Desk, source: Frames) -> None:
        order = self._named.order
        rendered = Rendered(source, kept=reach_back(order.plan))
        try:
            for segment in order.plan.segments:
                path = clip_path(self._folder, segment)
                self._clips[segment.index] = prepared(order, segment, rendered.frames, path, desk)
                self._rendered[segment.index].set()
        except BaseException as error:  # noqa: BLE001 - handed to the calls that wait for it
            self._broken.append(error)
        finally:
            rendered.close()

    def close(self) -> None:
        """Nothing is asked of it any more."""
        if self._rendering is not None:
            self._rendering.join()

    def drop(self, segment: Segment) -> None:
        """The segment's clip is not needed any more."""
        there = self._clips.get(segment.index)
        if there is not None:
            there.path.unlink(missing_ok=True)

    def guide(self, desk: Desk, segment: Segment) -> Picture | None:
        """The picture that a chained call begins with: the one it goes on from, out of the call before it."""
        plan = self._named.plan
        if not plan.chained or segment.index == 0:
            return None
        before = plan.segments[segment.index - 1]
        while not self._fitted[before.index].wait(HEARD_WITHIN):
            if desk.stop.is_set():
                raise Interrupted("Stopped before the order was placed", "Nothing was ordered")
        strip = self.fitting.strip(before)
        path = self._folder / f"guide-{segment.index}.png"
        if strip.tail is not None:
            still(strip.tail, 0, path)
        else:
            still(strip.body, strip.frames - 1, path)
        return Picture(path=path)

    def fitted(self, desk: Desk, segment: Segment, got: Obtained) -> Obtained:
        """The take made to fit, ready to be joined."""
        with self._encoders.take((1, segment.index), desk.stop):
            strip = self.fitting.make(desk, segment, got.take, got.answer)
        self._fitted[segment.index].set()
        return got._replace(strip=strip)
