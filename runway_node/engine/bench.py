"""The workbench of one run: clips made ready to be sent, takes made to fit; at most an encoder a core."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import Interrupted
from ..media.content import Rendered
from ..media.opener import cores
from ..media.pictures import still
from ..media.shapes import Frames
from ..models import Picture
from ..planning import Segment, cut_of, reach_back
from .delivery import clip_budget
from .desk import Desk
from .fitting import Fitting
from .obtaining import Obtained
from .order import Named
from .paying import HEARD_WITHIN, Prepared, prepared


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
        self._encoders = threading.BoundedSemaphore(cores())
        self._fitted = [threading.Event() for _ in named.plan.segments]
        source = named.order.source
        self._rendered = Rendered(source, kept=reach_back(named.plan)) if isinstance(source, Frames) else None
        self._rendering = threading.Lock()

    def clip(self, desk: Desk, segment: Segment) -> Prepared:
        """The segment's clip, encoded."""
        order = self._named.order
        cut = cut_of(order.plan, segment, order.probe, clip_budget(order.model, order.plan))
        there = self._clips.get(segment.index)
        if there is None or there.cut != cut or not there.path.exists():
            with self._encoder(desk):
                there = self._made(desk, segment)
        return there

    def close(self) -> None:
        """Nothing is asked of it any more."""
        if self._rendered is not None:
            self._rendered.close()

    def _made(self, desk: Desk, segment: Segment) -> Prepared:
        order = self._named.order
        if self._rendered is None:
            self._clips[segment.index] = prepared(order, segment, order.source, clip_path(self._folder, segment), desk)
            return self._clips[segment.index]
        with self._rendering:
            # Read once, in order, whoever asks first: each reading begins at the clip's start.
            for one in order.plan.segments[: segment.index + 1]:
                if one.index not in self._clips or one == segment:
                    path = clip_path(self._folder, one)
                    self._clips[one.index] = prepared(order, one, self._rendered.frames, path, desk)
        return self._clips[segment.index]

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
        with self._encoder(desk):
            strip = self.fitting.make(desk, segment, got.take, got.answer)
        self._fitted[segment.index].set()
        return got._replace(strip=strip)

    @contextlib.contextmanager
    def _encoder(self, desk: Desk) -> Iterator[None]:
        while not self._encoders.acquire(timeout=HEARD_WITHIN):
            if desk.stop.is_set():
                raise Interrupted("Stopped while another clip was encoded")
        try:
            yield
        finally:
            self._encoders.release()
