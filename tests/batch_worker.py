"""A worker with make-believe work, in a process of its own: `batch_worker.py FOLDER [KEYWORD=VALUE...]`.

A row appends a line to FOLDER/ran as it begins ("row pid") and ends; what it does is in its job. Only tests run it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from runway_node.batch.durable import Durable, queue, serve, workers
from runway_node.settings import load_settings


def note(folder: Path, *words: object) -> None:
    """A line, in one write: several processes append."""
    handle = os.open(folder / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (" ".join(map(str, words)) + "\n").encode())
    os.close(handle)


def worker(folder: Path):
    """The work: takes the job's "seconds", and is then what the job says."""

    def work(job: dict, stop: threading.Event) -> dict:
        note(folder, "begun", job["row"], os.getpid())
        end = time.monotonic() + job.get("seconds", 0)
        while time.monotonic() < end:
            if stop.wait(0.02):
                note(folder, "left", job["row"], os.getpid())
                return {"status": "left"}
        note(folder, "ended", job["row"], os.getpid())
        if job.get("fails") and Path(job["fails"]).exists():
            return {"status": "failed", "output": None, "error": "it failed", "exit_code": 1, "halt": job.get("halt")}
        return {"status": "done", "output": f"out-{job['row']}.mp4", "pid": os.getpid(), "error": None, "exit_code": 0}

    return work


def tell(change: dict) -> None:
    """A line of JSON."""
    print(json.dumps(change), flush=True)  # noqa: T201 - whoever started this reads it


def main(folder: str, *words: str) -> None:
    """Work, hastily."""
    queue.POLL, workers.BEAT = 0.1, 0.2
    told = dict(word.split("=", 1) for word in words)
    logging.getLogger("runway_node").addHandler(logging.NullHandler())  # as the program does
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Durable(load_settings(), version=told.get("version", "rows-1")) as durable:
        serve(
            durable,
            worker(Path(folder)),
            at_once=int(told.get("at_once", 2)),
            stop=stop,
            until_done=told.get("until_done"),
            on_change=tell,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
