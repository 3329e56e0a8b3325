"""What `render` is asked for: its template, rows, places and names, from the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WrongUse
from ..settings import is_remote

if TYPE_CHECKING:
    from ..batch import Asked, Row
    from ..templates import Source


def asked_for(
    source: Source, sets: Sequence[str], rows: Path | None, output: str | None, media: Sequence[str], **how: Any
) -> Asked:
    """All that is asked for.

    Raises:
        WrongUse: A flag, a column or the output's name is wrong.
        TemplateError: The rows cannot be read.

    """
    from ..batch import Asked, Row, read_rows
    from ..templates import Places

    typed = Places(base=Path.cwd(), anywhere=True)
    base = source.folder if rows is None else rows.absolute() if rows.is_dir() else rows.absolute().parent
    needed = [name for name, var in source.vars.items() if var.type == "path" and var.default is None]
    allowed = [Path.cwd() / folder for folder in media if not is_remote(folder)]
    mend = f"Put the file below {base}, or allow its folder: --media DIR"
    # Rows have a folder of their own: their films among the sources would be hard to tell from them.
    usual = Path.cwd() if rows is None else Path.cwd() / f"{source.name}-out"
    outputs, name = _where(output or f"{usual}/", single=rows is None)
    table = [Row(1, 0, {})] if rows is None else read_rows(rows, needed[0] if len(needed) == 1 else None)
    if rows is not None and not rows.is_dir():
        _check_columns(source, table)
    if rows is not None and rows.is_dir() and rows.resolve() == Path(outputs).resolve():
        table = _clips_of(outputs, table)
    given = _sets(source, sets, typed)
    _check_missing(source, rows, table, given)
    return Asked(
        source=source, rows=table,
        places=Places(base=base, allowed=allowed, remote=list(filter(is_remote, media)), mend=mend),
        given=given,
        outputs=outputs, name=name, **how,
    )  # fmt: skip


def _check_columns(source: Source, table: Sequence[Row]) -> None:
    """Refuse a column that is nearly a var which no column is, or that can be none: a default would hold for all."""
    from ..batch.rows import TOLD
    from ..templates.problems import near

    own = next((name for name in TOLD if name in source.vars), None)
    if own is not None:
        raise WrongUse(f"No row can give the var {own!r}: results.csv has a column of that name", "Rename the var")
    columns = dict.fromkeys(name for row in table for name in row.cells)
    missing = [name for name in source.vars if name not in columns]
    for column in columns:
        if column not in source.vars and (like := near(column, missing)):
            raise WrongUse(f"The column {column!r} is no var", f"Name it {like}; other columns may be there")


def _check_missing(source: Source, rows: Path | None, table: Sequence[Row], given: dict[str, Any]) -> None:
    """Refuse a table without a column that each row would lack."""
    columns = {name for row in table for name in row.cells}
    missing = [name for name, var in source.vars.items() if var.default is None and name not in columns | set(given)]
    if not missing:
        return
    sets = " ".join(f"--set {name}=..." for name in missing)
    what = f"the var{'s' * (len(missing) > 1)} {', '.join(missing)}"
    if rows is None or rows.is_dir():
        raise WrongUse(f"{what[0].upper()}{what[1:]} must be given", f"Add {sets}")
    raise WrongUse(f"{rows.name} has no column for {what}", f"Add it, or give one value for all rows: {sets}")


def _clips_of(outputs: str, table: list[Row]) -> list[Row]:
    """The rows of a folder that results go to as well: results are no clips."""
    from ..batch import Row
    from ..batch.records import Records

    records = Records(outputs)
    clips = [row.cells for row in table if not any(records.untouched(str(name)) for name in row.cells.values())]
    if not clips:
        raise WrongUse(f"{outputs} holds no clip, only results", "Choose another folder for the rows")
    return [Row(number, 0, cells) for number, cells in enumerate(clips, 1)]


def _where(output: str, *, single: bool) -> tuple[str, str | None]:
    """The folder or bucket, and for a single render the name in it, where it is given."""
    from ..templates.template import SUFFIXES

    folder = is_remote(output) or Path(output).is_dir() or output.endswith("/")
    ending = "" if folder else Path(output).suffix.lower()
    if single and ending and ending not in SUFFIXES:
        raise WrongUse(f"-o {output} ends in none of {', '.join(SUFFIXES)}", "For a folder of that name, add a slash")
    whole = output.rstrip("/") if is_remote(output) else str(Path(output).expanduser().absolute())
    if not whole.lower().endswith(SUFFIXES) or Path(whole).is_dir():
        return whole, None
    if not single:
        raise WrongUse(f"-o {output} names a file, and there are rows", "Name a folder")
    if is_remote(output):
        parent, _, name = whole.rpartition("/")
        return parent, name
    return str(Path(whole).parent), Path(whole).name


def _sets(source: Source, sets: Sequence[str], typed: Any) -> dict[str, Any]:
    """The values of `--set`; files are taken from where the command runs."""
    from ..templates.declared import check_given

    given: dict[str, Any] = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals:
            raise WrongUse(f"--set {text!r} is not NAME=VALUE", "Write --set title=Hello")
        given[name.strip()] = value
    check_given(source.vars, given)
    return {
        name: typed.value(value) if source.vars[name].type == "path" and value else value
        for name, value in given.items()
    }
