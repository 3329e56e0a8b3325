"""Stills that are sent: checked, turned upright, stripped of where they were taken, small enough."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from ..errors import StepError
from ..models import Picture
from .opener import run_ffmpeg, source_args

STILLS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names of what is taken for a still: none that starts another program (EPS), or is rarely looked after."""

LONGEST_SIDE = 4096
"""Larger stills tell a 1080p model nothing more."""


def still(clip: Path, frame: int, out: Path) -> None:
    """Write frame number *frame* of *clip* at *out*, as a PNG.

    Raises:
        MediaError: ffmpeg failed.

    """
    shown = ["-map", "0:V:0", "-vf", f"select=eq(n\\,{frame})", "-frames:v", "1", "-update", "1"]
    run_ffmpeg([*source_args(clip), *shown, str(out)])


def picture_bytes(picture: Picture, most_chars: int) -> tuple[str, bytes]:
    """A local picture as (mime, bytes) whose data URI has at most *most_chars* characters.

    Raises:
        StepError: There is no such file, or it is not a picture.

    """
    name = str(picture.path) if picture.path else "the picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(picture.path or io.BytesIO(picture.png or b""), formats=STILLS) as opened:
                image = ImageOps.exif_transpose(opened)
                image.load()
                if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip, not scale
                    image = image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    except FileNotFoundError:
        raise StepError(f"There is no picture at {name}", "Check the path") from None
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise StepError(f"{name} cannot be read as a picture ({error})", "Give a JPEG, PNG or WebP") from None
    return _encoded(image, most_chars, name)


def _encoded(image: Image.Image, most_chars: int, name: str) -> tuple[str, bytes]:
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    see_through = "A" in image.getbands() or "transparency" in image.info
    plain = image.convert("RGBA" if see_through else "RGB")
    # Pillow writes comments it read back into what it saves; of all that, only the colours' meaning is needed.
    plain.info = {name: value for name, value in image.info.items() if name == "icc_profile"}
    attempts: list[tuple[str, str, dict[str, int]]] = [("image/png", "PNG", {})]
    if not see_through:
        attempts.append(("image/jpeg", "JPEG", {"quality": 92}))
    while min(plain.size) >= 16:
        for mime, kind, options in attempts:
            buffer = io.BytesIO()
            plain.save(buffer, kind, **options)
            if data_uri_chars(mime, buffer.tell()) <= most_chars:
                return mime, buffer.getvalue()
        plain = plain.resize((max(1, plain.width * 3 // 4), max(1, plain.height * 3 // 4)), Image.Resampling.LANCZOS)
    raise StepError(f"{name} cannot be made small enough", "Give a smaller picture")


def data_uri_chars(mime: str, size: int) -> int:
    """Characters of the data URI of *size* bytes, prefix included: what the providers count."""
    return len(f"data:{mime};base64,") + 4 * ((size + 2) // 3)


def data_uri_bytes(mime: str, chars: int) -> int:
    """The most bytes whose data URI has at most *chars* characters."""
    return (chars - len(f"data:{mime};base64,")) // 4 * 3
