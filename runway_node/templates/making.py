"""A recipe made, step by step, into one piece. The same walk looks (blank pictures, plans) and renders (frames, takes).

What a paid step does is somebody else's (`Orders`); nothing here orders anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from ..errors import RunwayNodeError, SourceError, StepError
from ..media.probe import probe
from ..media.shapes import Probe
from ..models import Keyframe, Policy, Step, build
from . import layers
from .effects import checked, make_effect
from .lineage import Lineage
from .pieces import TOO_MANY, Piece, Readers, Stretch, bounded, cut, drawn, from_file, later, tried
from .places import Places, is_there, no_file
from .problems import TemplateError, about
from .sizes import fields_for, grown, scaled
from .sounds import Sounds, looped, mixed, shaped, silence
from .steps import Audio, Concat, Effect, Overlay, Range, Text, Timed, Trim
from .template import Recipe
from .wiring import Input, Node, Ref

Span = tuple[int, int]


class Orders(Protocol):
    """Who has a piece transformed."""

    def transformed(self, node: Node, piece: Piece, step: Step, policy: Policy, span: Span | None, /) -> Piece:
        """The piece, or with *span* (frames) that part of it, transformed."""


class Making:
    """One recipe at work.

    Args:
        recipe: What is made.
        folder: For what is only needed meanwhile.
        orders: Has pieces transformed.
        blank: Only shapes matter: no file is decoded.
        stop: Ends the work.

    """

    def __init__(
        self, recipe: Recipe, folder: Path, orders: Orders, *, blank: bool, stop: threading.Event | None = None
    ) -> None:
        self.recipe, self.orders, self.blank, self.stop = recipe, orders, blank, stop
        self.readers = Readers(folder, blank=blank, stop=stop)
        self.sounds = Sounds(folder, blank=blank, stop=stop)
        self.warnings = self.sounds.warnings
        self._lineage = Lineage(recipe.files.find)
        self._done: dict[int, Piece] = {}
        self._probed: dict[Path, Probe] = {}

    def branch(self, folder: Path) -> Making:
        """Another walk of the recipe, for another thread, that begins with what is made so far."""
        other = Making(self.recipe, folder, self.orders, blank=self.blank, stop=self.stop)
        other.readers = self.readers.beside(folder)
        other._lineage, other._probed, other._done = self._lineage, self._probed, dict(self._done)
        return other

    def learn(self, node: Node, piece: Piece, walk: Making) -> None:
        """Take over what another walk made of a step."""
        self._done[node.number] = piece
        self.warnings += walk.warnings

    def made(self, last: Node | None = None) -> Piece:
        """What a step gives, or the recipe's last one.

        Raises:
            TemplateError: A step cannot be applied; with its place.
            RunwayNodeError: What became of a paid step.

        """
        number = self.recipe.last if last is None else last.number
        for node in self.recipe.leading_to(number, set(self._done)):
            try:
                self._done[node.number] = self._node(node)
                self._lineage.add(node)
                if self.blank and node.number == self.recipe.last:
                    tried(self._done[node.number])
            except RecursionError:
                raise self.recipe.wrong(node, TemplateError(*TOO_MANY)) from None
            except TemplateError as error:
                raise self.recipe.wrong(node, error) from error
            except (SourceError, StepError) as error:
                raise self.recipe.wrong(node, TemplateError(error.what, error.mend)) from error
        return self._done[number]

    def _node(self, node: Node) -> Piece:
        step = node.step
        if isinstance(step, Concat):
            return self._concat(step, [self._piece(one, "in", number) for number, one in enumerate(node.inputs)])
        piece = self._piece(node.inputs[0], "in")
        if isinstance(step, Trim):
            return cut(piece, *span_of(Range(start=step.start, end=step.end, duration=step.duration), piece))
        with about("range"):
            span = None if step.range is None else span_of(step.range, piece)
        if step.type == "runway.video_to_video":
            return self._transformed(node, piece, span)
        if span is None:
            return self._applied(node, piece)
        return self._within(piece, span, lambda part: self._applied(node, part))

    def _transformed(self, node: Node, piece: Piece, span: Span | None) -> Piece:
        step, policy = ordered(node.step, self.recipe.files)
        if step.key is None and not isinstance(piece.picture, Stretch):
            step = step.model_copy(update={"key": self._lineage.key(node)})
        file = isinstance(piece.picture, Stretch) and piece.picture.whole and piece.own_sound
        if span is None or file:  # the engine keeps the rest of a file by copying it
            return self.orders.transformed(node, piece, step, policy, span)

        def transformed(part: Piece) -> Piece:
            return replace(self.orders.transformed(node, part, step, policy, None), sound=part.sound)

        return self._within(piece, span, transformed)

    def _within(self, piece: Piece, span: Span, apply: Callable[[Piece], Piece]) -> Piece:
        """The piece with *span* of it replaced by what *apply* makes of that part.

        Raises:
            SourceError: It makes another size of it.

        """
        first, last = span
        given = cut(piece, first, last)
        part = apply(given)
        if (part.width, part.height) != (piece.width, piece.height):
            raise SourceError(
                f"A part of {part.width}x{part.height} does not fit a clip of {piece.width}x{piece.height}",
                "Leave `range` out, or keep the size",
            )
        around = [(0, first), (last, piece.frames)]
        before, after = (cut(piece, *one) if one[0] < one[1] else None for one in around)
        pieces = [one for one in (before, part, after) if one is not None]
        if part.sound is given.sound and part.frames == given.frames:  # nothing was done to it
            return replace(self._concat(None, [replace(one, sound=None) for one in pieces]), sound=piece.sound)
        return self._concat(None, pieces)

    def _applied(self, node: Node, piece: Piece) -> Piece:
        step = node.step
        if isinstance(step, Timed):
            return self._layered(node, step, piece)
        if isinstance(step, Audio):
            return self._heard(node, step, piece)
        assert isinstance(step, Effect)
        return self._effect(step, piece)

    def _piece(self, one: Input, *place: str | int) -> Piece:
        """The clip that a step's field at *place* names."""
        if isinstance(one, Ref):
            return self._done[one.number]
        with about(*place):
            if one not in self._probed:
                self._probed[one] = probe(one)
            return from_file(one, self._probed[one])

    def picture(self, piece: Piece) -> Any:
        """The piece's pictures as a moviepy clip."""
        return self.readers.clip(piece.picture) if isinstance(piece.picture, Stretch) else piece.picture

    def _concat(self, step: Concat | None, pieces: list[Piece]) -> Piece:
        first, counts = pieces[0], [_at_rate(piece, pieces[0].fps) for piece in pieces]
        overlap = 0
        if step is not None and step.transition is not None and step.transition.type == "crossfade":
            overlap = first.frame(step.transition.duration)
            neighbours = [(number > 0) + (number < len(pieces) - 1) for number in range(len(pieces))]
            short = next((n for n, count in enumerate(counts) if count <= overlap * neighbours[n]), None)
            if short is not None:
                raise TemplateError(
                    f"clip {short + 1} lasts {float(pieces[short].seconds):.2f} s, too short for its cross-fades",
                    "Shorten the transition",
                    place=("transition", "duration"),
                )
        if len(pieces) == 1:
            return first
        fit = step.fit if step is not None else "contain"
        clips = [self.picture(piece) for piece in pieces]
        clip = layers.joined(clips, counts, overlap, first, fit)
        return replace(
            first,
            picture=clip,
            sound=self._in_a_row(pieces, counts, overlap),
            frames=sum(counts) - overlap * (len(counts) - 1),
        )

    def _in_a_row(self, pieces: list[Piece], counts: list[int], overlap: int) -> Any:
        """Their sounds one after another, cross-faded where the pictures are."""
        fps, start, parts = pieces[0].fps, 0, []
        fade = overlap / fps
        for index, (piece, count) in enumerate(zip(pieces, counts, strict=True)):
            sound = self.sounds.clip(piece)
            if sound is not None:
                ins, outs = fade if index else Fraction(0), fade if index < len(pieces) - 1 else Fraction(0)
                parts.append((shaped(sound, count / fps, fade_in=ins, fade_out=outs), start / fps))
            start += count - overlap
        return mixed(parts, (start + overlap) / fps) if parts else None

    def _layered(self, node: Node, step: Timed, piece: Piece) -> Piece:
        base = self.picture(piece)
        if isinstance(step, Text):
            font = None if step.font is None else placed(step.font, self.recipe.files, "font")
            layer, ink = layers.words(step, font, base.size)
        else:
            assert isinstance(step, Overlay)
            layer = self._overlaid(node, step, base)
            ink = (0, 0, int(layer.size[0]), int(layer.size[1]))
        self._tell(node, layers.beyond(ink, layers.corner(step.position, layer.size, base.size), base.size))
        with about("at"):
            seconds = layers.shown(layer, step, piece)[1] / piece.fps
        told = layers.too_long(step.fades, seconds)
        self._tell(node, told and f"{told}, for which it is seen: they are shortened")
        return replace(piece, picture=layers.over(base, layer, step, piece))

    def _overlaid(self, node: Node, step: Overlay, base: Any) -> Any:
        from moviepy import vfx

        from .values import pixels

        if isinstance(node.file, Path) and layers.is_picture(node.file):
            return layers.still(node.file, step, base.size)
        assert node.file is not None
        clip = self.picture(self._piece(node.file, "file"))
        if step.width is not None:
            width = max(2, round(pixels(step.width, int(base.size[0]))))
            clip = clip.with_effects([vfx.Resize(scaled(clip.size, width=width))])
        return clip

    def _heard(self, node: Node, step: Audio, piece: Piece) -> Piece:
        own, seconds = (None if step.mode == "mute" else piece.sound), piece.seconds
        if step.mode == "mute":
            return replace(piece, sound=None)
        fades = {"fade_in": step.fade_in, "fade_out": step.fade_out}
        if node.file is None:
            own = self.sounds.clip(piece)
            sound = None if own is None else shaped(own, seconds, gain=step.gain, **fades)
            length = seconds
        else:
            sound, length = self._laid(node.file, step, seconds, fades)
            own = self.sounds.clip(piece) if step.mode == "mix" else None
            if own is not None:
                sound = mixed([(shaped(own, seconds, gain=step.own_gain), Fraction(0)), (sound, Fraction(0))], seconds)
        told = "" if sound is None else layers.too_long((step.fade_in, step.fade_out), length)
        self._tell(node, told and f"{told} of sound: it is never heard in full")
        if sound is None:
            self._tell(node, "the clip has no sound: nothing was done to it")
        elif step.loudness is not None:
            sound, heard = self.sounds.levelled(sound, seconds, step.loudness)
            self._tell(node, "" if heard else "the sound is silent: its loudness was left alone")
        return replace(piece, sound=sound)

    def _tell(self, node: Node, what: str) -> None:
        """Note what a person should know of a step, if anything."""
        self.warnings += [f"{self.recipe.where(node)}: {what}"] if what else []

    def _laid(self, file: Input, step: Audio, seconds: Fraction, fades: dict[str, Fraction]) -> tuple[Any, Fraction]:
        """The file's sound, laid under the whole clip from `at` on, and how long it is."""
        with about("file"):
            sound = self.sounds.clip(self._done[file.number]) if isinstance(file, Ref) else self.sounds.file(file)
        if sound is None:
            raise TemplateError("that step's clip has no sound", place=("file",))
        if step.at >= seconds:
            raise TemplateError(f"it would begin at {float(step.at):g} s, after the clip's end", place=("at",))
        most = seconds - step.at
        if step.loop:
            sound = looped(sound, most)
        length = min(most, Fraction(sound.duration))
        return mixed([(shaped(sound, length, gain=step.gain, **fades), step.at)], seconds), length

    def _effect(self, step: Effect, piece: Piece) -> Piece:
        size = piece.width, piece.height
        fields = fields_for(step.name, checked(step.name, step.fields), size)
        bounded(*grown(step.name, fields, size))
        effect = make_effect(step.name, fields)
        of_sound = type(effect).__module__.startswith("moviepy.audio")
        try:
            if of_sound:
                sound = self.sounds.clip(piece)
                return (
                    piece
                    if sound is None
                    else replace(piece, sound=later(sound.with_effects([effect]), Fraction(0), piece.seconds))
                )
            before = self.picture(piece)
            # Most effects leave the sound alone: then it stays what it was, a file's own not even decoded.
            stand_in = None if piece.sound is None else silence(piece.seconds)
            after = before.with_audio(stand_in).with_effects([effect])
            sound = piece.sound
            if not _untouched(stand_in, after.audio):
                after = before.with_audio(self.sounds.clip(piece)).with_effects([make_effect(step.name, fields)])
                sound = after.audio
            if after.mask is not None or after.pos is not before.pos:
                from moviepy import CompositeVideoClip

                after = CompositeVideoClip([after.without_audio()], size=after.size, bg_color=(0, 0, 0))
            return drawn(after, sound, piece.fps)
        except (RunwayNodeError, RecursionError):
            raise
        except Exception as error:
            told = str(error).strip().splitlines()
            raise TemplateError(
                f"{step.name} cannot be applied here ({told[0][:200] if told else type(error).__name__})",
                "Check its fields", place=("with",),
            ) from error  # fmt: skip


def _untouched(given: Any, got: Any) -> bool:
    """Whether an effect left a sound as it was; moviepy copies it with the clip."""
    if given is None or got is None:
        return given is got
    same = ("frame_function", "start", "end", "duration")
    return all(getattr(given, name) == getattr(got, name) for name in same)


def span_of(part: Range, piece: Piece) -> Span:
    """The frames that a range of times names.

    Raises:
        TemplateError: It leads out of the clip, or no frame is in it.

    """
    first = piece.frame(part.start)
    end = part.end if part.end is not None else None if part.duration is None else part.start + part.duration
    last = piece.frames if end is None else piece.frame(end)
    ends, mend = f"the clip ends at {float(piece.seconds):g} s", "Choose a part of the clip"
    if first >= piece.frames:
        raise TemplateError(f"it begins at {float(part.start):g} s, {ends}", mend, place=("start",))
    if last > piece.frames:
        field = "duration" if part.end is None else "end"
        raise TemplateError(f"it ends at {float(end or 0):g} s, {ends}", mend, place=(field,))
    if first >= last:
        raise TemplateError("there is no frame in it", "Make it longer")
    return first, last


def _at_rate(piece: Piece, fps: Fraction) -> int:
    """How many frames of another rate the piece lasts."""
    return piece.frames if piece.fps == fps else max(1, round(piece.seconds * fps))


def placed(name: Any, files: Places, *place: str | int) -> Path:
    """The file that a step's field names.

    Raises:
        TemplateError: It lies elsewhere, or is not there; with the field's place in the step.

    """
    with about(*place):
        path = name if isinstance(name, Path) else files.find(name)
        if not is_there(path):
            raise no_file(path)
    return path


def ordered(step: Any, files: Places) -> tuple[Step, Policy]:
    """What a paid step orders, and how.

    Raises:
        TemplateError: A still is neither an https URL nor a file beside the template.
        StepError: A field is not what it can be.

    """

    def still(value: Any, *place: str | int) -> Any:
        return value if str(value).startswith("https://") else placed(value, files, *place)

    given = {name: getattr(step, name) for name in type(step).model_fields}
    given["references"] = tuple(still(one, "references", number) for number, one in enumerate(step.references))
    given["keyframes"] = tuple(
        build(
            Keyframe,
            picture=still(one.picture, "keyframes", number, "picture"),
            seconds=one.seconds,
            at=one.at,
            range=one.range,
        )
        for number, one in enumerate(step.keyframes)
    )
    order = build(Step, **{name: given[name] for name in Step.model_fields})
    return order, build(Policy, **{name: given[name] for name in Policy.model_fields})
