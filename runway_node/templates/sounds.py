"""Sound on its way through a template: decoded once to samples, mixed by moviepy, read sample by sample at the end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..media.samples import CHANNELS, RATE, decode, length_of, normalise
from .pieces import Piece, Stretch

CHUNK = RATE
"""Moments that are mixed at a time: a second."""

HAIR = 1e-7
"""Seconds, a two-hundredth of a sample: what sums of times may be off."""


class Sounds:
    """Decodes what is heard, into a folder that is gone with the render.

    Args:
        folder: For the samples.
        blank: Nothing is decoded: all is silent.
        stop: Heard while ffmpeg works.

    """

    def __init__(self, folder: Path, *, blank: bool = False, stop: threading.Event | None = None) -> None:
        self.folder, self.blank, self.stop = folder, blank, stop
        self.warnings: list[str] = []
        self._number = itertools.count()

    def clip(self, piece: Piece) -> Any:
        """The piece's sound as a moviepy AudioClip, or None."""
        sound = piece.sound
        if not isinstance(sound, Stretch):
            return sound
        found = sound.probe
        if len(found.sounds) > 1:
            self.warnings.append(f"{sound.path.name}: of its {len(found.sounds)} sound tracks only the first is heard")
        if self.blank:
            return silence(piece.seconds)
        start, end = (found.offset + frame / found.fps for frame in (sound.first, sound.last))
        out = self._name()
        decode(sound.path, out, index=found.sounds[0].index, start=start, end=end, stop=self.stop)
        return sampled(out, piece.seconds)

    def file(self, path: Path) -> Any:
        """A sound file, or a clip's sound, as an AudioClip.

        Raises:
            SourceError: It holds no sound.

        """
        seconds = length_of(path)
        if self.blank:
            return silence(seconds)
        out = self._name()
        decode(path, out, stop=self.stop)
        return sampled(out, None)

    def levelled(self, sound: Any, seconds: Fraction, loudness: float) -> tuple[Any, bool]:
        """The sound brought to so many LUFS; and whether there was anything to bring."""
        if self.blank:
            return sound, True
        raw, out, peak = self._name(), self._name(), 0.0
        with raw.open("wb") as file:
            for chunk in samples(sound, seconds, clipped=False):
                peak = max(peak, float(np.abs(np.frombuffer(chunk, np.float32)).max(initial=0.0)))
                file.write(chunk)
        heard = normalise(raw, out, loudness, peak=peak, stop=self.stop)
        raw.unlink()
        return sampled(out, seconds), heard

    def _name(self) -> Path:
        return self.folder / f"sound-{next(self._number)}.f32"


def sampled(raw: Path, seconds: Fraction | None) -> Any:
    """Samples in a file as a moviepy AudioClip; silent where there are none."""
    held = np.memmap(raw, np.float32, "r").reshape(-1, CHANNELS) if raw.stat().st_size else np.zeros((0, CHANNELS))
    return _heard(held, Fraction(len(held), RATE) if seconds is None else seconds)


def silence(seconds: Fraction) -> Any:
    """An AudioClip in which nothing is heard."""
    return _heard(np.zeros((0, CHANNELS), np.float32), seconds)


def mixed(parts: Sequence[tuple[Any, Fraction]], seconds: Fraction) -> Any:
    """Sounds together, each from its start on.

    moviepy's own composite hears both neighbours at the very moment where one ends and the other begins: a click.
    """

    def at(t: Any) -> Any:
        return sum((_within(sound, t - float(start)) for sound, start in parts), np.zeros((len(t), CHANNELS)))

    return _clip(at, seconds)


def shaped(
    sound: Any,
    seconds: Fraction,
    *,
    gain: float = 0.0,
    fade_in: Fraction = Fraction(0),
    fade_out: Fraction = Fraction(0),
) -> Any:
    """A sound for so long, made louder by *gain* decibels, faded in and out in a straight line."""
    factor = 10 ** (gain / 20)

    def at(t: Any) -> Any:
        shape = np.full(len(t), factor)
        if fade_in:
            shape = shape * np.clip(t / float(fade_in), 0, 1)
        if fade_out:
            shape = shape * np.clip((float(seconds) - t) / float(fade_out), 0, 1)
        return _within(sound, t) * shape[:, None]

    return _clip(at, seconds)


def looped(sound: Any, seconds: Fraction) -> Any:
    """A sound begun again as often as *seconds* need it."""
    length = float(sound.duration)
    return _clip(lambda t: _within(sound, np.mod(t, length)), seconds)


def samples(sound: Any, seconds: Fraction, *, clipped: bool = True) -> Iterator[bytes]:
    """An AudioClip's samples for exactly so long, as 32-bit floats, a second at a time; what is too loud is clipped."""
    count = round(seconds * RATE)
    for begin in range(0, count, CHUNK):
        t = np.arange(begin, min(begin + CHUNK, count)) / RATE
        heard = _within(sound, t)
        yield (np.clip(heard, -1.0, 1.0) if clipped else heard).astype(np.float32).tobytes()


def _within(sound: Any, t: Any) -> Any:
    """What is heard at each moment: nothing before the sound begins, nor from its end on."""
    inside = t >= -HAIR
    if sound.duration is not None:
        inside &= t < sound.duration - HAIR
    heard = np.zeros((len(t), CHANNELS))
    if inside.any():
        found = np.asarray(sound.get_frame(np.maximum(t[inside], 0.0)), dtype=np.float64).reshape(int(inside.sum()), -1)
        heard[inside] = found if found.shape[1] == CHANNELS else found[:, :1]
    return heard


def _heard(held: Any, seconds: Fraction) -> Any:
    def at(t: Any) -> Any:
        if not len(held):
            return np.zeros((len(t), CHANNELS))
        places = np.rint(t * RATE).astype(np.int64)
        there = (places >= 0) & (places < len(held))
        return np.asarray(held[np.where(there, places, 0)], dtype=np.float64) * there[:, None]

    return _clip(at, seconds)


def _clip(at: Callable[[Any], Any], seconds: Fraction) -> Any:
    """A moviepy AudioClip of a function of many moments."""
    from moviepy import AudioClip

    def frame(t: Any) -> Any:
        moments = np.atleast_1d(np.asarray(t, dtype=np.float64))
        found = at(moments)
        return found if np.ndim(t) else found[0]

    return AudioClip(frame, duration=float(seconds), fps=RATE)
