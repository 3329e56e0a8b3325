"""Any template at all: what a look accepts renders as looked at; what it does not is told by a place in it."""

from __future__ import annotations

import contextlib
import itertools
import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from runway_node.errors import WrongUse
from runway_node.media.probe import probe
from runway_node.sandbox import Sandbox, serve
from runway_node.settings import load_settings
from runway_node.templates import Source, TemplateError, look, render, schema

from .edits import size
from .media_clips import ffmpeg

pytestmark = pytest.mark.slow
EDITOR = jsonschema.Draft202012Validator(schema())


class Bench:
    """A folder with small files, and a sandbox that answers at once."""

    def __init__(self, folder, served):
        self.folder, self.served, self.number = folder, served, itertools.count()
        key, url = served.env("runway").values()
        self.settings = load_settings(
            provider="runway", data_dir=folder / "data", poll_interval=0.05, runway_key=key, runway_base_url=url
        )

    def look(self, template):
        """What a look says; None where it refuses, which must be by a place in the template."""
        wrong = None
        try:
            recipe = Source(json.dumps(template), self.folder).recipe({})
            return recipe, look(recipe, self.settings)
        except WrongUse as error:
            wrong = error
        assert "\n" not in str(wrong)
        assert not isinstance(wrong, TemplateError) or placed(template, wrong.place)
        return None, None


def placed(template, place):
    """Whether all of the way but its last step is in the template: what is missing has no place of its own."""
    for part in place[:-1]:
        template = template[part]
    return True


@pytest.fixture(scope="module", name="bench")
def bench_fixture(tmp_path_factory):
    """Clips of two sizes and rates, one of them silent; a picture, a sound, and rubbish."""
    folder = tmp_path_factory.mktemp("bench")
    lavfi = ("-f", "lavfi", "-i")
    ffmpeg(*lavfi, "testsrc2=s=96x64:r=12:d=2", *lavfi, "sine=d=2", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", folder / "a.mp4")  # fmt: skip
    ffmpeg(*lavfi, "testsrc2=s=80x80:r=24000/1001:d=1", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", folder / "b.mp4")  # fmt: skip
    ffmpeg(*lavfi, "testsrc2=s=30x20", "-frames:v", "1", folder / "logo.png")
    ffmpeg(*lavfi, "sine=1000:d=0.7:r=22050", folder / "tone.wav")
    (folder / "rubbish.mp4").write_bytes(b"ffconcat version 1.0\nfile a.mp4\n")
    sandbox = Sandbox(folder=folder / "server")
    sandbox.options = sandbox.options.model_copy(update={"ready": folder / "a.mp4"})
    with contextlib.closing(sandbox), serve(sandbox) as served:
        yield Bench(folder, served)


SOME = st.sampled_from
times = SOME([0, 0.1, 0.5, 1, "500ms", "1/3s", "0:00.7", 2, 3]) | st.integers(0, 2200).map(lambda value: f"{value}ms")
spans = st.fixed_dictionaries({}, optional={"start": times, "end": times, "duration": times})
clips = SOME(["a.mp4", "b.mp4"])
files = clips | SOME(["logo.png", "tone.wav", "s0", "s1", "rubbish.mp4", "none.mp4", "../a.mp4"])
lengths = SOME([10, 31, "20%", "100%", 400, 1, 0, "0%"])
places = SOME(["center", "top-left", [5, -3], ["10%", "bottom"], "left-right"])
timed = {"at": times, "for": times, "fade": times, "opacity": st.floats(0, 1), "position": places}


def effect(names, values, *fields, always=False):
    """An effect of one of *names*, with all or some of its fields."""
    given = st.fixed_dictionaries if always else (lambda shape: st.fixed_dictionaries({}, optional=shape))
    return st.tuples(SOME(names.split()), given(dict.fromkeys(fields, values)))


effects = st.one_of(
    effect("MultiplySpeed", SOME([0.5, 2, 3.3, 0, -1, 100]), "factor", always=True),
    effect("Resize", st.integers(-1, 150), "width", "height", "new_size"),
    effect("Crop", st.integers(-10, 120), "x1", "y1", "x2", "y2", "width", "height", "x_center"),
    effect("Margin", st.integers(-3, 40), "margin_size", "left", "top"),
    effect("FadeIn FadeOut CrossFadeIn AudioFadeIn MakeLoopable", st.floats(0, 3), "duration", always=True),
    effect("Loop", st.integers(0, 3), "n", "duration"),
    effect("Rotate", st.integers(-400, 400), "angle", always=True),
    effect("Freeze", st.floats(0, 3), "t", "freeze_duration"),
    effect("Blink", st.floats(0, 1), "duration_on", "duration_off", always=True),
    effect("AccelDecel", st.floats(0.1, 3), "new_duration"),
    effect("TimeMirror TimeSymmetrize InvertColors EvenSize MirrorX BlackAndWhite AudioNormalize Scroll No", st.none()),
)


def step(kind, need=None, **fields):
    """A step with what it needs and some of what it may have."""
    return st.fixed_dictionaries({"type": st.just(kind), **(need or {})}, optional={"range": spans, **fields})


written = SOME(["x", "Words of\nmore lines", "\u00e4\u6f22\U0001f600", " "])
steps = st.one_of(
    st.fixed_dictionaries({"type": st.just("trim")}, optional={"start": times, "end": times, "duration": times}),
    step("text", {"text": written}, **timed, size=lengths, wrap=lengths, background=st.just("black")),
    step("overlay", {"file": files}, **timed, width=lengths),
    step("audio", file=files, mode=SOME(["replace", "mix", "mute"]), at=times, loop=st.booleans(),
         gain=SOME([0, "-6dB", 12]), fade_in=times, fade_out=times, loudness=SOME([-14, -30, 0])),
    st.tuples(step("effect"), effects).map(lambda made: {**made[0], "name": made[1][0], "with": made[1][1]}),
    st.fixed_dictionaries(
        {"type": st.just("concat"), "in": st.lists(clips | SOME(["s0", "s1"]), min_size=1, max_size=3)},
        optional={"fit": SOME(["contain", "cover"]), "transition": st.fixed_dictionaries({"duration": times})},
    ),
    step("runway.video_to_video", {"prompt": st.just("x")}, seed=st.integers(0, 3), take=st.integers(0, 2)),
)  # fmt: skip


@st.composite
def templates(draw):
    """A chain of steps with ids, that now and then take another step or a file; most are right."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        one = dict(draw(steps), id=f"s{number}")
        if number == 0 and one["type"] != "concat":
            one["in"] = draw(clips)
        elif one["type"] != "concat" and draw(st.booleans()) and number > 1:
            one["in"] = draw(st.sampled_from(["s0", "a.mp4"]))
        made.append(one)
    template = {"version": 1, "steps": made}
    if draw(st.integers(0, 9)) == 0:
        template["render"] = draw(st.sampled_from(["s0", "s1", "none"]))
    return template


@given(templates(), st.sampled_from([".mp4", ".mp4", ".mkv", ".webm", ".mov"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_looked_at_is_what_is_rendered(bench, template, suffix):
    """Frames, size, rate and the number of calls are those of the look; an editor has nothing to say of it."""
    recipe, looked = bench.look(template)
    if looked is None:
        return
    EDITOR.validate(template)
    target(float(len(template["steps"])))
    out = bench.folder / f"out{next(bench.number)}{suffix}"
    rendered = render(recipe, out, bench.settings)
    found = probe(out)
    assert (found.frames, *size(out)) == (looked.frames, looked.width, looked.height)
    # WebM counts milliseconds: of a few frames they tell no closer rate, of one none at all.
    near = Fraction(1001, 1000) if suffix == ".webm" else Fraction(1)
    assert found.frames == 1 or 1 / near <= found.fps / looked.fps <= near
    assert rendered.frames == looked.frames
    assert len(rendered.results) == len(looked.plans)
    for result, (_, plan) in zip(rendered.results, looked.plans, strict=True):
        assert len(result.takes) == len(plan.segments)
    out.unlink()


KEYS = ["version", "steps", "type", "in", "id", "text", "file", "name", "with", "range", "start", "end", "prompt",
        "vars", "render", "output", "transition", "duration", "references", "keyframes", "picture",
        "position"]  # fmt: skip
WORDS = ["a.mp4", "s0", "trim", "text", "effect", "concat", "audio", "overlay", "runway.video_to_video", "1s", "${v}",
         "$", "", "FadeIn", "path", "string"]  # fmt: skip
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | SOME(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SOME(KEYS), inner, max_size=5),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=300, deadline=None)
def test_any_tree_is_told_in_our_words(tree):
    """Whatever a step is made of, the refusal is ours, and its place is in the template."""
    shapes = ({"steps": [tree]}, {"steps": tree}, {"vars": tree, "steps": []})
    for template in (tree, *({"version": 1, **shape} for shape in shapes)):
        wrong = TemplateError("")
        try:
            Source(json.dumps(template), Path()).recipe({})
        except TemplateError as error:
            wrong = error
        assert "\n" not in str(wrong)
        assert placed(template, wrong.place)
