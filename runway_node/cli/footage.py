"""Clips for trying things out: a small one made from nothing, the start of a person's own, before and after in one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ..media.opener import run_ffmpeg, source_args, whole

SIZE = (640, 360)
FPS = 25

_QUICK = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
_SOUND = ["-c:a", "aac", "-b:a", "160k"]

# A road below hills, a sun and a car; every layer is drawn once and then only moved.
_LAYERS = (
    ("0xffe9a8", "90x90", "255*lt(hypot(X-45,Y-45),40)", "'430+8*t'", "'40+4*t'"),
    ("0x86a9a0", "1600x360", "255*gt(Y,190+26*sin(X/95)+14*sin(X/37))", "'-14*t'", "0"),
    ("0x5f9160", "1600x360", "255*gt(Y,232+20*sin(X/70+1)+8*sin(X/23))", "'-42*t'", "0"),
    ("0x6b6a70", "640x70", "255", "0", "290"),
    ("0xeeeadd", "1600x6", "255*lt(mod(X,80),44)", "'-150*t'", "322"),
    ("0xc8312b", "120x40", "255*max(gt(Y,18)*lt(Y,34)*gt(X,4)*lt(X,116),gt(Y,2)*lt(Y,20)*gt(X,30)*lt(X,86))",
     "'130+46*t'", "'266+1.2*sin(9*t)'"),
    ("0x22232a", "120x24", "255*lt(min(hypot(X-28,Y-12),hypot(X-92,Y-12)),11)", "'130+46*t'", "292"),
)  # fmt: skip
_CHORD = (220.0, 277.18, 329.63, 440.0)


def _scene(seconds: Fraction) -> str:
    """The picture as an ffmpeg filter graph whose end is [v]."""
    width, height = SIZE
    last = float(seconds)
    down = "n=2:c0=0x6fb4e8:c1=0xfbe6c9:x0=0:y0=0:x1=0:y1=300:speed=0.00001"
    parts = [f"gradients=s={width}x{height}:r={FPS}:d={last}:{down},format=rgb24[b0]"]
    for index, (colour, size, alpha, x, y) in enumerate(_LAYERS):
        drawn = f"color={colour}:s={size}:r={FPS}:d=0.04,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='{alpha}'"
        parts.append(f"{drawn},loop=-1:1[l{index}]")
        parts.append(f"[b{index}][l{index}]overlay=x={x}:y={y}:shortest=1:format=rgb[b{index + 1}]")
    return ";".join([*parts, f"[b{len(_LAYERS)}]trim=duration={last}[v]"])


def make_clip(path: Path, seconds: Fraction = Fraction(4)) -> None:
    """Write a small moving clip with picture and sound to *path*."""
    last = float(seconds)
    tones = "+".join(f"0.09*sin(2*PI*{hertz}*t)*(0.7+0.3*sin(2*PI*t*{0.5 + n / 4}))" for n, hertz in enumerate(_CHORD))
    sound = f"aevalsrc='{tones}':s=48000:d={last},afade=in:d=0.3,afade=out:st={last - 0.5}:d=0.5[a]"
    with whole(path) as part:
        run_ffmpeg([
            "-filter_complex", f"{_scene(seconds)};{sound}", "-map", "[v]", "-map", "[a]",
            *_QUICK, *_SOUND, "-t", str(last), str(part),
        ])  # fmt: skip


def first_seconds(source: Path, path: Path, seconds: Fraction) -> None:
    """Write the first *seconds* of *source*, picture and sound, to *path*."""
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2,setsar=1"
    with whole(path) as part:
        run_ffmpeg([
            *source_args(source), "-map", "0:v:0", "-map", "0:a:0?", "-t", str(float(seconds)),
            "-vf", even, *_QUICK, *_SOUND, str(part),
        ])  # fmt: skip


def side_by_side(before: Path, after: Path, path: Path) -> None:
    """Write *before* and *after* beside each other, with the sound, to *path*."""
    with whole(path) as part:
        run_ffmpeg([
            *source_args(before), *source_args(after), "-filter_complex",
            "[0:v]setsar=1,format=yuv420p[l];[1:v]setsar=1,format=yuv420p[r];[l][r]hstack=shortest=1[v]",
            "-map", "[v]", "-map", "1:a:0?", *_QUICK, *_SOUND, str(part),
        ])  # fmt: skip
