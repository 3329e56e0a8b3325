"""The nodes put where ComfyUI looks, for a package that pip installed: a small folder that names it. No ComfyUI needed.

ComfyUI finds nothing that pip installs (0.33), only folders in its `custom_nodes`.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from ...errors import OutputError, WrongUse

FOLDER = "runway_node"
_MARK = '"""Written by `runway-node comfyui install`'
SHIM = f'''{_MARK}: the nodes are in the installed package runway_node."""

from runway_node.hosts.comfyui import WEB_DIRECTORY, comfy_entrypoint
'''
TEMPLATES = "example_workflows"
_OURS = (".json", ".jpg")


def custom_nodes(comfyui: Path) -> Path:
    """The folder for nodes of the ComfyUI in *comfyui*.

    Raises:
        WrongUse: There is no ComfyUI.

    """
    folder = comfyui / "custom_nodes"
    if not folder.is_dir() or not (comfyui / "main.py").is_file():
        raise WrongUse(f"{comfyui} is no ComfyUI folder", "Give the folder that has main.py and custom_nodes in it")
    return folder


def install(comfyui: Path) -> Path:
    """Write the folder and copy the graphs; again is an update.

    Raises:
        WrongUse: There is no ComfyUI, or a clone of this repository is among its nodes already.
        OutputError: Something else is there, or it cannot be written.

    """
    nodes = custom_nodes(comfyui)
    clone = next((at.parent.parent for at in nodes.glob(f"*/{FOLDER}/__init__.py") if _is_clone(at)), None)
    if clone is not None:
        raise WrongUse(f"The nodes are in {clone} already", "Update that one, or remove it first")
    target = nodes / FOLDER
    if target.is_symlink() or ((target / "__init__.py").exists() and not _is_ours(target)):
        raise OutputError(f"{target} exists, and was not written by this program", "Move it away first")
    try:
        (target / TEMPLATES).mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text(SHIM, encoding="utf-8")
        for file in templates():
            shutil.copyfile(file, target / TEMPLATES / file.name)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}", "Check who owns it") from None
    return target


def uninstall(comfyui: Path) -> Path:
    """Take away what `install` wrote; what somebody added beside it stays.

    Raises:
        WrongUse: There is no ComfyUI, or no such folder in it.
        OutputError: It was not written by this program.

    """
    target = custom_nodes(comfyui) / FOLDER
    if not target.exists():
        raise WrongUse(f"There is no {target}", "Nothing to undo")
    if not _is_ours(target):
        raise OutputError(f"{target} was not written by this program", "Remove it by hand if you mean it")
    (target / "__init__.py").unlink()
    shutil.rmtree(target / "__pycache__", ignore_errors=True)
    for file in templates():
        (target / TEMPLATES / file.name).unlink(missing_ok=True)
    for folder in (target / TEMPLATES, target):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
    return target


def templates() -> list[Path]:
    """The graphs and their pictures: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[2]
    folder = next((at for at in (package / TEMPLATES, package.parent / TEMPLATES) if at.is_dir()), None)
    return [] if folder is None else sorted(file for file in folder.iterdir() if file.suffix in _OURS)


def _is_ours(target: Path) -> bool:
    """Whether `install` wrote it, whichever version's."""
    shim = target / "__init__.py"
    return not target.is_symlink() and shim.is_file() and shim.read_text(encoding="utf-8").startswith(_MARK)


def _is_clone(package: Path) -> bool:
    """Whether ComfyUI would load it: a folder that is named .disabled it passes over."""
    return (package.parent / "hosts" / "comfyui").is_dir() and package.parents[1].suffix != ".disabled"
