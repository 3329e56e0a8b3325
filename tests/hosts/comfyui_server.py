"""A real ComfyUI, run beside the project where one is named: COMFYUI_PATH is its checkout, COMFYUI_PYTHON its Python.

It has folders of its own, with this repository among its nodes as a clone would be, and is ended by its process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
HEARD = Path(__file__).with_name("comfyui_heard.py")


def comfyui():
    """Checkout and Python, or None where they are not named."""
    names = ("COMFYUI_PATH", "COMFYUI_PYTHON")
    return tuple(Path(os.environ[name]) for name in names) if all(os.environ.get(name) for name in names) else None


class Server:
    """One ComfyUI on loopback.

    Args:
        folder: Its base folder: inputs, outputs, nodes, user.
        env: What points the nodes at a sandbox.

    """

    def __init__(self, folder, env):
        self.folder, self.env = folder, env
        for name in ("input", "output", "custom_nodes", "user", "models"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        clone = folder / "custom_nodes" / "runway_node"
        if not clone.exists():
            clone.symlink_to(ROOT)
        self.log = folder / "comfyui.log"

    def start(self):
        path, python = comfyui()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = ["--cpu", "--listen", "127.0.0.1", "--port", self.port, "--base-directory", self.folder]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(python), "main.py", *map(str, words), "--disable-auto-launch"],
                cwd=path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **self.env},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        last = time.monotonic() + 180
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/system_stats", timeout=5).status_code == 200:
                    return self
            if self.process.poll() is not None or time.monotonic() > last:
                raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.3)

    def end(self, number=signal.SIGTERM):
        """End it by its id; SIGKILL is what a crash is."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)

    def get(self, path):
        return httpx.get(f"{self.url}{path}", timeout=60).raise_for_status().json()

    def post(self, graph, **more):
        """Queue a graph of the API's form; its id."""
        answer = httpx.post(f"{self.url}/prompt", json={"prompt": graph, **more}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["prompt_id"]

    def refused(self, graph):
        """What it says of a graph that it does not take."""
        answer = httpx.post(f"{self.url}/prompt", json={"prompt": graph}, timeout=60)
        assert answer.status_code == 400, answer.text
        return answer.text

    def interrupt(self):
        httpx.post(f"{self.url}/interrupt", timeout=60).raise_for_status()

    def ended(self, prompt_id, seconds=120):
        """The history's entry, once the graph has ended, however it did."""
        last = time.monotonic() + seconds
        while time.monotonic() < last:
            found = self.get(f"/history/{prompt_id}")
            if prompt_id in found:
                return found[prompt_id]
            time.sleep(0.1)
        raise AssertionError(f"the graph has not ended:\n{self.log.read_text()[-4000:]}")

    def listen(self):
        """A process that prints what the server tells its frontend, a JSON line an event."""
        _, python = comfyui()
        return subprocess.Popen(
            [str(python), str(HEARD), f"ws://127.0.0.1:{self.port}/ws?clientId=test"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


def words(entry):
    """The names of the history entry's messages."""
    return [message[0] for message in entry["status"]["messages"]]


def as_prompt(workflow, info):
    """A saved graph in the API's form, as the frontend makes it: widgets' values by their places.

    Args:
        workflow: The saved graph, nodes and links.
        info: The server's /object_info.

    """
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] not in info or node["mode"] == 2:
            continue  # a note, or muted
        values, inputs = iter(node.get("widgets_values", [])), {}
        linked = {given["name"]: given["link"] for given in node.get("inputs", []) if given.get("link") is not None}
        for name, (kind, *more) in _asked(info[node["type"]]):
            options = more[0] if more else {}
            if _typed(kind):
                inputs[name] = next(values, options.get("default"))
                if options.get("control_after_generate"):
                    assert next(values) == "fixed"
            if name in linked:
                inputs[name] = links[linked[name]]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return json.loads(json.dumps(graph))


def _asked(info):
    for part in ("required", "optional"):
        for name in info["input_order"].get(part, []):
            yield name, info["input"][part][name]


def _typed(kind):
    """Whether an input is a widget: a list, or one of the kinds that are typed in."""
    return isinstance(kind, list) or kind in {"COMBO", "INT", "FLOAT", "STRING", "BOOLEAN", "COMFY_DYNAMICCOMBO_V3"}
