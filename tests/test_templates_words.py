"""What a template is written with: each mistake has its place, its line and the nearest right word."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from runway_node.templates import Source, TemplateError, load, schema

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "example_workflows" / "templates").glob("*.yaml"))
HEAD = """version: 1
vars:
  clip: {type: path}
  look: {type: string, default: dusk}
  long: {type: duration, default: 2s}
"""
FIRST = len(HEAD.splitlines()) + 2
"""The line of the first step."""


@pytest.fixture
def template(tmp_path):
    """Makes a template of steps, one a line, and other lines before them."""
    (tmp_path / "a.mp4").write_bytes(b"")

    def make(*steps, more=""):
        return Source(f"{HEAD}{more}steps:\n" + "".join(f"  - {step}\n" for step in steps), tmp_path)

    return make


def refusal(make, *given, **how):
    with pytest.raises(TemplateError) as caught:
        make(*given, **how)
    told = str(caught.value)
    assert "\n" not in told
    assert "pydantic" not in told
    return told


CLIP = '{id: c, type: trim, in: "${clip}", end: 9}'
VIDEO = 'type: runway.video_to_video, in: "${clip}", prompt: "${look}"'


@pytest.mark.parametrize(
    ("step", "place", "what"),
    [
        (f"{{{VIDEO}, promt: x}}", "promt", "did you mean prompt?"),
        (f'{{{VIDEO}, modle: "${{look}}"}}', "modle", "did you mean model?"),
        (f"{{{VIDEO}, cut_at: sceens}}", "cut_at", "did you mean scenes?"),
        (f"{{{VIDEO}, seed: x}}", "seed", "'x' is wrong: it must be a whole number"),
        (f"{{{VIDEO}, take: 0}}", "take", "0 is wrong: it must be 1 or more"),
        (f"{{{VIDEO}, keyframes: [{{pictur: x}}]}}", "keyframes[0].pictur", "did you mean picture?"),
        (f"{{{VIDEO}, keyframes: [{{picture: x, at: 2}}]}}", "keyframes[0].at", "2 is wrong: it must be 1"),
        (f"{{{VIDEO}, keyframes: [{{at: 1}}]}}", "keyframes[0]", "picture is missing"),
        (f"{{{VIDEO}, range: {{strat: 1s}}}}", "range.strat", "did you mean start?"),
        (f"{{{VIDEO}, range: {{start: 3s, end: 2s}}}}", "range", "no time lies between"),
        (f"{{{VIDEO}, settings: x}}", "settings", "there is no field 'settings'"),
        ("{type: runway.video_to_vide, in: a.mp4}", "type", "did you mean runway.video_to_video?"),
        ("{type: txt, in: a.mp4, text: x}", "type", "did you mean text?"),
        ("{type: zzz}", "type", "there are runway.video_to_video, trim"),
        ("{type: [text]}", "type", "there is no step type"),
        ("{tpye: text}", "", "a step has a type"),
        ("{type: text, in: a.mp4, text: Hello, world, at: 2}", "world",
         """there is no field 'world'. Quote text that holds a comma: text: "Hello, world\""""),
        ("{type: text, in: a.mp4, text: x, fad: }", "fad", "did you mean fade?"),
        ("{type: trim, input: a.mp4}", "input", "did you mean in?"),
        ("{type: trim, in: a.mp4, for: 2}", "for", "did you mean duration?"),
        ("{type: text, in: a.mp4, text: x, start: 2}", "start", "did you mean at?"),
        ("words", "", "a step has a type"),
        ("{type: trim, in: a.mp4, end: 2, duration: 1}", "", "an end or a duration, not both"),
        ("{type: trim, in: a.mp4, start: 1:75}", "start", "'1:75' is no time"),
        ("{type: trim, in: a.mp4, range: {end: 1}}", "range", "a trim is a range itself"),
        ('{type: trim, in: "${clip}", end: "${long}", duration: 1}', "", "an end or a duration, not both"),
        ("{type: trim, in: [a.mp4]}", "in", "is no file's name"),
        ("{type: concat, in: [a.mp4, a.mp4], transition: {type: crossfde}}", "transition.type", "mean crossfade?"),
        ("{type: concat, in: [a.mp4], transition: {duration: -1}}", "transition.duration", "-1 is no time"),
        ("{type: concat, in: [a.mp4], transition: {durations: 1}}", "transition.durations", "did you mean duration?"),
        ("{type: concat, in: a.mp4}", "in", "'a.mp4' is wrong: it must be a list"),
        ("{type: concat, in: []}", "in", "[] is wrong: it must be a list of 1 or more"),
        ("{type: concat, in: [a.mp4], range: {end: 1}}", "range", "give `range` to a step of one"),
        ("{type: concat, in: [a.mp4], fit: covr}", "fit", "did you mean cover?"),
        ("{type: text, in: a.mp4}", "", "text is missing"),
        ("{type: text, in: a.mp4, text: x, color: whit}", "color", "did you mean white?"),
        ("{type: text, in: a.mp4, text: x, position: left-right}", "position", "is no place"),
        ("{type: text, in: a.mp4, text: x, position: [1, 2, 3]}", "position", "is no place"),
        ("{type: text, in: a.mp4, text: x, size: 0%}", "size", "is no length"),
        ("{type: text, in: a.mp4, text: x, opacity: 1.5}", "opacity", "1.5 is no share"),
        ("{type: text, in: a.mp4, text: x, align: middle}", "align", "is not 'left', 'center' or 'right'"),
        ("{type: text, in: a.mp4, text: x, fro: 1s}", "fro", "did you mean for?"),
        ("{type: text, in: a.mp4, text: [x]}", "text", "['x'] is wrong: it must be text"),
        ('{type: text, in: a.mp4, text: ""}', "text", "it is empty"),
        ("{type: text, in: a.mp4, text: x, stroke_width: 1.5}", "stroke_width", "it must be a whole number"),
        ("{type: audio, in: a.mp4, loop: maybe}", "loop", "'maybe' is wrong: it must be true or false"),
        ("{type: text, in: a.mp4, text: x, fade: 1s, fade_out: 1s}", "fade", "it is `fade_in` and `fade_out` in one"),
        ("{type: overlay, in: a.mp4}", "", "file is missing"),
        ('{type: audio, in: "${clip}", mode: mix}', "mode", "a mix has a file"),
        ('{type: audio, in: "${clip}", mode: mute, file: "${clip}"}', "mode", "mute has neither"),
        ("{type: audio, in: a.mp4, gain: loud}", "gain", "is no gain"),
        ("{type: audio, in: a.mp4, loudness: 3}", "loudness", "3 is no loudness"),
        ("{type: audio, in: a.mp4, mode: mixed}", "mode", "did you mean mix?"),
        ("{type: effect, in: a.mp4, name: FadInn}", "name", "did you mean FadeIn?"),
        ("{type: effect, in: a.mp4, name: zzz}", "name", "there are AccelDecel"),
        ("{type: effect, in: a.mp4, name: FadeIn, with: {duratio: 1}}", "with.duratio", "did you mean duration?"),
        ("{type: effect, in: a.mp4, name: FadeIn, with: {duration: x}}", "with.duration", "it must be a number"),
        ("{type: effect, in: a.mp4, name: FadeIn}", "with", "FadeIn needs duration"),
        ("{type: effect, in: a.mp4}", "", "name is missing"),
        ("{type: effect, in: a.mp4, name: Crop, with: {x1: x}}", "with.x1", "it must be a whole number"),
        ("{id: 2x, type: trim, in: a.mp4}", "id", "it must be a name: a letter, then letters, digits, _ or -"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_told_by_its_place(template, step, place, what):
    """The path, the line and what is right are in one line, before any value is given."""
    told = refusal(template, step)
    assert told.startswith(f"steps[0]{'.' * bool(place)}{place}, line {FIRST}: ")
    assert what in told


@pytest.mark.parametrize(
    ("more", "place", "what"),
    [
        ("verson: 1\n", "verson, line 6", "did you mean version?"),
        ("setps: []\n", "setps, line 6", "did you mean steps?"),
        ("zzz: 1\n", "zzz, line 6", "there are version"),
        ("description: [a]\n", "description, line 6", "is no text"),
        ("output: {nam: x}\n", "output.nam, line 6", "did you mean name?"),
        ("output: {suffix: .avi}\n", "output.suffix, line 6", "'.avi' is not '.mp4'"),
        ("output: 0\n", "output, line 6", "no mapping"),
        ("output: [a]\n", "output, line 6", "no mapping"),
        ("render: d\n", "render, line 6", "there is no step 'd'"),
        ("render: [c]\n", "render, line 6", "there is no step ['c']"),
        ("render: {c: c}\n", "render, line 6", "there is no step"),
    ],
)
def test_a_wrong_word_at_the_top_is_told(template, more, place, what):
    """So are those outside of the steps."""
    told = refusal(template, CLIP, more=more)
    assert told.startswith(f"{place}: ")
    assert what in told


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("steps: [{type: trim, in: a.mp4}]", "version is missing. Begin with `version: 1`"),
        ("version: 2\nsteps: [{type: trim, in: a.mp4}]",
         "version, line 1: this runway-node knows version 1, not 2. A newer runway-node is needed"),
        ("version: one\nsteps: [{type: trim, in: a.mp4}]", "version 1, not 'one'. Write `version: 1`"),
        ("version: 1\nsteps: [{type: text, text: ${a}}]", 'Quote what holds a brace, such as "${clip}"'),
        ("version: 1\nsteps:\n  - text: Note: this", 'Quote text that holds a colon: "..."'),
        ("version: 1\nsteps: [{type: trim, in: 'a", "Close the quote or bracket that is open"),
        ("version: true\nsteps: [{type: trim, in: a.mp4}]", "version, line 1: "),
        ("version: 1", "steps is a list"),
        ("version: 1\nsteps: []", "steps, line 2: "),
        ("version: 1\nsteps: {a: b}", "steps, line 2: "),
        ("version: 1\nsteps: [" + "{type: trim, in: a.mp4}," * 501 + "]", "steps is a list of 1 to 500"),
        ("version: 1\nvars: 0\nsteps: [{type: trim, in: a.mp4}]", "vars, line 2: "),
        ("version: 1\nvars: [a]\nsteps: [{type: trim, in: a.mp4}]", "vars, line 2: "),
        ("- a", "A template is a mapping"),
        ("words", "A template is a mapping"),
        ("", "A template is a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_told(tmp_path, text, what):
    """A text of another shape is refused, with its line where it has one."""
    assert what in refusal(Source, text, tmp_path)


@pytest.mark.parametrize(
    ("var", "place", "what"),
    [
        ("{type: strin}", "", "did you mean string?"),
        ("{default: x}", "", "a var has a type"),
        ("text", "", "a var has a type"),
        ("{type: [path]}", "", "a var has a type"),
        ("{type: string, defualt: x}", ".defualt", "did you mean default?"),
        ("{type: string, max_length: 2, default: abc}", "", "has 3 characters"),
        ("{type: string, choices: [day, dusk], default: dus}", "", "did you mean dusk?"),
        ("{type: string, choices: []}", ".choices", "is wrong"),
        ("{type: number, max: 5, default: 6}", "", "6 is more than 5"),
        ("{type: number, default: x}", ".default", "'x' is wrong"),
        ("{type: integer, default: 1.5}", ".default", "1.5 is wrong"),
        ("{type: integer, min: 3, default: 2}", "", "2 is less than 3"),
        ("{type: boolean, default: maybe}", ".default", "is wrong"),
        ("{type: duration, default: 1:99}", ".default", "is no time"),
        ("{type: duration, max: 1s, default: 2s}", "", "2 s is more than 1 s"),
        ("{type: color, default: dusky}", ".default", "is no colour"),
        ('{type: path, default: ""}', "", "is no file's name"),
        ("{type: number, choices: [1]}", ".choices", "there is no field 'choices'"),
    ],
)  # fmt: skip
def test_a_wrong_var_is_told_by_its_place(template, var, place, what):
    """A var is checked as it is declared, its default with it."""
    told = refusal(lambda: Source(f"version: 1\nvars:\n  v: {var}\nsteps: [{{type: trim, in: a}}]", Path()))
    assert told.startswith(f"vars.v{place}, line 3: ")
    assert what in told


@pytest.mark.parametrize("name", ["2a", "a-b", "a.b", "a b", "\u00e4", '""', "a" * 65])
def test_a_name_that_cannot_be_used_is_refused(name):
    """A var's name is one that `${}` can hold."""
    told = refusal(Source, f"version: 1\nvars:\n  {name}: {{type: path}}\nsteps: [{{type: trim, in: a}}]", Path())
    assert "no var's name" in told


@pytest.mark.parametrize(
    ("steps", "place", "what"),
    [
        ([CLIP, '{id: c, type: trim, in: "${clip}"}'], "steps[1].id", "the id c is steps[0]'s already"),
        (["{id: a, type: trim, in: b}", "{id: b, type: trim, in: a}"], "steps[1]", "in a circle"),
        (['{id: a, type: text, text: "${look}", in: a}'], "steps[0]", "in a circle"),
        (["{id: a, type: concat, in: [a.mp4, b]}", "{id: b, type: overlay, in: a.mp4, file: a}"], "steps[1]", "circle"),
        ([CLIP, '{type: trim, in: "${clip}", end: "${long}"}'], "steps[0]", "nothing uses this step"),
        ([CLIP, "{type: trim, in: a.mp4}", "{type: trim, in: c}"], "steps[1]", "nothing uses this step"),
        (['{type: text, text: "${look}"}'], "steps[0]", "in is missing"),
        (["{type: overlay, file: a.mp4}"], "steps[0]", "in is missing"),
    ],
)
def test_steps_that_lead_nowhere_are_told(template, steps, place, what):
    """A circle, a second step of the same name, a step that nobody uses, one without an input."""
    told = refusal(template, *steps)
    assert told.startswith(f"{place}, line ")
    assert what in told


def test_a_later_step_may_be_named(template):
    """The order is that of the names, not of the lines; `render` chooses the last."""
    source = template("{id: b, type: trim, in: a, end: 1}", CLIP.replace("id: c", "id: a"), more="render: b\n")
    recipe = source.recipe({"clip": Path("a.mp4"), "look": "", "long": 1})
    assert [node.number for node in recipe.nodes] == [1, 0]
    assert recipe.last == 0


def test_steps_follow_each_other(template):
    """A step without `in` takes what the one before it gives."""
    source = template(CLIP, "{type: text, text: x}", "{type: audio, mode: mute}")
    recipe = source.recipe({"clip": Path("a.mp4"), "look": "", "long": 1})
    assert [[one.number for one in node.inputs] for node in recipe.nodes[1:]] == [[0], [1]]


def test_a_missing_input_is_told_with_the_nearest_step(template, tmp_path):
    """A name that is neither a step's nor a file's is refused before anything is opened."""
    told = refusal(template, "{id: intro, type: trim, in: a.mp4}", "{type: concat, in: [intro, intor]}")
    assert told.startswith(f"steps[1].in[1], line {FIRST + 1}: there is no step 'intor'; ")
    assert told.endswith("did you mean intro?")


@pytest.mark.parametrize(
    ("steps", "field", "told"),
    [
        (["{id: r1, type: trim, in: a.mp4}", "{id: r3, type: trim, in: a.mp4}", "{type: concat, in: [r1, r4]}"],
         "in[1]", "there is no step 'r4'; did you mean r3?"),
        (["{type: trim, in: a.mp4}", "{type: concat, in: [intro]}"],
         "in[0]", "there is no step 'intro': none has an id. Write it as the `id` of the one that is meant"),
        (["{id: one, type: trim, in: a.mp4}", "{type: trim, in: zzzz}"],
         "in", "there is no step 'zzzz' among one. Write it as the `id` of the one that is meant"),
        (["{id: one, type: trim, in: clp}"], "in", "there is no step 'clp'; did you mean ${clip}?"),
        (["{id: one, type: trim, in: clip}"], "in", "there is no step 'clip'; did you mean ${clip}?"),
        (["{id: one, type: trim, in: ones}"], "in", "there is no step 'ones' among one. Write it"),
        (["{id: one, type: trim, in: a.mp4}", "{type: overlay, file: onee}"], "file", "there is no step 'onee'; did"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_step_is_told_where_it_stands(template, steps, field, told):
    """What looks like no file is a step's name, before any file is there."""
    last = len(steps) - 1
    assert refusal(template, *steps).startswith(f"steps[{last}].{field}, line {FIRST + last}: {told}")


def test_a_missing_file_is_told_with_the_nearest_file(template, tmp_path):
    """What is neither a step nor a file, once files must be there, may be a typo in a file's name."""
    (tmp_path / "music.wav").write_bytes(b"")
    source = template('{type: audio, in: "${clip}", file: musik.wav}')
    told = refusal(source.recipe, {"clip": Path("a.mp4"), "look": "", "long": 1})
    assert told.endswith("there is no step and no file 'musik.wav'; did you mean music.wav?")


@pytest.mark.parametrize("used", ["{prompt}x", "look.upper()", "1+1", "env.HOME", "look}${lok", "", " look", "a:-x"])
def test_there_are_no_expressions(template, used):
    """What is between the braces is a var's name and nothing else."""
    told = refusal(template, f'{{type: text, in: a.mp4, text: "${{{used}}}"}}')
    assert told.startswith(f"steps[0].text, line {FIRST}: ")
    assert "there are no expressions" in told or "there is no var 'lok'; did you mean look?" in told


@pytest.mark.parametrize("name", ["HOME", "PATH", "RUNWAYML_API_SECRET", "__class__", "self"])
def test_no_name_reaches_the_environment(template, monkeypatch, name):
    """Only declared vars have values."""
    monkeypatch.setenv(name, "secret")
    told = refusal(template, f'{{type: text, in: a.mp4, text: "${{{name}}}"}}')
    assert f"there is no var '{name}'" in told
    assert "secret" not in told


def test_a_var_that_is_none_is_told_where_it_is_used(template):
    """A typo in `${}` is found before any value is given, with the nearest var."""
    told = refusal(template, '{type: trim, in: "${clop}"}')
    assert told == f"steps[0].in, line {FIRST}: there is no var 'clop'; did you mean clip?"


def test_what_a_value_can_mend_waits_for_it(template):
    """A step that only some values fit is no error of the template's, but one of those values."""
    source = template('{type: trim, in: "${clip}", start: 1s, end: "${long}"}')
    values = {"clip": Path("a.mp4"), "look": ""}
    assert source.recipe({**values, "long": 2})
    assert refusal(source.recipe, {**values, "long": 1}).startswith(f"steps[0], line {FIRST}: no time lies between")


def test_a_text_may_name_a_step(template):
    """A var of text can choose among the steps; then only its value tells which are used."""
    steps = ["{id: a, type: trim, in: a.mp4}", "{id: b, type: trim, in: a.mp4}", '{type: trim, in: "${look}"}']
    values = {"clip": Path("a.mp4"), "long": 1}
    assert "steps[0]" in refusal(template(*steps).recipe, {**values, "look": "b"})


def test_the_file_is_told_in_front(tmp_path):
    """`load` says which template it is."""
    path = tmp_path / "edit.yaml"
    path.write_text("version: 1\nsteps:\n  - {type: trm}\n", encoding="utf-8")
    assert refusal(load, path).startswith("edit.yaml: steps[0].type, line 3: ")


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"a: \xff\xfe", "is not UTF-8 text"), ("version: 1".encode("utf-16"), "is not UTF-8 text"),
     (b"#" * (1 << 20) + b"##", "at most 1 MiB"), (b"\0", "no YAML"), (b"", "is a mapping")],
)  # fmt: skip
def test_a_file_that_is_no_template_is_told(tmp_path, content, what):
    """Whatever is in the file, the error is one line."""
    (tmp_path / "t.yaml").write_bytes(content)
    assert what in refusal(load, tmp_path / "t.yaml")


def test_a_video_in_a_templates_place_is_told(tmp_path):
    """The clip is the value of a var; how it is given is said."""
    (tmp_path / "shot.mp4").write_bytes(b"\0\xff")
    told = refusal(load, tmp_path / "shot.mp4")
    assert "shot.mp4 looks like a video" in told
    assert told.endswith("runway-node render TEMPLATE --set clip=shot.mp4")


@pytest.mark.parametrize("name", ["no.yaml", ".", "a" * 300])
def test_a_file_that_is_none_is_told(tmp_path, name):
    """A missing file, a folder and an impossible name are told as such."""
    assert refusal(load, tmp_path / name)


@pytest.fixture(scope="module")
def validator():
    """The JSON Schema that editors are given."""
    return jsonschema.Draft202012Validator(schema())


def test_the_schema_is_one(validator):
    """It is valid itself."""
    validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_right(validator, path):
    """Every example loads, and an editor has nothing to say about it."""
    load(path)
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "step",
    [
        {"type": "trim", "in": "a", "start": "${x}", "duration": 1.5},
        {"type": "text", "text": "x", "size": "${x}", "opacity": "${x}", "position": ["${x}", 5]},
        {"type": "text", "text": "${x}", "stroke_width": "${x}", "align": "${x}", "color": "${x}"},
        {"type": "audio", "loop": "${x}", "loudness": "${x}", "gain": "-6dB", "mode": "${x}"},
        {"type": "effect", "name": "${x}", "with": "${x}"},
        {"type": "concat", "in": ["${x}"], "transition": {"duration": "${x}", "type": "${x}"}, "fit": "${x}"},
        {"type": "runway.video_to_video", "prompt": "${x}", "seed": "${x}", "take": "${x}", "allow_sdr": "${x}",
         "max_seconds": "${x}", "keyframes": [{"picture": "${x}", "at": "${x}"}], "range": {"start": "${x}"}},
    ],
    ids=lambda step: step["type"],
)  # fmt: skip
def test_a_var_may_stand_for_any_value(validator, step):
    """Where a number or a word of a few is wanted, an editor takes `${var}` too."""
    validator.validate({"version": 1, "steps": [step]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": [{"type": "trim", "strat": 1}]},
        {"steps": [{"type": "trm"}]},
        {"steps": [{"type": "text"}]},
        {"steps": [{"type": "text", "text": "x", "opacity": 2}]},
        {"steps": [{"type": "text", "text": "x", "align": "middle"}]},
        {"steps": [{"type": "concat", "in": ["a"], "transition": {"typ": "cut"}}]},
        {"steps": [{"type": "runway.video_to_video", "promt": "x"}]},
        {"steps": [{"type": "trim", "start": "${x"}, {"type": "audio", "loudness": "$x"}]},
        {"steps": []},
        {"steps": [{"type": "trim"}], "outputs": {}},
        {"steps": [{"type": "trim"}], "output": {"suffix": ".avi"}},
        {"steps": [{"type": "trim"}], "vars": {"a": {"type": "strin"}}},
        {"steps": [{"type": "trim"}], "vars": {"a": {"type": "string", "min": 1}}},
    ],
    ids=str,
)
def test_a_typo_is_underlined(validator, wrong):
    """An editor refuses what loading refuses."""
    assert list(validator.iter_errors({"version": 1, **wrong}))


def test_a_typo_is_underlined_where_it_is(validator):
    """An editor names the wrong field of a step, and says not just that the step is none of the seven."""
    (error,) = validator.iter_errors({"version": 1, "steps": [{"type": "trim"}, {"type": "trim", "strat": 1}]})
    assert (list(error.path), error.validator) == (["steps", 1], "additionalProperties")
    assert "strat" in error.message


def test_a_file_may_be_named_like_a_var(tmp_path):
    """What has a file's ending is a file, before it is there too."""
    text = ('version: 1\nvars: {logo: {type: path}, clip: {type: path}}\nsteps:\n'
            '  - {type: overlay, in: "${clip}", file: "${logo}"}\n  - {type: overlay, file: logo2.png}\n')  # fmt: skip
    Source(text, tmp_path).recipe({"clip": tmp_path / "a.mp4", "logo": tmp_path / "b.png"}, there=False)
