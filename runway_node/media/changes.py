"""Whether a stream changes its picture's size midway: told by its parameter sets, sure by decoding.

Joined recordings and streams cut from air do; ffmpeg scales what comes, so it is only to be said.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av.error

from .opener import open_container

_SET = {
    # Sequence parameter sets within the stream: behind a start code, or behind a size of four bytes.
    "h264": re.compile(rb"(?:\x00\x00\x01|\x00\x00[\x00-\x03].)[\x07\x27\x47\x67](.{3,24})", re.DOTALL),
    "hevc": re.compile(rb"(?:\x00\x00\x01|\x00\x00[\x00-\x03].)\x42\x01(.{12,40})", re.DOTALL),
}
NEAR = 512
"""Bytes at a keyframe's start in which its sets are."""


def set_of(packet: Any, codec: str) -> bytes:
    """The parameter set that a keyframe brings with it, b"" where it brings none."""
    pattern = _SET.get(codec)
    if pattern is None or not packet.is_keyframe or not packet.size:
        return b""
    found = pattern.search(bytes(memoryview(packet)[:NEAR]))
    return found[1] if found else b""


def sizes(path: Path) -> list[tuple[int, int]]:
    """The sizes of the keyframes of *path*, each once, in order of appearing; reading ends where it fails."""
    seen: dict[tuple[int, int], None] = {}
    with open_container(path) as container:
        video = container.streams.video[0]
        video.codec_context.skip_frame = "NONKEY"
        try:
            for frame in container.decode(video):
                seen[frame.width, frame.height] = None
        except av.error.FFmpegError:
            pass
    return list(seen)
