"""The few names of ComfyUI's that the nodes use, in its own shapes; the live test holds them beside the real ones.

Nothing here is ComfyUI's code: classes remember what they were given, files are handed on.
"""

from __future__ import annotations

import enum
import io as bytesio
import types
from fractions import Fraction
from types import SimpleNamespace


class Given:
    """Remembers its arguments."""

    def __init__(self, *args, **fields):
        self.args, self.fields = args, fields


class Input(Given):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, extra_dict=None, **fields):
        super().__init__(
            id, display_name=display_name, optional=optional, tooltip=tooltip, extra_dict=extra_dict, **fields
        )
        self.id = id


class Output(Given):
    def __init__(self, id=None, display_name=None, tooltip=None, **fields):
        super().__init__(id, display_name=display_name, tooltip=tooltip, **fields)


def _kind(io_type, *names):
    """A type with an Input that takes *names* too, and an Output."""

    class KindInput(Input):
        def __init__(self, id, **fields):
            unknown = fields.keys() - {"display_name", "optional", "tooltip", "extra_dict", *names}
            if unknown:
                raise TypeError(f"{io_type}.Input takes no {', '.join(sorted(unknown))}")
            super().__init__(id, **fields)

        def get_io_type(self):
            return io_type

    return type(io_type, (), {"Input": KindInput, "Output": Output, "io_type": io_type, "takes": names})


def custom(io_type):
    return _kind(io_type)


class ControlAfterGenerate(enum.Enum):
    fixed = "fixed"


class Hidden(enum.Enum):
    unique_id = "UNIQUE_ID"


class Schema:
    def __init__(
        self, node_id, display_name=None, category="sd", inputs=(), outputs=(), hidden=(), description="",
        search_aliases=(), is_output_node=False,
    ):  # fmt: skip
        self.node_id, self.display_name, self.category, self.description = node_id, display_name, category, description
        self.inputs, self.outputs, self.hidden = list(inputs), list(outputs), list(hidden)
        self.search_aliases, self.is_output_node = list(search_aliases), is_output_node


class ComfyNode:
    hidden = SimpleNamespace(unique_id="7")


class NodeOutput:
    def __init__(self, *args, ui=None):
        self.args, self.ui = args, ui


class PreviewText:
    def __init__(self, value):
        self.value = value

    def as_dict(self):
        return {"text": (self.value,)}


class ComfyExtension:
    async def on_load(self):
        pass


class VideoFromFile:
    def __init__(self, file, *, start_time=0, duration=0):
        self.file, self.start_time, self.duration = file, start_time, duration

    def get_stream_source(self):
        if isinstance(self.file, bytesio.BytesIO):
            self.file.seek(0)
        return self.file

    def get_active_trim_window(self):
        return float(self.start_time), float(self.duration)


class VideoFromComponents:
    def __init__(self, components):
        self.components = components

    def get_components(self):
        return self.components


class Tensor:
    """As much of a tensor as a picture needs: torch is not among the tests' needs."""

    def __init__(self, values):
        self.values = values
        self.shape = values.shape

    def __getitem__(self, key):
        return Tensor(self.values[key])

    def __iter__(self):
        return (Tensor(one) for one in self.values)

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return self.values


def components(images, fps, audio=None):
    return SimpleNamespace(images=Tensor(images), frame_rate=Fraction(fps), audio=audio)


def validate_node_input(received_type, input_type):
    """Whether the one may be linked to the other: a switch hands on whatever it is given."""
    return received_type in {"*", "COMFY_MATCHTYPE_V3"} or input_type in str(received_type).split(",")


class InterruptProcessingException(BaseException):
    pass


class Comfy:
    """What a test sees of it and does to it."""

    def begin(self, folder):
        """For one test: nothing pressed, nothing shown, folders of its own."""
        self.temp, self.user = folder / "temp", folder / "user"
        self.temp.mkdir()
        self.user.mkdir()
        self.interrupt = False
        self.progress, self.texts = [], []

    def processing_interrupted(self):
        return self.interrupt

    async def set_progress(self, value, max_value, node_id=None):
        self.progress.append(value / max_value)

    def send_progress_text(self, text, node_id, sid=None):
        self.texts.append((node_id, text))

    def modules(self):
        """The modules by their names, as `sys.modules` holds them."""
        widget = ("default", "force_input")
        number = ("default", "min", "max", "step")
        widgets = {
            "String": _kind("STRING", "multiline", *widget),
            "Int": _kind("INT", "control_after_generate", *number),
            "Float": _kind("FLOAT", "round", *number),
            "Boolean": _kind("BOOLEAN", *widget),
            "Combo": _kind("COMBO", "options", *widget),
        }
        own = {"Custom": custom, "ControlAfterGenerate": ControlAfterGenerate, "Hidden": Hidden}
        node = {"Schema": Schema, "ComfyNode": ComfyNode, "NodeOutput": NodeOutput}
        io = SimpleNamespace(Video=_kind("VIDEO"), Image=_kind("IMAGE"), **widgets, **own, **node)
        api = SimpleNamespace(execution=SimpleNamespace(set_progress=self.set_progress))
        server = SimpleNamespace(instance=SimpleNamespace(send_progress_text=self.send_progress_text))
        return {
            "comfy_api": _module("comfy_api"),
            "comfy_api.latest": _module(
                "comfy_api.latest", io=io, ui=SimpleNamespace(PreviewText=PreviewText), ComfyAPI=lambda: api,
                ComfyExtension=ComfyExtension,
                InputImpl=SimpleNamespace(VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents),
            ),
            "folder_paths": _module(
                "folder_paths", get_temp_directory=lambda: str(self.temp), get_user_directory=lambda: str(self.user)
            ),
            "comfy_execution": _module("comfy_execution"),
            "comfy_execution.validation": _module(
                "comfy_execution.validation", validate_node_input=validate_node_input
            ),
            "comfy": _module("comfy"),
            "comfy.model_management": _module(
                "comfy.model_management", processing_interrupted=self.processing_interrupted,
                InterruptProcessingException=InterruptProcessingException,
            ),
            "server": _module("server", PromptServer=server),
        }  # fmt: skip


def _module(name, **names):
    module = types.ModuleType(name)
    module.__dict__.update(names)
    return module
