"""Which files a template, a row and a flag may name: each only below the folders that whoever wrote it answers for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..settings import is_remote
from .problems import TemplateError, near, said


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Folders that file names are taken from.

    Args:
        base: What a relative name starts from.
        allowed: Folders, beside `base`, that a name may lead to.
        mend: What is told where it leads elsewhere.
        remote: Beginnings of s3://BUCKET/PREFIX that a name may have.
        anywhere: A person typed the names: they may lead anywhere.

    """

    base: Path
    allowed: Sequence[Path] = ()
    remote: Sequence[str] = ()
    mend: str = ""
    anywhere: bool = False

    def value(self, name: str | Path) -> Path | str:
        """The file, or as it is an s3://BUCKET/NAME that may be named.

        Raises:
            TemplateError: As `find`.

        """
        text = str(name)
        may = self.anywhere or any(text.startswith(f"{one.rstrip('/')}/") for one in self.remote)
        return text if is_remote(text) and may else self.find(name)

    def find(self, name: str | Path) -> Path:
        """The file, absolute; symbolic links are followed before it is judged.

        Raises:
            TemplateError: It is a URL, or lies elsewhere.

        """
        text = str(name)
        if "://" in text:
            raise TemplateError(f"{said(text)} is a URL: a file is wanted", "Fetch it first")
        # A share of another computer ("\\\\host\\share") would be asked for by looking where it leads.
        if text.startswith(("~", "\\\\", "//")) and not self.anywhere:
            raise TemplateError(f"{said(text)} leads out of {self.base}", self.mend)
        try:
            path = (self.base / Path(text).expanduser()).absolute()
            real = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise TemplateError(f"{said(text)} is no file's name ({error})") from None
        roots = [self.base, *self.allowed]
        if not self.anywhere and not any(real.is_relative_to(root.resolve()) for root in roots):
            raise TemplateError(f"{said(text)} leads out of {self.base}", self.mend)
        return path


def is_there(path: Path) -> bool:
    """Whether a file is there; a name that the system cannot bear names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


MOST_LOOKED_AT = 10_000


def near_file(path: Path) -> str | None:
    """The file in the same folder whose name is most like that of one that is not there."""
    try:
        names = [one.name for one in itertools.islice(path.parent.iterdir(), MOST_LOOKED_AT) if one.is_file()]
    except (OSError, ValueError):
        return None
    return near(path.name, names)


def no_file(path: Path) -> TemplateError:
    """The error for a file that is not there."""
    found = near_file(path)
    what = f"there is no file {said(path.name)} in {path.parent}"
    return TemplateError(f"{what}; did you mean {found}?" if found else what, "" if found else "Check its name")


def of_template(folder: Path) -> Places:
    """For names that the template itself holds."""
    return Places(base=folder, mend="Put the file beside the template, or give it as the value of a path var")
