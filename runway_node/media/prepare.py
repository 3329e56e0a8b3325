"""What is sent: one H.264 stream of exactly the frames that were cut, under the byte budget, and nothing else.

One ffmpeg process a clip. The same clip and cut give the same bytes, so that a resumed upload is the same upload.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

from ..errors import MediaError, SourceError
from .opener import closed, run_ffmpeg, source_args, whole
from .probe import plain
from .probe import probe as look
from .shapes import Buffer, Cut, Frames, Probe

CRF = 18
BUFFER_SECONDS = Fraction(1, 2)
CONTAINER_SHARE = Fraction(99, 100)
"""Of the budget; mp4 boxes take the rest (measured: 80 to 91 % of the budget used, 8 of 8 under)."""

THREADS = "threads=1"
"""x264 with a rate cap gives other bytes each time on more threads, sliced ones too (ffmpeg 9.0.2); on one it does not.

Decoding, scaling and x264's lookahead keep their own threads: on 2 cores one thread took 1.2 times as long as four."""

EARLIER = Fraction(12)
"""Seconds by which containers without an index are entered early: they land anywhere, and wait for a keyframe."""

UNINDEXED = frozenset({"mpegts", "mpeg", "flv", "ogg", "asf", "mxf"})
UNTIMED = frozenset({"avi", "mpegvideo"})
"""Containers whose packets do not say when they are shown: their frames are counted from the start."""

PLAIN = [
    "-an",
    "-sn",
    "-dn",
    "-map_metadata",
    "-1",
    "-map_chapters",
    "-1",
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
]
RGB_TAGS = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
# SEI messages (type 6) can hold a place, a maker's notes or the encoder's settings; pictures do not need them.
MP4 = ["-bsf:v", "filter_units=remove_types=6", "-movflags", "+faststart", "-f", "mp4"]


def prepare(
    source: Path | Frames,
    probe: Probe,
    cut: Cut,
    out: Path,
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Write at *out* (mp4) the `cut.frames` frames that are sent.

    Args:
        source: The file, or the frames that are streamed once into the encoder.
        probe: What the source is.
        cut: Which frames, how large, how many bytes at most.
        out: Appears only whole.
        stop: Ends the work when set.
        on_frame: Called with the number of frames written so far.

    Raises:
        MediaError: ffmpeg failed, the disk is full, or the clip cannot be made small enough.
        Interrupted: `stop` was set.

    """
    with whole(out) as part:
        if isinstance(source, Path) and complies(probe, cut) and _copied(source, probe, cut, part, stop):
            return
        for share in (Fraction(1), Fraction(7, 10), Fraction(4, 10)):
            inputs, feed = _input(source, probe, cut)
            args = [*inputs, *encode_args(probe, cut, budget=int(cut.budget * share)), str(part)]
            run_ffmpeg(args, stop=stop, on_frame=on_frame, feed=feed)
            _counts(part, cut)
            if part.stat().st_size <= cut.budget:
                return
        raise MediaError(
            f"{cut.frames} frames of {cut.width}x{cut.height} do not fit {cut.budget} bytes", "Use a shorter range"
        )


def complies(probe: Probe, cut: Cut) -> bool:
    """Whether the file's own stream can be sent as it is."""
    return (
        probe.codec == "h264"
        and probe.pix_fmt == "yuv420p"
        and probe.color.range != "pc"
        and not (probe.variable or probe.rotation or probe.hdr or probe.interlaced)
        and probe.sar == 1
        and (probe.width, probe.height) == (cut.width, cut.height)
        and (cut.first, cut.last, cut.divide, cut.clones) == (0, probe.frames, 1, 0)
        and 0 < probe.size <= cut.budget
    )


def _copied(source: Path, probe: Probe, cut: Cut, part: Path, stop: threading.Event | None) -> bool:
    bare = ["-map", "0:V:0", "-c:v", "copy"]
    try:
        run_ffmpeg([*source_args(source), *bare, *PLAIN, *MP4, str(part)], stop=stop)
        made = look(part)
    except (MediaError, SourceError):
        return False
    same = (made.frames, made.fps, made.variable, made.width, made.height)
    fits = same == (cut.frames, probe.fps, False, cut.width, cut.height) and made.size <= cut.budget
    # Frames that only an edit list hides would be seen by a decoder that knows none.
    return fits and plain(part, probe.fps)


def _counts(part: Path, cut: Cut) -> None:
    try:
        made = look(part).frames
    except SourceError:
        made = 0
    if made != cut.frames:
        raise MediaError(f"The clip gave {made} frames of {cut.frames}", "Check that it plays from start to end")


def encode_args(probe: Probe, cut: Cut, *, budget: int) -> list[str]:
    """Filters and encoder for *cut*, under *budget* bytes."""
    rate = probe.fps / cut.divide
    cap = rate_cap(budget, cut.frames / rate)
    return [
        "-map", "0:V:0", "-vf", ",".join(filters(probe, cut)), "-frames:v", str(cut.frames),
        "-c:v", "libx264", "-preset", preset(budget, cut), "-crf", str(CRF),
        "-maxrate", str(cap), "-bufsize", str(max(1, int(cap * BUFFER_SECONDS))), "-x264-params", THREADS,
        "-pix_fmt", "yuv420p", "-fps_mode", "cfr", "-r", str(rate),
        *PLAIN, *MP4,
    ]  # fmt: skip


def rate_cap(budget: int, seconds: Fraction) -> int:
    """Bits per second that keep *seconds* under *budget* bytes: x264 starts with nine tenths of its buffer to spend."""
    return max(1000, int(8 * budget * CONTAINER_SHARE / (seconds + Fraction(9, 10) * BUFFER_SECONDS)))


def preset(budget: int, cut: Cut) -> str:
    """Where the cap binds (under 0.3 bits a pixel) a slower preset is worth 4 VMAF and more; else it is only slow."""
    return "medium" if 8 * budget < Fraction(3, 10) * cut.width * cut.height * cut.frames else "veryfast"


def filters(probe: Probe, cut: Cut) -> list[str]:
    """The chain from the seek point to the sent frames, first frame at zero."""
    chain = [on_grid(probe, cut.first)]
    if cut.divide > 1:
        rate = probe.fps / cut.divide
        # The link's own rate is told anew, or what is cloned behind the frames would follow at the old one.
        chain.append(f"select='not(mod(n,{cut.divide}))',setpts=N/({rate})/TB,fps={rate}:round=near:start_time=0")
    if cut.clones:
        chain.append(f"trim=end_frame={cut.frames - cut.clones}")
    if probe.hdr:
        chain.append("sidedata=mode=delete")  # its mastering display is not the result's
        chain.append(
            "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv"
        )
    matrix = ":out_color_matrix=bt709" if _is_rgb(probe) else ""
    scale = f"scale={cut.width}:{cut.height}:flags=lanczos+accurate_rnd:out_range=tv{matrix}"
    chain.append(f"{scale},setsar=1,format=yuv420p")
    if _is_rgb(probe):
        chain.append(RGB_TAGS)
    # The endless clone covers the wanted ones and a file that ends early; -frames:v ends it.
    chain.append("tpad=stop_mode=clone:stop=-1")
    chain.append(f"trim=end_frame={cut.frames}")
    return chain


def on_grid(probe: Probe, first: int) -> str:
    """What was showing at each tick of the source's grid, that of frame *first* at zero.

    Time stamps are the file's own (-copyts): ffmpeg rounds moved ones to the stream's clock, maybe a whole frame.
    """
    if probe.path is None:
        return "null"
    if probe.container in UNTIMED and not probe.variable:
        return f"trim=start_frame={first},setpts=N/({probe.fps})/TB"
    zero = round((probe.start + first / probe.fps) * 1_000_000)
    return f"settb=AVTB,setpts=PTS-({zero}),fps={probe.fps}:round=near:start_time=0"


def entry_args(probe: Probe, first: int) -> list[str]:
    """Input options that begin decoding a little before frame *first*.

    A picture that changes its size midway goes through the same filters: made anew, they would count from zero again.
    """
    seek = _seek(probe, first)
    return ["-reinit_filter", "0", "-copyts", *(["-ss", f"{float(seek):.9f}"] if seek else [])]


def _seek(probe: Probe, first: int) -> Fraction:
    """Seconds for -ss, from the container's start: half a frame before the first frame that is needed."""
    if first == 0 or probe.container in UNTIMED:
        return Fraction(0)
    start = first / probe.fps
    if probe.variable:
        shown = [time for time in probe.times if time <= start + 1 / (2 * probe.fps)]
        start = shown[-1] if shown else Fraction(0)
    early = EARLIER if probe.container in UNINDEXED else 1 / (2 * probe.fps)
    return max(Fraction(0), probe.offset + start - early)


def _is_rgb(probe: Probe) -> bool:
    return probe.pix_fmt.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "pal8"))


def _input(source: Path | Frames, probe: Probe, cut: Cut) -> tuple[list[str], Iterator[Buffer] | None]:
    if isinstance(source, Frames):
        size = f"{source.width}x{source.height}"
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(source.fps), "-i", "pipe:0"]
        return raw, _counted(source, cut)
    return [*entry_args(probe, cut.first), *source_args(source)], None


def _counted(source: Frames, cut: Cut) -> Iterator[Buffer]:
    given = cut.first
    frames = source.begin(cut.first)
    try:
        # Not one more than are sent: the next call's may come out of the same reading.
        for frame in islice(frames, cut.last - cut.first):
            yield frame
            given += 1
    finally:
        closed(frames)
    if given < cut.last:
        raise MediaError(f"The clip gave {given} frames of {cut.last}", "Check its duration and fps")
