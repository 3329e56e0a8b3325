"""What a prompt looks like: words and a seed become an ffmpeg filter chain. Pure; nothing here runs ffmpeg.

A look recolours and redraws each frame on its own: motion, timing and order are the clip's. `{name}` in a chain is a
parameter that the seed moves between two bounds.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from .clips import Colour


class Look(NamedTuple):
    """One look.

    Args:
        name: What it is called.
        words: Prompt words that ask for it.
        chain: The filters, with `{a}`, `{b}`, `{c}` where the seed decides.
        bounds: Least and most for a, b and c.

    """

    name: str
    words: tuple[str, ...]
    chain: str
    bounds: tuple[tuple[float, float], ...] = ()


LOOKS: tuple[Look, ...] = (
    Look(
        "dusk",
        ("dusk", "sunset", "evening", "golden hour", "twilight", "dawn"),
        "eq=brightness=-{a}:contrast=1.12:saturation=1.15,"
        "curves=r='0/0.02 0.5/0.55 1/1':g='0/0 0.5/0.40 1/0.86':b='0/0.12 0.5/0.40 1/0.66',"
        "colorbalance=rs={b}:bs=0.18:rh=0.16:bh=-{c},vignette=angle=0.5",
        ((0.03, 0.09), (0.02, 0.10), (0.10, 0.24)),
    ),
    Look(
        "night",
        ("night", "midnight", "moonlight", "moonlit", "dark", "stars"),
        "curves=all='0/0 0.4/{a} 0.75/0.48 1/0.92',hue=s=0.55,"
        "colorchannelmixer=rr=0.55:rb=0.10:gg=0.78:gb=0.10:bb=1.15:br={b},vignette=angle=0.65",
        ((0.18, 0.24), (0.06, 0.16)),
    ),
    Look(
        "snow",
        ("snow", "snowy", "winter", "frost", "frozen", "ice", "blizzard"),
        "colorchannelmixer=rr=0.45:rg=0.45:rb=0.10:gr=0.20:gg=0.65:gb=0.15:br=0.12:bg=0.35:bb=0.55,"
        "hue=s={a},curves=r='0/0.03 0.45/0.58 1/0.98':g='0/0.05 0.45/0.64 1/1':b='0/0.10 0.45/0.72 1/1',"
        "eq=contrast=1.08:brightness={b}",
        ((0.35, 0.55), (0.0, 0.05)),
    ),
    Look(
        "noir",
        ("noir", "black and white", "monochrome", "b&w", "film noir", "grayscale"),
        "hue=s=0,curves=all='0/0 0.3/{a} 0.65/0.74 1/1',vignette=angle={b},noise=alls=7:allf=t:all_seed=7",
        ((0.12, 0.20), (0.5, 0.75)),
    ),
    Look(
        "sepia",
        ("sepia", "vintage", "70s", "1970s", "old film", "retro", "nostalgic"),
        "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131,"
        "curves=all='0/{a} 0.5/0.50 1/0.92',noise=alls=9:allf=t:all_seed=70,vignette=angle={b}",
        ((0.05, 0.11), (0.45, 0.65)),
    ),
    Look(
        "neon",
        ("neon", "cyberpunk", "futuristic", "synthwave", "blade runner"),
        "curves=r='0/0.05 0.5/0.42 1/1':g='0/0 0.5/0.26 1/0.80':b='0/0.16 0.5/0.52 1/1',"
        "hue=h={a}:s=1.7,colorbalance=rs=0.15:bs=0.35:gs=-0.12:rh={b}:bh={c},vignette=angle=0.5",
        ((-38, -18), (0.05, 0.25), (0.10, 0.30)),
    ),
    Look(
        "autumn",
        ("autumn", "fall", "october", "leaves", "harvest"),
        "colorchannelmixer=rr=0.62:rg={a}:rb=-0.05:gr=0.20:gg=0.58:gb=0.02:br=0.05:bg=0.06:bb=0.62,"
        "eq=saturation={b}:contrast=1.06:gamma_r=1.06",
        ((0.48, 0.62), (1.15, 1.45)),
    ),
    Look(
        "underwater",
        ("underwater", "ocean", "under the sea", "submerged", "aquarium"),
        "colorchannelmixer=rr=0.22:rg=0.12:gr=0.05:gg=0.78:gb=0.12:br=0.05:bg=0.30:bb=0.80,"
        "gblur=sigma={a},curves=all='0/0.05 0.5/0.46 1/0.88',eq=saturation={b},vignette=angle=0.55",
        ((0.8, 1.6), (1.0, 1.3)),
    ),
    Look(
        "cartoon",
        ("cartoon", "comic", "drawing", "drawn", "anime", "animation", "illustration", "sketch", "watercolor"),
        "split[c0][c1];[c0]smartblur=lr=4:ls=0.9:lt=12,eq=saturation={a}:contrast=1.08,format=gbrp,"
        "lutrgb=r='floor(val/{b})*{b}+{b}/2':g='floor(val/{b})*{b}+{b}/2':b='floor(val/{b})*{b}+{b}/2'[c2];"
        "[c1]format=gray,edgedetect=low=0.08:high=0.2,negate,format=gbrp[c3];[c2][c3]blend=all_mode=multiply",
        ((1.3, 1.6), (22, 32)),
    ),
    Look(
        "dream",
        ("dream", "dreamy", "ethereal", "fairy", "magical", "soft", "fantasy"),
        "format=gbrp,split[d0][d1];[d1]gblur=sigma={a}:steps=2[d2];[d0][d2]blend=all_mode=screen:all_opacity={b},"
        "colorbalance=rm=0.10:bm=0.14:gm=-0.05,eq=saturation=1.1:brightness={c}",
        ((8, 14), (0.55, 0.75), (-0.06, 0.0)),
    ),
)

_COLOURS: dict[str, Colour] = {
    "red": Colour(214, 36, 36),
    "crimson": Colour(176, 20, 50),
    "orange": Colour(240, 130, 30),
    "yellow": Colour(240, 210, 40),
    "gold": Colour(222, 174, 60),
    "golden": Colour(222, 174, 60),
    "green": Colour(50, 170, 70),
    "teal": Colour(30, 160, 160),
    "turquoise": Colour(50, 200, 195),
    "blue": Colour(40, 90, 220),
    "purple": Colour(140, 60, 200),
    "violet": Colour(140, 60, 200),
    "pink": Colour(240, 110, 180),
}


class Treatment(NamedTuple):
    """What will be done: the look's name and its filters."""

    name: str
    chain: str


def _has(prompt: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt) is not None


def _shares(seed: int, count: int) -> list[float]:
    """*count* numbers from 0 to 1 that the seed decides, the same on every machine."""
    digest = hashlib.sha256(f"look {seed}".encode()).digest()
    return [digest[index] / 255 for index in range(count)]


def _fill(look: Look, seed: int) -> str:
    chain = look.chain
    names = "abc"[: len(look.bounds)]
    for name, (least, most), share in zip(names, look.bounds, _shares(seed, len(look.bounds)), strict=True):
        chain = chain.replace(f"{{{name}}}", f"{least + (most - least) * share:.4f}")
    return chain


def tint(colour: Colour, strength: float, enable: str = "") -> str:
    """A filter that pulls every pixel towards *colour*, keeping light and shade; *strength* 0 to 1."""
    parts = []
    for channel, part in zip("rgb", colour, strict=True):
        share = part / 255
        factor = 1 - strength + strength * (0.35 + share)
        parts.append(f"{channel}='clip(val*{factor:.4f}+{strength * 0.22 * part:.2f},0,255)'")
    when = f":enable='{enable}'" if enable else ""
    return f"lutrgb={':'.join(parts)}{when}"


def choose(prompt: str, seed: int) -> Treatment:
    """The treatment *prompt* asks for by its words, else one that its hash decides; *seed* moves its parameters."""
    text = prompt.casefold()
    asked = [look for look in LOOKS if any(_has(text, word) for word in look.words)]
    colours = [name for name in _COLOURS if _has(text, name)]
    wash = tint(_COLOURS[colours[0]], 0.45 + 0.15 * _shares(seed, 1)[0]) if colours else ""
    if asked:
        chain = ",".join(part for part in (_fill(asked[0], seed), wash) if part)
        return Treatment(asked[0].name, chain)
    if colours:
        return Treatment(colours[0], f"eq=contrast=1.08:saturation=1.2,{wash}")
    index = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    look = LOOKS[index % len(LOOKS)]
    return Treatment(look.name, _fill(look, seed))
