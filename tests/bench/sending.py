"""Sending: the multipart upload and the inline body, beside bare streams of the same bytes to the same sink."""

from __future__ import annotations

import binascii
import functools
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from runway_node.client import Client
from runway_node.client.bodies import READ, order_body
from runway_node.settings import load_settings

from .measure import Row, Sizes, child, in_turn, shown, taken, versus
from .uploader import KINDS

INLINE_BYTES = 3_900_000
FIELDS = {"model": "gen4_aleph", "promptText": "the street at dusk, wet asphalt", "seed": 7, "ratio": "1280:720"}


def rows(folder: Path, sizes: Sizes, url: str) -> list[Row]:
    """Both ways a clip is sent."""
    return [*_uploads(folder, sizes, url), *_inline(folder, sizes, url)]


def _uploads(folder: Path, sizes: Sizes, url: str) -> list[Row]:
    path = folder / "upload.mp4"
    path.write_bytes(os.urandom(1_000_000) * (sizes.upload_bytes // 1_000_000))
    path.with_name("one.mp4").write_bytes(b"1")
    rivals = {kind: functools.partial(child, "uploader", kind, path, url) for kind in KINDS}
    found = in_turn(rivals, sizes.repeats)
    seconds = {kind: [told["seconds"] for told in all_told] for kind, all_told in found.items()}
    name = f"upload {sizes.upload_bytes // 1_000_000} MB"
    return [
        versus(f"{name}, Client.upload / raw socket", seconds["form"], seconds["socket"], 1.3),
        versus(f"{name}, Client.upload / raw httpx stream", seconds["form"], seconds["stream"], 1.3),
        versus(f"{name}, httpx files= / raw socket", seconds["files"], seconds["socket"], None),
        _memory(f"{name}, Client.upload: memory above idle", found["form"], 45.0),
        _memory(f"{name}, httpx files=: memory above idle", found["files"], None),
    ]


def _memory(name: str, told: list[dict[str, Any]], bound: float | None) -> Row:
    if told[0]["peak"] is None:
        return Row(name=name, ours="not measured: no /proc here")
    above = [one["peak"] - one["idle"] for one in told]
    return Row(
        name=name,
        ours=f"{statistics.median(one['peak'] for one in told):.1f} MB",
        bare=f"{statistics.median(one['idle'] for one in told):.1f} MB",
        value=statistics.median(above),
        spread=(min(above), max(above)),
        bound=bound,
        unit="MB",
    )


def _bare(path: Path) -> Iterator[bytes]:
    yield b'{"videoUri":"data:video/mp4;base64,'
    with path.open("rb") as file:
        while piece := file.read(READ):
            yield binascii.b2a_base64(piece, newline=False)
    yield b'"}'


def _inline(folder: Path, sizes: Sizes, url: str) -> list[Row]:
    path = folder / "inline.mp4"
    path.write_bytes(os.urandom(INLINE_BYTES))
    bare_length = len(b'{"videoUri":"data:video/mp4;base64,"}') + 4 * ((INLINE_BYTES + 2) // 3)
    settings = load_settings(cometapi_key="bench", cometapi_base_url=url, provider="cometapi")
    with httpx.Client(trust_env=False) as client, Client(settings, "cometapi") as ours:

        def bare() -> None:
            client.post(url, content=_bare(path), headers={"Content-Length": str(bare_length)}).raise_for_status()

        def body() -> None:
            made = order_body(FIELDS, "videoUri", path)
            client.post(url, content=made, headers={"Content-Length": str(made.length)}).raise_for_status()

        def submit() -> None:
            ours.submit(order_body(FIELDS, "videoUri", path), "gen4_aleph")

        works = {"bare": bare, "body": body, "submit": submit}
        for work in works.values():
            work()
        rivals = {name: functools.partial(_each, work, sizes.posts) for name, work in works.items()}
        found = in_turn(rivals, sizes.repeats)
    name = f"inline body {INLINE_BYTES / 1e6:g} MB"
    return [
        versus(f"{name}, order_body / bare base64 generator", found["body"], found["bare"], 1.2),
        Row(name=f"{name}, all of Client.submit", ours=shown(statistics.median(found["submit"]), "s")),
    ]


def _each(work: Any, posts: int) -> float:
    """Seconds one takes, of several in a row: one alone is too short for the clock and the scheduler."""
    return taken(lambda: [work() for _ in range(posts)]).wall / posts
