"""Clips made for tests: every frame carries its number in luma blocks that survive scaling and lossy coding."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from runway_node.media.opener import ffmpeg_exe, run_ffmpeg
from runway_node.media.probe import probe

WIDTH, HEIGHT, BITS = 320, 180, 16
LEFT, PITCH, BLOCK = 16, 18, 14
"""Pixels: where the first bit is, from one to the next, how wide each is."""
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast")
VP9 = ("-c:v", "libvpx-vp9", "-b:v", "300k", "-deadline", "realtime", "-cpu-used", "8")
CLICKS = "aevalsrc='if(gte(mod(t,1),0.5)*lt(mod(t,1),0.502),0.9*sin(2*PI*3000*t),0)':s=48000:d={seconds}"


def ffmpeg(*args: object) -> None:
    """Run ffmpeg, loudly when it fails."""
    subprocess.run([ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *map(str, args)], check=True)


def barcode(path: Path, rate: str, frames: int, *encoder: str) -> Path:
    """A clip of *frames* numbered frames at *rate*."""
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate, "-i", "pipe:0"]
    run_ffmpeg([*raw, *(encoder or X264), str(path)], feed=(_numbered(i).tobytes() for i in range(frames)))
    return path


def _numbered(number: int) -> np.ndarray:
    """In Gray code: of two neighbours cross-faded, one or the other is read. Below each bit stands its opposite."""
    picture = np.full((HEIGHT, WIDTH), 40, np.uint8)
    for bit in range(BITS):
        top = 58 if (number ^ number >> 1) >> bit & 1 else 94
        picture[top : top + 28, LEFT + bit * PITCH : LEFT + BLOCK + bit * PITCH] = 220
    return picture


def numbers(path: Path) -> list[int]:
    """The number that each frame of *path* shows: a bit is lit where it is lighter than its opposite below it."""
    with av.open(str(path)) as container:
        return [read(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def read(gray: np.ndarray) -> int:
    """The number that a picture shows, height x width of luma."""
    high, wide = gray.shape
    upper, lower = (gray[_inner(start, 28, high, HEIGHT)].mean(axis=0) for start in (58, 94))
    columns = [_inner(LEFT + bit * PITCH, BLOCK, wide, WIDTH) for bit in range(BITS)]
    lit = (upper[column].mean() > lower[column].mean() for column in columns)
    return _counted(sum(int(on) << bit for bit, on in enumerate(lit)))


def _inner(start: int, length: int, size: int, of: int) -> slice:
    """The inner half of a stretch, in a picture that may be scaled; a pixel at the least."""
    begin, end = ((4 * start + part * length) * size // (4 * of) for part in (1, 3))
    return slice(begin, max(end, begin + 1))


def _counted(code: int) -> int:
    """The number whose Gray code that is."""
    number = 0
    while code:
        number ^= code
        code >>= 1
    return number


def clicks(path: Path, track: int = 0) -> list[float]:
    """When the clicks of a sound track are heard, seconds."""
    decode = ["-map", f"0:a:{track}", "-af", "aresample=48000:async=1:first_pts=0", "-ac", "1", "-f", "f32le", "-"]
    raw = subprocess.run(
        [ffmpeg_exe(), "-loglevel", "error", "-i", str(path), *decode], capture_output=True, check=True
    ).stdout
    loud = np.flatnonzero(np.abs(np.frombuffer(raw, np.float32)) > 0.25)
    starts = loud[np.insert(np.diff(loud) > 12_000, 0, True)] if len(loud) else loud
    return [float(start) / 48_000 for start in starts]


def made_of(path: Path) -> tuple[int, Fraction, bool]:
    """Frames, rate, and whether the rate varies."""
    found = probe(path)
    return found.frames, found.fps, found.variable
