"""Files from outside are opened here only, and only this file starts ffmpeg.

A file named .mp4 may be a playlist that makes ffmpeg read other files or the network, so both ffmpeg and PyAV get a
list of real containers and of protocols; everything else is refused before it is read.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import av.error
import imageio_ffmpeg

from ..errors import Interrupted, MediaError, OutputError, SourceError
from .shapes import Buffer

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,flv,asf,mxf"
PROTOCOLS = "file,pipe"
HEARD_WITHIN = 0.2
"""Seconds after which a stop is heard while ffmpeg works."""


@functools.cache
def ffmpeg_exe() -> str:
    """The ffmpeg that comes with imageio-ffmpeg (or the one its own variable names)."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def source_args(path: Path) -> list[str]:
    """Guarded input arguments for *path*; `file:` keeps a name with a colon or a leading dash a name."""
    return ["-format_whitelist", CONTAINERS, "-protocol_whitelist", PROTOCOLS, "-i", f"file:{path.absolute()}"]


def open_container(path: Path) -> av.container.InputContainer:
    """Open *path* with PyAV, guarded.

    Raises:
        SourceError: It is missing, empty, or not one of the containers.

    """
    if not path.exists():
        raise SourceError(f"There is no file {path.name} at {path}", "Check the path")
    if not path.is_file():
        raise SourceError(f"{path} is not a file", "Give the path of a video file")
    if path.stat().st_size == 0:
        raise SourceError(f"{path.name} is empty", "Give a video file")
    try:
        return av.open(
            f"file:{path.absolute()}",
            options={"format_whitelist": CONTAINERS, "protocol_whitelist": PROTOCOLS},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SourceError(
            f"{path.name} cannot be read as a video ({why})", "It may be cut off, or not a video: try to play it"
        ) from error


def run_ffmpeg(
    args: list[str],
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
    feed: Iterable[Buffer] | None = None,
) -> None:
    """Run one ffmpeg process to its end.

    Args:
        args: Everything after the program's name.
        stop: Ends the process when set.
        on_frame: Called with the number of frames written so far.
        feed: Written to its standard input.

    Raises:
        MediaError: It failed, or the disk is full.
        Interrupted: `stop` was set.

    """
    command = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1", "-y", *args]
    stdin = subprocess.PIPE if feed is not None else subprocess.DEVNULL
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            reader = threading.Thread(target=_read_progress, args=(process, on_frame), daemon=True)
            reader.start()
            if feed is not None:
                _feed(process, feed, stop)
            _wait(process, stop)
            reader.join()
        except BaseException:
            process.kill()
            raise
        errors.seek(0)
        complaint = errors.read()[-4000:].decode("utf-8", "replace")
    if process.returncode != 0:
        raise _failure(complaint)


def _read_progress(process: subprocess.Popen[bytes], on_frame: Callable[[int], None] | None) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        name, _, value = line.strip().partition(b"=")
        if on_frame and name == b"frame" and value.isdigit():
            on_frame(int(value))


def _feed(process: subprocess.Popen[bytes], feed: Iterable[Buffer], stop: threading.Event | None) -> None:
    assert process.stdin is not None
    try:
        for piece in feed:
            if stop and stop.is_set():
                raise Interrupted("Stopped while encoding", "Nothing was sent")
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        # ffmpeg ended first; its own words, read after it, say why.
        with contextlib.suppress(OSError):
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], stop: threading.Event | None) -> None:
    while True:
        try:
            process.wait(HEARD_WITHIN)
        except subprocess.TimeoutExpired:
            if stop and stop.is_set():
                raise Interrupted("Stopped while ffmpeg was at work") from None
        else:
            return


def _failure(complaint: str) -> MediaError:
    if "No space left on device" in complaint:
        return MediaError("The disk is full", "Free some space and run it again")
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    told = next((line for line in lines if "Error" in line or "Invalid" in line), lines[-1] if lines else "no words")
    return MediaError(f"ffmpeg failed: {told[:200]}", "Check that the clip plays from start to end")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside *path* to write to; on success it becomes *path*, whole and synced, else nothing stays.

    Raises:
        OutputError: The folder cannot be written.
        MediaError: The disk is full.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written: {error.strerror}", "Choose another folder") from error
    part = Path(name)
    try:
        yield part
        settle(part, path)
    except OSError as error:
        raise MediaError(
            f"{path.name} cannot be written: {error.strerror}", "Free some space or check the disk"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def settle(part: Path, path: Path, *, new: bool = False) -> None:
    """Make the finished *part* appear at *path* in one step, synced to the disk, with a file's usual mode.

    Raises:
        FileExistsError: `new` was asked for and something is there.

    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    if os.name == "posix":
        part.chmod(0o666 & ~_umask())
    if new:
        _link(part, path)
    part.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(part: Path, path: Path) -> None:
    """A second name for *part*, made only where none is; where the disk has no second names, the look must do."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(path) from None


@functools.cache
def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
