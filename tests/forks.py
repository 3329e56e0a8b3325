"""Commands in processes of their own that start at once: forked from one that has loaded everything. Only tests run it.

A line of JSON on stdin starts one and is answered with its process id; an empty line is answered with the exit codes of
those that ended since.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
HASTE = {"waiting.GRACE": 0.3, "slots.SLOT_PAUSE": 0.1, "obtaining.LOOK_AGAIN": 0.1}
"""Seconds that are waited for more patiently where it is real."""


class Forks:
    """The process that forks; with the end of its block all of them are ended."""

    def __init__(self, said: Path) -> None:
        self._said = said
        self._codes: dict[int, int] = {}
        self._begun: set[int] = set()

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(self._said)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.living():
            os.kill(pid, signal.SIGKILL)
        self._server.communicate()

    def start(self, **what: Any) -> int:
        """Start a command (see `work`); its process id."""
        pid = int(self._ask(json.dumps(what, default=str)))
        self._begun.add(pid)
        return pid

    def code(self, pid: int) -> int | None:
        """Its exit code, minus a signal's number, or None while it lives."""
        self._codes |= {int(one): code for one, code in json.loads(self._ask("")).items()}
        return self._codes.get(pid)

    def living(self) -> list[int]:
        """Those that have not ended."""
        return [pid for pid in self._begun if self.code(pid) is None]

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


def work(verb: str, point: str, settings: dict[str, Any], how: dict[str, Any]) -> None:
    """One command: run, resume or gc, killed at a point of crash.py, if one is named."""
    import crash

    import runway_node
    from runway_node.models import Policy, Step
    from runway_node.settings import load_settings

    for name, value in HASTE.items():
        module, _, attribute = name.partition(".")
        setattr(sys.modules[f"runway_node.engine.{module}"], attribute, value)
    if point:
        crash.arm(crash.POINTS[point], signal.SIGKILL)
    told = load_settings(**settings)
    if verb == "gc":
        runway_node.gc(dry_run=False, settings=told)
    elif verb == "resume":
        found = runway_node.resume(settings=told)
        sys.exit(any(one.error for one in found))
    else:
        policy = Policy(**how.pop("policy"))
        runway_node.run(how["source"], Step(prompt=how["prompt"]), how["out"], policy=policy, settings=told)


def fork(told: dict[str, Any], said: str) -> int:
    """Start the command in a child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, file), (2, file)):
            os.dup2(target, number)
        work(**told)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # noqa: BLE001 - a process ends here
        code = getattr(error, "exit_code", 99)
        os.write(2, f"{told}: {type(error).__name__}: {error}\n".encode())
    os._exit(code)


def ended() -> dict[int, int]:
    """Exit codes of the children that ended since the last time."""
    found = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found[pid] = os.waitstatus_to_exitcode(status)


def main(said: str) -> None:
    """Serve until stdin ends."""
    import runway_node.engine  # noqa: F401 - loaded once, for all children

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child hears it once it can end by it

    for line in sys.stdin:
        answer = str(fork(json.loads(line), said)) if line.strip() else json.dumps(ended())
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
