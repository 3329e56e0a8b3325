"""runway_node: Runway video-to-video as one step. A clip goes in, a clip comes out that takes its place.

Names are loaded when they are first used; importing this loads no third-party module.
"""

from __future__ import annotations

import importlib
from typing import Any

_ROOMS = {
    "Event": "models",
    "Frames": "media.shapes",
    "Keyframe": "models",
    "Model": "models",
    "Picture": "models",
    "Plan": "planning",
    "Policy": "models",
    "Result": "models",
    "RunwayNodeError": "errors",
    "RunwayVideoToVideo": "hosts.moviepy",
    "Settings": "settings",
    "Step": "models",
    "Stop": "engine",
    "Take": "models",
    "attach": "engine",
    "cancel": "engine",
    "comfy_entrypoint": "hosts.comfyui",
    "export": "engine",
    "gc": "engine",
    "orders": "engine",
    "plan": "engine",
    "run": "engine",
    "run_async": "engine",
    "takes": "engine",
    "spend": "engine",
    "resume": "engine",
}

__all__ = sorted([*_ROOMS, "__version__"])  # noqa: PLE0605 - the table is the one list of names


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("runway-node")
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
