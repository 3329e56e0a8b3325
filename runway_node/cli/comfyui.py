"""`comfyui install` and `uninstall`: the nodes made known to a ComfyUI, and taken away again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import flags
from .output import reporting

app = typer.Typer(help="The nodes for ComfyUI.", no_args_is_help=True, rich_markup_mode=None)

Where = Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="ComfyUI's own folder.")]


@app.command()
def install(comfyui: Where, json: flags.Json = False, debug: flags.Debug = False) -> None:
    """Put the nodes and example graphs into a ComfyUI; this package must be installed in ComfyUI's own Python."""
    with reporting(json=json, debug=debug) as show:
        from ..hosts.comfyui.install import install as put

        target = put(comfyui)
        show.result({"folder": str(target)})
        show.say(f"Wrote {target}; restart ComfyUI, and find the nodes under video/Runway")


@app.command()
def uninstall(comfyui: Where, json: flags.Json = False, debug: flags.Debug = False) -> None:
    """Take away what `install` wrote; ledger, takes and key stay."""
    with reporting(json=json, debug=debug) as show:
        from ..hosts.comfyui.install import uninstall as take_away

        target = take_away(comfyui)
        show.result({"folder": str(target)})
        show.say(f"Removed {target}; the ledger and all takes stay")
