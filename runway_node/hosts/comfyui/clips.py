"""VIDEO and IMAGE in and out. A clip that has a file is used by that file; tensors are read where nothing else is.

What reads a file or a tensor here may take long: it is called in the order's thread, never on ComfyUI's loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from comfy_api.latest import InputImpl

from ...errors import SourceError
from ...media.opener import whole
from ...media.probe import snapped
from ...media.shapes import Buffer, Frames
from ...media.sound import add_samples
from ...models import Picture, as_picture

_CHUNK = 1 << 20


class Clip(NamedTuple):
    """What the engine is given for a VIDEO.

    Args:
        source: Its file, or its frames.
        window: Seconds: where its trim begins in the file and how long it is, 0 for all that is left.
        audio: The sound of frames, ComfyUI's AUDIO; None where the file has it.

    """

    source: Path | Frames
    window: tuple[float, float] = (0.0, 0.0)
    audio: dict[str, Any] | None = None


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
    return Clip(path, _window(video))


def _window(video: Any) -> tuple[float, float]:
    """The stream source is the whole file whatever the trim (ComfyUI 0.33): the window is told apart."""
    if hasattr(video, "get_active_trim_window"):
        start, length = video.get_active_trim_window()
        return float(start), float(length)
    # Older ones have no such method, and keep both in these.
    start = getattr(video, "_VideoFromFile__start_time", 0.0)
    return max(0.0, float(start)), float(getattr(video, "_VideoFromFile__duration", 0.0))


def _put_down(stream: Any, temp: Path) -> Path:
    """The bytes as a file, named by what they are: the same bytes are the same order."""
    digest = hashlib.sha256()
    stream.seek(0)
    while piece := stream.read(_CHUNK):
        digest.update(piece)
    path = temp / f"runway-{digest.hexdigest()[:24]}"
    if not path.exists():
        stream.seek(0)
        with whole(path) as part, part.open("wb") as file:
            while piece := stream.read(_CHUNK):
                file.write(piece)
    return path


def _from_components(parts: Any) -> Clip:
    images = parts.images
    count, height, width = (int(side) for side in images.shape[:3])

    def read_from(first: int) -> Iterator[Buffer]:
        for index in range(first, count):
            yield _pixels(images[index, :, :, :3]).data.cast("B")

    frames = Frames(
        width=width, height=height, fps=snapped(Fraction(parts.frame_rate)), count=count,
        read=lambda: read_from(0), read_from=read_from,
    )  # fmt: skip
    return Clip(frames, audio=parts.audio)


def _pixels(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image tensor (height x width x channels of 0 to 1) as 8 bits."""
    values = np.asarray(image.cpu(), dtype=np.float32)
    return np.ascontiguousarray(np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8))


def pictures_of(images: Any) -> tuple[Picture, ...]:
    """Each IMAGE of a batch as a still."""
    return tuple(Picture.model_validate(as_picture(_pixels(image))) for image in images)


def video_of(path: Path, window: tuple[float, float] = (0.0, 0.0)) -> Any:
    """A VIDEO that is a file; nothing of it is read."""
    return InputImpl.VideoFromFile(str(path), start_time=window[0], duration=window[1])


def with_sound(pictures: Path, audio: dict[str, Any] | None, temp: Path) -> Path:
    """*pictures* with the sound that came as samples beside them; the file itself where there was none."""
    if audio is None:
        return pictures
    waveform = np.asarray(audio["waveform"][0].cpu(), dtype=np.float32)
    channels, rate = int(waveform.shape[0]), int(audio["sample_rate"])
    if not waveform.size:
        return pictures
    samples = np.ascontiguousarray(waveform.T).data.cast("B")
    mark = hashlib.sha256(b"%d %d " % (channels, rate) + samples).hexdigest()[:12]
    out = temp / f"{pictures.stem}-{mark}{pictures.suffix}"
    if not out.exists():
        add_samples(pictures, samples, rate, channels, out)
    return out
