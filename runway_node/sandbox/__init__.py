"""A local Runway: both protocols over real HTTP, models that really alter the video, faults as data.

```python
from runway_node.sandbox import Fault, Sandbox, serve

with serve(Sandbox(faults=[Fault(where="create", kind="reset")])) as served:
    os.environ.update(served.env("runway"))
```
Nothing third-party is imported until a name is used; then the extra is needed: `pip install "runway-node[sandbox]"`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import SettingsError

if TYPE_CHECKING:
    from .faults import FAILURES, KINDS, Fault, Faults
    from .sandbox import Options, Sandbox
    from .server import Served, serve

__all__ = ["FAILURES", "KINDS", "Fault", "Faults", "Options", "Sandbox", "Served", "serve"]

_ROOMS = {
    "FAILURES": "faults", "KINDS": "faults", "Fault": "faults", "Faults": "faults", "Options": "sandbox",
    "Sandbox": "sandbox", "Served": "server", "serve": "server",
}  # fmt: skip
_EXTRA = {"starlette", "uvicorn", "multipart", "python_multipart"}


def __getattr__(name: str) -> object:
    """The public names, loaded when first used.

    Raises:
        SettingsError: The extra is not installed.

    """
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        for needed in ("starlette", "uvicorn", "python_multipart"):
            importlib.import_module(needed)
        found: object = getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise SettingsError("The sandbox is not installed", 'pip install "runway-node[sandbox]"') from None
    return found
