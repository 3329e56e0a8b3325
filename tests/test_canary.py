"""A key like no other word: whatever goes wrong, neither it nor a link's signature is left anywhere."""

from __future__ import annotations

import logging

import pytest

from runway_node.cli import main
from runway_node.engine import waiting
from runway_node.sandbox import KINDS, Fault, Sandbox, serve

CANARY = "canary-7b2e91-key"
SIGNATURE = b"_jwt="
DATABASE_PASSWORD = "canary-pass-55"

FAULTS = [(where, kind) for kind, row in KINDS.items() for where in sorted(row.where)]


class Trail:
    """Runs the program over and over in one data folder, and keeps all that it says."""

    def __init__(self, clip, folder, capfd, caplog):
        self.clip, self.folder, self.capfd, self.caplog = clip, folder, capfd, caplog
        self.said = []
        caplog.set_level(logging.DEBUG)

    def __call__(self, *args):
        with pytest.raises(SystemExit):
            main([str(arg) for arg in args])
        self.said += self.capfd.readouterr()
        self.said += [f"{record.getMessage()} {record.exc_text or ''}" for record in self.caplog.records]
        self.caplog.clear()

    def order(self, number):
        out = self.folder / f"out-{number}.mp4"
        self("run", self.clip, "-p", f"dusk {number}", "-o", out, "--delivery", "upload", "--debug", "--json")

    def found(self, word):
        """Where *word* stands: in what was said, or in a file below the folder."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert any(path.name == "ledger.db" for path in files)
        told = [line for line in self.said if word.decode() in line]
        return told + [path for path in files if word in path.read_bytes()]


@pytest.fixture
def trail(clip, tmp_path, monkeypatch, capfd, caplog):
    """A sandbox that takes any key, and the program with the canary for its key."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    folder = tmp_path / "all"
    folder.mkdir()
    sandbox = Sandbox(key=None, ready=clip, seconds_per_task=0.05)
    with serve(sandbox) as served:
        trail = Trail(clip, folder, capfd, caplog)
        trail.sandbox = sandbox
        for name, value in {
            "RUNWAYML_API_SECRET": CANARY,
            "RUNWAYML_BASE_URL": served.url,
            "RUNWAY_NODE_DATA_DIR": str(folder / "data"),
            "RUNWAY_NODE_POLL_INTERVAL": "0.03",
        }.items():
            monkeypatch.setenv(name, value)
        yield trail
    sandbox.close()


@pytest.mark.slow
def test_a_key_and_a_signature_are_nowhere(trail):
    """Not in the data folder, the ledger, logs, the results' metadata, stdout or stderr, after every fault."""
    for number, (where, kind) in enumerate(FAULTS):
        trail.sandbox.faults.clear()
        trail.sandbox.add(
            Fault(where=where, kind=kind, seconds=0.1, message=f"no: {CANARY} https://x.example/a?_jwt=b")
        )
        trail.order(number)
    for verb in ("tasks", "takes", "resume", "spend", "gc", "doctor"):
        trail(verb, "--json", "--debug")
    assert trail.found(b"dusk 0")  # what is there is found
    assert (trail.found(CANARY.encode()), trail.found(SIGNATURE)) == ([], [])


def test_a_database_s_password_is_not_told(trail, monkeypatch):
    """A database that cannot be reached is named without its password."""
    monkeypatch.setenv("RUNWAY_NODE_DATABASE_URL", f"postgresql://me:{DATABASE_PASSWORD}@127.0.0.1:9/none")
    trail("run", trail.clip, "-p", "dusk", "--debug")
    assert any("RUNWAY_NODE_DATABASE_URL" in line for line in trail.said)
    assert not [line for line in trail.said if DATABASE_PASSWORD in line]
