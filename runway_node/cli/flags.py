"""The commands' flags, and how their text becomes Step, Policy and times. The values are checked there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from ..errors import WrongUse

if TYPE_CHECKING:
    from ..models import Keyframe, Policy, Step

Source = Annotated[str, typer.Argument(show_default=False, help="The clip: a file, or s3://BUCKET/NAME.")]
Prompt = Annotated[str, typer.Option("--prompt", "-p", help="What the clip should become.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The result, a file or s3://BUCKET/NAME.mp4; its suffix says the container. Unset: in the data folder.",
    ),
]
Start = Annotated[str | None, typer.Option(help="Where to begin: seconds, or hh:mm:ss.mmm.")]
End = Annotated[str | None, typer.Option(help="Where to end: seconds, or hh:mm:ss.mmm.")]
Provider = Annotated[str | None, typer.Option(help="cometapi or runway; unset: the one whose key is set.")]
Model = Annotated[str | None, typer.Option(help="See `runway-node models`; unset: the provider's default.")]
Seed = Annotated[int | None, typer.Option(help="0 to 4294967295; unset: derived from the order.")]
Take = Annotated[int | None, typer.Option(help="Another number is another try at the same step.")]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Your own name for the clip, such as shot-12-v3, in place of its content: the same name with the same "
        "step is the same order, whatever the clip holds. For clips that come out differently each time.",
    ),
]
Reference = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH|URL", help="A still whose style to follow; may be given several times."),
]
KeyframeFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHEN=PATH|URL",
        help='A still for a moment: "0.5s=still.png" or "50%=still.png"; the edit confined to whole seconds: '
        '"2.5s@2-5=still.png". May be given several times.',
    ),
]
Aspect = Annotated[str | None, typer.Option(help="The result's shape, such as \"9:16\"; unset: the clip's.")]
Moderation = Annotated[str | None, typer.Option(help="auto, or low: less strict about public figures.")]
OutputFormat = Annotated[
    str | None, typer.Option(help="mp4; or, at a surcharge, prores or sdr_rec709_10bit: the result is kept as that.")
]
CutAt = Annotated[
    str | None,
    typer.Option(
        metavar="auto|scenes|equal",
        help="Where a clip longer than one call is cut: at a scene cut near by, at scene cuts wherever there are some, "
        "or evenly.",
    ),
]
Overlap = Annotated[
    int | None, typer.Option(metavar="FRAMES", help="Frames that two calls share where no scene cut parts them; 6.")
]
Continuity = Annotated[
    str | None,
    typer.Option(
        metavar="seed|keyframe",
        help="How the look is held over several calls: by one seed, side by side; or each begins with the last picture "
        "of the one before it, one after another (aleph2).",
    ),
]
KeepRest = Annotated[
    bool, typer.Option("--keep-rest", help="Give the whole clip: the range transformed, the rest as it is.")
]
MaxSeconds = Annotated[float | None, typer.Option(help="Paid seconds this run may order; unset: 60.")]
MaxCredits = Annotated[float | None, typer.Option(help="Credits this run may order.")]
MaxCreditsPerDay = Annotated[
    float | None, typer.Option(help="Credits all runs of this account label may order in a UTC day.")
]
Timeout = Annotated[float | None, typer.Option(help="Seconds the task may run, the queue apart; unset: 1800.")]
QueueTimeout = Annotated[float | None, typer.Option(help="Seconds to wait for a slot, then in the queue; unset: 24 h.")]
OnTimeout = Annotated[str | None, typer.Option(help="detach (leave it running and tell its id) or cancel.")]
OnInterrupt = Annotated[str | None, typer.Option(help="What Ctrl-C does to the task: cancel or detach.")]
Delivery = Annotated[str | None, typer.Option(help="How the clip is sent: auto, inline, upload or storage.")]
Conform = Annotated[str | None, typer.Option(help="A wrong length is mended by: trim or retime.")]
Reorder = Annotated[
    bool,
    typer.Option(
        "--reorder",
        help="Order, and pay, again what cannot be had any more: a task that expired, a take that is lost. What is "
        "owned, or under way, is not ordered again.",
    ),
]
ResubmitAmbiguous = Annotated[
    bool,
    typer.Option(
        "--resubmit-ambiguous",
        help="Order again what may have been ordered already (exit code 4), at the risk of paying twice.",
    ),
]
DeleteRemote = Annotated[
    str | None,
    typer.Option(
        metavar="after_stored",
        help="after_stored: delete the provider's copy once the take is checked and on the disk; runway only.",
    ),
]
AllowSdr = Annotated[bool, typer.Option("--allow-sdr", help="Accept a standard-range result for an HDR clip.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON line per event on stdout, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the log and, for an error, the traceback.")]

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([hdw])")
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_WHEN = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>s|%)(?:@(?P<first>\d+)-(?P<last>\d+))?")


def step(given: dict[str, Any]) -> Step:
    """The Step that these flags name."""
    from ..models import Step, build

    values = _set(given, Step.model_fields)
    values["references"] = tuple(picture(text) for text in given.get("reference") or ())
    values["keyframes"] = tuple(keyframe(text) for text in given.get("keyframe") or ())
    return build(Step, **values)


def policy(given: dict[str, Any]) -> Policy:
    """The Policy that these flags name."""
    from ..models import Policy, build

    return build(Policy, **_set(given, Policy.model_fields))


class Span(TypedDict):
    """The range that is transformed."""

    start: Fraction | None
    end: Fraction | None


def span(start: str | None, end: str | None) -> Span:
    """`--start` and `--end` as exact seconds."""
    return {
        "start": None if start is None else moment(start, "--start"),
        "end": None if end is None else moment(end, "--end"),
    }


def _set(given: dict[str, Any], fields: Any) -> dict[str, Any]:
    return {name: given[name] for name in fields if given.get(name) is not None}


def moment(text: str, flag: str) -> Fraction:
    """Seconds from "12.5", "1:02.5" or "00:01:02.500".

    Raises:
        WrongUse: It is none of these.

    """
    match = _CLOCK.fullmatch(text.strip())
    hours, minutes, seconds = match.groups("") if match else ("", "", "")
    if not seconds or (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        raise WrongUse(f"{flag} {text!r} is not a time", "Write seconds, such as 12.5, or hh:mm:ss.mmm")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def age(text: str, flag: str) -> timedelta:
    """How long ago, from "12h", "7d" or "4w".

    Raises:
        WrongUse: It is none of these.

    """
    match = _AGE.fullmatch(text.strip().lower())
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else _no_age(text, flag)
    except OverflowError:
        return _no_age(text, flag)


def _no_age(text: str, flag: str) -> timedelta:
    raise WrongUse(f"{flag} {text!r} is no length of time", "Write hours, days or weeks, such as 12h, 90d or 4w")


def since(text: str, now: datetime) -> datetime:
    """The moment that "2026-11-01", "2026-11-01T18:00" (local time) or "7d" (ago) names.

    Raises:
        WrongUse: It is none of these.

    """
    try:
        if _AGE.fullmatch(text.strip().lower()):
            return now - age(text, "--since")
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise WrongUse(
            f"--since {text!r} is no moment", "Write a day, such as 2026-11-01, or how long ago, such as 7d"
        ) from None


def picture(text: str) -> Path | str:
    """What a person typed for a still: a URL as text, all else a file."""
    return text if "://" in text else Path(text)


def keyframe(text: str) -> Keyframe:
    """A keyframe from "0.5s=still.png", "50%=https://..." or "2.5s@2-5=still.png".

    Raises:
        WrongUse: It is none of these.

    """
    from ..models import Keyframe, build

    when, _, still = text.partition("=")
    match = _WHEN.fullmatch(when.strip())
    if match is None or not still:
        raise WrongUse(
            f"--keyframe {text!r} is not WHEN=PICTURE", "Write 0.5s=still.png, 50%=still.png or 2.5s@2-5=still.png"
        )
    number = float(match["number"])
    at = {"seconds": number} if match["unit"] == "s" else {"at": number / 100}
    within = (int(match["first"]), int(match["last"])) if match["first"] else None
    return build(Keyframe, picture=picture(still), range=within, **at)
