"""`doctor --spend`: one smallest real order, and a report of it that holds no key, no link and no home folder."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import RunwayNodeError
from .output import Show

if TYPE_CHECKING:
    from ..models import Event, Result, Step
    from ..planning import Plan
    from ..settings import Settings

REPORT = "runway-node-report.json"
SECONDS = Fraction(2)
PROMPT = "the same road at dusk, warm low light"


def order_one(show: Show, settings: Settings, versions: dict[str, Any], *, sure: bool) -> None:
    """Show the price, ask, order, and write the report whatever comes of it."""
    from ..engine import plan as look_ahead
    from ..models import Step
    from .footage import make_clip

    # A key of its own: asked for a second time, it is a second order, not the first one's take.
    step = Step(prompt=PROMPT, provider=settings.choose_provider(), key=f"doctor {datetime.now(UTC).isoformat()}")
    with tempfile.TemporaryDirectory(prefix="runway-node-") as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, SECONDS)
        plan = look_ahead(clip, step, settings=settings)
        _ask(show, plan, sure=sure)
        report = Report(settings, versions)
        try:
            result = _order(show, clip, step, plan, settings, report)
        except (RunwayNodeError, KeyboardInterrupt) as error:
            report.failed(error)
            raise
        finally:
            report.write(Path(REPORT))
            show.note(f"Report: {Path(REPORT).absolute()} (no key and no link in it: fit to attach to a bug)")
    show.result({"report": str(Path(REPORT).absolute()), "cost": result.cost, "path": str(result.path)})
    show.say(f"It works: {result.path}")


def _ask(show: Show, plan: Plan, *, sure: bool) -> None:
    from ..models import price_text

    price = price_text(plan.credits, plan.provider)
    show.note(f"One real order: {plan.model} ({plan.provider}), {float(plan.billed_seconds):g} s billed, {price}")
    if not sure and not typer.confirm("Order it?", err=True):
        show.note("Nothing was ordered")
        raise typer.Exit(1)


def _order(show: Show, clip: Path, step: Step, plan: Plan, settings: Settings, report: Report) -> Result:
    from ..engine import Stop, run
    from .order import detach_on_term

    def hear(event: Event) -> None:
        report.event(event)
        show.event(event)

    stop = Stop()
    report.planned(plan)
    with detach_on_term(stop), report.log:
        result = run(clip, step, settings=settings, stop=stop, on_progress=hear)
    report.done(result)
    return result


class Report:
    """What a maintainer needs to see of one order, made fit for strangers' eyes."""

    def __init__(self, settings: Settings, versions: dict[str, Any]) -> None:
        keys = (settings.cometapi_key, settings.runway_key)
        self._secrets = [key.get_secret_value() for key in keys if key is not None]
        self.log = _Log()
        self._events: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions}

    def planned(self, plan: Plan) -> None:
        """What was to be sent."""
        self._facts["plan"] = plan.model_dump(mode="json")

    def event(self, event: Event) -> None:
        """What happened."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"at": moment, **event.model_dump(mode="json", exclude_none=True)})

    def done(self, result: Result) -> None:
        """What came of it: the answer's own measures, and those of what was made of it."""
        self._facts["result"] = result.model_dump(mode="json", exclude={"path", "takes"})
        self._facts["files"] = [_measured(path) for path in (*(take.path for take in result.takes), result.path)]

    def failed(self, error: BaseException) -> None:
        """What went wrong instead."""
        told = error.__cause__ if isinstance(error, KeyboardInterrupt) and error.__cause__ else error
        facts = {name: getattr(told, name) for name in ("task_id", "code", "status") if getattr(told, name, None)}
        self._facts["error"] = {"error": type(told).__name__, "message": str(told), **facts}

    def write(self, path: Path) -> None:
        """Write it, redacted as a whole."""
        text = json.dumps({**self._facts, "events": self._events, "log": self.log.lines}, indent=1, default=str)
        path.write_text(self.redacted(text) + "\n", encoding="utf-8")

    def redacted(self, text: str) -> str:
        """*text* without keys, links, and where this person's files are."""
        for secret in self._secrets:
            text = text.replace(secret, "(key)")
        text = re.sub(r"(?:https?|runway)://[^\s\"'\\]+", "(link)", text)
        text = re.sub(r"data:[a-z]+/[^\s\"'\\]+", "(data)", text)
        return text.replace(json.dumps(str(Path.home()))[1:-1], "~")


class _Log(logging.Handler):
    """The package's log while the order runs, as lines."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def __enter__(self) -> None:
        logger = logging.getLogger("runway_node")
        self._before = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("runway_node")
        logger.removeHandler(self)
        logger.setLevel(self._before)


def _measured(path: Path) -> dict[str, Any]:
    from ..media.probe import probe

    try:
        found = probe(path)
    except RunwayNodeError as error:
        return {"error": str(error)}
    return {
        "bytes": found.size, "codec": found.codec, "pix_fmt": found.pix_fmt, "width": found.width,
        "height": found.height, "fps": str(found.fps), "frames": found.frames, "sounds": len(found.sounds),
    }  # fmt: skip
