"""What the ComfyUI nodes say and understand, and where they are put: no ComfyUI and no clip needed."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from runway_node.errors import Ambiguous, OutputError, SourceError, StepError, WrongUse
from runway_node.hosts.comfyui import install, words
from runway_node.models import Event, OwnedTake

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def comfyui(tmp_path):
    """A folder that looks like ComfyUI's."""
    (tmp_path / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    (tmp_path / "ComfyUI" / "main.py").touch()
    return tmp_path / "ComfyUI"


def owned(digest, prompt="noir"):
    return OwnedTake(
        digest=digest, segment=0, at=datetime(2026, 11, 25, tzinfo=UTC), source="shot.mp4", prompt=prompt, seed=1,
        take=1, provider="runway", model="aleph2", task_id="t", credits=56, path=Path("t.mp4"), there=True,
        store="", account="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(phase="queued", seconds=40.2, overall=0.16), "queued 00:40, 16%"),
        (Event(phase="running", seconds=3700, segment=2, segments=8, overall=0.61, credits=140),
         "running 1:01:40, segment 3 of 8, 61%, 140 credits so far"),
        (Event(phase="warning", message="the answer is short"), "the answer is short"),
    ],
)  # fmt: skip
def test_one_line_tells_where_an_order_is(event, text):
    """Phase and its time, which call, how far, and what it cost so far."""
    assert words.line(event) == text


@pytest.mark.parametrize(
    ("window", "start", "end", "span"),
    [
        ((0.0, 0.0), 0, 0, (None, None)),
        ((0.0, 0.0), 1.5, 0, (Fraction(3, 2), None)),
        ((12.0, 4.0), 0, 0, (12, 16)),
        ((12.0, 4.0), 1, 3, (13, 15)),
        ((12.0, 4.0), 1, 9, (13, 16)),
        ((12.0, 0.0), 0, 3, (12, 15)),
    ],
)
def test_a_range_lies_within_the_trim(window, start, end, span):
    """Both in seconds: the trim in the file, the range in the trim."""
    assert words.span_of(window, start, end, lambda: Fraction(25)) == span


@pytest.mark.parametrize(("window", "start", "end"), [((0.0, 0.0), 3, 2), ((5.0, 2.0), 2, 0)])
def test_an_empty_range_is_wrong_use(window, start, end):
    """Nothing is sent for no frames."""
    with pytest.raises(SourceError, match="There is no frame from"):
        words.span_of(window, start, end, lambda: Fraction(25))


def test_widgets_left_alone_are_not_there():
    """A graph has no empty widgets: what they show untouched is what the step has unset."""
    left = {**words.UNSET, "prompt": "noir", "take": 1, "output_format": "mp4", "cut_at": "auto", "continuity": "seed"}
    assert words.step_of(left) == words.step_of({"prompt": "noir"})
    assert words.step_of({**left, "seed": 7, "moderation": "auto"}).model_dump(include={"seed", "moderation"}) == {
        "seed": 7, "moderation": "auto",
    }  # fmt: skip


def test_no_limit_of_its_own_is_zero():
    """Then the settings' holds."""
    assert words.policy_of({"max_seconds": 0.0, "max_credits": 0.0}).max_seconds is None
    assert words.policy_of({"max_seconds": 60.0}).max_seconds == 60


def test_the_list_of_takes_is_one_line_an_order():
    """The newest fifty; the digest in brackets is what it is known by."""
    listed = words.choices([owned(f"{number // 2:064x}") for number in range(200)])
    assert len(listed) == words.NEWEST
    assert words.chosen(listed[1], "") == f"{1:064x}"[:12]
    assert words.chosen(listed[1], " 3fa8b1c2:3 ") == "3fa8b1c2:3"


def test_a_list_that_says_why_it_is_empty_is_no_choice():
    """It asks for one."""
    with pytest.raises(StepError, match="No take is chosen"):
        words.chosen("no take is owned yet", "")


def test_an_unclear_outcome_names_what_a_graph_has():
    """The program's flag is not among its widgets."""
    assert 'another number in "take"' in words.told(Ambiguous("No answer came"))


def test_installed_it_is_one_small_folder(comfyui):
    """A line that names the package, the graphs and their pictures; again is an update."""
    for _ in range(2):
        target = install.install(comfyui)
    assert "from runway_node.hosts.comfyui import" in (target / "__init__.py").read_text()
    assert sorted(file.name for file in (target / "example_workflows").iterdir()) == sorted(
        file.name for file in (ROOT / "example_workflows").iterdir() if file.suffix in {".json", ".jpg"}
    )


def test_uninstalled_nothing_of_it_is_left(comfyui):
    """What somebody else put there stays."""
    target = install.install(comfyui)
    (target / "mine.txt").touch()
    install.uninstall(comfyui)
    assert [file.name for file in target.iterdir()] == ["mine.txt"]
    (target / "mine.txt").unlink()
    install.install(comfyui)
    install.uninstall(comfyui)
    assert not target.exists()


def test_what_is_not_ours_is_left_alone(comfyui):
    """Neither overwritten nor removed."""
    other = comfyui / "custom_nodes" / "runway_node"
    other.mkdir()
    (other / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}")
    with pytest.raises(OutputError, match="was not written by this program"):
        install.install(comfyui)
    with pytest.raises(OutputError, match="was not written by this program"):
        install.uninstall(comfyui)


def test_a_clone_is_not_loaded_twice(comfyui):
    """Two copies of one node would hide one another."""
    (comfyui / "custom_nodes" / "clone").symlink_to(ROOT)
    with pytest.raises(WrongUse, match=r"are in .*clone already"):
        install.install(comfyui)


def test_any_other_folder_is_no_comfyui(tmp_path, program):
    """The program says which folder is meant."""
    code, _, err = program("comfyui", "install", tmp_path)
    assert code == 2
    assert "main.py" in err


def test_the_program_installs_and_removes(comfyui, program):
    """`comfyui install DIR` and `comfyui uninstall DIR`."""
    assert program("comfyui", "install", comfyui)[0] == 0
    assert program("comfyui", "uninstall", comfyui)[0] == 0
    assert list((comfyui / "custom_nodes").iterdir()) == []


def test_comfyui_is_asked_for_no_more_than_the_nodes_need():
    """requirements.txt is what ComfyUI-Manager installs: the package's own needs without moviepy's."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    light = {line for line in lines if line and not line.startswith("#")}
    full = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])
    assert light <= full
    assert {line.partition(">")[0] for line in full - light} == {"moviepy", "proglog"}


def test_the_nodes_never_import_moviepy():
    """All that they stand on loads without it."""
    code = (
        "import sys\nfor name in ('moviepy', 'proglog', 'torch'): sys.modules[name] = None\n"
        "import runway_node.engine, runway_node.cli, runway_node.hosts.comfyui.words, runway_node.hosts.comfyui.driving"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_the_clones_own_file_loads_nothing():
    """The root's `__init__.py`, under whatever name ComfyUI gives it, imports no module until nodes are asked for."""
    code = (ROOT / "__init__.py").read_text(encoding="utf-8")
    assert not [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    spec = importlib.util.spec_from_file_location("a_clone", ROOT / "__init__.py", submodule_search_locations=[])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert asyncio.iscoroutinefunction(module.comfy_entrypoint)
    assert (ROOT / module.WEB_DIRECTORY / "docs" / "RunwayVideoToVideo.md").is_file()
