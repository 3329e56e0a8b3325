"""One process, one file: what stops it, what it says, and that nothing partial stays."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from runway_node.errors import Interrupted, MediaError
from runway_node.media.opener import _failure, run_ffmpeg, whole

ENDLESS = ["-f", "lavfi", "-i", "testsrc2=s=640x360", "-c:v", "libx264", "-preset", "slow"]
FED = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64", "-i", "pipe:0"]


class Pressed(Exception):
    """What a host raises to stop its step."""


def pressed(_frames: int) -> None:
    raise Pressed


def test_listener_stops_it(tmp_path):
    """What the listener raises ends the process and reaches the caller, in the caller's own thread."""
    with pytest.raises(Pressed), whole(tmp_path / "clip.mp4") as part:
        run_ffmpeg([*ENDLESS, str(part)], on_frame=pressed)
    assert not list(tmp_path.iterdir())


def test_listener_stops_a_feed(tmp_path):
    """The same while frames are being fed."""
    endless = iter(lambda: bytes(64 * 64 * 3), None)
    with pytest.raises(Pressed), whole(tmp_path / "clip.mp4") as part:
        run_ffmpeg([*FED, str(part)], on_frame=pressed, feed=endless)
    assert not list(tmp_path.iterdir())


def test_feed_fails(tmp_path):
    """What the frames' source raises ends the process and reaches the caller."""

    def feed():
        yield bytes(64 * 64 * 3)
        raise Pressed

    with pytest.raises(Pressed), whole(tmp_path / "clip.mp4") as part:
        run_ffmpeg([*FED, str(part)], feed=feed())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fed", [False, True])
def test_stop_is_heard(tmp_path, fed):
    """A stop is heard within a fraction of a second, also while ffmpeg is slower than the frames that feed it."""
    stop, large = threading.Event(), bytes(3840 * 2160 * 3)
    args = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "3840x2160", "-i", "pipe:0", "-preset", "placebo"]
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted), whole(tmp_path / "clip.mp4") as part:
        run_ffmpeg([*(args if fed else ENDLESS), str(part)], stop=stop, feed=iter(lambda: large, None) if fed else None)
    assert time.monotonic() - begun < 0.5 + 0.2 + 0.3  # the last is the machine's
    assert not list(tmp_path.iterdir())


def test_frames_are_told(tmp_path):
    """The listener hears rising counts, the last of them all."""
    told: list[int] = []
    run_ffmpeg([*ENDLESS, "-frames:v", "40", str(tmp_path / "clip.mp4")], on_frame=told.append)
    assert told == sorted(told)
    assert told[-1] == 40


def test_failure_is_one_line(tmp_path):
    """The words of ffmpeg reach the error without its addresses."""
    with pytest.raises(MediaError) as caught:
        run_ffmpeg(["-f", "lavfi", "-i", "testsrc2", "-c:v", "no_such", str(tmp_path / "clip.mp4")])
    assert caught.value.what.startswith("ffmpeg failed: ")
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_full_disk_says_where():
    """A full disk is told as one, with its folder."""
    told = _failure("av_interleaved_write_frame(): No space left on device\nConversion failed!", ["out/clip.mp4"])
    assert str(told).startswith(f"The disk is full at {Path('out')}")


def test_whole_or_nothing(tmp_path):
    """An output appears at once; a failure leaves what was there before."""
    path = tmp_path / "clip.mp4"
    with whole(path) as part:
        part.write_bytes(b"first")
        assert not path.exists()
        assert part.parent == path.parent
    with pytest.raises(Pressed), whole(path):
        raise Pressed
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_what_ended_before_anybody_looked_is_counted(monkeypatch):
    """A process may be over before its caller comes to wait for it; its frames are told all the same."""
    from runway_node.media import opener

    honest = opener._Work.wait

    def late(work):
        work._reader.join()
        honest(work)

    monkeypatch.setattr(opener._Work, "wait", late)
    told = []
    source = ["-f", "lavfi", "-i", "color=size=16x16:rate=10:duration=1"]
    assert opener.run_ffmpeg([*source, "-f", "null", "-"], on_frame=told.append) == 10
    assert told == [10]
