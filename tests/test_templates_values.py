"""Vars, and the values that templates are written with: times, colours, places; typed, bounded, put in place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runway_node.templates import Places, Source, TemplateError
from runway_node.templates.declared import TYPES, fill, values_of
from runway_node.templates.values import Spot, color, seconds, spot


def var(**fields):
    return TYPES[fields["type"]].model_validate(fields)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 0), (1.5, "3/2"), (0.1, "1/10"), ("0.1", "1/10"), ("1.5s", "3/2"), ("500ms", "1/2"), ("2m", 120),
        ("2 min", 120), ("1h", 3600), ("1/3s", "1/3"), (" 5S ", 5), (".5", "1/2"), ("5.", 5), ("1:02.5", "125/2"),
        ("00:01:02.500", "125/2"), ("90:00", 5400), ("24:00:00", 86400), (Fraction(1001, 24000), "1001/24000"),
    ],
)  # fmt: skip
def test_a_time_is_exact(value, wanted):
    """However it is written, it is a fraction: no float is on the way."""
    assert seconds(value) == Fraction(wanted)


@pytest.mark.parametrize(
    "value",
    [
        -1, "-1s", "1s2", "", " ", "s", "1:60", "1:61:00", "1:2:3:4", "1/0s", "1//2", "1e3", "25h", 86401, float("inf"),
        float("nan"), True, None, [], {}, "1,5", "1:-5", "9" * 5000, "1" * 9 + "h", "1 s s", "\u00bd", "0x10",
    ],
    ids=range(27),
)  # fmt: skip
def test_what_is_no_time_is_refused(value):
    """A sign, a unit twice, sixty seconds, a division by nothing, more than a day."""
    with pytest.raises(ValueError, match="is no time"):
        seconds(value)


@given(st.fractions(0, 3600, max_denominator=120_000))
def test_a_fraction_is_read_back(value):
    """A time written as a fraction is that fraction."""
    assert seconds(f"{value.numerator}/{value.denominator}s") == value


@pytest.mark.parametrize("value", ["white", "WHITE", "#fff", "#ffffff", "#00000099", "rgb(1,2,3)"])
def test_a_colour_is_taken(value):
    """Names and hexadecimals are colours."""
    assert color(value) == value


WRONG_COLOURS = ["", "dusky", "#ff", "#gggggg", 5, None, "rgb(1)", "hsl(" + "1" * 100_000, "a" * 10**6]


@pytest.mark.parametrize("value", WRONG_COLOURS, ids=range(len(WRONG_COLOURS)))
def test_what_is_no_colour_is_refused(value):
    """Others are not, however long."""
    with pytest.raises(ValueError, match="is no colour"):
        color(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("center", Spot("center", "center")), ("top-left", Spot("left", "top")), ("left-top", Spot("left", "top")),
        ("bottom", Spot("center", "bottom")), ("Center-Right", Spot("right", "center")), ([5, -3.5], Spot(5, -3.5)),
        (["10%", "bottom"], Spot("10%", "bottom")), (("center", "80.5%"), Spot("center", "80.5%")),
    ],
)  # fmt: skip
def test_a_place_is_read(value, wanted):
    """Words, pixels, shares."""
    assert spot(value) == wanted


@pytest.mark.parametrize(
    "value",
    ["", "middle", "left-right", "top-bottom", "top-top", "a-b-c", [], [1], [1, 2, 3], [True, 1], ["top", "left"], {},
     [10**9, 1], ["1e5%", 1], [None, 1], 5],
)  # fmt: skip
def test_what_is_no_place_is_refused(value):
    """Both sides at once, a word of the other direction, one number, a million pixels."""
    with pytest.raises(ValueError, match="is no place"):
        spot(value)


@pytest.mark.parametrize(
    ("fields", "value", "wanted"),
    [
        ({"type": "string"}, "a", "a"), ({"type": "string"}, 12, "12"),
        ({"type": "string", "choices": ["a"]}, "a", "a"),
        ({"type": "number"}, "1.5", 1.5), ({"type": "number"}, 2, 2.0), ({"type": "integer"}, " 7 ", 7),
        ({"type": "integer"}, "-7", -7), ({"type": "boolean"}, "Yes", True), ({"type": "boolean"}, 0, False),
        ({"type": "duration"}, "1:30", Fraction(90)), ({"type": "color"}, "red", "red"),
        ({"type": "path"}, " a.mp4 ", "a.mp4"), ({"type": "path"}, Path("a.mp4"), Path("a.mp4")),
    ],
)  # fmt: skip
def test_a_value_has_its_type(fields, value, wanted):
    """A cell of a table is text; the var makes of it what it is."""
    found = var(**fields).check(value)
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"type": "string", "max_length": 3}, "abcd"), ({"type": "string", "min_length": 2}, "a"),
        ({"type": "string"}, "a" * 1001), ({"type": "string"}, True), ({"type": "string"}, ["a"]),
        ({"type": "string", "choices": ["a"]}, "b"), ({"type": "number"}, "x"), ({"type": "number"}, "nan"),
        ({"type": "number"}, "inf"), ({"type": "number"}, True), ({"type": "number", "min": 0}, -0.1),
        ({"type": "number"}, "9" * 10_000), ({"type": "integer"}, "1.0"), ({"type": "integer"}, 1.0),
        ({"type": "integer"}, True), ({"type": "integer"}, "9" * 10_000), ({"type": "integer", "max": 3}, 4),
        ({"type": "boolean"}, "maybe"), ({"type": "boolean"}, 2), ({"type": "duration"}, "soon"),
        ({"type": "duration", "min": "1s"}, "500ms"), ({"type": "color"}, "dusky"), ({"type": "path"}, ""),
        ({"type": "path"}, "a\0b"), ({"type": "path"}, 5),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(fields, value):
    """Bounds, choices and types hold for every value."""
    with pytest.raises(ValueError, match=r"."):
        var(**fields).check(value)


VARS = {
    "clip": var(type="path"), "look": var(type="string", default="dusk"), "name": var(type="string"),
    "long": var(type="duration", default="2s"),
}  # fmt: skip


def test_a_default_stands_in():
    """What is not given, or is an empty cell, is the default; text without a default may be empty."""
    found = values_of(VARS, {"clip": "a.mp4", "look": "", "name": "", "long": ""})
    assert found == {"clip": "a.mp4", "look": "dusk", "name": "", "long": 2}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"name": "x"}, "the var clip has no value"),
        ({"clip": "", "name": "x"}, "the var clip has no value"),
        ({"clip": "a", "name": "x", "lok": "y"}, "there is no var 'lok'; did you mean look?"),
        ({"clip": "a", "name": "x", "zzz": "y"}, "there is no var 'zzz'; there are clip, look, name, long"),
        ({"clip": "a", "name": "x", "long": "y"}, "long: 'y' is no time"),
    ],
)
def test_a_wrong_value_is_told_by_name(given, what):
    """A missing one, one for no var, one of another type."""
    with pytest.raises(TemplateError) as caught:
        values_of(VARS, given)
    assert what in str(caught.value)


def test_a_column_that_is_nearly_a_var_is_named():
    """Other columns of a table are left alone, but a likely typo is said."""
    with pytest.raises(TemplateError, match=r"the var clip has no value; is it clips\?"):
        values_of(VARS, {"clips": "a", "name": "x", "note": "y"}, loose=True)


def test_a_whole_value_keeps_its_type():
    """`${x}` alone is the value itself, in a list too."""
    values = {"n": 1.5, "b": True, "d": Fraction(1, 3), "p": Path("f/a.mp4"), "s": "${n}"}
    tree = {name: f"${{{name}}}" for name in values} | {"list": ["${n}", "${p}"]}
    assert fill(tree, values) == {**values, "list": [1.5, Path("f/a.mp4")]}


def test_a_value_within_text_is_written_out():
    """Numbers are short, truths lower, a file is its name; `$$` is a dollar, and a lone one stays."""
    values = {"n": 2.0, "b": True, "d": Fraction(1, 2), "p": Path("f/a.mp4"), "s": "x"}
    assert fill("${n}-${b}-${d}-${p}-${s} ", values) == "2-true-0.5-a-x "
    assert fill("$$5 $5 $ $${s} $$${s}", values) == "$5 $5 $ ${s} $x"


def test_a_value_cannot_become_structure():
    """What is put in is not read again: neither as YAML nor as another var."""
    hostile = '"}, {type: trim} ${secret}\n  - a: 1'
    assert fill({"a": ["${s}", "x ${s}"]}, {"s": hostile, "secret": "key"}) == {"a": [hostile, f"x {hostile}"]}


@given(st.text(max_size=30), st.text(max_size=30))
def test_dollars_are_kept_apart(before, value):
    """Whatever stands around it, text with its dollars doubled comes out as it was, the value in it untouched."""
    assert fill(f"{before.replace('$', '$$')}<${{v}}>", {"v": value}) == f"{before}<{value}>"


def test_a_keys_dollar_is_left_alone():
    """Only values are filled."""
    assert fill({"${a}": "${a}"}, {"a": 1}) == {"${a}": 1}


@pytest.mark.parametrize("default", ["../a.mp4", "/etc/passwd", "~/a.mp4", "https://example.com/a.mp4", "//host/a.mp4"])
def test_a_default_file_is_the_templates_own(tmp_path, default):
    """A path that the template holds leads nowhere but beside it, even where a person's own may."""
    text = f'version: 1\nvars: {{clip: {{type: path, default: "{default}"}}}}\nsteps: [{{type: trim, in: "${{clip}}"}}]'
    with pytest.raises(TemplateError, match="clip: "):
        Source(text, tmp_path).values({}, Places(base=tmp_path, anywhere=True))


def test_a_given_file_is_looked_for_where_it_was_given(tmp_path):
    """A value starts from the folder of who gave it, a default from the template's."""
    made = "vars: {a: {type: path}, b: {type: path, default: b.mp4}}\nsteps: [{type: concat, in: ['${a}', '${b}']}]"
    text = f"version: 1\n{made}"
    for place in ("rows/a.mp4", "t/b.mp4"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).touch()
    found = Source(text, tmp_path / "t").values({"a": "a.mp4"}, Places(base=tmp_path / "rows"))
    assert found == {"a": tmp_path / "rows" / "a.mp4", "b": tmp_path / "t" / "b.mp4"}
