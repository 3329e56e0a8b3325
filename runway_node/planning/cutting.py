"""Where a clip that is longer than one call is cut. Whole frames in, whole frames out.

At a scene cut a piece simply ends. Elsewhere two pieces share frames, which are cross-faded where they are joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple

CutAt = Literal["auto", "scenes", "equal"]

REACH = Fraction(2)
"""Seconds from a wanted boundary within which "auto" looks for a scene cut; never more than a quarter of a piece."""


class Bounds(NamedTuple):
    """What one call takes, and how pieces are to be cut.

    Args:
        least, most: Source frames a piece may have.
        overlap: Frames that two pieces share where no scene cut parts them.
        cut_at: "auto": at a scene cut where one is near; "scenes": at scene cuts wherever there are some; "equal".

    """

    least: int
    most: int
    overlap: int
    cut_at: CutAt


class Piece(NamedTuple):
    """Frames [first, last), the last `overlap` of which the next piece begins with; `scene`: it ends at a scene cut."""

    first: int
    last: int
    overlap: int = 0
    scene: bool = False


def windows(first: int, last: int, bounds: Bounds, fps: Fraction) -> list[tuple[int, int]]:
    """Frames [from, to) in which a scene cut would be used, for the clip's [first, last)."""
    plain = _equal(first, last, bounds)
    if bounds.cut_at == "equal" or len(plain) == 1:
        return []
    if bounds.cut_at == "scenes":
        return [(first, last)]
    frames = last - first
    slack = len(plain) * bounds.most - frames
    reach = min(int(REACH * fps), slack, frames // len(plain) // 4)
    merged: list[tuple[int, int]] = []
    for piece in plain[1:] if reach > 0 else ():
        near = (max(first + 1, piece.first - reach), min(last, piece.first + reach + 1))
        if merged and near[0] <= merged[-1][1]:
            near = (merged.pop()[0], near[1])
        merged.append(near)
    return merged


def cut(first: int, last: int, bounds: Bounds, cuts: Sequence[int]) -> list[Piece]:
    """The pieces of frames [first, last).

    Of all ways the one with the fewest pieces that are too short, then with the fewest pieces and the fewest overlaps
    ("scenes": overlaps first), then the most even one. *cuts* are the first frames of new scenes.
    """
    marks = [first, *sorted({frame for frame in cuts if first < frame < last}), last]
    best: list[tuple[tuple[int, ...], int]] = [((0, 0, 0, 0), 0)]
    for end in range(1, len(marks)):
        ways = ((_add(best[start][0], _cost(marks[start], marks[end], bounds)), start) for start in range(end))
        best.append(min(ways))
    stops = [len(marks) - 1]
    while stops[-1]:
        stops.append(best[stops[-1]][1])
    found: list[Piece] = []
    for start, end in pairwise(marks[index] for index in reversed(stops)):
        found += _equal(start, end, bounds)
        found[-1] = found[-1]._replace(scene=end != last)
    return found


def _add(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _cost(first: int, last: int, bounds: Bounds) -> tuple[int, ...]:
    """What is minimised: pieces that are too short, pieces, overlaps, unevenness."""
    number, longest = _measure(last - first, bounds)
    short = number if longest < bounds.least else 0
    seams = number - 1
    counts = (seams, number) if bounds.cut_at == "scenes" else (number, seams)
    return short, *counts, number * longest * longest


def _measure(frames: int, bounds: Bounds) -> tuple[int, int]:
    """How many pieces *frames* make, and how long the longest of them is."""
    fresh = frames - bounds.overlap
    number = max(1, -(-fresh // (bounds.most - bounds.overlap)))
    return (number, frames) if number == 1 else (number, -(-fresh // number) + bounds.overlap)


def _equal(first: int, last: int, bounds: Bounds) -> list[Piece]:
    return list(_parts(first, last, bounds))


def _parts(first: int, last: int, bounds: Bounds) -> Iterator[Piece]:
    """Pieces of one length, give or take a frame."""
    number, _ = _measure(last - first, bounds)
    fresh = Fraction(last - first - bounds.overlap, number)
    starts = [first + round(index * fresh) for index in range(number)]
    for start, following in pairwise(starts):
        yield Piece(start, following + bounds.overlap, bounds.overlap)
    yield Piece(starts[-1], last)
