"""What becomes of a template's paid steps: plans where one only looks, takes where the film is made.

Steps that do not wait for one another are ordered side by side; the first that fails keeps from being sent what is not.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from .. import engine
from ..engine import Stop
from ..engine.side_by_side import together, worst_of
from ..errors import Interrupted
from ..hosts.moviepy import frames_of
from ..media.shapes import Frames
from ..models import Event, OnProgress, Policy, Result, Step
from ..planning import Plan
from ..settings import Settings
from .making import Making, Span
from .pieces import Piece, Stretch, blank, from_file, tried
from .steps import VideoToVideo
from .wiring import Node


def name_of(node: Node) -> str:
    """What a step is called in tables."""
    return node.step.id or f"steps[{node.number}]"


class Looking:
    """Plans in place of takes."""

    def __init__(self, settings: Settings, policy: dict[str, Any]) -> None:
        self.settings, self.policy = settings, policy
        self.plans: list[tuple[str, Plan]] = []

    def transformed(self, node: Node, piece: Piece, step: Step, policy: Policy, span: Span | None) -> Piece:
        """A blank piece of the shape that the step will give."""
        tried(piece)
        source, start, end, keep_rest = _given(piece, span)
        plan = engine.plan(
            source, step, start=start, end=end, policy=policy.model_copy(update=self.policy), settings=self.settings,
            keep_rest=keep_rest,
        )  # fmt: skip
        self.plans.append((name_of(node), plan))
        size = (piece.width, piece.height) if step.aspect is None else (plan.width, plan.height)
        return replace(piece, picture=blank(size, piece.fps, piece.frames), width=size[0], height=size[1])


class Ordering:
    """Takes, by the engine.

    Args:
        settings: Keys, folders, limits.
        policy: Fields of `Policy` that overrule the template's.
        folder: For the steps' clips, where the engine is not to keep them itself.
        suffix: Of these.
        stop: The render's.
        on_progress: The render's; called with one event at a time, from several threads.
        began: When the command was given.

    """

    def __init__(
        self,
        settings: Settings,
        policy: dict[str, Any],
        folder: Path | None,
        suffix: str,
        stop: threading.Event,
        on_progress: OnProgress | None,
        began: float | None,
    ) -> None:
        self.settings, self.policy, self.folder, self.suffix, self.began = settings, policy, folder, suffix, began
        self.stop = Stop(stop)
        self.stop.hold = Stop(getattr(stop, "hold", None))
        self._listener, self._one_at_a_time = on_progress, threading.Lock()
        self.results: dict[int, Result] = {}
        """Of the paid steps, by their place among the steps."""

    def transformed(self, node: Node, piece: Piece, step: Step, policy: Policy, span: Span | None) -> Piece:
        """The piece as the step's take shows it."""
        source, start, end, keep_rest = _given(piece, span)
        out = None if self.folder is None else self.folder / f"step{node.number}{self.suffix}"
        result = engine.run(
            source, step, out, start=start, end=end, policy=policy.model_copy(update=self.policy),
            settings=self.settings, stop=self.stop, on_progress=self._hearing(node), keep_rest=keep_rest,
            began=self.began,
        )  # fmt: skip
        self.results[node.number] = result
        got = from_file(result.path)
        sound = got.sound if piece.own_sound else piece.sound
        return replace(got, sound=sound)

    def _hearing(self, node: Node) -> OnProgress | None:
        listener, name = self._listener, name_of(node)
        if listener is None:
            return None

        def hear(event: Event) -> Awaitable[None] | None:
            with self._one_at_a_time:
                return listener(event.model_copy(update={"step": name}))

        return hear

    def ahead(self, making: Making, folder: Path) -> None:
        """Have paid steps transformed side by side where there are several; the walk then finds them made.

        Args:
            making: The walk.
            folder: For what is only needed meanwhile.

        Raises:
            RunwayNodeError: The worst of what went wrong.

        """
        rounds = making.recipe.rounds(lambda node: isinstance(node.step, VideoToVideo))
        for nodes in rounds if sum(map(len, rounds)) > 1 else ():
            walks = [making.branch(folder / f"step{node.number}") for node in nodes]
            for walk in walks:
                walk.readers.folder.mkdir()
            pieces = self._together([partial(walk.made, node) for walk, node in zip(walks, nodes, strict=True)])
            for node, walk, piece in zip(nodes, walks, pieces, strict=True):
                making.learn(node, piece, walk)

    def _together(self, works: Sequence[Callable[[], Piece]]) -> list[Piece]:
        got, errors = together(works, self.stop.hold, self.settings.max_concurrency, meanwhile=lambda: None)
        if errors:
            # Not that another step was not sent for its sake.
            sent = {index: one for index, one in errors.items() if getattr(one, "task_id", None)}
            told = {index: one for index, one in errors.items() if not isinstance(one, Interrupted)} or sent or errors
            raise worst_of(told)
        return [got[index] for index in range(len(works))]


def _given(piece: Piece, span: Span | None) -> tuple[Path | Frames, Fraction | None, Fraction | None, bool]:
    """What the engine is given for a piece: a file and a range where there is one, else frames."""
    if isinstance(piece.picture, Stretch):
        part, fps = piece.picture, piece.picture.probe.fps
        first, last = span or (part.first, part.last)
        start = first / fps if first else None
        end = last / fps if last < part.probe.frames else None
        return part.path, start, end, span is not None
    return frames_of(piece.picture, piece.frames), None, None, False
