"""The ComfyUI host: the step as nodes. It translates VIDEO, IMAGE and widgets to `engine.run` and back, no more.

Nothing of ComfyUI, and no torch, is imported before ComfyUI itself asks for the nodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

WEB_DIRECTORY = str(Path(__file__).parent / "web")
"""Where the nodes' help pages are; ComfyUI reads this name of the module that it loads."""


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls once for the list of nodes."""
    from .nodes import Extension

    return Extension()
