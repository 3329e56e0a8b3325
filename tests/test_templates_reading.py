"""A template's text: which YAML and JSON is read, what is refused, and the line that is named."""

from __future__ import annotations

import json
import random

import pytest
import yaml

from runway_node.templates import TemplateError, reading
from runway_node.templates.reading import MOST_BYTES, MOST_DEPTH, MOST_NODES, read


def tree(text):
    return read(text).tree


def refusal(text):
    with pytest.raises(TemplateError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "word",
    ["no", "yes", "on", "off", "y", "n", "NO", "1:30", "012", "0x1f", "0o17", "1_000", "2024-01-01",
     "2024-01-01 10:00:00", ".inf", "-.inf", ".nan", "1e999", "1.2.3", "=", "0.5s", "50%", "+", "1/3", "9" * 40],
)  # fmt: skip
def test_a_plain_word_stays_text(word):
    """What YAML 1.1 would make a truth, a number, a time or a day of is text."""
    assert tree(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+4", 4),
     ("0", 0), ("0.50", 0.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-2.5E-1", -0.25)],
)  # fmt: skip
def test_a_word_of_the_core_schema_has_its_type(word, value):
    """Truths, nothing and decimal numbers are read as such."""
    found = tree(f"a: {word}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("quoted", ["'12'", '"12"', "|-\n  12", ">-\n  12"])
def test_a_quoted_number_is_text(quoted):
    """Quotes and blocks make text of anything."""
    assert tree(f"a: {quoted}") == {"a": "12"}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' is here twice"),
        ("a:\n  b: 1\n  'b': 2", 3, "'b' is here twice"),
        ('{"a": 1,\n "a": 2}', 2, "'a' is here twice"),
        ("a: 1\nb: *c", 2, "alias (*c)"),
        ("a: 1\n*c : 1", 2, "a key is one plain word"),
        ("a: &x 1", 1, "anchor"),
        ("a: &x [1]", 1, "anchor"),
        ("&x a: 1", 1, "a key is one plain word"),
        ("a: 1\nb: !!str 5", 2, "a tag"),
        ("a: !!python/object/apply:os.system [ls]", 1, "a tag"),
        ("a: !mine {b: 1}", 1, "a tag"),
        ("a: ! 12", 1, "a tag"),
        ("!!str a: 12", 1, "a key is one plain word"),
        ("a:\n  <<: {b: 1}", 2, "a merge key"),
        ("? [a, b]\n: 1", 1, "a key is one plain word"),
        ("? {a: b}\n: 1", 1, "a key is one plain word"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: 1\n...\n---\nb: 2", 3, "a second document"),
        ("a:\n\tb: 1", 2, "this is no YAML"),
        ("a: [1, 2\nb: 3", 2, "this is no YAML"),
        ("a: 'open\n\n", 3, "this is no YAML"),
        ("a: @b", 1, "this is no YAML"),
        ("%YAML 3.0\n---\na: 1", 1, "this is no YAML"),
    ],
)
def test_a_refusal_names_the_line(text, line, what):
    """What templates have not is refused where it stands."""
    told = refusal(text)
    assert f"line {line}: " in told
    assert what in told


@pytest.mark.parametrize("text", ["a: \0", "\0", "a: \x07", "a: \x9f", "a: \ud800", "\ufffe"])
def test_letters_that_no_text_has_are_refused(text):
    """A NUL, a control character or half a character is said to be one, on one line."""
    told = refusal(text)
    assert "no YAML" in told or "half" in told
    assert "\n" not in told


@pytest.mark.parametrize("text", ["", " \n", "# only words\n", "---\n", "\ufeff"])
def test_an_empty_text_is_an_empty_tree(text):
    """Nothing written is nothing, and no error of Python's."""
    assert tree(text) is None


@pytest.mark.parametrize("text", ["\ufeffversion: 1", "version: 1\r\n", '\ufeff{\r\n"version": 1}'])
def test_how_an_editor_saved_it_does_not_matter(text):
    """A byte order mark and Windows' line ends are passed over."""
    assert tree(text) == {"version": 1}


def test_json_is_read_as_python_writes_it():
    """Escapes, both halves of a character, tabs and slashes come back as they were."""
    told = {"a": '\U0001f600 \u00e9 \\ud83d\\ude00 / \t\n"', "b": [1, 2.5, True, None, {"c": "\\"}], "\U0001f600": ""}
    assert tree(json.dumps(told)) == told
    assert tree(json.dumps(told, indent="\t")) == told
    assert tree(json.dumps(told).replace("/", "\\/")) == told


def test_half_a_character_is_refused():
    """JSON can hold half a character, text cannot."""
    assert "line 1" in refusal('{"a": "\\ud83d"}')


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_both_loaders_give_the_same(loader, monkeypatch):
    """Where the C library is missing, trees and lines are the same."""
    text = '# words\na: 1\nb:\n  - {c: no, d: "\\u00e9"}\n  - |\n    x\n\n  - \'y\'\ne: 1.50\n'
    first = read(text)
    monkeypatch.setattr(reading, "_LOADER", loader)
    assert read(text) == first


def test_each_value_has_the_line_of_its_key():
    """A value that begins on the next line is found where its key is; one in a list where it stands."""
    lines = read("a:\n  b:\n    - 1\n    -\n      c: 2\nd: [1,\n  2]").lines
    assert {place: line for place, line in lines.items() if place} == {
        ("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 5, ("a", "b", 1, "c"): 5,
        ("d",): 6, ("d", 0): 6, ("d", 1): 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), '{"a":' * (MOST_DEPTH + 1) + "1" + "}" * (MOST_DEPTH + 1),
     "\n".join("  " * depth + "a:" for depth in range(MOST_DEPTH + 2)), "[" * 500_000, '{"a":' * 200_000,
     "- " * 500_000, "a: {" * 200_000, "? " * 500_000],
    ids=["brackets", "json", "blocks", "million", "json-million", "dashes", "braces", "questions"],
)  # fmt: skip
def test_too_deep_is_refused(text):
    """Nesting is counted while it is read: no recursion of Python's, wherever the nesting comes from."""
    told = refusal(text)
    assert f"deeper than {MOST_DEPTH}" in told or "a key is one plain word" in told or "no YAML" in told


def test_the_deepest_is_read():
    """The bound itself is allowed."""
    assert tree("[" * MOST_DEPTH + "1" + "]" * MOST_DEPTH)


@pytest.mark.parametrize("kind", ["list", "mapping", "flow"])
def test_too_many_values_are_refused(kind):
    """So many values are no template; the line says where it became too much."""
    count = MOST_NODES + 10
    many = {
        "list": "- 1\n" * count,
        "mapping": "".join(f"k{number}: 1\n" for number in range(count)),
        "flow": "[" + "1,\n" * count + "]",
    }[kind]
    told = refusal(many)
    assert f"at most {MOST_NODES} values" in told
    assert f"line {MOST_NODES}" in told or f"line {MOST_NODES - 1}" in told


@pytest.mark.parametrize("letter", ["a", "\u00e9", "#"])
def test_too_large_is_refused(letter):
    """A mebibyte is counted in bytes, comments included."""
    assert "at most 1 MiB" in refusal(letter * (MOST_BYTES // len(letter.encode()) + 1))


def test_any_rubbish_is_read_or_refused():
    """Whatever text comes, it gives a tree or our own error."""
    chance = random.Random(20261128)
    parts = ["a", ":", " ", "\n", "-", "[", "]", "{", "}", "'", '"', "\\", "|", ">", "&x", "*x", "!", "%", "#", "?",
             ",", "\t", "\u2028", "\ud83d", "\\ud83d\\ude00", "<<", "---", "..."]  # fmt: skip
    for _ in range(3000):
        text = "".join(chance.choices(parts, k=chance.randint(1, 14)))
        try:
            read(text)
        except TemplateError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most of it is read
