"""The nodes in a real ComfyUI, where COMFYUI_PATH and COMFYUI_PYTHON name one: it is started beside a sandbox.

`comfy_stand_in.py`, in which the nodes are tested everywhere else, is held beside the real names here.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runway_node.media.probe import probe

from ..media_clips import ffmpeg
from .comfyui_server import ROOT, Server, as_prompt, comfyui, words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(comfyui() is None, reason="COMFYUI_PATH and COMFYUI_PYTHON name no ComfyUI"),
    pytest.mark.xdist_group("comfyui"),
]

CANARY = "key_canary0123456789"
ASKED = {
    "prompt": "noir", "model": "auto", "seed": -1, "take": 1, "provider": "auto", "aspect": "source",
    "moderation": "default", "max_seconds": 60.0, "max_credits": 0.0, "continuity": "seed", "start": 0.0, "end": 0.0,
    "keep_rest": False,
}  # fmt: skip

SHAPES = """
import importlib.util, inspect, sys
spec = importlib.util.spec_from_file_location("stand_in", sys.argv[1])
stand_in = importlib.util.module_from_spec(spec); spec.loader.exec_module(stand_in)
from comfy import cli_args; cli_args.args.cpu = True
import folder_paths, nodes, server
from comfy import model_management
from comfy_api.latest import ComfyAPI, ComfyExtension, InputImpl, io, ui
ours = stand_in.Comfy().modules()
wrong = []
def held(name, fake, real, real_of=None):
    try:
        mine, theirs = inspect.signature(fake), inspect.signature(real)
    except (TypeError, ValueError):
        return
    if any(one.kind is one.VAR_KEYWORD for one in mine.parameters.values()):
        return
    for word in mine.parameters:
        if word not in theirs.parameters and word not in {"self", "args"}:
            wrong.append(f"{name} takes no {word}")
fakes, reals = ours["comfy_api.latest"].io, io
for name, fake in vars(fakes).items():
    real = getattr(reals, name)
    if hasattr(fake, "takes"):
        theirs = inspect.signature(real.Input).parameters
        wrong += [f"{name}.Input takes no {word}" for word in (*fake.takes, "optional", "tooltip", "extra_dict") if word not in theirs and word not in {"force_input"}]
        if fake.io_type != real.io_type: wrong.append(f"{name} is {real.io_type}")
        wrong += [f"{name}.Output takes no {word}" for word in ("display_name", "tooltip") if word not in inspect.signature(real.Output).parameters]
held("Schema", fakes.Schema, io.Schema); held("NodeOutput", fakes.NodeOutput, io.NodeOutput)
held("PreviewText", stand_in.PreviewText, ui.PreviewText)
held("VideoFromFile", stand_in.VideoFromFile, InputImpl.VideoFromFile)
held("VideoFromComponents", stand_in.VideoFromComponents, InputImpl.VideoFromComponents)
held("set_progress", stand_in.Comfy.set_progress, ComfyAPI().execution.set_progress)
from comfy_execution.validation import validate_node_input
held("validate_node_input", stand_in.validate_node_input, validate_node_input)
wrong += [f"{a} into {b} differs" for a in ("VIDEO", "IMAGE", "STRING", "*", "COMFY_MATCHTYPE_V3", "IMAGE,MASK") for b in ("VIDEO", "IMAGE", "FLOAT") if validate_node_input(a, b) != stand_in.validate_node_input(a, b)]
wrong += [f"{name} says {getattr(io, name).Input('x').get_io_type()}" for name in ("Video", "Image", "String", "Int", "Float", "Boolean") if getattr(io, name).Input("x").get_io_type() != getattr(fakes, name).Input("x").get_io_type()]
held("send_progress_text", stand_in.Comfy.send_progress_text, server.PromptServer.send_progress_text)
for word in ("get_stream_source", "get_active_trim_window"):
    if not hasattr(InputImpl.VideoFromFile, word): wrong.append(f"VideoFromFile has no {word}")
for module, names in (("folder_paths", folder_paths), ("comfy.model_management", model_management)):
    wrong += [f"{module} has no {word}" for word in vars(ours[module]) if not word.startswith("__") and not hasattr(names, word)]
if issubclass(model_management.InterruptProcessingException, Exception): wrong.append("the interruption is an Exception")
if io.ControlAfterGenerate.fixed.value != "fixed" or io.Hidden.unique_id.value != "UNIQUE_ID": wrong.append("a word differs")
print("\\n".join(wrong))
"""  # noqa: E501 - a program of its own, for ComfyUI's Python


OTHERS = """
import io as memory, time
from comfy_api.latest import ComfyExtension, InputImpl, io
from comfy import model_management

class HoldsTheLoop(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        inputs = [io.Float.Input("seconds", default=5.0, max=100.0)]
        return io.Schema(node_id="HoldsTheLoop", category="test", inputs=inputs, outputs=[], is_output_node=True)

    @classmethod
    def execute(cls, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.25)
            model_management.throw_exception_if_processing_interrupted()
        return io.NodeOutput()

class InMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        inputs, outputs = [io.Video.Input("video")], [io.Video.Output()]
        return io.Schema(node_id="InMemory", category="test", inputs=inputs, outputs=outputs)

    @classmethod
    def execute(cls, video):
        with open(video.get_stream_source(), "rb") as file:
            return io.NodeOutput(InputImpl.VideoFromFile(memory.BytesIO(file.read())))

class Others(ComfyExtension):
    async def get_node_list(self):
        return [HoldsTheLoop, InMemory]

async def comfy_entrypoint():
    return Others()
"""
"""Nodes of another pack: one that is not async and takes the Stop down itself, one whose clip is in memory."""


@pytest.fixture
def served(runway_sandbox):
    """A sandbox that takes any key."""
    runway_sandbox.sandbox.options = runway_sandbox.sandbox.options.model_copy(update={"key": None})
    return runway_sandbox


@pytest.fixture
def server(served, tmp_path, clip):
    """A ComfyUI that points to it, with the clip among its inputs."""
    env = {
        "RUNWAYML_BASE_URL": served.url, "RUNWAYML_API_SECRET": CANARY, "RUNWAY_NODE_POLL_INTERVAL": "0.05",
        "RUNWAY_NODE_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip
    one = Server(tmp_path / "comfyui", env)
    (one.folder / "custom_nodes" / "others.py").write_text(OTHERS)
    shutil.copyfile(clip, one.folder / "input" / "shot.mp4")
    one.start()
    yield one
    one.end()


def slow(served, seconds):
    served.sandbox.options = served.sandbox.options.model_copy(update={"seconds_per_task": seconds})


def until(true, seconds=60):
    last = time.monotonic() + seconds
    while not true() and time.monotonic() < last:
        time.sleep(0.02)
    assert true()


def graph(**widgets):
    """Load Video, the step, Save Video."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "shot.mp4"}},
        "2": {"class_type": "RunwayVideoToVideo", "inputs": {"video": ["1", 0], **ASKED, **widgets}},
        "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "noir", "format": "auto",
                                                    "codec": "auto"}},
    }  # fmt: skip


def saved(server):
    return sorted((server.folder / "output").rglob("*.mp4"))


def test_the_stand_in_has_the_real_ones_shapes():
    """What the nodes use of ComfyUI has these names and takes these words in the real one too."""
    path, python = comfyui()
    done = subprocess.run(
        [str(python), "-c", SHAPES, str(Path(__file__).with_name("comfy_stand_in.py"))],
        cwd=path, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr[-2000:]


def test_a_graph_runs_and_is_paid_once(server, served, clip):
    """Saved with the clip's length and sound; run again, and after a restart, it costs nothing; no key anywhere."""
    nodes = server.get("/object_info")
    ours = {name for name, info in nodes.items() if info["python_module"] == "custom_nodes.runway_node"}
    assert ours == {"RunwayVideoToVideo", "RunwayKeyframe", "RunwayPlan", "RunwayTake"}
    entry = server.ended(server.post(graph()))
    assert entry["status"]["status_str"] == "success", entry["status"]
    was, came = probe(clip), probe(saved(server)[0])
    assert (came.frames, came.fps, len(came.sounds)) == (was.frames, was.fps, 1)
    server.end()
    server.start()
    again = server.ended(server.post(graph()))
    assert again["status"]["status_str"] == "success"
    assert served.sandbox.counters.creates == 1
    secrets = [CANARY.encode(), b"_jwt=", b"x-amz-signature"]
    told = json.dumps([server.get("/history"), server.get("/object_info")]).encode() + server.log.read_bytes()
    told += b"".join(path.read_bytes() for path in (*saved(server), *(server.folder / "user").rglob("*.*")))
    told += b"".join(path.read_bytes() for path in (server.folder.parent / "data").glob("ledger.db*"))
    assert not [secret for secret in secrets if secret in told]


def test_stop_ends_it_as_an_interruption(server, served):
    """Within a second, and the remote task is cancelled; the history has no red error."""
    slow(served, 60)
    prompt = server.post(graph())
    until(lambda: served.sandbox.counters.accepted and served.sandbox.counters.polls > 2)
    began = time.monotonic()
    server.interrupt()
    entry = server.ended(prompt)
    assert time.monotonic() - began < 3  # heard within 0.2 s; the rest are the DELETE and this test's own looks
    assert "execution_interrupted" in words(entry)
    assert "execution_error" not in words(entry)
    assert served.sandbox.counters.deletes == 1


def test_stop_is_heard_beside_a_node_that_holds_the_loop(server, served):
    """A sampler takes the flag down itself, and lets nobody else look meanwhile: the remote task is cancelled too."""
    slow(served, 60)
    both = graph()
    both["7"] = {"class_type": "HoldsTheLoop", "inputs": {"seconds": 30.0}}
    prompt = server.post(both)
    until(lambda: served.sandbox.counters.accepted)
    time.sleep(1)
    server.interrupt()
    assert "execution_interrupted" in words(server.ended(prompt))
    until(lambda: served.sandbox.counters.deletes == 1)


def test_one_stream_feeds_two_nodes(server, served):
    """A clip that another node made in memory is read by several at once, and is the same for all of them."""
    both = graph()
    both["6"] = {"class_type": "InMemory", "inputs": {"video": ["1", 0]}}
    both["2"]["inputs"]["video"] = ["6", 0]
    both["4"] = {"class_type": "RunwayVideoToVideo", "inputs": {"video": ["6", 0], **ASKED, "prompt": "snow"}}
    both["5"] = {"class_type": "SaveVideo", "inputs": {"video": ["4", 0], "filename_prefix": "b", "format": "auto",
                                                       "codec": "auto"}}  # fmt: skip
    with (server.folder / "input" / "shot.mp4").open("ab") as clip:
        clip.write(b"\0\0\0\x08free" * 4_000_000)
    entry = server.ended(server.post(both))
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert len(list((server.folder / "temp").glob("runway-*"))) == 1


def test_a_switch_may_stand_between(server, served):
    """A node that hands on whatever it is given is no reason to refuse a graph."""
    switched = graph()
    switch = {"switch": True, "on_true": ["1", 0], "on_false": ["1", 0]}
    switched["9"] = {"class_type": "ComfySwitchNode", "inputs": switch}
    switched["2"]["inputs"]["video"] = ["9", 0]
    assert server.ended(server.post(switched))["status"]["status_str"] == "success"


def test_killed_it_goes_on_without_a_second_charge(server, served):
    """Ended by kill -9 while the task runs; the same graph in a new server collects it."""
    slow(served, 3)
    server.post(graph())
    until(lambda: served.sandbox.counters.polls > 1)
    server.end(signal.SIGKILL)
    server.start()
    entry = server.ended(server.post(graph()))
    assert entry["status"]["status_str"] == "success"
    assert served.sandbox.counters.creates == 1


def test_a_failing_sibling_leaves_the_task_running(server, served):
    """The graph ends red for the sibling's sake; queued without it, the take is collected unpaid."""
    slow(served, 3)
    both = graph()
    both["4"] = {
        "class_type": "RunwayVideoToVideo",
        "inputs": {"video": ["1", 0], **ASKED, "prompt": "snow", "max_credits": 1.0},
    }
    both["5"] = {"class_type": "SaveVideo", "inputs": {"video": ["4", 0], "filename_prefix": "b", "format": "auto",
                                                       "codec": "auto"}}  # fmt: skip
    entry = server.ended(server.post(both))
    assert "execution_error" in words(entry)
    assert 'widget \\"max_credits\\"' in json.dumps(entry)
    entry = server.ended(server.post(graph()))
    assert entry["status"]["status_str"] == "success"
    assert (served.sandbox.counters.accepted, served.sandbox.counters.deletes) == (1, 0)


def test_two_nodes_run_side_by_side(server, served):
    """Two looks of one clip are ordered together, not one after the other."""
    slow(served, 6)
    both = graph()
    both["4"] = {"class_type": "RunwayVideoToVideo", "inputs": {"video": ["1", 0], **ASKED, "prompt": "snow"}}
    both["5"] = {"class_type": "SaveVideo", "inputs": {"video": ["4", 0], "filename_prefix": "b", "format": "auto",
                                                       "codec": "auto"}}  # fmt: skip
    entry = server.ended(server.post(both))
    assert entry["status"]["status_str"] == "success"
    first, second = sorted(task.created for task in served.sandbox.tasks.values())
    assert second - first < 6


def test_progress_reaches_the_frontend(server, served):
    """A bar that rises, and one line that says where the order is."""
    slow(served, 2)
    with server.listen() as heard:
        time.sleep(1)
        server.ended(server.post(graph(), client_id="test"))
        time.sleep(0.5)
        heard.terminate()
        events = [json.loads(line) for line in heard.stdout]
    lines = [event["data"]["text"] for event in events if event["type"] == "text"]
    assert any(re.match(r"running 00:0\d, \d\d%, 56 credits so far", line) for line in lines)
    states = [event["data"]["nodes"]["2"]["value"] for event in events
              if event["type"] == "progress_state" and "2" in event["data"]["nodes"]]  # fmt: skip
    assert len(set(states)) > 3
    assert states == sorted(states)


def test_what_the_model_does_not_take_is_refused_before_anything_runs(server, served):
    """The server answers 400 in our words, and names the model that does."""
    said = server.refused(graph(model="gen4_aleph"))
    assert "aleph2 (runway)" in said
    assert served.sandbox.counters.creates == 0


def test_the_plan_is_an_output(server, served):
    """It runs without a Save node, shows its text and sends nothing."""
    entry = server.ended(server.post({
        "1": {"class_type": "LoadVideo", "inputs": {"file": "shot.mp4"}},
        "2": {"class_type": "RunwayPlan", "inputs": {"video": ["1", 0], **ASKED}},
    }))  # fmt: skip
    assert "56 credits, $0.56" in entry["outputs"]["2"]["text"][0]
    assert served.sandbox.counters.creates == 0


def test_a_minute_in_high_definition_takes_little_memory(server, served, tmp_path):
    """60 s of 1080p pass as files: the server's own peak rises by less than 300 MB."""
    ready, film = tmp_path / "ready.mp4", server.folder / "input" / "film.mp4"
    picture = "testsrc2=s=1920x1080:r=24:d={}"
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    ffmpeg("-f", "lavfi", "-i", picture.format(30), *encode, ready)
    ffmpeg("-f", "lavfi", "-i", picture.format(60), "-f", "lavfi", "-i", "sine=d=60", *encode, film)
    served.sandbox.options = served.sandbox.options.model_copy(update={"ready": ready})
    idle = megabytes(server, "VmRSS")
    long = graph(max_seconds=100.0)
    long["1"]["inputs"]["file"] = "film.mp4"
    entry = server.ended(server.post(long), 600)
    assert entry["status"]["status_str"] == "success"
    assert probe(saved(server)[-1]).frames == 60 * 24
    assert megabytes(server, "VmHWM") - idle < 300


def megabytes(server, word):
    """What the server's process has now (VmRSS), or had at its fullest (VmHWM)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{word}:\s+(\d+)", status)[1]) / 1024


def test_every_template_opens_and_runs(server, served):
    """No missing node, every value in its place, and the graph runs against the sandbox."""
    names = server.get("/workflow_templates")["runway_node"]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "example_workflows").glob("*.json"))
    assert len(names) >= 4
    info = server.get("/object_info")
    for name in names:
        workflow = server.get(f"/api/workflow_templates/runway_node/{name}.json")
        kinds = {node["type"] for node in workflow["nodes"]} - {"MarkdownNote", "Note"}
        assert kinds <= set(info), name
        prompt = as_prompt(workflow, info)
        for node in prompt.values():
            for word, value in (("file", "shot.mp4"), ("image", "still.png")):
                if node["class_type"] in {"LoadVideo", "LoadImage"} and word in node["inputs"]:
                    node["inputs"][word] = value
        entry = server.ended(server.post(prompt))
        assert entry["status"]["status_str"] == "success", (name, entry["status"])


def test_the_help_pages_are_served(server):
    """Where the frontend looks for them."""
    import httpx

    for name in ("RunwayVideoToVideo", "RunwayPlan", "RunwayKeyframe", "RunwayTake"):
        page = httpx.get(f"{server.url}/extensions/runway_node/docs/{name}.md")
        assert page.text.startswith("# Runway")


def test_a_dry_run_changes_nothing_of_comfyuis(tmp_path):
    """pip, asked for what the nodes need, up- or downgrades no package that ComfyUI has."""
    _, python = comfyui()
    report = tmp_path / "report.json"
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--dry-run", "--report", str(report), "-r",
         str(ROOT / "requirements.txt")], check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    there = {one["name"].lower().replace("_", "-") for one in json.loads(listed.stdout)}
    new = {one["metadata"]["name"].lower().replace("_", "-") for one in json.loads(report.read_text())["install"]}
    assert not new & there
