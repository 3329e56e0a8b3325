"""The moviepy host: `RunwayVideoToVideo`, an Effect like any other. It translates clips to `engine.run` and back.

An untouched or subclipped file goes to the engine as a file; any other clip is rendered once, frame by frame.
Frame i of a clip is what moviepy writes as its frame i: `get_frame(i / fps)`, for i below `round(duration * fps)`.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from moviepy import Effect, VideoClip, VideoFileClip
from moviepy.tools import convert_to_seconds

from .. import engine
from ..errors import MediaError, RunwayNodeError, SourceError, StepError
from ..media.probe import snapped
from ..media.shapes import Buffer, Frames
from ..models import Keyframe, Policy, Result, Step, build
from ..settings import Settings, load_settings
from .bar import Bar
from .provenance import file_probe, origin, played_from

Words = TypeVar("Words", Step, Policy)

KEPT = (
    "start", "end", "duration", "fps", "pos", "relative_pos", "layer_index", "mask", "audio", "memoize",
    "is_mask", "has_constant_size",
)  # fmt: skip
"""What a result takes over from the clip in whose place it stands; its size it has by how it is read."""

SLACK = 1e-5
NUDGE = 1e-6
"""Frames. moviepy floors a time to a frame, with this slack against i / fps lying a hair under it; times asked of a
clip are nudged less than that, since a clip may also run backwards."""

_rendering = threading.Lock()
# Clips may share a reader without showing it, and one read from two threads gives wrong frames silently.


class SomeFailed(RunwayNodeError):
    """Some of the clips given to `map` failed; the results of the others are in it.

    Args:
        results: A clip for each one given; None where it failed or was not started.
        errors: What went wrong, by index.

    """

    def __init__(self, results: list[Any], errors: dict[int, BaseException]) -> None:
        told = "; ".join(f"clip {index}: {str(error).rstrip('.')}" for index, error in errors.items())
        idle = sum(result is None for result in results) - len(errors)
        super().__init__(
            f"{len(errors)} of {len(results)} clips failed ({told})" + (f"; {idle} not started" if idle else ""),
            "The results of the others are in this error's .results",
        )
        codes = {getattr(error, "exit_code", 1) for error in errors.values()}
        self.exit_code = next((code for code in (130, 4, 3, 1, 2) if code in codes), 1)
        self.results = results
        self.errors = errors


class ResultClip(VideoFileClip):  # type: ignore[misc]  # moviepy ships no types
    """A finished result's file as a clip; closing it closes its own reader, not the sound it was given."""

    reader: Any
    runway_result: Result

    def close(self) -> None:
        """Close the reader of the result's file."""
        if self.reader:
            self.reader.close()
            self.reader = None


@dataclass(frozen=True)
class RunwayVideoToVideo(Effect):  # type: ignore[misc]  # moviepy ships no types
    """Transform a clip with Runway; what comes back takes its place.

    `clip.with_effects([RunwayVideoToVideo("the same street at dusk")])` blocks until it is there. The result has the
    clip's duration, rate, size, place, mask and sound; `runway_result` says what it cost and where the file is.
    The same effect on the same frames again, in this script or the next run of it, costs nothing. A clip that renders
    differently each time (noise, a clock) is the same only under a `key` of its own.

    Args:
        settings: Keys, folders and limits; unset: the environment and the settings file.
        logger: "bar", None for silence, or a proglog logger, whose bar `runway` counts to 100.

    The others are those of `models.Step` and `models.Policy`, under the same names.

    Raises:
        StepError: A field is wrong; at once, not when it is applied.

    """

    runway_pays: ClassVar[bool] = True

    prompt: str = ""
    model: str | None = None
    provider: str | None = None
    seed: int | None = None
    take: int = 1
    references: Sequence[Any] = ()
    keyframes: Sequence[Keyframe | Any] = ()
    aspect: str | None = None
    moderation: str | None = None
    output_format: str = "mp4"
    cut_at: str = "auto"
    overlap: int | None = None
    continuity: str = "seed"
    key: str | None = None
    max_seconds: float | None = None
    max_credits: float | None = None
    max_credits_per_day: float | None = None
    timeout: float | None = None
    queue_timeout: float = 24 * 3600.0
    on_timeout: str = "detach"
    on_interrupt: str = "cancel"
    delivery: str = "auto"
    conform: str = "trim"
    allow_sdr: bool = False
    reorder: bool = False
    resubmit_ambiguous: bool = False
    delete_remote: str | None = None
    settings: Settings | None = None
    logger: Any = "bar"

    def __post_init__(self) -> None:
        self._build(Step)
        self._build(Policy)

    def apply(self, clip: Any) -> Any:
        """Transform *clip*, wait for it, and give the clip that takes its place.

        Raises:
            SourceError: The clip has no end, no rate, or no picture.
            RunwayNodeError: As `engine.run`.

        """
        place = _locate(clip)
        bar = Bar(self.logger, 1)
        result = self._run(place, on_progress=lambda event: bar.show(0, event))
        bar.drain()
        return _stand_in(clip, place, result, reshaped=self.aspect is not None)

    def plan(self, clip: Any) -> engine.Plan:
        """What applying this to *clip* would do and cost; nothing is sent."""
        place = _locate(clip)
        step, policy = self._build(Step), self._build(Policy)
        return engine.plan(place.source, step, start=place.start, end=place.end, policy=policy, settings=self.settings)

    def map(self, clips: Sequence[Any]) -> list[Any]:
        """Transform several clips at once, as many as the settings allow; the results come in the same order.

        After a failure nothing new is started and what is under way is finished. Ctrl-C stops all, as for one.

        Raises:
            StepError: There is a key and more than one clip: a key names one.
            SomeFailed: One or more failed; `.results` holds the others.

        """
        if self.key is not None and len(clips) > 1:
            raise StepError(f"key {self.key!r} names one clip, not {len(clips)}", "Give each clip an effect of its own")
        places = _locate_all(clips)
        at_once = (self.settings or load_settings()).max_concurrency
        stop, halt = engine.Stop(), threading.Event()
        bar = Bar(self.logger, len(clips))

        def one(index: int) -> Any:
            if halt.is_set():
                return None
            try:
                result = self._run(places[index], stop=stop, on_progress=lambda event: bar.show(index, event))
                return _stand_in(clips[index], places[index], result, reshaped=self.aspect is not None)
            except BaseException:
                halt.set()
                raise

        with ThreadPoolExecutor(min(at_once, len(clips) or 1), thread_name_prefix="runway-map") as pool:
            futures = [pool.submit(one, index) for index in range(len(clips))]
            pressed = _await(futures, bar, stop, halt)
        return _gather(futures, pressed=pressed)

    def _run(self, place: _Place, **how: Any) -> Result:
        step, policy = self._build(Step), self._build(Policy)
        return engine.run(
            place.source, step, start=place.start, end=place.end, policy=policy, settings=self.settings, **how
        )

    def _build(self, kind: type[Words]) -> Words:
        return build(kind, **{name: getattr(self, name) for name in kind.model_fields})


class _Place(NamedTuple):
    """What the engine is given for a clip: *source* from *start* to *end*; *shift*: seconds into that at time 0."""

    source: Path | Frames
    start: Fraction | None
    end: Fraction | None
    shift: float


def _locate(clip: Any) -> _Place:
    """Find the clip's frames: in a file where that is sure, else by rendering.

    A cut between two frames begins within one; `shift` says how far, so that each frame stays when it was shown.
    """
    _check(clip)
    fps = float(clip.fps)
    came = origin(clip)
    first = math.floor(came.offset * fps + SLACK)
    count = max(1, round(clip.duration * fps))
    shift = came.offset - first / fps
    shift = shift if shift * fps > 0.001 else 0.0
    found = file_probe(clip, came)
    if found is None or found.path is None:
        return _Place(frames_of(clip, count), None, None, shift)
    start = Fraction(first) / found.fps if first else None
    end = Fraction(first + count) / found.fps if first + count < found.frames else None
    return _Place(found.path, start, end, shift)


def _check(clip: Any) -> None:
    if not isinstance(clip, VideoClip):
        raise SourceError(f"{type(clip).__name__} is not a video clip", "Apply the effect to a video clip")
    if clip.is_mask:
        raise SourceError("A mask has no colours to transform", "Use clip.to_RGB() first")
    if clip.duration is None:
        raise SourceError("The clip has no end", "Give it one: clip.with_duration(seconds)")
    fps = getattr(clip, "fps", None)
    if fps is None:
        raise SourceError("The clip has no frame rate", "Give it one: clip.with_fps(24)")
    if not (math.isfinite(fps) and fps > 0 and math.isfinite(clip.duration) and clip.duration > 0):
        raise SourceError(f"A clip of {clip.duration} s at {fps} fps has no frames", "Check its duration and fps")


def _locate_all(clips: Sequence[Any]) -> list[_Place]:
    """The places of all; where one cannot be used, none is sent."""
    places: list[_Place] = []
    errors: dict[int, BaseException] = {}
    for index, clip in enumerate(clips):
        try:
            places.append(_locate(clip))
        except SourceError as error:
            errors[index] = error
    if errors:
        raise SomeFailed([None] * len(clips), errors) from next(iter(errors.values()))
    return places


def frames_of(clip: Any, count: int) -> Frames:
    """The first *count* frames of a moviepy clip; read when they are asked for, by one thread at a time."""
    width, height = (int(side) for side in clip.size)
    fps = float(clip.fps)

    def read() -> Iterator[Buffer]:
        with _rendering:
            for index in range(count):
                frame = clip.get_frame((index + NUDGE) / fps)
                if frame.shape[:2] != (height, width):
                    raise SourceError("The clip changes its size while it plays", "Put it on a ground of one size")
                picture = np.ascontiguousarray(frame[:, :, :3], dtype=np.uint8)
                yield picture.data.cast("B")

    return Frames(width=width, height=height, fps=snapped(Fraction(fps)), count=count, read=read)


def _stand_in(clip: Any, place: _Place, result: Result, *, reshaped: bool) -> Any:
    """The result as a clip that takes the place of *clip*."""
    size = None if reshaped else tuple(int(side) for side in clip.size)
    try:
        video = ResultClip(str(result.path), audio=False, target_resolution=size)
    except OSError as error:
        raise MediaError(f"moviepy cannot read the paid result {result.path}: {error}", "It is kept there") from error
    # moviepy knows 59.94 only as that, and would seek beside the frame in a long clip.
    video.reader.fps = float(snapped(Fraction(float(clip.fps))))
    video.fps = clip.fps
    fps = float(clip.fps)
    held = (place.shift + clip.duration) * fps > result.frames + 0.001
    made = played_from(video, place.shift, (result.frames - 0.5) / fps) if place.shift or held else video
    for name in KEPT:
        setattr(made, name, getattr(clip, name))
    if made.mask is not None and tuple(made.size) != tuple(clip.size):
        made.mask = made.mask.resized(tuple(made.size))
    made.runway_result = result
    return made


def _await(futures: list[Future[Any]], bar: Bar, stop: threading.Event, halt: threading.Event) -> bool:
    """Show progress until all have ended; whether Ctrl-C was pressed meanwhile, which stops them."""
    pressed = False
    pending = set(futures)
    while pending:
        try:
            pending = wait(pending, timeout=0.1).not_done
            bar.drain()
        except KeyboardInterrupt:
            if pressed:
                raise
            pressed = True
            halt.set()
            stop.set()
    bar.drain()
    return pressed


def _gather(futures: list[Future[Any]], *, pressed: bool) -> list[Any]:
    errors = {index: error for index, future in enumerate(futures) if (error := future.exception()) is not None}
    results = [None if index in errors else future.result() for index, future in enumerate(futures)]
    if pressed:
        raise KeyboardInterrupt from SomeFailed(results, errors)
    if errors:
        raise SomeFailed(results, errors) from next(iter(errors.values()))
    return results


def _mend_effects_on_subclip() -> None:
    """Make moviepy's `with_effects_on_subclip` exact and safe for our effect, and leave it alone for any other; once.

    moviepy 2.2.1 applies the effects and then cuts what follows `end_time`, also where that is the clip's end: there it
    raises "start_time should be smaller than the clip's duration", after the call was paid. See `_part`.
    """
    original: Callable[..., Any] = VideoClip.with_effects_on_subclip
    if hasattr(original, "runway_node"):
        return

    @functools.wraps(original)
    def with_effects_on_subclip(
        self: Any, effects: Sequence[Any], start_time: Any = 0, end_time: Any = None, **kwargs: Any
    ) -> Any:
        # Not by class: the package may be loaded twice, under two names, and this is wrapped once.
        if any(getattr(effect, "runway_pays", False) is True for effect in effects):
            _check(self)
            start_time, end_time = _part(self, convert_to_seconds(start_time), convert_to_seconds(end_time))
        return original(self, effects, start_time, end_time, **kwargs)

    with_effects_on_subclip.runway_node = True  # type: ignore[attr-defined]  # a mark, so that it is wrapped once
    VideoClip.with_effects_on_subclip = with_effects_on_subclip


def _part(clip: Any, start: float, end: float | None) -> tuple[float, float | None]:
    """Where to cut *clip*: at its frames, so that the same ones lie between; None for its end.

    Raises:
        SourceError: No frame lies between.

    """
    duration, fps = clip.duration, float(clip.fps)
    if start >= duration or (end is not None and end > duration + 1e-8):
        return start, end  # moviepy has an error of its own, before it applies an effect
    times = (start, duration if end is None else end)
    first, last = (math.ceil((time if time >= 0 else duration + time) * fps - SLACK) for time in times)
    if first >= last:
        raise SourceError(f"There is no frame from {start:g} s to {end or duration:g} s", "Choose a longer part")
    # A hair before the frame, less than moviepy's own slack: sums of times must not end up behind it.
    begin, stop = (max(0.0, (frame - SLACK / 2) / fps) for frame in (first, last))
    return begin, None if end is None or stop >= duration - 1e-4 / fps else stop


_mend_effects_on_subclip()
