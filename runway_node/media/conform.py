"""What came back, made to fit: exactly the frames, rate, size and colour of what went in.

The answer's own file is never changed. An answer that fits already is copied, not encoded again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from ..errors import MediaError, SourceError, Unusable
from .codecs import FASTSTART, LOSSLESS, Codec, codec_for
from .opener import run_ffmpeg, source_args, whole
from .probe import plain
from .probe import probe as look
from .shapes import Color, Fit, Probe, Strip

# The scale filter's names; 470bg and 170m are one matrix.
_MATRIX = {
    "bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601", "smpte240m": "smpte240m", "fcc": "fcc",
    "bt2020nc": "bt2020", "bt2020c": "bt2020",
}  # fmt: skip
SAME_SHAPE = Fraction(2, 100)
"""A shape further off than this is padded, not stretched."""


def verify(path: Path, task_id: str) -> Probe:
    """A downloaded answer, opened guarded and decoded to its end.

    Raises:
        Unusable: It is not a whole, decodable video.

    """
    try:
        answer = look(path)
        decoded = _decode(path)
    except (SourceError, MediaError) as error:
        what = error.what if isinstance(error, SourceError) else f"it does not decode ({error.what})"
        raise Unusable(f"The result of task {task_id} is not a usable video: {what}", task_id=task_id) from error
    if not answer.whole or (decoded < answer.frames - 1 and not answer.variable):
        raise Unusable(f"The result of task {task_id} is damaged: {decoded} frames decode", task_id=task_id)
    return answer


def _decode(path: Path) -> int:
    """How many frames decode; in a process of its own, for a decoder holds many pictures."""
    look_only = ["-xerror", "-skip_loop_filter", "all"]  # what that filter smooths changes no error
    shown = ["-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-"]
    return run_ffmpeg([*look_only, *source_args(path), *shown])


def conform(
    answer: Path,
    probe: Probe,
    fit: Fit,
    out: Path,
    *,
    suffix: str = "",
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> bool:
    """Write at *out* the answer as `fit` wants it, without sound.

    The frames that it shares with its neighbours are not in it, but lossless beside it: see `strip_of`.

    Args:
        suffix: The ending of the file it is for; unset: that of *out*.

    Returns:
        Whether it had to be encoded; False: it fitted, and its stream was copied.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    suffix = suffix or out.suffix.lower()
    with whole(out) as part:
        if fit.alone and fits(probe, fit, suffix):
            copy = ["-map", "0:V:0", "-c:v", "copy", "-an", "-sn", "-dn", "-map_metadata", "-1", str(part)]
            run_ffmpeg([*source_args(answer), *copy], stop=stop)
            # Frames that only an edit list hides would come back when segments are joined.
            if look(part).frames == fit.frames and plain(part, fit.fps):
                return False
        strip = strip_of(fit, out)
        outputs = [
            (path, start, end)
            for path, start, end in (
                (part, fit.head, fit.frames - fit.tail),
                (strip.head, 0, fit.head),
                (strip.tail, fit.frames - fit.tail, fit.frames),
            )
            if path is not None
        ]
        run_ffmpeg([*source_args(answer), *_encode_args(probe, fit, suffix, outputs)], stop=stop, on_frame=on_frame)
    return True


def strip_of(fit: Fit, body: Path) -> Strip:
    """The files of an answer that was conformed to *body*."""
    return Strip(
        body=body,
        frames=fit.frames - fit.head - fit.tail,
        head=body.with_name(f"{body.stem}-head{LOSSLESS.part}") if fit.head else None,
        tail=body.with_name(f"{body.stem}-tail{LOSSLESS.part}") if fit.tail else None,
    )


def fits(probe: Probe, fit: Fit, suffix: str) -> bool:
    """Whether the answer needs nothing done to its pictures."""
    codec = codec_for(fit, suffix)
    same_color = probe.color in (fit.color, Color()) or probe.color == Color(range="tv")
    return (
        probe.codec == codec.name
        and probe.pix_fmt in codec.pix_fmts
        and (probe.frames, probe.fps, probe.variable, probe.interlaced) == (fit.frames, fit.fps, False, False)
        and (probe.width, probe.height, probe.sar, probe.rotation) == (fit.width, fit.height, fit.sar, 0)
        and same_color
        and fit.color in (Color(), Color(range="tv"), probe.color)
        and fit.skip == 0
    )


def _encode_args(probe: Probe, fit: Fit, suffix: str, outputs: list[tuple[Path, int, int]]) -> list[str]:
    """One decoding, and a file for each run of frames; the first is the body."""
    codec = codec_for(fit, suffix)
    chain = ",".join(filters(probe, fit, codec.pix_fmts[0]))
    names = [f"[o{index}]" for index in range(len(outputs))]
    runs = [
        f"[s{index}]trim=start_frame={start}:end_frame={end},setpts=PTS-STARTPTS[o{index}]"
        for index, (_, start, end) in enumerate(outputs)
    ]
    split = f"split={len(outputs)}" + "".join(f"[s{index}]" for index in range(len(outputs)))
    args = ["-filter_complex", ";".join([f"[0:V:0]{chain},{split}", *runs])]
    for name, (path, start, end) in zip(names, outputs, strict=True):
        how = codec if path == outputs[0][0] else LOSSLESS
        args += ["-map", name, "-frames:v", str(end - start), *output_args(how, codec.pix_fmts[0], fit.fps), str(path)]
    return args


def output_args(codec: Codec, pix_fmt: str, fps: Fraction) -> list[str]:
    """An output of ffmpeg's, of one rate; equal for all parts of one film, so that they can be joined by copy."""
    ticks = ["-video_track_timescale", str(fps.numerator)] if codec.part in FASTSTART else []
    return [
        *codec.args, *ticks, "-pix_fmt", pix_fmt, "-fps_mode", "cfr", "-r", str(fps),
        "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
    ]  # fmt: skip


def filters(probe: Probe, fit: Fit, pix_fmt: str) -> list[str]:
    """Exact count at any length error (measured: 84 of 84; the fps filter alone: 7 of 42)."""
    stretch = fit.span / probe.duration if fit.retime else Fraction(1)
    # Of an answer with fewer frames a second each moment gets the frame nearest to it, not the last one before it.
    early = max(Fraction(0), stretch / probe.fps - 1 / fit.fps) / 2
    return [
        f"setpts=(PTS-STARTPTS)*{float(stretch):.12f}-{float(early):.9f}/TB",
        f"fps={fit.fps}:round=near:start_time=0",
        "tpad=stop_mode=clone:stop=-1",
        f"trim=start_frame={fit.skip}:end_frame={fit.skip + fit.frames}",
        "setpts=PTS-STARTPTS",
        *_place(probe, fit),
        f"setsar={fit.sar.numerator}/{fit.sar.denominator}",
        f"format={pix_fmt}",
        *tags(fit.color),
    ]


def off_shape(probe: Probe, fit: Fit) -> bool:
    """Whether the answer's shape differs from the wanted one by more than two in a hundred."""
    shape = probe.width * probe.sar / probe.height
    wanted = fit.width * fit.sar / fit.height
    return max(shape, wanted) / min(shape, wanted) - 1 > SAME_SHAPE


def _place(probe: Probe, fit: Fit) -> list[str]:
    before, after = _MATRIX.get(probe.color.matrix), _MATRIX.get(fit.color.matrix)
    convert = f":in_color_matrix={before}:out_color_matrix={after}" if before and after and before != after else ""
    ranges = f":out_range={'pc' if fit.color.range == 'pc' else 'tv'}"
    scale = f"flags=lanczos+accurate_rnd{convert}{ranges}"
    if not off_shape(probe, fit):
        return [f"scale={fit.width}:{fit.height}:{scale}"]
    shape = probe.width * probe.sar / probe.height / fit.sar
    width = min(fit.width, round(fit.height * shape))
    height = min(fit.height, round(fit.width / shape))
    return [f"scale={width}:{height}:{scale}", f"pad={fit.width}:{fit.height}:(ow-iw)/2:(oh-ih)/2"]


def tags(color: Color) -> list[str]:
    """The tags that are known, set on the frames: ffmpeg 9 lets those overrule the encoder's options."""
    tags = {
        "color_primaries": color.primaries,
        "color_trc": color.transfer,
        "colorspace": color.matrix,
        "range": color.range,
    }
    known = [f"{name}={value}" for name, value in tags.items() if value]
    return ["setparams=" + ":".join(known)] if known else []
