"""Sound as samples: decoded to 32-bit floats that may be read anywhere, and brought to a loudness. No pictures here."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import av

from ..errors import MediaError, SourceError
from .opener import open_container, run_ffmpeg, source_args, whole

RATE, CHANNELS, SAMPLE = 48_000, 2, 8
"""Hz; left and right; bytes of one moment."""

TRUE_PEAK, RANGE = -1.5, 11.0
"""dBTP and LU that loudnorm keeps to: what streaming platforms ask for."""


def length_of(path: Path) -> Fraction:
    """Seconds of a file's first sound track, as its container tells.

    Raises:
        SourceError: It holds no sound, or is no file that may be read.

    """
    with open_container(path, sound=True) as container:
        if not container.streams.audio:
            raise SourceError(f"{path.name} holds no sound", "Give a file with a sound track")
        stream = container.streams.audio[0]
        if stream.duration and stream.time_base:
            return Fraction(stream.duration * stream.time_base)
        return Fraction(container.duration or 0, 1_000_000)


def decode(
    source: Path,
    out: Path,
    *,
    index: int | None = None,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write at *out* a track's samples from *start* to *end*, seconds from the container's start; two channels.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    until = f":end={float(end):.9f}" if end is not None else ""
    # As in sound.py: trimmed after decoding, exact whatever the packets are; a late start stays late.
    trim = f"atrim=start={float(start):.9f}{until},asetpts=PTS-({float(start):.9f})/TB"
    # ffmpeg alone would make one channel, spread over two, 3 dB softer.
    spread = ",pan=stereo|c0=c0|c1=c0" if _channels(source, index) == 1 else ""
    chain = f"{trim},aresample={RATE}:async=1:first_pts=0{spread}"
    track = "0:a:0" if index is None else f"0:{index}"
    with whole(out) as part:
        run_ffmpeg(
            ["-copyts", "-start_at_zero", *source_args(source, sound=True), "-map", track, "-af", chain,
             "-ac", str(CHANNELS), "-ar", str(RATE), "-f", "f32le", str(part)],
            stop=stop,
        )  # fmt: skip


def _channels(source: Path, index: int | None) -> int:
    with open_container(source, sound=True) as container:
        stream = container.streams.audio[0] if index is None else container.streams[index]
        return int(stream.codec_context.channels) if isinstance(stream, av.AudioStream) else CHANNELS


def normalise(
    raw: Path, out: Path, loudness: float, *, peak: float = 1.0, stop: threading.Event | None = None
) -> bool:
    """Write at *out* the samples of *raw*, brought to so many LUFS by ffmpeg's loudnorm, in two passes.

    Args:
        peak: The largest of the samples, where that is more than 1: loudnorm measures no sound beyond full scale.

    Returns:
        False where they are silent: then they are written as they are.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    source = ["-f", "f32le", "-ar", str(RATE), "-ac", str(CHANNELS), "-i", str(raw)]
    whole_scale = f"volume={1 / peak:.9f}:precision=float," if peak > 1 else ""
    wanted = f"loudnorm=I={loudness:g}:TP={TRUE_PEAK}:LRA={RANGE}"
    words: list[str] = []
    run_ffmpeg([*source, "-af", f"{whole_scale}{wanted}:print_format=json", "-f", "null", "-"], stop=stop, words=words)
    found = _found(words)
    silent = float(found["input_i"]) < -69  # loudnorm's own least is -70
    count = raw.stat().st_size // SAMPLE
    measured = (
        f":measured_I={found['input_i']}:measured_TP={found['input_tp']}:measured_LRA={found['input_lra']}"
        f":measured_thresh={found['input_thresh']}:offset={found['target_offset']}:linear=true"
    )
    # loudnorm works at 192 kHz and may give a few samples more or less.
    chain = "anull" if silent else f"{wanted}{measured},aresample={RATE},apad,atrim=end_sample={count}"
    with whole(out) as part:
        run_ffmpeg([*source, "-af", f"{whole_scale}{chain}", "-ar", str(RATE), "-f", "f32le", str(part)], stop=stop)
    return not silent


def _found(words: list[str]) -> dict[str, str]:
    text = "\n".join(words)
    try:
        return dict(json.loads(text[text.rindex("{") : text.rindex("}") + 1]))
    except ValueError:
        raise MediaError("ffmpeg's loudnorm measured nothing", "Is this ffmpeg older than 3.1?") from None
