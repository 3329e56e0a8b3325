"""One row as a job: all that a machine needs to render it, as JSON; and what came of it. No key is in either."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..engine.remote import local_clip
from ..media.content import file_hash
from ..models.base import Frozen
from ..settings import Settings
from ..storage import is_remote
from ..templates import Places, Source
from ..templates.steps import VideoToVideo
from ..templates.template import Recipe

FORMAT = 1
"""Raised when a job is to be read, or a film made, otherwise than before."""

Status = Literal["ready", "done", "failed", "unknown", "refused", "invalid", "left", "not sent"]
"""ready: can be rendered. unknown: may have been billed. refused: over a limit. left: it was sent, and
stopped; the same command goes on with it. not sent: the batch stopped before it."""


class Job(Frozen):
    """One row to render.

    Args:
        row: Its number, from 1.
        template: The template's text.
        file: Its name, for errors.
        folder: Where the template's own files are.
        values: Of its vars; files as absolute paths or s3://BUCKET/NAME, times as fractions.
        outputs: The folder, or the s3://BUCKET/PREFIX, that results go to.
        output: The result's name in there.
        fingerprint: Of all that the result is made from.
        policy: What the command said that overrules the template's policies.
        force: Replace what is there.

    """

    row: int
    template: str
    file: str = "template"
    folder: Path
    values: dict[str, Any]
    outputs: str
    output: str
    fingerprint: str
    policy: dict[str, Any] = Field(default_factory=dict)
    force: bool = False

    def recipe(self, settings: Settings, stop: threading.Event | None = None) -> Recipe:
        """What is to be made; files in buckets are fetched.

        Raises:
            TemplateError: This program does not understand it, or a file of it is gone.
            SourceError: A file in a bucket cannot be had.

        """
        source = Source(self.template, self.folder, file=self.file)
        values = source.values(self.values, Places(base=self.folder, anywhere=True))
        return source.recipe(brought(values, settings, stop))


def brought(values: dict[str, Any], settings: Settings, stop: threading.Event | None = None) -> dict[str, Any]:
    """The values with files in buckets as files of this machine."""
    return {
        name: local_clip(value, settings, stop) if is_remote(value) else value for name, value in values.items()
    }


class Outcome(Frozen):
    """What came of a row.

    Args:
        row: Its number, from 1.
        status: In a word.
        output: The file, where there is one.
        takes: The paid results it was made of, or of a row that failed those that are owned all the same.
        cost: Credits charged for these; None where the provider does not say.
        spent: Credits that this run was charged, for a row that failed too; None where the provider does not say.
        error: What went wrong, and the mend.
        kind: The error's class.
        exit_code: As in `errors`.
        again: Whether trying again makes sense, where a task failed.
        halt: Why nothing more should be sent, where that is so.
        refusal: A mark of the prompt that input moderation refused.
        refused: The tasks that it refused.
        task: The remote task that came to nothing.

    """

    row: int
    status: Status
    output: str = ""
    takes: tuple[str, ...] = ()
    cost: float | None = None
    spent: float | None = 0.0
    error: str = ""
    kind: str = ""
    exit_code: int = 0
    again: str = ""
    halt: str = ""
    refusal: str = ""
    refused: tuple[str, ...] = ()
    task: str = ""
    warnings: tuple[str, ...] = ()


def jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """Values of vars as a job holds them."""
    return {name: str(value) if isinstance(value, (Path, Fraction)) else value for name, value in values.items()}


def files_of(recipe: Recipe) -> Iterator[Path]:
    """The files that a recipe reads, paths as they are named."""
    for node in recipe.nodes:
        for one in (*node.inputs, node.file, getattr(node.step, "font", None)):
            if isinstance(one, Path):
                yield one
            elif isinstance(one, str):
                yield recipe.files.find(one)
        if isinstance(node.step, VideoToVideo):
            stills = [*node.step.references, *(one.picture for one in node.step.keyframes)]
            for still in stills:
                if not str(still).startswith("https://"):
                    yield still if isinstance(still, Path) else recipe.files.find(still)


class Hashes:
    """Content hashes of files, each read once as long as it stays as it is."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], str] = {}

    def of(self, path: Path) -> str:
        """SHA-256 of the file's bytes.

        Raises:
            SourceError: It cannot be read.

        """
        try:
            found = path.stat()
        except OSError:
            return file_hash(path)  # which says what is wrong
        key = (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            self._known[key] = file_hash(path)
        return self._known[key]


def fingerprint(source: Source, values: dict[str, Any], recipe: Recipe, hashes: Hashes) -> str:
    """Of all that a row's result is made from: the template, the values, every file's content; not their names."""
    files = (name for name, value in values.items() if isinstance(value, Path) or is_remote(value))
    plain = jsonable({name: value for name, value in values.items() if name not in set(files)})
    content = [hashes.of(path) for path in files_of(recipe)]
    told = {"format": FORMAT, "template": source.digest, "values": plain, "files": content}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
