"""The nodes. Their ids, and the order of their widgets, are in people's saved graphs: both are kept for ever."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import folder_paths
from comfy_api.latest import ComfyAPI, ComfyExtension, io, ui
from comfy_execution.validation import validate_node_input

from ... import engine
from ...errors import Interrupted, RunwayNodeError, SettingsError
from ...models import Event, Keyframe, Result, Step, build, model_table
from ...settings import KEY_VARIABLES
from . import words
from .clips import Clip, clip_of, held, pictures_of, video_of, with_sound
from .driving import Host, drive
from .fields import settings_inputs
from .keys import Found, check_key, found_settings
from .owned import Shelf

CATEGORY = "video/Runway"
_SHELF = Shelf()


class RunwayError(Exception):
    """What a node ends with: one line, which has no key and no link."""


class Extension(ComfyExtension):  # type: ignore[misc]  # ComfyUI's modules are not there when types are checked
    """The list of nodes, as ComfyUI asks for it."""

    async def on_load(self) -> None:
        """Each poll would be two lines in ComfyUI's console; what is going on, the node shows."""
        for name in ("runway_node", "httpx"):
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.WARNING)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All of them."""
        return [RunwayVideoToVideo, RunwayKeyframe, RunwayPlan, RunwayTake]


def _host(node: Any) -> Host:
    """ComfyUI as the loop needs it, for one run of *node*."""
    from comfy.model_management import InterruptProcessingException, processing_interrupted

    api = ComfyAPI()

    async def show(event: Event) -> None:
        await api.execution.set_progress(event.overall, 1.0)
        _write(node, words.line(event))

    return Host(processing_interrupted, show, InterruptProcessingException)


def _write(node: Any, text: str) -> None:
    """A line under the node, while it works."""
    from server import PromptServer

    server, where = getattr(PromptServer, "instance", None), node.hidden.unique_id
    if server is not None and where is not None:
        server.send_progress_text(text, where)


def _refused(node: Any, widgets: dict[str, Any], linked: dict[str, Any]) -> bool | str:
    """ComfyUI's answer to "may this run?": True, or why not.

    Args:
        linked: The type of what is linked, by input. Who asks for these types has to check them.

    """
    for given in node.define_schema().inputs:
        kind = linked.get(given.id)
        if kind is not None and not validate_node_input(kind, given.get_io_type()):
            return f"{given.id} takes {given.get_io_type()}, not {kind}"
    try:
        settings = found_settings().settings
        asked = None if (named := widgets.get("provider", "auto")) == "auto" else named
        keyed = [provider for provider in KEY_VARIABLES if settings.has_key(provider)]
        if "provider" not in linked and (node.pays or len(keyed) > 1):
            check_key(settings, asked)
        provider = asked or settings.provider or (keyed[0] if len(keyed) == 1 else None)
        return words.refusal(widgets, linked, model_table(settings), provider) or True
    except RunwayNodeError as error:
        return str(error)


class _Ordering(io.ComfyNode):  # type: ignore[misc]
    """What the step and its plan have in common: the widgets, and what is refused before the graph runs."""

    pays: ClassVar[bool] = True
    """Whether a key is needed."""

    @classmethod
    def validate_inputs(
        cls,
        input_types: dict[str, str],
        model: str = "auto",
        provider: str = "auto",
        aspect: str = "source",
        moderation: str = "default",
        continuity: str = "seed",
        output_format: str = "mp4",
        prompt: str | None = None,
    ) -> bool | str:
        """Refuse what no run could do before anything in the graph runs."""
        given = {name: value for name, value in locals().items() if name not in {"cls", "input_types"}}
        # One that is linked has no value yet.
        widgets = {name: value for name, value in given.items() if value is not None}
        return _refused(cls, widgets, input_types)


class RunwayVideoToVideo(_Ordering):
    """The step: a VIDEO goes in, one comes out that takes its place."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What ComfyUI shows."""
        return io.Schema(
            node_id="RunwayVideoToVideo",
            display_name="Runway Video to Video",
            category=CATEGORY,
            description="Transform a clip with Runway, on your own key. What comes out has the clip's length, rate, "
            "size and sound. The same clip with the same settings is paid once: queue it again after a restart too.",
            search_aliases=["aleph", "runway", "video to video", "v2v", "restyle", "cometapi"],
            inputs=settings_inputs(),
            outputs=[
                io.Video.Output(display_name="video", tooltip="The transformed clip, a file."),
                io.String.Output(display_name="info", tooltip="Task ids, cost, what was owned already, warnings."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(cls, video: Any, **widgets: Any) -> io.NodeOutput:
        """Do it."""
        found = _keyed(widgets.get("provider", "auto"))
        temp = Path(folder_paths.get_temp_directory())

        def work(stop: engine.Stop, hear: Callable[[Event], None]) -> tuple[Clip, Result, Path]:
            clip = clip_of(video, temp)
            span = _span(clip, widgets)
            result = engine.run(
                clip.source, _step(widgets), start=span.start, end=span.end, settings=found.settings, stop=stop,
                policy=words.policy_of(widgets, found.settings), on_progress=hear, keep_rest=_keeps(widgets),
            )  # fmt: skip
            return clip, result, with_sound(held(result.path, temp), clip, span, temp)

        host = _host(cls)
        try:
            clip, result, path = await drive(work, host)
        except Interrupted:
            raise host.give_up() from None
        except RunwayNodeError as error:
            raise RunwayError(words.told(error)) from error
        window = clip.window if _keeps(widgets) else (0.0, 0.0)
        return io.NodeOutput(video_of(path, window), words.info(result, (*clip.notes, *found.notes)))


def _keeps(widgets: dict[str, Any]) -> bool:
    """Whether there is a rest to keep: a range that is the whole clip has none."""
    return bool(widgets.get("keep_rest") and (widgets.get("start") or widgets.get("end")))


def _span(clip: Clip, widgets: dict[str, Any]) -> words.Span:
    return words.span_of(clip.window, widgets.get("start", 0.0), widgets.get("end", 0.0), lambda: clip.fps)


def _step(widgets: dict[str, Any]) -> Step:
    stills = () if widgets.get("references") is None else pictures_of(widgets["references"])
    return words.step_of(widgets, stills, widgets.get("keyframes") or ())


def _keyed(provider: str | None) -> Found:
    """The settings with a key.

    Raises:
        RunwayError: There is none, or a setting is wrong.

    """
    try:
        found = found_settings()
        check_key(found.settings, None if provider == "auto" else provider)
    except SettingsError as error:
        raise RunwayError(str(error)) from None
    return found


class RunwayPlan(_Ordering):
    """What the step would cost."""

    pays: ClassVar[bool] = False

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What ComfyUI shows."""
        return io.Schema(
            node_id="RunwayPlan",
            display_name="Runway Plan",
            category=CATEGORY,
            description="What Runway Video to Video would do and cost with these settings. It sends nothing.",
            search_aliases=["runway cost", "runway price", "estimate"],
            inputs=settings_inputs(),
            outputs=[
                io.String.Output(display_name="plan", tooltip="A line for each paid call, and what all would cost."),
                io.Float.Output(display_name="seconds", tooltip="Seconds that would be paid now."),
                io.Float.Output(display_name="credits", tooltip="Credits that would be paid now; -1: not known."),
                io.Int.Output(display_name="calls", tooltip="Paid calls that the clip is cut into."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        """What is owned, and so what would be paid, changes beside the graph: look anew each time. It is free."""
        return time.time()

    @classmethod
    async def execute(cls, video: Any, **widgets: Any) -> io.NodeOutput:
        """Look and count."""
        found = found_settings()
        temp = Path(folder_paths.get_temp_directory())

        def work(stop: engine.Stop, hear: Callable[[Event], None]) -> engine.Plan:  # noqa: ARG001 - as `drive` calls it
            clip = clip_of(video, temp)
            span, policy = _span(clip, widgets), words.policy_of(widgets, found.settings)
            return engine.plan(
                clip.source,
                _step(widgets),
                start=span.start,
                end=span.end,
                policy=policy,
                settings=found.settings,
                keep_rest=_keeps(widgets),
            )

        try:
            plan = await drive(work, _host(cls))
        except RunwayNodeError as error:
            raise RunwayError(words.told(error)) from error
        text = words.plan_text(plan)
        price = -1.0 if plan.to_pay_credits is None else float(plan.to_pay_credits)
        return io.NodeOutput(text, float(plan.to_pay), price, len(plan.segments), ui=ui.PreviewText(text))


class RunwayKeyframe(io.ComfyNode):  # type: ignore[misc]
    """A still for one moment of the clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What ComfyUI shows."""
        return io.Schema(
            node_id="RunwayKeyframe",
            display_name="Runway Keyframe",
            category=CATEGORY,
            description="What the transformed clip should look like at one moment (aleph2). Several are chained.",
            search_aliases=["runway still", "aleph keyframe"],
            inputs=[
                io.Image.Input("image", tooltip="The still; of several in a batch the first."),
                io.Float.Input("at", default=0.0, min=0.0, max=3600.0, step=0.01, tooltip="The moment."),
                io.Combo.Input("unit", options=["seconds", "percent"], tooltip="What the moment is counted in."),
                io.Int.Input(
                    "range_start", default=0, min=0, max=3600, tooltip="Whole seconds: the edit begins there."
                ),
                io.Int.Input(
                    "range_end", default=0, min=0, max=3600,
                    tooltip="Whole seconds: the edit is confined to before there. 0: not confined.",
                ),
                io.Custom(words.KEYFRAMES).Input("keyframes", optional=True, tooltip="Keyframes to add this one to."),
            ],
            outputs=[io.Custom(words.KEYFRAMES).Output(display_name="keyframes")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, image: Any, at: float, unit: str, range_start: int = 0, range_end: int = 0, keyframes: Any = ()
    ) -> io.NodeOutput:
        """Add it to those before it."""
        when = {"seconds": at} if unit == "seconds" else {"at": at / 100}
        within = (range_start, range_end) if range_end or range_start else None
        try:
            one = build(Keyframe, picture=pictures_of(image[:1])[0], range=within, **when)
        except RunwayNodeError as error:
            raise RunwayError(str(error)) from None
        return io.NodeOutput((*(keyframes or ()), one))


class RunwayTake(io.ComfyNode):  # type: ignore[misc]
    """Something that was paid for before."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What ComfyUI shows: the list is looked up anew each time."""
        return io.Schema(
            node_id="RunwayTake",
            display_name="Runway Take",
            category=CATEGORY,
            description="A result that was paid for before, from this graph or anywhere else on this machine. Free.",
            search_aliases=["runway result", "runway history"],
            inputs=[
                io.Combo.Input("take", options=_SHELF.lines(), tooltip="The newest orders whose takes are owned."),
                io.String.Input(
                    "named", default="", tooltip="Instead: the start of an order's digest, or a task's id (see info)."
                ),
                io.Boolean.Input(
                    "untouched", default=False,
                    tooltip="Exactly as the provider made it: neither length, rate nor sound are the clip's.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, take: str = "", named: str | None = "") -> bool | str:
        """A take that is no longer among the newest may still be had; ComfyUI's own check would refuse it."""
        try:
            words.chosen(take, named or "" if named is not None else "linked")
        except RunwayNodeError as error:
            return str(error)
        return True

    @classmethod
    async def execute(cls, take: str, named: str = "", untouched: bool = False) -> io.NodeOutput:
        """Fetch it from the data folder."""
        which, found = words.chosen(take, named), found_settings()
        temp = Path(folder_paths.get_temp_directory())

        def work(stop: engine.Stop, hear: Callable[[Event], None]) -> Path:  # noqa: ARG001 - as `drive` calls it
            path = engine.export(which, untouched=untouched, settings=found.settings).path
            return path if untouched else held(path, temp)

        try:
            path = await drive(work, _host(cls))
        except RunwayNodeError as error:
            raise RunwayError(str(error)) from error
        return io.NodeOutput(video_of(path))
