"""Stills that are sent: what they show goes out, who took them and where does not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from runway_node.errors import StepError
from runway_node.media.pictures import data_uri_chars, picture_bytes
from runway_node.models import Picture

ORIENTATION, DESCRIPTION = 0x0112, 0x010E


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8))


@pytest.mark.parametrize("most", [5_000_000, 9_000])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_metadata_stays_here(tmp_path, photo, kind, most):
    """Descriptions, comments and places are gone, and the picture stands upright."""
    exif, text = Image.Exif(), PngInfo()
    exif[DESCRIPTION], exif[ORIENTATION] = "CANARY", 6
    text.add_text("Comment", "CANARY")
    own = {"jpg": {"comment": b"CANARY"}, "png": {"pnginfo": text}, "webp": {"xmp": b"CANARY"}}
    photo.save(tmp_path / f"photo.{kind}", exif=exif, **own[kind])
    mime, data = picture_bytes(Picture(path=tmp_path / f"photo.{kind}"), most)
    with Image.open(io.BytesIO(data)) as sent:
        assert sent.height > sent.width
        assert not sent.getexif()
    assert b"CANARY" not in data
    assert data_uri_chars(mime, len(data)) <= most


def test_deep_grey_is_scaled(tmp_path):
    """A 16-bit still keeps its shades."""
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    _, data = picture_bytes(Picture(path=tmp_path / "deep.png"), 100_000)
    with Image.open(io.BytesIO(data)) as sent:
        assert abs(np.asarray(sent.convert("L")).mean() - 127) < 2


@pytest.mark.parametrize("name", ["missing.png", "text.png", "."])
def test_no_picture(tmp_path, name):
    """What is no picture is refused in one line."""
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(StepError) as caught:
        picture_bytes(Picture(path=tmp_path / name), 100_000)
    assert "\n" not in str(caught.value)


def test_bomb(tmp_path, monkeypatch):
    """A picture that would fill the memory is refused."""
    Image.new("L", (300, 300)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(StepError):
        picture_bytes(Picture(path=tmp_path / "large.png"), 100_000)
