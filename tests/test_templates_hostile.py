"""Templates, files and values that mean harm: refused quickly, in little memory, and nothing else is opened."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import time

import pytest
from PIL import Image

try:
    import resource
except ImportError:  # on Windows, where nobody counts it
    resource = None

from runway_node.errors import RunwayNodeError, WrongUse
from runway_node.media.opener import ffmpeg_exe
from runway_node.settings import load_settings
from runway_node.templates import Places, Source, TemplateError, look, render

from .disguises import DISGUISES, disguised, eyes_fixture, secret_fixture

__all__ = ["eyes_fixture", "secret_fixture"]

MIB = 1 << 20
PAID = {"type": "runway.video_to_video", "prompt": "dusk"}
TEXT = {"type": "text", "text": "x"}


def peak():
    """The most memory that this process ever had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if resource else 0


def refusal(call, *given, **how):
    """The one short line of ours that a call ends with, in little time and memory."""
    begun, before = time.process_time(), peak()
    with pytest.raises(WrongUse) as caught:
        call(*given, **how)
    assert time.process_time() - begun < 10
    assert peak() - before < 200 * MIB
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 6000
    return told


# a template's text


def bombs():
    """Texts that a plain loader would grow from, or never come back from."""
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{here}: &{here} [{','.join([f'*{before}'] * 9)}]\n" for before, here in itertools.pairwise("abcdefghi")
    )
    return {
        "laughs": laughs,
        "itself": "a: &a [*a]",
        "merge": "a: &a {x: 1}\nb: {<<: *a}",
        "tag": "!!python/object/apply:os.system ['touch owned']",
        "new": "a: !!python/object/new:subprocess.Popen [[touch, owned]]",
        "module": "a: !!python/module:os",
        "brackets": "[" * MIB,
        "braces": '{"a":' * (MIB // 5),
        "quotes": '"' + "\\" * (MIB - 2),
        "words": "a " * (MIB // 2),
        "block": "a: |\n" + "  x\n" * (MIB // 5),
        "keys": "".join(f"k{number}: 1\n" for number in range(100_000)),
        "json-keys": json.dumps({str(number): 1 for number in range(80_000)}),
        "colons": ":" * MIB,
        "dashes": "-" * MIB,
        "spaces": " " * MIB,
        "percents": "%" * MIB,
        "anchors": "a: " + "&" * (MIB - 4),
        "surrogates": "{" + "\\ud83d" * (MIB // 6 - 1),
        "dollars": "version: 1\nsteps: [{type: trim, in: '" + "${" * (MIB // 2 - 50) + "'}]",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_costs_nothing(name, tmp_path, monkeypatch):
    """It is refused while it is read, in one line."""
    monkeypatch.chdir(tmp_path)
    assert refusal(Source, bombs()[name], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_million_keys_are_too_large(tmp_path):
    """What is larger than a template can be is not even read."""
    path = tmp_path / "t.yaml"
    path.write_text("".join(f"k{number}: 1\n" for number in range(1_000_000)), encoding="utf-8")
    from runway_node.templates import load

    assert "at most 1 MiB" in refusal(load, path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_template(tmp_path):
    """What never ends is not read."""
    from runway_node.templates import load

    os.mkfifo(tmp_path / "t.yaml")
    assert "not a file" in refusal(load, tmp_path / "t.yaml")


@pytest.mark.parametrize(
    "value",
    ["1" * MIB, "1:" * 500_000, " " * MIB, "1/" * 500_000, "." * MIB, "1" * 500_000 + "s" * 500_000, "$" * MIB,
     "\u0661" * 500_000],
    ids=range(8),
)  # fmt: skip
@pytest.mark.parametrize("kind", ["string", "number", "integer", "boolean", "duration", "color", "path"])
def test_a_huge_value_is_refused(tmp_path, kind, value):
    """No value of a million letters is taken, or looked at for long."""
    text = f"version: 1\nvars: {{v: {{type: {kind}}}}}\nsteps: [{{type: trim, in: a.mp4}}]"
    source = Source(text, tmp_path)

    def used():
        values = source.values({"v": value}, Places(base=tmp_path))
        raise TemplateError("taken") if kind != "path" else TemplateError(f"a path {len(str(values['v'])) > 0}")

    told = refusal(used)
    assert told != "taken"


@pytest.mark.parametrize(
    "step",
    [{"type": "trim", "start": "X"}, {"type": "audio", "gain": "X"}, {"type": "text", "text": "X"},
     {**TEXT, "color": "X"}, {**TEXT, "position": "X"}, {**TEXT, "position": ["X", 0]}, {**TEXT, "size": "X"},
     {**TEXT, "font": "X"}, {"type": "overlay", "file": "X"}, {"type": "X"}, {"type": "effect", "name": "X"},
     {"type": "effect", "name": "FadeIn", "with": {"duration": "X"}},
     {"type": "effect", "name": "FadeIn", "with": {"X": 1}},
     {**PAID, "model": "X", "X": 1}, {**PAID, "seed": "X"}],
    ids=str,
)  # fmt: skip
@pytest.mark.slow
@pytest.mark.parametrize("letters", ["1", "a", "1:", "rgb(1", "-"])
def test_a_huge_word_is_refused(tmp_path, step, letters):
    """In every place of a step."""
    huge = letters * (900_000 // len(letters))
    (tmp_path / "a.mp4").write_bytes(b"")
    told = json.dumps({"version": 1, "steps": [{"in": "a.mp4", **step}]}).replace('"X"', json.dumps(huge))
    refusal(lambda: Source(told, tmp_path).recipe({}))


def test_many_names_are_told_in_few_words(tmp_path):
    """An error that lists what there is lists some of it."""
    names = "".join(f"  v{number}: {{type: path}}\n" for number in range(6000))
    told = refusal(Source, f"version: 1\nvars:\n{names}steps: [{{type: trim, in: '${{zzzzzzzz}}'}}]", tmp_path)
    assert "and 5960 more" in told


# paths

OUT = ["../secret.mp4", "/etc/passwd", "~/secret.mp4", "~root/x", "a/../../secret.mp4", "link.mp4", "folder/secret.mp4",
       "//host/share/a.mp4", "\\\\host\\share\\a.mp4", "https://example.com/a.mp4", "http://127.0.0.1/a.mp4",
       "file:///etc/passwd", "file:/etc/passwd", "concat:a.mp4|b.mp4", "pipe:0", "data:video/mp4;base64,AAAA", "a\0b",
       "a" * 300, "/".join(["a"] * 1500), "-i", ".", "", " ", "/dev/zero", "/proc/self/environ",
       "s3://bucket/a.mp4"]  # fmt: skip

PLACES = {
    "in": {"type": "trim", "in": "X"},
    "concat": {"type": "concat", "in": ["own.mp4", "X"]},
    "overlay": {"type": "overlay", "in": "own.mp4", "file": "X"},
    "sound": {"type": "audio", "in": "own.mp4", "file": "X"},
    "font": {**TEXT, "in": "own.mp4", "font": "X"},
    "reference": {**PAID, "in": "own.mp4", "references": ["X"]},
    "keyframe": {**PAID, "in": "own.mp4", "keyframes": [{"picture": "X", "at": 0}]},
}
"""Where a template can name a file."""

STILLS = ("reference", "keyframe")


@pytest.fixture(name="settings")
def settings_fixture(tmp_path):
    """Enough to look: no key, no server."""
    return load_settings(provider="runway", data_dir=tmp_path / "data")


@pytest.fixture(name="folder")
def folder_fixture(tmp_path, clip, secret):
    """A template's folder, with a clip of its own and links that lead out."""
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "own.mp4").write_bytes(clip.read_bytes())
    with contextlib.suppress(OSError):  # Windows asks for a privilege
        (folder / "link.mp4").symlink_to(secret)
        (folder / "folder").symlink_to(secret.parent)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name"),
    # An https still is the provider's to fetch.
    [(place, name) for place in PLACES for name in OUT if place not in STILLS or not name.startswith("https://")],
    ids=lambda value: repr(value)[:30],
)
def test_a_name_leads_nowhere_else(folder, eyes, settings, place, name):
    """A template names files of its own folder, and nothing else is opened for it."""
    told = json.dumps({"version": 1, "steps": [PLACES[place]]}).replace('"X"', json.dumps(name))
    refusal(lambda: look(Source(told, folder).recipe({}), settings))
    assert not eyes.opened


@pytest.mark.parametrize("name", ["../secret.mp4", "link.mp4", "/etc/passwd", "https://example.com/a.mp4"])
def test_a_rows_file_is_confined(folder, name):
    """So are the files that a row names, whoever wrote the template."""
    source = Source('version: 1\nvars: {v: {type: path}}\nsteps: [{type: trim, in: "${v}"}]', folder)
    refusal(source.values, {"v": name}, Places(base=folder))


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for a privilege to make links")
def test_a_row_may_use_what_was_allowed(folder, secret):
    """A folder that a person named is no way out."""
    source = Source('version: 1\nvars: {v: {type: path}}\nsteps: [{type: trim, in: "${v}"}]', folder)
    found = source.values({"v": "link.mp4"}, Places(base=folder, allowed=[secret.parent]))["v"]
    assert found.samefile(secret)


# playlists under another name


@pytest.mark.slow
def test_the_disguises_are_real(folder, secret, eyes):
    """An ffmpeg that is not held back opens what they name: the eyes would see it."""
    path = disguised("concat", folder / "film.mp4", secret, eyes.port)
    loose = ["-safe", "0", "-f", "concat"]
    subprocess.run([ffmpeg_exe(), "-v", "quiet", *loose, "-i", path, "-f", "null", "-"], check=False)
    assert eyes.opened


NAMES = [("in", "x.mp4"), ("concat", "x.mov"), ("overlay", "x.png"), ("overlay", "x.mp4"), ("sound", "x.wav"),
         ("sound", "x.mp3"), ("sound", "x.mkv"), ("font", "x.ttf"), ("reference", "x.jpg"),
         ("keyframe", "x.png")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", DISGUISES)
@pytest.mark.parametrize(("place", "name"), NAMES)
def test_a_disguise_opens_nothing(folder, secret, eyes, runway_sandbox, kind, place, name):
    """A playlist in any place is refused by a look and by a render; what it names stays closed."""
    settings = runway_sandbox.settings("runway")
    disguised(kind, folder / name, secret, eyes.port)
    told = json.dumps({"version": 1, "steps": [PLACES[place]]}).replace('"X"', json.dumps(name))
    recipe = Source(told, folder).recipe({})
    refusal(look, recipe, settings)
    refusal(render, recipe, folder.parent / "out.mp4", settings)
    assert not eyes.opened
    assert runway_sandbox.sandbox.counters.creates == 0
    assert not (folder.parent / "out.mp4").exists()


@pytest.mark.parametrize("kind", DISGUISES)
def test_a_disguise_as_a_value(folder, secret, eyes, settings, kind):
    """So it is where a person gives it as a clip."""
    path = disguised(kind, folder / "given.mp4", secret, eyes.port)
    source = Source('version: 1\nvars: {v: {type: path}}\nsteps: [{type: trim, in: "${v}"}]', folder)
    refusal(look, source.recipe({"v": path}), settings)
    assert not eyes.opened


# pictures, fonts, words


def bomb(path, side, mode="1"):
    Image.new(mode, (side, side)).save(path, compress_level=1)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "side"), [("overlay", 9000), ("overlay", 20_000), ("reference", 20_000), ("keyframe", 20_000)]
)
def test_a_picture_that_bursts_is_refused(folder, runway_sandbox, place, side):
    """A small file of hundreds of millions of pixels is not unpacked."""
    settings = runway_sandbox.settings("runway")
    bomb(folder / "x.png", side)
    told = json.dumps({"version": 1, "steps": [PLACES[place]]}).replace('"X"', '"x.png"')
    recipe = Source(told, folder).recipe({})
    refusal(look, recipe, settings)
    assert runway_sandbox.sandbox.counters.creates == 0


@pytest.mark.parametrize(
    "step",
    [
        {**TEXT, "text": "\n" * 1990 + "x", "size": "999%"},
        {**TEXT, "text": "x" * 2000, "size": 4000},
        {**TEXT, "text": " x" * 999, "size": 4000, "wrap": 16384},
        {**TEXT, "stroke_width": 100, "text": "x\n" * 999, "size": 500},
        {"type": "overlay", "file": "thin.png", "width": 16384},
        {"type": "effect", "name": "Margin", "with": {"margin_size": 20_000}},
        {"type": "effect", "name": "Margin", "with": {"left": 16_000, "top": 16_000}},
        {"type": "effect", "name": "Resize", "with": {"width": 20_000}},
        {"type": "effect", "name": "Resize", "with": {"new_size": 1000}},
        {"type": "effect", "name": "Resize", "with": {"new_size": [16_000, 16_000]}},
        {"type": "effect", "name": "Resize", "with": {"height": 10**12}},
        {"type": "effect", "name": "MultiplySpeed", "with": {"factor": 1e-9}},
        {"type": "effect", "name": "MultiplySpeed", "with": {"final_duration": 1e9}},
        {"type": "effect", "name": "Loop", "with": {"n": 10**9}},
        {"type": "effect", "name": "Loop", "with": {"duration": 1e300}},
        {"type": "effect", "name": "SuperSample", "with": {"d": 1, "n_frames": 10**10}},
        {"type": "effect", "name": "AudioLoop", "with": {"n_loops": 10**9}},
        {"type": "effect", "name": "AudioDelay", "with": {"n_repeats": 10**9}},
        {"type": "effect", "name": "Freeze", "with": {"total_duration": 1e9}},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_memory_holds_is_refused(folder, settings, step):
    """A text, a picture or an effect that would fill the memory, or never end, is told at the look."""
    Image.new("RGB", (1, 5000)).save(folder / "thin.png")
    told = json.dumps({"version": 1, "steps": [{"in": "own.mp4", **step}]})
    refusal(lambda: look(Source(told, folder).recipe({}), settings))


@pytest.mark.parametrize(
    "content", [b"", b"no font", b"\0\1\0\0" + b"\xff" * 500, b"OTTO" + b"\0" * 100, b"%!PS-AdobeFont-1.0"]
)
def test_a_font_that_is_none(folder, settings, content):
    """It is refused by name, and no other font is looked for."""
    (folder / "DejaVuSans.ttf").write_bytes(content)
    step = {**TEXT, "in": "own.mp4", "font": "DejaVuSans.ttf"}
    recipe = Source(json.dumps({"version": 1, "steps": [step]}), folder).recipe({})
    assert "cannot be used as a font" in refusal(look, recipe, settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Z\u00fcrich, \u0142\u00f3d\u017a, 5 \u20ac, \u041f\u0440\u0438, \u0395\u03bb\u03bb, e\u0301", ""),
        ("To \u65e5", "has no letter '\u65e5' (CJK UNIFIED IDEOGRAPH-65E5). Name one that has it: `font`"),
        ("\U0001f3ac", "(CLAPPER BOARD)"), ("a\u1ac0b", "no letter"), ("\ue000", "no letter"),
    ],
)  # fmt: skip
def test_a_letter_is_never_a_box(folder, settings, text, told):
    """The font that comes along has Latin, Greek and Cyrillic ones; one that it has not is told at the look."""
    recipe = Source(json.dumps({"version": 1, "steps": [{**TEXT, "in": "own.mp4", "text": text}]}), folder).recipe({})
    if told:
        assert told in refusal(look, recipe, settings)
    else:
        assert look(recipe, settings).frames


# effects

NOT_ONES = ["__class__", "os.system", "os", "Effect", "VideoClip", "moviepy.vfx.FadeIn", "vfx.FadeIn", "FadeIn.apply",
            "HeadBlur", "ClipsArray", "MasksAnd", "MasksOr", "__builtins__", "eval", "", "FadeIn()", "fadein",
            "../FadeIn", "ffmpeg_tools"]  # fmt: skip


@pytest.mark.parametrize("name", NOT_ONES)
def test_an_effect_is_one_of_moviepys(tmp_path, name):
    """No other name of any module is reached, nor an effect that needs what cannot be written."""
    told = json.dumps({"version": 1, "steps": [{"type": "effect", "in": "a.mp4", "name": name}]})
    assert "there is no effect" in refusal(Source, told, tmp_path)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("Resize", {"new_size": "lambda t: 1"}), ("Resize", {"new_size": "os.system"}), ("FadeIn", {"__class__": 1}),
     ("FadeIn", {"apply": 1, "duration": 1}), ("FadeIn", {"duration": {"a": 1}}),
     ("Rotate", {"angle": "__import__('os')"}), ("FreezeRegion", {"t": 1, "mask": "a.mp4"}), ("Crop", {"self": 1}),
     ("MirrorX", {"apply_to": 5}), ("FadeIn", {"duration": "nan"}), ("FadeIn", {"duration": "inf"}),
     ("Scroll", {"w": "os"}), ("MultiplySpeed", {"factor": 0})],
    ids=str,
)  # fmt: skip
def test_a_field_is_a_plain_value(folder, settings, name, fields):
    """A callable, a clip, an attribute, a mapping is none of an effect's fields."""
    told = json.dumps({"version": 1, "steps": [{"type": "effect", "in": "own.mp4", "name": name, "with": fields}]})
    refusal(lambda: look(Source(told, folder).recipe({}), settings))


@pytest.mark.slow
def test_five_hundred_steps_are_drawn_or_refused(folder, settings):
    """So many on top of one another are said to be too many before anything is paid."""
    steps = [{**PAID, "in": "own.mp4"}, *[{**TEXT, "size": 12}] * 499]
    recipe = Source(json.dumps({"version": 1, "steps": steps}), folder).recipe({})
    assert "Too many steps" in refusal(look, recipe, settings)


def test_a_broken_clip_is_told_with_its_step(folder, settings):
    """Whatever is in a file, the error is ours."""
    own = (folder / "own.mp4").read_bytes()
    for size in (0, 1, 8, 100, 1000, len(own) // 2):
        (folder / "cut.mp4").write_bytes(own[:size])
        recipe = Source(json.dumps({"version": 1, "steps": [{**TEXT, "in": "cut.mp4"}]}), folder).recipe({})
        try:
            look(recipe, settings)
        except RunwayNodeError as error:
            assert str(error).startswith("steps[0]")  # noqa: PT017 - some of it can be read


def test_own_clip_is_fine(folder, settings):
    """What all these tests start from is taken."""
    told = json.dumps({"version": 1, "steps": [{**TEXT, "in": "own.mp4"}]})
    assert look(Source(told, folder).recipe({}), settings).frames == 50
