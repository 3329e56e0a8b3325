"""Picture and Keyframe: the stills that guide a transformation.

Nothing here opens a file or a URL: a `Path` stays a path until `media.pictures` reads it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

from pydantic import Base64Bytes, BeforeValidator, Field, field_validator, model_validator

from .base import Frozen


class Picture(Frozen):
    """One still: a local file, an https URL, or PNG bytes; exactly one of them."""

    path: Path | None = None
    url: str | None = Field(default=None, pattern=r"^https://", max_length=2048)
    png: Base64Bytes | None = Field(default=None, repr=False)

    @field_validator("path", mode="before")
    @classmethod
    def _really_a_path(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - pydantic turns this into its own error
                "a local picture is a pathlib.Path, never text: data from elsewhere must not name files"
            )
        return value

    @field_validator("url")
    @classmethod
    def _no_user(cls, value: str | None) -> str | None:
        if value is not None and "@" in value.partition("//")[2].partition("/")[0]:
            raise ValueError("a picture's URL has no user and no password in it")
        return value

    @model_validator(mode="after")
    def _one_of_three(self) -> Picture:
        if sum(value is not None for value in (self.path, self.url, self.png)) != 1:
            raise ValueError("a picture is one of path, url and png")
        return self


def as_picture(value: object) -> object:
    """*value* as a `Picture`: a `Path`, an https URL, a PIL image, or a numpy frame (height x width x 3 or 4, uint8).

    A plain string is an https URL or refused: data that came from elsewhere must not name local files.
    """
    if isinstance(value, Path):
        return Picture(path=value)
    if isinstance(value, str):
        if not value.startswith("https://"):
            raise ValueError("a picture given as text is an https URL; for a local file give a pathlib.Path")
        return Picture(url=value)
    if hasattr(value, "__array_interface__") and hasattr(value, "dtype"):
        return _from_image(_image_from_frame(value))
    if type(value).__module__.partition(".")[0] == "PIL":
        return _from_image(value)
    return value


def _image_from_frame(frame: Any) -> object:
    from PIL import Image

    if frame.dtype.name != "uint8" or frame.ndim != 3 or frame.shape[2] not in {3, 4}:
        raise ValueError(f"a frame is height x width x 3 or 4 of uint8, not {frame.shape} of {frame.dtype.name}")
    return Image.fromarray(frame)


def _from_image(image: Any) -> Picture:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    plain = (
        upright if upright.mode in {"RGB", "RGBA", "L"} else upright.convert("RGBA" if "A" in upright.mode else "RGB")
    )
    buffer = io.BytesIO()
    plain.save(buffer, "PNG")
    return Picture.model_construct(path=None, url=None, png=buffer.getvalue())


AnyPicture = Annotated[Picture, BeforeValidator(as_picture)]


class Keyframe(Frozen):
    """What the transformed clip should look like at one moment.

    Args:
        picture: The still.
        seconds: The moment, from the start of the transformed range; or
        at: the moment as a fraction of it, 0 to 1. Exactly one of the two.
        range: Optional whole seconds [start, end) that the edit is confined to; all keyframes have one or none.

    """

    picture: AnyPicture
    seconds: float | None = Field(default=None, ge=0)
    at: float | None = Field(default=None, ge=0, le=1)
    range: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _one_moment(self) -> Keyframe:
        if (self.seconds is None) == (self.at is None):
            raise ValueError("a keyframe has either seconds or at")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("a keyframe's range ends after it starts")
        if self.range is not None and self.seconds is not None and not self.range[0] <= self.seconds < self.range[1]:
            raise ValueError("a keyframe lies within its range")
        return self
