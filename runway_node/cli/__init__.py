"""The program `runway-node`. A command translates; it decides nothing.

Only typer is loaded before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import batches, books, comfyui, keys, look, order, render, try_out

# Plain help: rich's boxes cannot be written to every Windows console, and cost a slow import.
app = typer.Typer(
    name="runway-node",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    order.run, order.plan, render.render, books.tasks, books.takes, books.resume, books.cancel, books.attach,
    books.export, books.spend, books.gc, batches.worker, keys.login, look.models, look.doctor, try_out.sandbox,
    try_out.demo,
):  # fmt: skip
    app.command()(command)
app.add_typer(batches.app, name="batch")
app.add_typer(render.template_app, name="template")
app.add_typer(comfyui.app, name="comfyui")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        with contextlib.suppress(PackageNotFoundError):
            typer.echo(f"runway-node {version('runway-node')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Which one.")] = False,
) -> None:
    """Runway video-to-video as one step: a clip goes in, a clip comes out that takes its place.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 would cost more than allowed, 4 outcome unknown (may have been billed),
    130 interrupted.
    """


M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""glibc's own numbers for them (malloc.h)."""


def _one_heap() -> None:
    """Give back what is not needed: glibc keeps a heap for each thread, 20 MB for nine calls at once (measured)."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_ARENA_MAX, 1)
            mallopt(M_MMAP_THRESHOLD, 1 << 16)


def main(args: Sequence[str] | None = None) -> None:
    """Run the program with *args* (or the command line's) and exit."""
    _one_heap()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that lacks a character shows it escaped: that is no reason to fail after a paid order.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if args is None else args)
    try:
        # click would expand "*", "~" and "%NAME%" on Windows, in prompts too.
        code = app(args=words, prog_name="runway-node", windows_expand_args=False, standalone_mode=False)
    except typer.Abort:
        typer.echo("Aborted", err=True)
        code = 1
    except Exception as error:
        # A word of the command line; by its method, for typer has brought its own copy of click since 0.26.
        if not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]
        code = error.exit_code  # type: ignore[attr-defined]
        if "--json" in words:
            facts = {"error": "WrongUse", "message": error.format_message(), "exit_code": code, "task_id": None}
            typer.echo(json.dumps({"phase": "error", **facts}))
    sys.exit(code if isinstance(code, int) else 0)
