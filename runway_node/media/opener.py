"""Files from outside are opened here only, and only this file starts ffmpeg.

A file named .mp4 may be a playlist that makes ffmpeg read other files or the network, so both ffmpeg and PyAV get a
list of real containers and of protocols; everything else is refused before it is read.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import imageio_ffmpeg

from ..errors import Interrupted, MediaError, OutputError, SourceError
from .shapes import Buffer

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,flv,asf,mxf"
SOUNDS = "wav,w64,mp3,aac,flac,ac3,eac3,aiff,caf"
"""Containers of sound alone, taken where sound is all that is wanted."""
PROTOCOLS = "file,pipe"
# Titles in an old encoding are no reason to refuse a clip; PyAV 19 takes them anyhow and has no such argument.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
_GUARD = {"format_whitelist": CONTAINERS, "protocol_whitelist": PROTOCOLS}
_UNSEEN = {"skip_frame": "all"}
_HEARD = {"format_whitelist": f"{CONTAINERS},{SOUNDS}"}
HEARD_WITHIN = 0.2
"""Seconds after which a stop is heard while ffmpeg works."""


@functools.cache
def ffmpeg_exe() -> str:
    """The ffmpeg that comes with imageio-ffmpeg (or the one its own variable names)."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def source_args(path: Path, *, sound: bool = False) -> list[str]:
    """Guarded input arguments for *path*; `file:` keeps a name with a colon or a leading dash a name."""
    containers = f"{CONTAINERS},{SOUNDS}" if sound else CONTAINERS
    return ["-format_whitelist", containers, "-protocol_whitelist", PROTOCOLS, "-i", f"file:{path.absolute()}"]


def open_container(path: Path, *, packets_only: bool = False, sound: bool = False) -> av.container.InputContainer:
    """Open *path* with PyAV, guarded.

    Args:
        packets_only: Nothing is decoded to know more of the streams, which takes a fourth of the time.
        sound: Files of sound alone will do.

    Raises:
        SourceError: It is missing, empty, or not one of the containers.

    """
    if not path.exists():
        raise SourceError(f"There is no file {path}", "Check the path")
    if not path.is_file():
        raise SourceError(f"{path} is not a file", "Give the path of a video file")
    if path.stat().st_size == 0:
        raise SourceError(f"{path.name} is empty", "Give a video file")
    try:
        opened: av.container.InputContainer = av.open(
            f"file:{path.absolute()}",
            options={**_GUARD, **(_UNSEEN if packets_only else {}), **(_HEARD if sound else {})},
            **_LENIENT,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        kind = "sound" if sound else "a video"
        raise SourceError(
            f"{path.name} cannot be read as {kind} ({why})", f"It may be cut off, or not {kind}: try to play it"
        ) from error
    return opened


def run_ffmpeg(
    args: list[str],
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[int], None] | None = None,
    feed: Iterable[Buffer] | None = None,
    folder: str | None = None,
    words: list[str] | None = None,
) -> int:
    """Run one ffmpeg process to its end.

    Args:
        args: Everything after the program's name.
        stop: Ends the process when set.
        on_frame: Called with the number of frames written so far, in the caller's thread; what it raises ends the work.
        feed: Written to its standard input.
        folder: Where it runs: names within filters are taken from there.
        words: Is given the lines that it says, those of the filters' findings too.

    Returns:
        How many frames it wrote.

    Raises:
        MediaError: It failed, or the disk is full.
        Interrupted: `stop` was set.

    """
    level = "error" if words is None else "info"
    command = [ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", level, "-nostats", "-progress", "pipe:1", "-y"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*command, *args],
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            # A Ctrl-C in the terminal is for us to hear and to answer, not for ffmpeg.
            process_group=0 if os.name == "posix" else None,
            creationflags=_APART,
        ) as process,
    ):
        work = _Work(process, stop, on_frame)
        try:
            if feed is not None:
                work.feed(feed)
            work.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            closed(feed)
        errors.seek(0)
        complaint = errors.read()[-4000:].decode("utf-8", "replace")
    if process.returncode != 0:
        work.heed()
        raise _failure(complaint, args)
    if words is not None:
        words += complaint.splitlines()
    return work.frames


_APART: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)


def closed(feed: object) -> None:
    """End a generator now: what it holds (a lock, a reader) must not wait for a traceback to be forgotten."""
    close = getattr(feed, "close", None)
    if callable(close):
        close()


class _Work:
    """One process at work: its progress is read and a stop heard beside it, the caller is told in its own thread."""

    def __init__(
        self, process: subprocess.Popen[bytes], stop: threading.Event | None, on_frame: Callable[[int], None] | None
    ) -> None:
        self._process = process
        self._stop = stop
        self._on_frame = on_frame
        self.frames = self._told = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if stop is not None:
            threading.Thread(target=self._watch, args=(stop,), daemon=True).start()

    def feed(self, pieces: Iterable[Buffer]) -> None:
        assert self._process.stdin is not None
        try:
            for piece in pieces:
                self.heed()
                self._process.stdin.write(piece)
                self._tell()
            self._process.stdin.close()
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and error.errno != errno.EINVAL:  # Windows says EINVAL
                raise
            # ffmpeg ended first: because it had enough, or its own words, read after it, say why.
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def wait(self) -> None:
        while self._reader.is_alive():
            self._reader.join(HEARD_WITHIN / 2)
            self.heed()
            self._tell()
        self._tell()  # it may have ended before anybody looked
        self._process.wait()

    def heed(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Interrupted("Stopped while ffmpeg was at work")

    def _tell(self) -> None:
        if self._on_frame is not None and self.frames > self._told:
            self._told = self.frames
            self._on_frame(self._told)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, _, value = line.strip().partition(b"=")
            if name == b"frame" and value.isdigit():
                self.frames = int(value)

    def _watch(self, stop: threading.Event) -> None:
        # A write to a full pipe hears nothing: end the process under it.
        while self._process.poll() is None:
            if stop.wait(HEARD_WITHIN / 2):
                self._process.kill()
                return


def _failure(complaint: str, args: list[str]) -> MediaError:
    if "No space left on device" in complaint:
        return MediaError(f"The disk is full at {Path(args[-1]).parent}", "Free some space and run it again")
    lines = [_PREFIX.sub("", line).strip() for line in complaint.splitlines()]
    lines = [line for line in lines if line and line != "Conversion failed!"]
    told = next((line for line in lines if "Error" in line or "Invalid" in line), lines[-1] if lines else "no words")
    return MediaError(f"ffmpeg failed: {told[:200]}", "Check that the clip plays from start to end")


_PREFIX = re.compile(r"^(\[[^\]]* @ 0x[0-9a-f]+\] ?)+")


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
