"""Where a run writes: a work folder of its own, and a name beside the output. Both bear the run's token.

So what a dead run left can be told from what a live one needs, and goes with the next run.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import OutputError
from ..media.shapes import Frames
from ..settings import Settings

Needed = Callable[[str], bool]
"""Whether files that bear this token may still be needed."""

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm")
RUN = "[0-9a-f]{24}"
"""A run's token."""
LONGEST = 180
"""Bytes of an output's name that are in the name beside it, which may have 255 in all."""


@contextlib.contextmanager
def workshop(settings: Settings, token: str, needed: Needed) -> Iterator[Path]:
    """A folder for the run's own files, gone when it ends.

    Raises:
        OutputError: The data folder cannot be written.

    """
    root = settings.data_dir / "work"
    folder = root / token
    sweep(root, needed)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"The data folder {settings.data_dir} cannot be written ({error.strerror})", "Set RUNWAY_NODE_DATA_DIR"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(root: Path, needed: Needed) -> list[Path]:
    """Work folders that no live run needs; one is named by its run's token, or by that and more."""
    folders = list(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if not needed(folder.name.partition("-")[0])]


def sweep(root: Path, needed: Needed) -> None:
    """Remove them."""
    for folder in abandoned(root, needed):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def beside(out: Path, token: str, needed: Needed) -> Iterator[Path]:
    """A name in the output's folder that is gone afterwards, unless it was moved; so are those of dead runs."""
    stem = out.stem.encode()[:LONGEST].decode(errors="ignore")
    for old in out.parent.glob(f".*-runway{out.suffix}"):
        match = re.fullmatch(rf"{re.escape(f'.{stem}-')}({RUN})-runway", old.stem)
        if match and match[1] != token and not needed(match[1]):
            with contextlib.suppress(OSError):
                old.unlink(missing_ok=True)
    part = out.with_name(f".{stem}-{token}-runway{out.suffix}")
    try:
        part.touch()
        yield part
    finally:
        part.unlink(missing_ok=True)


def check_output(out: Path, source: Path | Frames, settings: Settings, token: str, needed: Needed) -> None:
    """Refuse an output that could not be written, or would not be safe, before anything is paid.

    Raises:
        OutputError: It has no container's ending, is the source, lies where paid takes are kept, or its folder cannot
            be written.

    """
    if not _may_lie_at(out.absolute().resolve(), settings.data_dir.absolute().resolve(), needed):
        raise OutputError(f"{out} lies in the data folder, where paid takes are kept", "Choose another folder")
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out.name} has no ending that says a container", f"Use one of {', '.join(SUFFIXES)}")
    if isinstance(source, Path) and out.exists() and source.exists() and out.samefile(source):
        raise OutputError(f"{out} is the clip itself", "Choose another output")
    if out.exists() and not out.is_file():
        raise OutputError(f"{out} is not a file", "Choose another output")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with beside(out, token, needed):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{out} cannot be written ({why})", "Choose another name or folder") from error


def _may_lie_at(out: Path, data: Path, needed: Needed) -> bool:
    """Whether a file there is nobody's in the data folder; in a live run's own workshop it is that run's."""
    if not out.is_relative_to(data):
        return True
    match out.relative_to(data).parts:
        case ("work", token, _, *_):
            return re.fullmatch(RUN, token) is not None and needed(token)
    return False
