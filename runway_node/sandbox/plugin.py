"""The pytest plugin: one fixture. Every pytest run of a project loads this file, so it imports pytest and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..settings import Provider, Settings
    from .sandbox import Sandbox


class PytestSandbox:
    """What `runway_sandbox` gives: where the server is, the sandbox behind it, and settings that point there."""

    def __init__(self, url: str, sandbox: Sandbox, env: dict[str, dict[str, str]], folder: Path) -> None:
        self.url = url
        self.sandbox = sandbox
        self._env = env
        self._folder = folder

    def env(self, provider: Provider) -> dict[str, str]:
        """The two environment variables that point a client at it."""
        return dict(self._env[provider])

    def settings(self, provider: Provider, **values: Any) -> Settings:  # load_settings checks them
        """Settings for *provider*, pointed here, with a data folder of this test and 0.05 s between polls."""
        from ..settings import load_settings  # see the head of this file

        key, url = self._env[provider].values()
        prefix = "cometapi" if provider == "cometapi" else "runway"
        ours = {"provider": provider, "data_dir": self._folder / "data", "poll_interval": 0.05}
        return load_settings(**{**ours, f"{prefix}_key": key, f"{prefix}_base_url": url, **values})


@pytest.fixture
def runway_sandbox(tmp_path: Path) -> Iterator[PytestSandbox]:
    """A served sandbox of this test's own; without the extra it fails, naming what to install."""
    from . import Sandbox, serve

    folder = tmp_path / "runway-sandbox"
    sandbox = Sandbox(folder=folder / "server")
    try:
        with serve(sandbox) as served:
            env = {"cometapi": served.env("cometapi"), "runway": served.env("runway")}
            yield PytestSandbox(served.url, sandbox, env, folder)
    finally:
        sandbox.close()
