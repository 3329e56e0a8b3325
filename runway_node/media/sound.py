"""The last step of a file: the source's own sound put back beside the new pictures, and the timecode.

Sound is copied where the container can hold it and start it at the exact sample; else it is encoded once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from .join import Film, add_film
from .opener import open_container, run_ffmpeg, source_args, whole
from .shapes import Buffer, Probe, Sound

_HOLDS: dict[str, frozenset[str]] = {
    ".mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}),
    ".m4v": frozenset({"aac", "ac3", "alac"}),
    ".webm": frozenset({"opus", "vorbis"}),
}
_MOV = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_ENCODERS = {
    ".webm": ("libopus", "-b:a", "160k"),
    ".mkv": ("flac",),  # the only one of them that loses nothing
    "": ("aac", "-b:a", "256k"),
}
_LOSSLESS = frozenset({"alac", "flac"})
"""Encoded again they lose nothing; copied, ffmpeg's mov reader begins them up to a packet (85 ms) early (measured)."""
_EDITS = frozenset({".mp4", ".m4v", ".mov"})
"""Containers whose edit list can start a track in the middle of a packet."""


def finish(
    film: Film, source: Probe | None, first: int, last: int, out: Path, *, stop: threading.Event | None = None
) -> tuple[str, ...]:
    """Write at *out* the pictures of *film* with the sound of source frames [first, last).

    Returns:
        What was lost, a line each: the tracks that had to be encoded.

    """
    suffix = out.suffix.lower()
    warnings: list[str] = []
    encoded: list[Path] = []
    sounds = source.sounds if source is not None and source.path is not None else ()
    try:
        with whole(out) as part:
            tracks: list[tuple[Path, Sound, Fraction, Fraction | None]] = []
            for number, sound in enumerate(sounds, 1):
                assert source is not None
                assert source.path is not None
                start, end = _range(source, first, last)
                if _copies(sound, suffix, exact="matroska" in source.container and start == 0 and end is None):
                    tracks.append((source.path, sound, start, end))
                    continue
                made = part.with_name(f"{part.stem}-sound{number}.mka")
                encoded.append(made)
                name = _encode(source.path, sound, start, end, _encoder(sound, suffix), made, stop)
                tracks.append(
                    (made, Sound(index=0, codec=name, rate=0, channels=0, language=sound.language), Fraction(0), None)
                )
                if name != sound.codec:
                    warnings.append(f"sound track {number} was encoded again, from {sound.codec} to {name}")
            _mux(film, source, first, tracks, part, suffix)
    finally:
        for made in encoded:
            made.unlink(missing_ok=True)
    return tuple(warnings)


def add_samples(
    pictures: Path,
    samples: Iterable[Buffer],
    rate: int,
    channels: int,
    out: Path,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Write at *out* the pictures of a file, copied, with sound that exists only in memory.

    Args:
        samples: 32-bit floats, a frame's channels beside each other, from the first picture's moment on.
        rate: Hz.

    Raises:
        MediaError: ffmpeg failed or the disk is full.
        Interrupted: `stop` was set.

    """
    encoder = _ENCODERS.get(out.suffix.lower(), _ENCODERS[""])
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "pipe:0"]
    with whole(out) as part:
        run_ffmpeg(
            [*source_args(pictures), *raw, "-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", "-c:a", *encoder,
             "-movflags", "+faststart", str(part)],
            stop=stop,
            feed=samples,
        )  # fmt: skip


def _range(source: Probe, first: int, last: int) -> tuple[Fraction, Fraction | None]:
    """Seconds from the container's start; no end where the range runs to the last frame: sound may outlast it."""
    start = source.offset + first / source.fps
    return start, source.offset + last / source.fps if last < source.frames else None


def _copies(sound: Sound, suffix: str, *, exact: bool) -> bool:
    """Whether the packets can be taken over: `exact` where they need no edit list to begin at the right sample."""
    if not exact and (suffix not in _EDITS or sound.codec in _LOSSLESS):
        return False
    return _holds(sound, suffix)


def _holds(sound: Sound, suffix: str) -> bool:
    if suffix == ".mov":
        return sound.codec in _MOV or sound.codec.startswith("pcm_")
    return sound.codec in _HOLDS.get(suffix, frozenset({sound.codec}))


def _encoder(sound: Sound, suffix: str) -> tuple[str, ...]:
    if sound.codec in _LOSSLESS and _holds(sound, suffix):
        return (sound.codec,)
    return _ENCODERS.get(suffix, _ENCODERS[""])


def _encode(
    source: Path,
    sound: Sound,
    start: Fraction,
    end: Fraction | None,
    with_encoder: tuple[str, ...],
    made: Path,
    stop: threading.Event | None,
) -> str:
    encoder, *rate = with_encoder
    until = f":end={float(end):.9f}" if end is not None else ""
    # Trimmed by samples after decoding: exact, whatever the packets are. asetpts keeps a late start late.
    chain = f"atrim=start={float(start):.9f}{until},asetpts=PTS-({float(start):.9f})/TB,aresample=async=1:first_pts=0"
    seek = ["-copyts", "-start_at_zero"]
    run_ffmpeg(
        [*seek, *source_args(source), "-map", f"0:{sound.index}", "-af", chain, "-c:a", encoder, *rate,
         "-map_metadata", "-1", "-f", "matroska", str(made)],
        stop=stop,
    )  # fmt: skip
    return encoder.removeprefix("lib")


def _mux(
    film: Film,
    source: Probe | None,
    first: int,
    tracks: list[tuple[Path, Sound, Fraction, Fraction | None]],
    part: Path,
    suffix: str,
) -> None:
    options = {"movflags": "+faststart"} if suffix in _EDITS else {}
    formats = {".m4v": "mp4", ".mkv": "matroska"}
    with av.open(str(part), "w", format=formats.get(suffix, suffix[1:]), options=options) as made:
        copy, pictures = add_film(made, film)
        if source is not None and source.timecode and suffix in _EDITS:
            copy.metadata["timecode"] = shifted(source.timecode, first, source.fps)
        sources: list[Iterator[Any]] = [pictures]
        opened = []
        try:
            for path, sound, start, end in tracks:
                container = open_container(path)
                opened.append(container)
                original: Any = container.streams[sound.index]
                track = made.add_stream_from_template(original)
                if sound.language:
                    track.metadata["language"] = sound.language
                base = Fraction(container.start_time or 0, 1_000_000)
                sources.append(_packets(container, original, track, base + start, None if end is None else base + end))
            _interleave(made, sources)
        finally:
            for container in opened:
                container.close()


def _packets(
    container: Any, stream: Any, target: Any, start: Fraction, end: Fraction | None
) -> Iterator[tuple[Fraction, Any]]:
    """A track's packets, moved so that *start* is zero; one packet early, so that a decoder is warm at the cut."""
    # Some containers count sound in whole packets (mp3 in avi: 24 ms): its own samples are the clock here.
    base: Fraction = stream.time_base
    tick = min(base, Fraction(1, stream.codec_context.sample_rate or 1))
    shift = round(start / tick)
    stop = None if end is None else round(end / tick)
    held = None
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        packet.dts = packet.pts if packet.dts is None else packet.dts
        _retimed(packet, base, tick)
        if shift and packet.pts + (packet.duration or 0) <= shift:
            held = packet
            continue
        if stop is not None and packet.pts >= stop:
            break
        if held is not None:
            yield _moved(held, target, shift, tick)
            held = None
        if stop is not None and packet.pts + (packet.duration or 0) > stop:
            packet.duration = stop - packet.pts
        yield _moved(packet, target, shift, tick)


def _retimed(packet: Any, base: Fraction, tick: Fraction) -> None:
    packet.pts, packet.dts = round(packet.pts * base / tick), round(packet.dts * base / tick)
    packet.duration = round((packet.duration or 0) * base / tick)
    packet.time_base = tick


def _moved(packet: Any, target: Any, shift: int, tick: Fraction) -> tuple[Fraction, Any]:
    packet.pts -= shift
    packet.dts -= shift
    packet.stream = target
    packet.time_base = tick
    return packet.dts * tick, packet


def _interleave(made: Any, sources: list[Iterator[tuple[Fraction, Any]]]) -> None:
    heads = {index: item for index, source in enumerate(sources) if (item := next(source, None)) is not None}
    while heads:
        index = min(heads, key=lambda i: heads[i][0])
        made.mux_one(heads[index][1])
        following = next(sources[index], None)
        if following is None:
            del heads[index]
        else:
            heads[index] = following


def shifted(timecode: str, frames: int, fps: Fraction) -> str:
    """*timecode* moved on by *frames*; a drop-frame one (";") skips the numbers that its standard skips."""
    drop = ";" in timecode
    hours, minutes, seconds, frame = (int(part) for part in timecode.replace(";", ":").replace(".", ":").split(":"))
    base = round(fps)
    skip = base // 15 if drop else 0
    total_minutes = hours * 60 + minutes
    number = ((total_minutes * 60) + seconds) * base + frame - skip * (total_minutes - total_minutes // 10) + frames
    if drop:
        tens, rest = divmod(number, base * 600 - 9 * skip)
        number += 9 * skip * tens
        if rest >= base * 60:
            number += skip * ((rest - base * 60) // (base * 60 - skip) + 1)
    seconds, frame = divmod(number, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02}:{minutes:02}:{seconds:02}{';' if drop else ':'}{frame:02}"
