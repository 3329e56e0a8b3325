"""VIDEO and IMAGE in and out. A clip that has a file is used by that file; tensors are read where nothing else is.

What reads a file or a tensor here may take long: it is called in the order's thread, never on ComfyUI's loop.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from comfy_api.latest import InputImpl

from ...errors import SourceError
from ...media.opener import settle
from ...media.probe import probe, snapped
from ...media.shapes import Buffer, Frames
from ...media.sound import add_samples
from ...models import Picture, as_picture
from .words import Span

_CHUNK = 1 << 20
_one_reader = threading.Lock()
_one_namer = threading.Lock()


class Clip(NamedTuple):
    """What the engine is given for a VIDEO.

    Args:
        source: Its file, or its frames.
        window: Seconds: where its trim begins in the file and how long it is, 0 for all that is left. The stream source
            is the whole file whatever the trim (ComfyUI 0.33).
        audio: The sound of frames, ComfyUI's AUDIO; None where the file has it.
        notes: What is lost before the clip is even sent.

    """

    source: Path | Frames
    window: tuple[float, float] = (0.0, 0.0)
    audio: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def fps(self) -> Fraction:
        """The rate its frames are counted at."""
        return self.source.fps if isinstance(self.source, Frames) else probe(self.source).fps


def clip_of(video: Any, temp: Path) -> Clip:
    """The file or the frames behind *video*; one that lives in memory as a file is put into *temp*.

    Raises:
        SourceError: It is no VIDEO.

    """
    if isinstance(video, InputImpl.VideoFromComponents):
        return _from_components(video.get_components())
    if not hasattr(video, "get_stream_source"):
        raise SourceError(f"{type(video).__name__} is not a VIDEO", "Link a Load Video node, or another VIDEO")
    source = video.get_stream_source()
    path = Path(source) if isinstance(source, str) else _put_down(source, temp)
    start, length = video.get_active_trim_window()
    return Clip(path, (float(start), float(length)))


def _put_down(stream: Any, temp: Path) -> Path:
    """The bytes as a file, named by what they are: the same bytes are the same order.

    Other nodes may read the same stream at this moment, so a BytesIO's own place is neither used nor moved; and they
    may put the same bytes down, so the first names the file: a clip that is replaced while it is read is refused.
    """
    digest = hashlib.sha256()
    temp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=temp) as folder:
        part = Path(folder, "clip")
        with part.open("wb") as file:
            for piece in _pieces(stream):
                digest.update(piece)
                file.write(piece)
        path = temp / f"runway-{digest.hexdigest()[:24]}"
        with _one_namer:
            if not path.exists():
                settle(part, path)
    return path


def _pieces(stream: Any) -> Iterator[Buffer]:
    if isinstance(stream, io.BytesIO):
        with stream.getbuffer() as whole:
            for first in range(0, len(whole), _CHUNK):
                yield whole[first : first + _CHUNK]
        return
    with _one_reader:
        stream.seek(0)
        while piece := stream.read(_CHUNK):
            yield piece


def _from_components(parts: Any) -> Clip:
    images = parts.images
    count, height, width, channels = (int(side) for side in images.shape)
    if channels not in {3, 4}:
        raise SourceError(f"The clip's pictures have {channels} channels", "Give red, green and blue")

    def read_from(first: int) -> Iterator[Buffer]:
        for index in range(first, count):
            yield _pixels(images[index, :, :, :3]).data.cast("B")

    frames = Frames(
        width=width, height=height, fps=snapped(Fraction(parts.frame_rate)), count=count,
        read=lambda: read_from(0), read_from=read_from,
    )  # fmt: skip
    clear = channels == 4 or getattr(parts, "alpha", None) is not None
    return Clip(frames, audio=parts.audio, notes=("the clip's transparency is left out",) * clear)


def _pixels(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image tensor (height x width x channels of 0 to 1) as 8 bits."""
    values = np.nan_to_num(np.asarray(image.detach().cpu().float(), dtype=np.float32))
    return np.ascontiguousarray(np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8))


def pictures_of(images: Any) -> tuple[Picture, ...]:
    """Each IMAGE of a batch as a still."""
    return tuple(Picture.model_validate(as_picture(_pixels(image))) for image in images)


def _on_frame(seconds: Fraction, fps: Fraction) -> Fraction:
    return round(seconds * fps) / fps


def video_of(path: Path, window: tuple[float, float] = (0.0, 0.0)) -> Any:
    """A VIDEO that is a file; nothing of it is read."""
    return InputImpl.VideoFromFile(str(path), start_time=window[0], duration=window[1])


def held(path: Path, temp: Path) -> Path:
    """A name of ComfyUI's own for a finished file, so that it stays for its cache though `gc` frees it; else itself."""
    name = temp / path.name
    with contextlib.suppress(OSError):
        temp.mkdir(parents=True, exist_ok=True)
        if name.exists() and not name.samefile(path):
            name.unlink()
        if not name.exists():
            os.link(path, name)
        return name
    return path


def with_sound(pictures: Path, clip: Clip, span: Span, temp: Path) -> Path:
    """*pictures* with the sound that came as samples beside the clip's; the file itself where there was none."""
    if clip.audio is None:
        return pictures
    rate = int(clip.audio["sample_rate"])
    first, last = (None if time is None else round(_on_frame(time, clip.fps) * rate) for time in span)
    waveform = np.asarray(clip.audio["waveform"][0].detach().cpu().float(), dtype=np.float32)[:, first:last]
    channels = int(waveform.shape[0])
    if not waveform.size:
        return pictures
    samples = np.ascontiguousarray(waveform.T).data.cast("B")
    mark = hashlib.sha256(b"%d %d " % (channels, rate) + samples).hexdigest()[:12]
    out = temp / f"{pictures.stem}-{mark}{pictures.suffix}"
    if not out.exists():
        add_samples(pictures, [samples], rate, channels, out)
    return out
