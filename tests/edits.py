"""Templates written as Python, looked at and rendered at a sandbox; and what is seen and heard of a film."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from runway_node.media.opener import ffmpeg_exe, run_ffmpeg
from runway_node.media.probe import probe
from runway_node.templates import Source, look, render

from .media_clips import X264, ffmpeg

TONE = "sine=frequency={hertz}:sample_rate=48000:duration={seconds},volume={volume},pan=stereo|c0=c0|c1=c0"


class Edits:
    """Renders steps; `Path`s in them are given as vars, as a person gives clips."""

    def __init__(self, served, folder):
        self.served, self.sandbox, self.folder = served, served.sandbox, folder
        self.settings = served.settings("runway")
        (folder / "template").mkdir(exist_ok=True)

    def recipe(self, *steps, **top):
        given = {}

        def named(value):
            if isinstance(value, Path):
                name = next((name for name, path in given.items() if path == value), f"p{len(given)}")
                given[name] = value
                return f"${{{name}}}"
            if isinstance(value, dict):
                return {key: named(one) for key, one in value.items()}
            return [named(one) for one in value] if isinstance(value, list) else value

        made = {"version": 1, "steps": [named(step) for step in steps], **top}
        made["vars"] = {name: {"type": "path"} for name in given}
        return Source(json.dumps(made), self.folder / "template").recipe(given)

    def look(self, *steps, **top):
        return look(self.recipe(*steps, **top), self.settings)

    def __call__(self, *steps, out="film.mp4", how=None, **top):
        """Render, after a look that must tell the same; gives what was rendered."""
        recipe = self.recipe(*steps, **top)
        looked = look(recipe, self.settings)
        rendered = render(recipe, self.folder / out, self.settings, **(how or {}))
        found = probe(rendered.path)
        assert (looked.frames, looked.width, looked.height) == (rendered.frames, found.width, found.height)
        return rendered

    def answer(self, clip):
        """Every order is answered at once with *clip*."""
        self.sandbox.options = self.sandbox.options.model_copy(update={"ready": clip})
        return self


@pytest.fixture(name="edit")
def edit_fixture(runway_sandbox, tmp_path):
    """Renders templates."""
    return Edits(runway_sandbox, tmp_path)


def size(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height


def with_sound(pictures, out, *, hertz=440, volume=0.5, seconds=None, codec=("-c:a", "aac", "-b:a", "256k")):
    """The pictures with a tone."""
    tone = TONE.format(hertz=hertz, seconds=seconds or 60, volume=volume * 8)  # lavfi's sine is an eighth
    both = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", *codec, "-shortest"]
    ffmpeg("-i", pictures, "-f", "lavfi", "-i", tone, *both, out)
    return out


def tone(out, *, hertz=440, seconds=2.0, volume=0.5, rate=48000, channels=2):
    """A file of a tone."""
    source = TONE.format(hertz=hertz, seconds=seconds, volume=volume * 8)
    one = ["-af", "pan=mono|c0=c0"] if int(channels) == 1 else []
    ffmpeg("-f", "lavfi", "-i", source, *one, "-ar", rate, out)
    return out


def plain(out, color, frames, rate="25", picture="320x180", *encoder):
    """A clip of one grey."""
    wide, high = (int(side) for side in picture.split("x"))
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", picture, "-r", rate, "-i", "pipe:0"]
    frame = np.full((high, wide), color, np.uint8).tobytes()
    run_ffmpeg([*raw, *(encoder or X264), str(out)], feed=(frame for _ in range(frames)))
    return out


def pictures(path):
    """Every frame as RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def heard(path, track=0, rate=48000):
    """A sound track's samples, in time: moments x 2."""
    decode = ["-map", f"0:a:{track}", "-af", f"aresample={rate}:async=1:first_pts=0", "-ac", "2", "-f", "f32le", "-"]
    raw = subprocess.run(
        [ffmpeg_exe(), "-loglevel", "error", "-i", str(path), *decode], capture_output=True, check=True
    ).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, 2)


def level(samples, start, end, rate=48000):
    """The RMS between two moments."""
    part = samples[round(start * rate) : round(end * rate)]
    return float(np.sqrt((part.astype(np.float64) ** 2).mean()))


def pitch(samples, start, end, rate=48000):
    """The loudest frequency between two moments."""
    part = samples[round(start * rate) : round(end * rate), 0]
    return float(np.abs(np.fft.rfft(part * np.hanning(len(part)))).argmax() * rate / len(part))


def loudness(path):
    """LUFS, by ffmpeg's ebur128."""
    told = subprocess.run(
        [ffmpeg_exe(), "-nostats", "-i", str(path), "-map", "0:a:0", "-af", "ebur128", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", told)[-1])


def sounds(path):
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams.audio]


def packets(path):
    """The video packets, as they are in the file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]





def packets_of_sound(path):
    """The packets of the first sound track, as they are in the file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
