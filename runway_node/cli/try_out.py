"""`sandbox` and `demo`: a local Runway, and the whole main job on it. No key, no network, no charge."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import WrongUse
from . import flags
from .output import Show, reporting

if TYPE_CHECKING:
    from ..models import Result
    from ..sandbox import Fault, Served
    from ..settings import Settings

FOLDER = "runway-node-demo"
PROMPT = "the same road at dusk, warm low light"
LONGEST = Fraction(10)
"""A demo shows enough in 10 seconds; more is more waiting."""

_NEXT = """
With a key of yours in COMETAPI_KEY or RUNWAYML_API_SECRET, the same for real:
  runway-node plan CLIP -p "..."            what it would do and cost; sends nothing
  runway-node run CLIP -p "..." -o OUT.mp4"""


def sandbox(
    port: Annotated[int, typer.Option(help="0: a free one.")] = 0,
    shape: Annotated[str, typer.Option(help="How CometAPI tells a task: bare or wrapped.")] = "bare",
    seconds_per_task: Annotated[float, typer.Option(help="How long a task runs at least.")] = 3.0,
    queue_seconds: Annotated[float, typer.Option(help="How long a task is queued.")] = 1.0,
    not_exist_seconds: Annotated[float, typer.Option(help="How long CometAPI does not know a new task.")] = 0.0,
    credits: Annotated[int, typer.Option(help="What each account starts with.")] = 100_000,
    concurrency: Annotated[int, typer.Option(help="Tasks of one account that run at once.")] = 5,
    daily: Annotated[int | None, typer.Option(help="Orders in 24 hours; unset: no limit.")] = None,
    link_seconds: Annotated[float, typer.Option(help="How long a link to a result works.")] = 86400.0,
    length_error: Annotated[int, typer.Option(help="Frames too many or too few in every answer.")] = 0,
    fetch_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="An origin that clips by URL are fetched from, such as http://127.0.0.1:8000."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="JSON", help='What goes wrong, such as {"where": "poll", "kind": "stall", "seconds": 9}.'),
    ] = None,
    json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Serve a local Runway that plays both providers, until Ctrl-C."""
    given = locals()
    with reporting(json=json, debug=debug) as show:
        from ..sandbox import serve

        options = {name: value for name, value in given.items() if name not in {"port", "fault", "json", "debug"}}
        options["fetch_from"] = fetch_from or ()
        faults = [_fault(text) for text in fault or ()]
        with contextlib.suppress(KeyboardInterrupt), serve(port=port, faults=faults, **options) as served:
            _tell_where(show, served)
            while True:
                # Not Event.wait(): on Windows Ctrl-C does not end that.
                time.sleep(0.5)
        show.note("The sandbox has ended")


def _fault(text: str) -> Fault:
    from ..models import build
    from ..sandbox import Faults

    try:
        values = jsonlib.loads(text)
    except ValueError as error:
        raise WrongUse(f"--fault {text!r} is not JSON: {error}", 'Write {"where": ..., "kind": ...}') from None
    if not isinstance(values, dict):
        raise WrongUse(f"--fault {text!r} is not a JSON object", 'Write {"where": ..., "kind": ...}')
    return build(Faults, faults=(values,)).faults[0]


def _tell_where(show: Show, served: Served) -> None:
    from ..settings import KEY_VARIABLES

    if show.json:
        show.line({"phase": "serving", "url": served.url, "env": {name: served.env(name) for name in KEY_VARIABLES}})
    show.say(f"A local Runway at {served.url}; Ctrl-C ends it. In another shell, for one of the two providers:")
    form = '$env:{}="{}"' if os.name == "nt" else "export {}={}"
    for provider in KEY_VARIABLES:
        show.say(f"\n# {provider}")
        for name, value in served.env(provider).items():
            show.say(form.format(name, value))


def demo(
    clip: Annotated[Path | None, typer.Argument(show_default=False, help="Your own clip; unset: a made one.")] = None,
    prompt: flags.Prompt = PROMPT,
    json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Show the whole of it on this machine: no key, no network, no charge."""
    with reporting(json=json, debug=debug) as show:
        from ..sandbox import serve

        folder = Path(FOLDER).absolute()
        before, after, both = folder / "before.mp4", folder / "result.mp4", folder / "side-by-side.mp4"
        _input(show, clip, before)
        show.note("A local Runway plays the provider: its look is ffmpeg's, only the way there is the real one")
        with serve(queue_seconds=1.0, seconds_per_task=4.0) as served:
            result = _run(show, before, after, prompt, _settings(served, folder / "data"))
        from .footage import side_by_side

        side_by_side(before, after, both)
        show.result({**result.model_dump(mode="json"), "before": str(before), "side_by_side": str(both)})
        show.warnings(result.warnings)
        for name, path in (("before", before), ("after", after), ("both", both)):
            show.say(f"{name:<7} {path}")
        show.say(_NEXT)


def _input(show: Show, clip: Path | None, before: Path) -> None:
    """The clip that the demo transforms, at *before*."""
    from .footage import first_seconds, make_clip

    if clip is None:
        show.note("Making a clip of 4 seconds with picture and sound")
        make_clip(before)
        return
    from ..media.probe import probe

    found = probe(clip)
    if found.duration > LONGEST:
        show.note(f"Only the first {float(LONGEST):g} of the clip's {float(found.duration):.1f} seconds are used")
    first_seconds(clip, before, min(found.duration, LONGEST))


def _settings(served: Served, data_dir: Path) -> Settings:
    """Settings of the demo's own: this person's keys, environment and settings file are not read."""
    from pydantic import SecretStr

    from ..settings import Settings

    key, url = served.env("runway").values()
    values: dict[str, Any] = {"runway_key": SecretStr(key), "runway_base_url": url, "provider": "runway"}
    return Settings.model_construct(**values, data_dir=data_dir, poll_interval=0.5)


def _run(show: Show, before: Path, after: Path, prompt: str, settings: Settings) -> Result:
    from ..engine import Stop, run
    from ..models import Step, build
    from .order import detach_on_term

    stop = Stop()
    with detach_on_term(stop):
        # A key of its own: another demo is another order, and shows the whole way again.
        step = build(Step, prompt=prompt, provider="runway", key=f"demo {time.time_ns()}")
        return run(before, step, after, settings=settings, stop=stop, on_progress=show.event, force=True)
