"""Fixtures for all tests: an empty environment, no network but this machine, small clips made once."""

import importlib.util
import os
import signal
import socket
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

PLUGIN = "runway_node.sandbox.plugin"
PREFIXES = ("COMETAPI_", "RUNWAYML_", "RUNWAY_NODE_")


def pytest_configure(config):
    """Load `runway_sandbox` where neither an installed entry point nor `-p` did, and let what is started hear Ctrl-C.

    A shell starts what it puts into the background deaf to it.
    """
    import runway_node.sandbox.plugin as plugin

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, PLUGIN)


def pytest_collection_modifyitems(items):
    """The longest tests begin first: at the end they would run alone, while the other workers have nothing to do."""
    items.sort(key=lambda item: "ten_minutes" not in item.name)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No key, URL or setting of the person who runs the tests; settings file and data folder are the test's own."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUNWAY_NODE_SETTINGS", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("RUNWAY_NODE_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """A connection to any address but loopback fails the test; the list is what was tried."""
    tried = []

    def guarded(honest):
        def connect(self, address):
            inet = self.family in {socket.AF_INET, socket.AF_INET6}
            if inet and not (address[0] == "::1" or address[0].startswith("127.") or address[0] == "localhost"):
                tried.append(address)
                raise AssertionError(f"a test reached for {address}")
            return honest(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
    yield tried
    assert not tried


class Clips:
    """Small clips of any shape, made once each."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, seconds=2, fps="25", size="320x180", *, sound=True, suffix=".mp4"):
        path = self.folder / f"{seconds}-{fps.replace('/', '_')}-{size}-{int(sound)}{suffix}"
        if not path.exists():
            tone = ["-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}"] if sound else []
            video = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={fps}:d={seconds}"]
            codec = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
            program = imageio_ffmpeg.get_ffmpeg_exe()
            subprocess.run([program, "-v", "error", *video, *tone, *codec, str(path)], check=True)
        return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Makes clips: `clips(seconds, fps, size, sound=...)`."""
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def clip(clips):
    """Two seconds of 320x180 at 25 frames per second, with sound."""
    return clips()


@pytest.fixture
def program(capfd):
    """Run the program in this process; gives exit code, stdout and stderr."""
    from runway_node.cli import main

    def call(*args):
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        assert "Traceback" not in err or "--debug" in args
        return ended.value.code or 0, out, err

    return call


@pytest.fixture(scope="session")
def postgres():
    """A real Postgres, started by the first test that needs it."""
    from .postgres import Postgres

    with Postgres() as server:
        yield server


@pytest.fixture
def database(postgres):
    """The URL of an empty Postgres database of this test's own."""
    url = postgres.fresh()
    yield url
    postgres.drop(url)


@pytest.fixture
def raw():
    """Starts raw-socket servers: `raw(script)`, see raw_server.py."""
    # By its path: with --import-mode=importlib the folder is not on sys.path.
    spec = importlib.util.spec_from_file_location("raw_server", Path(__file__).with_name("raw_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    servers = []

    def start(*scripts):
        servers.append(module.RawServer(*scripts))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def seaweed():
    """A real S3 server, started by the first test that needs it."""
    from .seaweed import Seaweed

    with Seaweed() as server:
        yield server
