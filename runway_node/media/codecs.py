"""How pictures are kept: one encoder for each quality and container, so that parts of one film can be joined by copy.

ProRes stays ProRes, 10 bits stay 10; all else is H.264, and VP9 in webm.
"""

from __future__ import annotations

from typing import NamedTuple

from .shapes import Fit

FASTSTART = frozenset({".mp4", ".mov", ".m4v"})


class Codec(NamedTuple):
    """One encoder.

    Args:
        name: ffmpeg's name of what it makes.
        args: The encoder and its settings.
        pix_fmts: The pixels it is given, and others that count as kept already.
        part: The ending of a part that is to be joined.

    """

    name: str
    args: tuple[str, ...]
    pix_fmts: tuple[str, ...]
    part: str = ".mp4"


STEADY = "sync-lookahead=0"
"""x264's lookahead in a thread of its own gives other bytes now and then on a busy machine (ffmpeg 9.0.2: 2 in 60)."""

H264 = Codec(
    # Visually lossless beside a lossless conform (VMAF 96.7 of 97.4); a slower preset only saves bytes.
    "h264",
    ("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-bf", "2", "-g", "48", "-x264-params", STEADY),
    ("yuv420p",),
)
H264_444 = H264._replace(pix_fmts=("yuv444p",))
"""4:2:0 in H.264 counts in pairs of pixels; an odd size needs all of them."""

VP9 = Codec(
    "vp9",
    ("-c:v", "libvpx-vp9", "-crf", "18", "-b:v", "0", "-row-mt", "1", "-cpu-used", "4", "-deadline", "good"),
    ("yuv420p",),
    ".webm",
)
VP9_10 = VP9._replace(pix_fmts=("yuv420p10le",))
HEVC_10 = Codec(
    # H.264 in 10 bits is what players and editors rarely take. An open GOP would not survive a joint.
    "hevc",
    ("-c:v", "libx265", "-preset", "veryfast", "-crf", "14", "-tag:v", "hvc1", "-x265-params",
     "log-level=error:open-gop=0:keyint=48:bframes=2:info=0"),
    ("yuv420p10le",),
)  # fmt: skip
HEVC_10_444 = HEVC_10._replace(pix_fmts=("yuv444p10le",))
PRORES = Codec(
    # ProRes 4444, the provider's default profile; ffmpeg reads it as 12 bits, with or without alpha.
    "prores",
    ("-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0"),
    ("yuv444p10le", "yuva444p10le", "yuv444p12le", "yuva444p12le"),
    ".mov",
)
LOSSLESS = Codec("ffv1", ("-c:v", "ffv1", "-level", "3", "-g", "1"), (), ".mkv")
"""For the few frames that two answers share, until they are cross-faded."""

HOLDS_PRORES = frozenset({".mov", ".mkv"})


def codec_for(fit: Fit, suffix: str) -> Codec:
    """What *fit* is encoded with for a file with that ending."""
    if fit.quality == "prores":
        return PRORES
    deep = fit.quality == "sdr_rec709_10bit"
    if suffix == ".webm":
        return VP9_10 if deep else VP9
    odd = fit.width % 2 or fit.height % 2
    if deep:
        return HEVC_10_444 if odd else HEVC_10
    codec = H264_444 if odd else H264
    if fit.sps_id is not None:
        return codec._replace(args=(*codec.args[:-1], f"{STEADY}:sps-id={fit.sps_id}"))
    return codec


def default_suffix(quality: str) -> str:
    """The ending of a result that was not named."""
    return ".mov" if quality == "prores" else ".mp4"
