"""The served sandbox starts fast, stops clean, and is a pytest fixture."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from runway_node.errors import SettingsError
from runway_node.sandbox import Fault, Sandbox, serve

pytestmark = pytest.mark.slow


def test_starts_and_stops():
    """It is up within half a second, on loopback, and its threads and folder are gone afterwards."""
    before = set(threading.enumerate())
    begun = time.monotonic()
    with serve() as served:
        assert time.monotonic() - begun < 0.5
        assert served.url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{served.url}/_sandbox/state").status_code == 200
        folder = served.sandbox.folder
    assert not folder.exists()
    assert set(threading.enumerate()) <= before


def test_env_names_the_two_variables():
    """Each provider has its two variables."""
    with serve(key="other") as served:
        assert served.env("runway") == {"RUNWAYML_API_SECRET": "other", "RUNWAYML_BASE_URL": served.url}
        assert served.env("cometapi") == {"COMETAPI_KEY": "other", "COMETAPI_BASE_URL": served.url}


def test_taken_port():
    """A port that is taken is one clear line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="cannot be used"), serve(port=taken.getsockname()[1]):
            pass


def test_wrong_option():
    """A wrong option is one clear line that names it."""
    with pytest.raises(SettingsError, match="concurrency"):
        Sandbox(concurrency=0)


def test_stops_while_an_answer_stalls():
    """Stopping does not wait for a stalled answer."""
    stall = Fault(where="account", kind="stall", seconds=60)
    with serve(faults=[stall]) as served, pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{served.url}/v1/organization", timeout=0.2)
    begun = time.monotonic()
    with (
        serve(faults=[stall]) as served,
        socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as line,
    ):
        line.sendall(b"GET /v1/organization HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
    assert time.monotonic() - begun < 3


def test_plugin_loads_nothing_heavy():
    """Every pytest run of a user's project imports the plugin: it must cost nothing."""
    code = (
        "import sys, runway_node.sandbox.plugin;"
        "heavy = {'starlette', 'uvicorn', 'av', 'httpx', 'moviepy', 'numpy', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fixture(tmp_path):
    """The fixture serves a sandbox and gives settings for either provider."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('provider', ['runway', 'cometapi'])\n"
        "def test_it(runway_sandbox, provider):\n"
        "    settings = runway_sandbox.settings(provider)\n"
        "    assert settings.base_url(provider) == runway_sandbox.url\n"
        "    assert settings.key(provider).get_secret_value() == 'sandbox-key'\n"
        "    assert settings.poll_interval == 0.05\n"
        "    assert settings.choose_provider() == provider\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "runway_node.sandbox.plugin", str(tmp_path)]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_missing_extra():
    """Without the extra one line says what to install."""
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from runway_node.errors import SettingsError\n"
        "import runway_node.sandbox\n"
        "try: runway_node.sandbox.Sandbox\n"
        "except SettingsError as error: assert 'runway-node[sandbox]' in str(error)\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
