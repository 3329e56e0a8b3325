"""What the models do: one ffmpeg process turns a clip into the answer. The graph is a pure function of the order."""

from __future__ import annotations

import shutil
import subprocess
import threading
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import imageio_ffmpeg

from .clips import Clip, Colour
from .looks import choose, tint

GEN4_SECONDS = Fraction(5)
GEN4_RATE = Fraction(24)
_LONG_SIDE, _SHORT_SIDE = 1920, 1080

Format = Literal["mp4", "prores", "png_sequence", "sdr_rec709_10bit"]
SUFFIXES: dict[str, str] = {"mp4": ".mp4", "prores": ".mov", "png_sequence": ".zip", "sdr_rec709_10bit": ".mp4"}
CONTENT_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".zip": "application/zip"}
_PRORES = {"422 Proxy": "0", "422 LT": "1", "422": "2", "422 HQ": "3", "4444": "4", "4444 XQ": "5"}


class Guide(NamedTuple):
    """A picture that guides the answer.

    Args:
        colour: Its mean colour.
        seconds: The moment it belongs to; None for a reference, which belongs to all.
        window: The only seconds [start, end) that may be edited, if it says so.

    """

    colour: Colour
    seconds: float | None = None
    window: tuple[int, int] | None = None


class Work(NamedTuple):
    """One order for a model.

    Args:
        clip: What came.
        prompt, seed: What chooses the look.
        guides: Pictures to follow.
        shape: "16:9" and so on, outpainted to; empty keeps the clip's.
        seconds: How much of the clip is used; None is all.
        rate: Frames per second of the answer; None is the clip's.
        format, profile: Container, and ProRes profile.
        shift: How much lighter every pixel is, in levels of 255.
        extra: Frames too many (or, below 0, too few).
        stretch: Whether the extra frames are spread over the clip instead of its tail.

    """

    clip: Clip
    prompt: str = ""
    seed: int = 0
    guides: tuple[Guide, ...] = ()
    shape: str = ""
    seconds: Fraction | None = None
    rate: Fraction | None = None
    format: Format = "mp4"
    profile: str = "4444"
    shift: float = 0.0
    extra: int = 0
    stretch: bool = False


class RenderError(Exception):
    """ffmpeg could not make the answer."""


def used_seconds(work: Work) -> Fraction:
    """Length of what is used of the clip."""
    return work.clip.seconds if work.seconds is None else min(work.clip.seconds, work.seconds)


def frames_out(work: Work) -> int:
    """How many frames the answer has."""
    return max(1, round(used_seconds(work) * (work.rate or work.clip.rate)) + work.extra)


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def _canvas(width: int, height: int, shape: str) -> tuple[int, int]:
    """The answer's size: the clip's, grown to *shape*, brought down to 1080p; even."""
    wide: float = width
    high: float = height
    if shape:
        across, down = (int(part) for part in shape.split(":"))
        wide, high = max(wide, high * across / down), max(high, wide * down / across)
    shrink = min(1.0, _LONG_SIDE / max(wide, high), _SHORT_SIDE / min(wide, high))
    return _even(wide * shrink), _even(high * shrink)


def _tints(guides: tuple[Guide, ...]) -> list[str]:
    """A reference colours all frames; a keyframe its own surroundings, half-way to its neighbours."""
    chains = [tint(guide.colour, 0.4) for guide in guides if guide.seconds is None]
    timed = sorted((guide for guide in guides if guide.seconds is not None), key=lambda guide: guide.seconds or 0)
    for index, guide in enumerate(timed):
        here = guide.seconds or 0.0
        start = (here + (timed[index - 1].seconds or 0)) / 2 if index else 0.0
        end = (here + (timed[index + 1].seconds or 0)) / 2 if index + 1 < len(timed) else 1e6
        if guide.window:
            start, end = max(start, guide.window[0]), min(end, guide.window[1])
        chains.append(tint(guide.colour, 0.4, f"gte(t,{start:.4f})*lt(t,{end:.4f})"))
    return chains


def graph(work: Work) -> str:
    """The whole filter graph, from the clip's frames to the answer's."""
    rate = work.clip.rate
    used = used_seconds(work)
    head = f"[0:v]setpts=PTS-STARTPTS,fps={rate}:round=near,trim=end={float(used):.6f},setsar=1"
    dressed = ",".join([choose(work.prompt, work.seed).chain, *_tints(work.guides)])
    windows = [guide.window for guide in work.guides if guide.window]
    if windows:
        when = "+".join(f"gte(t,{start})*lt(t,{end})" for start, end in windows)
        dressed = f"split[w0][w1];[w1]{dressed},format=yuv420p[w2];[w0][w2]overlay=enable='{when}'"
    fit = _fit((work.clip.width, work.clip.height), work.shape)
    if work.shift:
        dressed += f",lutyuv=y='clip(val+{work.shift:g},16,235)'"
    pixels = {"prores": "yuv444p10le", "sdr_rec709_10bit": "yuv420p10le"}.get(work.format, "yuv420p")
    return f"{head},{fit},{dressed},{_timing(work)},format={pixels}[out]"


def _fit(size: tuple[int, int], shape: str) -> str:
    """Scale upright frames of *size* onto the canvas, over a blurred copy where the shape grows."""
    wide, high = _canvas(*size, shape)
    if not shape:
        return f"scale={wide}:{high}:flags=bicubic,format=yuv420p"
    return (
        f"split[o0][o1];[o1]scale={wide}:{high}:force_original_aspect_ratio=increase,crop={wide}:{high},"
        f"gblur=sigma=24:steps=2[o2];[o0]scale={wide}:{high}:force_original_aspect_ratio=decrease[o3];"
        "[o2][o3]overlay=(W-w)/2:(H-h)/2,format=yuv420p"
    )


def _timing(work: Work) -> str:
    """The answer's rate and frame count. `round=up` shows at time t the clip's frame at time t."""
    rate = work.rate or work.clip.rate
    count = frames_out(work)
    chain = ""
    if work.stretch and work.extra:
        plain = count - work.extra
        chain = f"setpts=PTS*{count}/{plain},"
    rounding = "near" if rate == work.clip.rate and not chain else "up"
    return f"{chain}fps={rate}:round={rounding},tpad=stop={count}:stop_mode=clone,trim=end_frame={count}"


def _codec(work: Work) -> list[str]:
    if work.format == "prores":
        return ["-c:v", "prores_ks", "-profile:v", _PRORES[work.profile], "-f", "mov"]
    if work.format == "png_sequence":
        return ["-c:v", "png", "-f", "image2"]
    if work.format == "sdr_rec709_10bit":
        quiet = ["-preset", "veryfast", "-tag:v", "hvc1", "-x265-params", "log-level=error"]
        return ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", *quiet, "-f", "mp4"]
    # A fixed number of threads, and none for the lookahead: the same bytes each time.
    quality = ["-preset", "veryfast", "-crf", "20", "-threads", "2", "-x264-params", "sync-lookahead=0"]
    return ["-c:v", "libx264", *quality, "-movflags", "+faststart", "-f", "mp4"]


class Studio:
    """Runs the work; one ffmpeg process each, all of them ended by `close`."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def render(self, work: Work, out: Path) -> None:
        """Make the answer to *work* at *out*, which appears only whole.

        Raises:
            RenderError: ffmpeg could not.

        """
        folder = out.with_name(out.name + ".parts")
        folder.mkdir(exist_ok=True)
        made = folder / ("%05d.png" if work.format == "png_sequence" else f"made{out.suffix}")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file"]
        command += ["-i", str(work.clip.path), "-filter_complex", graph(work), "-map", "[out]", "-an"]
        command += ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", *_codec(work), str(made)]
        self._run(command)
        if work.format == "png_sequence":
            made = _zipped(folder)
        made.replace(out)
        shutil.rmtree(folder, ignore_errors=True)

    def _run(self, command: list[str]) -> None:
        with self._lock:
            if self._closed:
                raise RenderError("the sandbox is closing")
            nothing = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE)
            self._running.add(process)
        try:
            _, complaint = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            raise RenderError(complaint.decode("utf-8", "replace")[-500:])

    def close(self) -> None:
        """End what runs; nothing starts any more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()


def _zipped(folder: Path) -> Path:
    archive = folder / "made.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for picture in sorted(folder.glob("*.png")):
            bundle.writestr(zipfile.ZipInfo(picture.name), picture.read_bytes())
    return archive
