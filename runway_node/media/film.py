"""Frames that Python drew, encoded once: exactly so many, at exactly their rate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import MediaError, SourceError
from .codecs import codec_for
from .conform import output_args
from .opener import run_ffmpeg, source_args, whole
from .prepare import RGB_TAGS
from .probe import probe
from .shapes import Fit, Frames, Probe


def draw(
    frames: Frames,
    out: Path,
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Write at *out* the frames, without sound; the ending decides the container and the encoder.

    Raises:
        MediaError: ffmpeg failed, the disk is full, or the clip gave another number of frames.
        Interrupted: `stop` was set.

    """
    fit = Fit(
        frames=frames.count, fps=frames.fps, width=frames.width, height=frames.height, span=frames.count / frames.fps
    )
    codec = codec_for(fit, out.suffix.lower())
    size = f"{frames.width}x{frames.height}"
    chain = (
        f"scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format={codec.pix_fmts[0]},setsar=1,{RGB_TAGS}"
    )
    with whole(out) as part:
        written = run_ffmpeg(
            ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(frames.fps), "-i", "pipe:0", "-vf", chain,
             *output_args(codec, codec.pix_fmts[0], frames.fps), str(part)],
            stop=stop,
            on_frame=on_frame,
            feed=frames.read(),
        )  # fmt: skip
        if written != frames.count:
            raise MediaError(
                f"The film has {written} frames, not {frames.count}", "Check that its clips play to the end"
            )


def bare(source: Path, found: Probe, out: Path, *, stop: threading.Event | None = None) -> bool:
    """Write at *out* a file's pictures as they are, without sound; False where that container does not take them.

    Raises:
        Interrupted: `stop` was set.

    """
    try:
        with whole(out) as part:
            run_ffmpeg(
                [*source_args(source), "-map", "0:V:0", "-c:v", "copy", "-an", "-sn", "-dn", str(part)], stop=stop
            )
            made = probe(part)
            if (made.frames, made.fps, made.variable) == (found.frames, found.fps, found.variable):
                return True
            raise MediaError("Its frames are not kept")
    except (MediaError, SourceError):
        return False
