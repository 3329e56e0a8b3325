"""Files that only their owner may read: made so, and looked at. Nothing here knows what is in them."""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import subprocess
import tempfile
from pathlib import Path


def is_private(path: Path) -> bool:
    """Whether only its owner can read *path*, as far as modes tell; on Windows the access list is not looked at."""
    return os.name != "posix" or not stat.S_IMODE(path.stat().st_mode) & 0o077


def make_private(path: Path) -> bool:
    """Let only its owner read *path*; whether that could be done (a shared or foreign disk may know no owners)."""
    try:
        if os.name == "posix":
            path.chmod(0o600)
            return is_private(path)
        # Never tried on Windows. /inheritance:r drops what the folder gives everybody, /grant:r is then all there is.
        only = f"{getpass.getuser()}:F"
        done = subprocess.run(
            ["icacls", str(path), "/inheritance:r", "/grant:r", only],  # noqa: S607 - Windows' own, on its PATH
            capture_output=True, check=False,
        )  # fmt: skip
    except (OSError, KeyError):
        return False
    return done.returncode == 0


def write_private(path: Path, text: str) -> bool:
    """Replace *path* by *text*, which nobody else can read at any moment; whether that could be made sure."""
    path = path.resolve()  # a link to it, as people who keep their settings elsewhere have, stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600 from the start
    made = Path(name)
    try:
        sure = make_private(made)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            made.unlink()
        raise
    return sure
