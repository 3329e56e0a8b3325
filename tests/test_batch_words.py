"""What is wrong with rows is told by the column it comes from, and by whose line a line is."""

from __future__ import annotations

import pytest

from .batches import desk_fixture  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("d.mp4", "dusk", "1"), "clip: there is no file 'd.mp4' in "),
        (("clop.mp4", "dusk", "1"), "did you mean clip.mp4?"),
        (("words.txt", "dusk", "1"), "clip: look.yaml: steps[0].in, line 9: words.txt cannot be read as a video"),
        (("a.mp4", "", "99"), "seconds: look.yaml: steps[0].duration, line 9: it ends at 99 s, the clip ends at 2 s"),
        (("a.mp4", "dusk", "long"), "seconds: 'long' is no time"),
        (("", "dusk", "1"), "the var clip has no value. Give it one, such as --set clip=..."),
    ],
    ids=["missing", "near", "no video", "too long", "no time", "empty"],
)
def test_a_bad_row_names_its_column(desk, row, told):
    """The column comes first, and a line is the template's by its name."""
    (desk.folder / "clip.mp4").touch()
    (desk.folder / "words.txt").write_text("words")
    assert desk(row, heads=("clip", "look", "seconds"), flags=["--dry-run"])[0] == 2
    (line,) = (line for line in desk.noted.splitlines() if line.startswith("row 1: "))
    assert told in line
    assert told[:5] in line.removeprefix("row 1: ")[:5] or told.startswith("did")


def test_a_step_that_takes_a_value_amiss_names_its_var(desk):
    """An empty title is the title's fault, in our words."""
    text = desk.template.read_text().replace("steps:\n", "steps:\n  - {type: text, in: cut, id: t, text: '${look}'}\n")
    desk.template.write_text(text.replace(", default: dusk", "").replace("in: cut, prompt", "in: t, prompt"))
    desk(("a.mp4", ""), flags=["--dry-run"])
    assert "row 1: look: look.yaml: steps[0].text, line 9: it is empty" in desk.noted


def test_a_missing_column_is_told_once(desk):
    """Not once a row, and with both ways to mend it."""
    code, _ = desk(("dusk",), ("snow",), heads=("look",), flags=["--dry-run"])
    assert code == 2
    assert "rows.csv has no column for the var clip. Add it, or give one value for all rows: --set clip=..." in (
        " ".join(desk.noted.split())
    )
    assert desk.noted.count("clip=") == 1


def test_a_row_over_a_limit_has_one_mend(desk):
    """What raises the limit is told once."""
    desk(("a.mp4", "dusk"), flags=["--dry-run", "--max-seconds", "1"])
    (line,) = (line for line in desk.noted.splitlines() if line.startswith("row 1: "))
    assert line.count("Raise") + line.count("raise") == 1


def test_a_check_shows_the_vars(desk):
    """Their types, defaults and bounds; and that no file was looked at."""
    vars_ = "  clip: {type: path}\n  n: {type: integer, min: 1, max: 9, default: 3}\n  s: {type: duration, min: 1m}\n"
    text = desk.template.read_text().replace("  clip: {type: path}\n", vars_)
    desk.template.write_text(text)
    code, said, _ = desk.program("template", "check", desk.template)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert code == 0
    assert {"clip path must be given", "n integer 3 1 to 9", "s duration must be given 60 s or more"} <= set(lines)
    assert lines[-1] == "look.yaml is right; no file was looked at, render --dry-run does that"


def test_one_row_is_told_in_the_singular(desk):
    """A row is one row, a call one call."""
    desk(("a.mp4", "dusk"))
    assert "1 row; 1 paid call, 56 credits" in desk.noted
    assert "1 of 1 row done" in desk.noted


def test_a_folder_of_clips_gives_no_other_var(desk):
    """What a folder's clips leave open is given once for all."""
    desk.template.write_text(desk.template.read_text().replace("string, default: dusk", "string"))
    code, _, noted = desk.program("render", desk.template, "--rows", desk.folder, "-o", desk.out, "--dry-run")
    assert code == 2
    assert "The var look must be given. Add --set look=..." in noted
