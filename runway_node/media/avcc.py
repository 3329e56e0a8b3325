"""The set-up of an H.264 track (ISO/IEC 14496-15, avcC): parameter sets read and put together. Pure bytes.

A track may hold several sequence parameter sets, each with an id: pictures name theirs. So pictures of two encoders can
be one track as long as no two sets bear one id.
"""

from __future__ import annotations

from typing import NamedTuple

IDR = 5
"""The type of a unit of such a picture."""

MOST_IDS = 32
"""Sequence parameter sets have ids 0 to 31."""


class Setup(NamedTuple):
    """An avcC: its header (5 bytes), its parameter sets, and what follows them."""

    header: bytes
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    rest: bytes

    @property
    def ids(self) -> set[int]:
        """The ids that its sets bear, sequences and pictures alike."""
        return {_number(one[4:]) for one in self.sps} | {_number(one[1:]) for one in self.pps}

    @property
    def whole_sizes(self) -> bool:
        """Whether a unit's size is told in four bytes, as everybody writes it."""
        return self.header[4] & 3 == 3


def read(data: bytes | None) -> Setup | None:
    """The avcC; None where it is none."""
    if not data or len(data) < 7 or data[0] != 1:
        return None
    try:
        sps, at = _sets(data, 5, data[5] & 0x1F)
        pps, at = _sets(data, at, data[at])
    except IndexError:
        return None
    return Setup(data[:5], sps, pps, data[at:])


def refreshes(packet: bytes) -> bool:
    """Whether a picture (units with sizes of four bytes) is one that nothing after it looks past: an IDR."""
    at = 0
    while at + 4 < len(packet):
        if packet[at + 4] & 0x1F == IDR:
            return True
        at += 4 + int.from_bytes(packet[at : at + 4], "big")
    return False


def joined(one: bytes | None, other: bytes | None) -> bytes | None:
    """Two tracks' set-ups in one; None where they are not two, or are none of H.264's."""
    first, second = read(one), read(other)
    return None if first is None or second is None or one == other else merged(first, second)


def merged(one: Setup, other: Setup) -> bytes:
    """Both in one, with the header of *one* and the higher level of the two."""
    header = one.header[:3] + bytes([max(one.header[3], other.header[3])]) + one.header[4:]
    sps, pps = one.sps + other.sps, one.pps + other.pps
    return b"".join([header, bytes([0xE0 | len(sps)]), *map(_told, sps), bytes([len(pps)]), *map(_told, pps), one.rest])


def _sets(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    found, at = [], at + 1
    for _ in range(count):
        size = data[at] << 8 | data[at + 1]
        if at + 2 + size > len(data):
            raise IndexError
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return tuple(found), at


def _told(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit


def _number(data: bytes) -> int:
    """The first unsigned Exp-Golomb number in *data*."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1], 2) - 1
