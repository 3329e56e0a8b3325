"""How an order's takes become one film: each made to fit, seams cross-faded, the rest of the clip kept where asked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..errors import OutputError
from ..media.codecs import HOLDS_PRORES, codec_for, default_suffix
from ..media.conform import conform, off_shape, strip_of
from ..media.join import Film, Part, blend
from ..media.opener import cores
from ..media.rest import Rest, around, look_at_rest
from ..media.shapes import Fit, Probe, Strip
from ..models import Step, Take
from ..planning import Segment, fit_of
from .desk import Desk
from .order import Named


def suffix_for(step: Step, out: Path | None) -> str:
    """The ending of the finished file: the output's, else that of the data folder's own."""
    return out.suffix.lower() if out else default_suffix(step.output_format)


def check_holds(out: Path, step: Step) -> None:
    """Refuse an output that cannot hold what is asked for, before anything is paid.

    Raises:
        OutputError: It is no container for ProRes.

    """
    if step.output_format == "prores" and out.suffix.lower() not in HOLDS_PRORES:
        raise OutputError(f"{out.name} cannot hold ProRes", f"Name it {out.with_suffix('.mov').name}, or .mkv")


class Fitting:
    """The making of one order's film.

    Args:
        named: The order.
        folder: Where parts wait until they are joined.
        suffix: The film's ending.

    """

    def __init__(self, named: Named, folder: Path, suffix: str) -> None:
        self.named, self.folder, self.suffix = named, folder, suffix

    @functools.cached_property
    def rest(self) -> Rest | None:
        """How the clip's frames around the range are had; None where they are not wanted."""
        order, plan = self.named.order, self.named.plan
        if not order.keep_rest or not isinstance(order.source, Path):
            return None
        plain = fit_of(plan, plan.segments[0], order.probe, order.step, order.policy)
        return look_at_rest(order.source, order.probe, plain, self.suffix, plan.first, plan.last)

    def tell(self, desk: Desk) -> None:
        """Say what of the rest cannot be copied; before anything is paid."""
        if self.rest is not None and self.rest.why:
            desk.report.warn(f"the rest of the clip is encoded again: {self.rest.why}", lasting=True)

    @property
    def frames(self) -> int:
        """How many frames the film has."""
        return self.rest.frames if self.rest else self.named.plan.last - self.named.plan.first

    def fit(self, segment: Segment) -> Fit:
        """What the segment's take is made into."""
        order = self.named.order
        fit = fit_of(order.plan, segment, order.probe, order.step, order.policy)
        return replace(fit, alone=False, sps_id=self.rest.sps_id) if self.rest else fit

    def strip(self, segment: Segment) -> Strip:
        """The files of the segment's fitted take."""
        fit = self.fit(segment)
        return strip_of(fit, self.folder / f"part-{segment.index}{codec_for(fit, self.suffix).part}")

    def make(self, desk: Desk, segment: Segment, take: Take, answer: Probe) -> Strip:
        """Make a take fit: exactly its segment's frames, in the film's rate, size and codec."""
        fit, strip = self.fit(segment), self.strip(segment)
        if off_shape(answer, fit):
            desk.report.warn(
                f"the answer's shape ({answer.width}x{answer.height}) is another one; it was padded, not stretched",
                lasting=True,
            )
        desk.report("conforming", f"{fit.frames} frames at {float(fit.fps):.3f} fps")
        conform(
            take.path,
            answer,
            fit,
            strip.body,
            suffix=self.suffix,
            stop=desk.stop,
            on_frame=lambda n: desk.report("conforming", fraction=min(1.0, n / fit.frames)),
        )
        desk.report("conforming", fraction=1.0)
        return strip

    def film(self, desk: Desk, strips: Sequence[Strip]) -> Film:
        """All parts of the film, in order; what is not there yet is encoded."""
        order = self.named.order
        parts = self._with_seams(desk, strips)
        delay = 0
        if self.rest is not None and isinstance(order.source, Path):
            fit = self.fit(self.named.plan.segments[0])
            parts = around(order.source, order.probe, fit, self.suffix, self.rest, parts, self.folder, stop=desk.stop)
            delay = self.rest.delay
        return Film(parts, self.named.plan.fps, self.frames, delay, lambda part: part.unlink())

    def _with_seams(self, desk: Desk, strips: Sequence[Strip]) -> list[Part]:
        """The strips' bodies, and between those that share frames the cross-faded seam."""

        def seam(index: int) -> Path | None:
            tail, head = strips[index].tail, strips[index + 1].head
            if tail is None or head is None:
                return None
            path = self.folder / f"seam-{index}{strips[index].body.suffix}"
            blend(tail, head, self.fit(self.named.plan.segments[index]), path, suffix=self.suffix, stop=desk.stop)
            tail.unlink()
            head.unlink()
            return path

        with ThreadPoolExecutor(cores(), thread_name_prefix="runway-seams") as pool:
            seams = [*pool.map(seam, range(len(strips) - 1)), None]
        return [part for strip, between in zip(strips, seams, strict=True) for part in (strip.body, between) if part]
