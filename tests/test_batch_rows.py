"""Rows and names: what a table may hold, and what becomes of it; nothing is rendered here."""

from __future__ import annotations

import json
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runway_node.batch.names import LONGEST, collisions, output_name
from runway_node.batch.rows import MOST_ROWS, read_rows
from runway_node.templates import TemplateError


@pytest.fixture
def table(tmp_path):
    """Writes a table: `table(text)`, or `table(text, ".jsonl")`."""

    def write(text, suffix=".csv"):
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def cells(path):
    return [row.cells for row in read_rows(path)]


def test_a_table_of_a_spreadsheet_is_read(table):
    """A byte order mark, quoted commas and line ends within a cell, and empty lines are what spreadsheets write."""
    path = table('\ufeffclip,words\r\na.mp4,"one, two\r\nthree"\r\n\r\nb.mp4,\r\n')
    assert cells(path) == [{"clip": "a.mp4", "words": "one, two\r\nthree"}, {"clip": "b.mp4", "words": ""}]


def test_a_row_knows_its_line(table):
    """Rows are numbered from 1, and their lines are those of the file."""
    rows = read_rows(table("clip\na\n\nb\n"))
    assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 4)]


def test_a_short_row_has_empty_cells(table):
    """Cells that a row lacks are empty."""
    assert cells(table("a,b\n1\n")) == [{"a": "1", "b": ""}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2,3\n", "line 2: more cells than columns"),
        ("a,a\n1,2\n", "the column 'a' is there twice"),
        ("a,\n1,2\n", "a column has no name"),
        ('a\n"1\n', "line 2"),
        ("a\n", "holds no row"),
        (b"a\n\xff\xfe\n", "is not UTF-8"),
        ("a\n" + "x" * 70_000, "a cell of more than 64 KB"),
        (",".join(f"c{n}" for n in range(300)) + "\n1\n", "more than 200 columns"),
    ],
    ids=["cells", "twice", "unnamed", "quote", "empty", "bytes", "large", "wide"],
)
def test_a_wrong_table_says_where(table, text, told):
    """What is wrong with a table is told with its line."""
    with pytest.raises(TemplateError, match=told):
        read_rows(table(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1}\n[1]\n', "line 2: a row is one JSON object"),
        ('{"a": 1, "a": 2}\n', "a name is there twice"),
        ('{"a": [1]}\n', "no single value"),
        ('{"a": ' + "[" * 100_000 + "\n", "line 1"),
        ("{" + '"a": 1' + "\n", "no JSON object"),
    ],
    ids=["list", "twice", "nested", "deep", "cut"],
)
def test_wrong_json_lines_say_where(table, text, told):
    """So is what is wrong with JSON lines."""
    with pytest.raises(TemplateError, match=told):
        read_rows(table(text, ".jsonl"))


def test_json_lines_may_hold_a_line_separator(table):
    """U+2028 within a JSON string ends no line."""
    assert cells(table(json.dumps({"a": "x\u2028y"}, ensure_ascii=False), ".jsonl")) == [{"a": "x\u2028y"}]


def test_a_million_rows_are_refused_with_bounded_memory(table):
    """A table of a million rows is refused, and takes no more than a few times its bytes of memory."""
    path = table("a,b\n" + "1,2\n" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(TemplateError, match=f"more than {MOST_ROWS} rows"):
        read_rows(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 12 * path.stat().st_size


def test_a_huge_file_is_not_read(tmp_path):
    """A file of a gigabyte is refused by its size."""
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(TemplateError, match="more than 16 MB"):
        read_rows(path)


@pytest.mark.parametrize(
    ("pattern", "values", "name"),
    [
        ("${clip}-dusk", {"clip": Path("/x/shot one.mov")}, "shot one-dusk.mp4"),
        ("${day}/${clip}", {"day": "mon/tue", "clip": Path("a.mp4")}, "mon_tue/a.mp4"),
        ("${n}", {"n": 3}, "3.mp4"),
        ("at ${t}s", {"t": Fraction(5, 2)}, "at 2.5s.mp4"),
        ("${a}", {"a": "  x. "}, "x.mp4"),
        ("ü", {}, "ü.mp4"),
    ],
)
def test_a_name_is_made_of_vars(pattern, values, name):
    """A name's pattern may have folders, a value never makes one."""
    assert output_name(pattern, values, ".mp4") == name


@pytest.mark.parametrize("value", ["..", ".", "", "CON", "nul", "x" * 300, "com1.txt"])
def test_an_unfit_name_is_refused(value):
    """What is no file's name anywhere is told before anything is paid."""
    with pytest.raises(TemplateError):
        output_name("${a}", {"a": value}, ".mp4")


@given(st.text(max_size=60), st.sampled_from(["${a}", "x-${a}", "d/${a}", "${a}/${a}"]))
def test_no_value_leads_out_of_the_folder(value, pattern):
    """Whatever a value is, the name stays below the folder, in as many folders as the pattern has."""
    try:
        name = output_name(pattern, {"a": value}, ".mp4")
    except TemplateError:
        return
    path = Path("/out", name)
    assert path.resolve() == path
    assert len(path.relative_to("/out").parts) == pattern.count("/") + 1
    assert len(name.encode()) <= LONGEST


def test_names_that_some_disk_takes_for_one_collide():
    """Case and composed letters do not tell two files apart."""
    names = ["A.mp4", "a.mp4", None, "e\u0301.mp4", "\u00e9.mp4", "b.mp4"]
    assert collisions(names) == {0: 1, 1: 0, 3: 4, 4: 3}
