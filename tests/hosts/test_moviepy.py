"""The moviepy host: where a clip's frames come from, what takes its place, and that nothing paid is lost."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import proglog
import pytest
from moviepy import ColorClip, CompositeVideoClip, VideoClip, VideoFileClip, concatenate_videoclips, vfx

from runway_node import engine
from runway_node.errors import Ambiguous, Interrupted, OverLimit, SourceError, StepError, TaskFailed
from runway_node.hosts import moviepy as host
from runway_node.hosts.moviepy import KEPT, RunwayVideoToVideo, SomeFailed
from runway_node.hosts.provenance import file_probe, origin
from runway_node.media.opener import run_ffmpeg
from runway_node.media.shapes import Frames
from runway_node.models import Event, Policy, Result, Step
from runway_node.settings import load_settings

from ..media_clips import HEIGHT, WIDTH, X264, barcode, ffmpeg, read

# moviepy leaves its sound reader's pipes to the garbage collector, also when the clip is closed.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RATES = {"25": 25.0, "24000/1001": 24000 / 1001, "60000/1001": 59.94}


def number(frame) -> int:
    """The number that a frame of a barcode clip shows."""
    return read(frame.mean(axis=2))


def shown(clip) -> list[int]:
    """The numbers that moviepy would write to a file."""
    return [number(clip.get_frame(i / clip.fps)) for i in range(int(clip.duration * clip.fps + 1e-6))]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Four seconds of numbered frames with sound, by rate."""
    folder = tmp_path_factory.mktemp("numbered")

    def source(rate="25"):
        path = folder / f"{rate.replace('/', '_')}.mp4"
        if not path.exists():
            mute = barcode(folder / f"mute-{path.name}", rate, int(4 * RATES[rate]) + 1 if rate != "25" else 100, *X264)
            sine = ["-f", "lavfi", "-i", "sine=440:d=4"]
            ffmpeg("-i", mute, *sine, "-c:v", "copy", "-c:a", "aac", "-shortest", path)
        return path

    return source


@pytest.fixture
def opened(sources):
    """Opens numbered clips, and closes them."""
    clips = []

    def opener(rate="25", **options):
        clips.append(VideoFileClip(str(sources(rate)), **options))
        return clips[-1]

    yield opener
    for clip in clips:
        clip.close()


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Closes every result, also one that only a joined clip holds."""
    results = []

    class Remembered(host.ResultClip):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            results.append(self)

    monkeypatch.setattr(host, "ResultClip", Remembered)
    yield
    for clip in results:
        clip.close()


@pytest.fixture
def root(opened):
    return opened()


def outcome(path, frames) -> Result:
    """A result as the engine gives it."""
    told = {"takes": (), "cost": 56.0, "spent": 56.0, "owned": 0, "digest": "d" * 64, "seed": 1}
    return Result(path=path, frames=frames, provider="runway", model="aleph2", **told)


class Engine:
    """Stands in for `engine.run`: copies the range without loss, and remembers what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.lock = folder, [], threading.Lock()
        self.failing: dict[str, BaseException] = {}
        self.count = itertools.count()

    def run(self, source, step, out=None, *, start=None, end=None, policy=None, settings=None, **more):
        with self.lock:
            index = next(self.count)
            self.calls.append((source, start, end))
        if error := self.failing.get(f"{index}"):
            raise error
        path = self.folder / f"made-{index}.mp4"
        frames = _copy(source, start, end, path)
        if listener := more.get("on_progress"):
            listener(Event(phase="running", message="task t", overall=0.5))
            listener(Event(phase="done", overall=1.0))
        return outcome(path, frames)


def _copy(source, start, end, path) -> int:
    lossless = ["-an", "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-pix_fmt", "yuv444p", str(path)]
    if isinstance(source, Frames):
        frames = list(source.read())
        assert len(frames) == source.count
        size = f"{source.width}x{source.height}"
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(source.fps), "-i", "pipe:0"]
        run_ffmpeg([*raw, *lossless], feed=iter(frames))
        return len(frames)
    found = host.file_probe.__globals__["probe"](source)
    first = round((start or 0) * found.fps)
    last = found.frames if end is None else round(end * found.fps)
    trim = f"trim=start_frame={first}:end_frame={last},setpts=PTS-STARTPTS"
    ffmpeg("-i", source, "-vf", trim, *lossless)
    return last - first


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The stand-in engine, in place."""
    fake = Engine(tmp_path)
    monkeypatch.setattr(engine, "run", fake.run)
    return fake


def effect(**values):
    return RunwayVideoToVideo("at dusk", logger=None, **values)


def applied(clip, **values):
    return clip.with_effects([effect(**values)])


# --- what it is


def test_fields_are_those_of_step_and_policy():
    """Every field of Step and Policy is a field of the effect, with the same default."""
    ours = {f.name: f.default for f in dataclasses.fields(RunwayVideoToVideo)}
    theirs = {name: f.default for kind in (Step, Policy) for name, f in kind.model_fields.items()}
    assert ours == {**theirs, "settings": None, "logger": "bar"}


def test_prompt_comes_first():
    """The one positional argument people write is the prompt, and a copy is equal."""
    first = RunwayVideoToVideo("at dusk")
    assert first.prompt == "at dusk"
    assert first.copy() == first


def test_it_is_frozen():
    """Nobody writes to an effect that many clips share."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        effect().prompt = "at dawn"


def test_wrong_field_is_told_at_once():
    """A wrong field is one clear line when the effect is made, not when it is applied."""
    with pytest.raises(StepError, match="seed"):
        RunwayVideoToVideo("at dusk", seed=-1)


# --- where the frames come from

FROM_FILE = {
    "untouched": (lambda c: c, 0),
    "copy": (lambda c: c.copy(), 0),
    "no effects": (lambda c: c.with_effects([]), 0),
    "even size": (lambda c: c.with_effects([vfx.EvenSize()]), 0),
    "subclipped": (lambda c: c.subclipped(1, 2), 1),
    "sliced": (lambda c: c[1:2], 1),
    "subclip of a subclip": (lambda c: c.subclipped(0.5, 3.5).subclipped(1, 2), 1.5),
    "last second": (lambda c: c.subclipped(-1), 3),
    "other sound": (lambda c: c.with_audio(None), 0),
    "without sound": (lambda c: c.without_audio(), 0),
    "shorter": (lambda c: c.with_duration(2), 0),
    "later": (lambda c: c.with_start(7), 0),
    "placed": (lambda c: c.with_position((3, 4)).with_layer_index(2), 0),
    "louder": (lambda c: c.with_volume_scaled(2), 0),
    "memoized": (lambda c: c.with_memoize(True), 0),
    "masked": (lambda c: c.with_mask(), 0),
    "half opaque": (lambda c: c.with_opacity(0.5), 0),
}
RENDERED = {
    "resized": lambda c: c.resized(0.5),
    "cropped": lambda c: c.cropped(x1=10, y1=10),
    "faster": lambda c: c.with_speed_scaled(2),
    "stepped": lambda c: c[0:4:2],
    "cut out": lambda c: c.with_section_cut_out(1, 2),
    "mirrored": lambda c: c.with_effects([vfx.MirrorX()]),
    "faded": lambda c: c.with_effects([vfx.FadeIn(1)]),
    "same picture, by a function": lambda c: c.image_transform(lambda picture: picture),
    "frozen time": lambda c: c.time_transform(lambda t: t + 1).with_duration(1),
    "joined": lambda c: concatenate_videoclips([c.subclipped(0, 1), c.subclipped(2, 3)]),
    "composed": lambda c: CompositeVideoClip([c]),
    "another rate": lambda c: c.with_fps(12),
    "longer than the file": lambda c: c.with_duration(40),
    "part of a mirrored one": lambda c: c.with_effects([vfx.MirrorX()]).subclipped(1, 2),
}


@pytest.mark.parametrize(("change", "offset"), FROM_FILE.values(), ids=FROM_FILE)
def test_goes_as_a_file(root, change, offset):
    """A clip that shows a file's frames as they are goes as that file, from the right second."""
    clip = change(root)
    came = origin(clip)
    assert came.offset == pytest.approx(offset, abs=0.011)  # moviepy's "last second" counts in hundredths
    assert file_probe(clip, came).path == Path(root.filename)


@pytest.mark.parametrize("change", RENDERED.values(), ids=RENDERED)
def test_is_rendered(root, change):
    """A clip that shows anything else is never taken for the file."""
    clip = change(root)
    assert file_probe(clip, origin(clip)) is None


def test_other_size_is_rendered(opened):
    """A file that moviepy was told to read at another size is rendered."""
    clip = opened(target_resolution=(160, 90))
    assert file_probe(clip, origin(clip)) is None


def test_file_with_alpha_reader(opened):
    """A reader that also makes a mask shows the file's own colours; the mask alone is not the file."""
    clip = opened(has_mask=True)
    assert file_probe(clip, origin(clip)) is not None
    assert not origin(clip.mask).file


def test_own_get_frame_is_rendered(root):
    """A subclass that draws for itself is rendered, whatever its frame function is."""
    odd = type("Odd", (VideoFileClip,), {"get_frame": lambda self, t: np.zeros((HEIGHT, WIDTH, 3), np.uint8)})
    clip = root.copy()
    clip.__class__ = odd
    assert not origin(clip).file


def test_lost_file_is_rendered(tmp_path, sources):
    """A file that is gone, though moviepy still has it open, is not looked for."""
    path = tmp_path / "gone.mp4"
    path.write_bytes(sources().read_bytes())
    with VideoFileClip(str(path)) as clip:
        path.unlink()
        assert file_probe(clip, origin(clip)) is None


def test_replaced_file_is_rendered(tmp_path, sources):
    """A file that was replaced by a longer one is not taken for the old one."""
    path = tmp_path / "shot.mp4"
    ffmpeg("-i", sources(), "-t", 1, "-c:v", "libx264", "-an", path)
    with VideoFileClip(str(path)) as clip:
        path.write_bytes(sources().read_bytes())
        assert file_probe(clip, origin(clip)) is None


def test_turned_file_is_rendered(tmp_path, sources):
    """A file that players turn is rendered as moviepy shows it."""
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", 90, "-i", sources(), "-c", "copy", path)
    with VideoFileClip(str(path)) as clip:
        assert file_probe(clip, origin(clip)) is None


def test_file_never_goes_through_python(root, made, monkeypatch):
    """For a subclip of a file no frame passes through Python; the range is exact."""
    monkeypatch.setattr(host, "Frames", None)
    applied(root.subclipped(1, 2)).close()
    assert made.calls == [(Path(root.filename), Fraction(1), Fraction(2))]


def test_whole_file_has_no_range(root, made):
    """An untouched clip is the whole file, as when the file itself is given."""
    applied(root).close()
    assert made.calls == [(Path(root.filename), None, None)]


def test_closed_clip_is_told(sources):
    """A clip that was closed too early is one clear line."""
    clip = VideoFileClip(str(sources()))
    clip.close()
    with pytest.raises(SourceError, match="closed"):
        effect().apply(clip)


# --- rendering


def test_rendered_frames_are_those_of_the_clip(root, made):
    """A rendered clip gives each of its frames once, in order."""
    backwards = root.with_effects([vfx.TimeMirror()]).subclipped(1, 1.4)
    with applied(backwards) as clip:
        assert isinstance(made.calls[0][0], Frames)
        assert shown(clip) == shown(backwards) == list(range(74, 64, -1))


def test_odd_size(root, made):
    """A clip of odd size keeps it."""
    with applied(root.resized((321, 181)).subclipped(0, 1)) as clip:
        assert (made.calls[0][0].width, made.calls[0][0].height) == (321, 181)
        assert clip.get_frame(0).shape == (181, 321, 3)


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (23.976, Fraction(24000, 1001)), (29.97, Fraction(30000, 1001)), (59.94, Fraction(60000, 1001)),
        (24, Fraction(24)), (12.5, Fraction(25, 2)),
    ],
)  # fmt: skip
def test_rates_are_snapped(fps, exact, made):
    """A rate as people write it is the rate it stands for."""
    applied(ColorClip((64, 36), (9, 9, 9), duration=1).with_fps(fps)).close()
    assert made.calls[0][0].fps == exact


def test_composite(root, made):
    """A composite is rendered, keeps its size and its frames' count."""
    title = ColorClip((100, 20), (255, 0, 0), duration=1).with_position((210, 0))
    clip = CompositeVideoClip([root.subclipped(0, 2), title])
    with applied(clip) as out:
        assert made.calls[0][0].count == 50
        assert (tuple(out.size), out.duration, out.fps) == (tuple(clip.size), 2, 25)
        assert out.get_frame(0.5)[10, 300, 0] > 200
    clip.close()


def test_still_picture(made):
    """A still with a length and a rate is a clip like any other."""
    with applied(ColorClip((64, 36), (200, 10, 10), duration=2).with_fps(24)) as clip:
        assert made.calls[0][0].count == 48
        assert clip.get_frame(1)[18, 32, 0] > 180


@pytest.mark.parametrize(
    ("clip", "mend"),
    [
        (lambda: ColorClip((64, 36), (9, 9, 9), duration=1), "with_fps"),
        (lambda: ColorClip((64, 36), (9, 9, 9)).with_fps(24), "with_duration"),
        (lambda: ColorClip((64, 36), 1.0, is_mask=True, duration=1).with_fps(24), "to_RGB"),
        (lambda: "shot.mp4", "video clip"),
    ],
    ids=["no rate", "no end", "a mask", "no clip"],
)
def test_unusable_clips(clip, mend, made):
    """A clip that cannot be used is one line with its mend, and nothing is ordered."""
    with pytest.raises(SourceError, match=mend):
        effect().apply(clip())
    assert made.calls == []


def test_changing_size_is_told(made):
    """A clip that changes its size while it plays is refused, not sheared."""
    clip = VideoClip(lambda t: np.zeros((36, 64 if t < 0.5 else 32, 3), np.uint8), duration=1).with_fps(10)
    with pytest.raises(SourceError, match="size"):
        effect().apply(clip)


# --- what takes its place


def test_attributes_are_kept(root, made):
    """Place, time, mask, sound and the rest are the input's."""
    clip = root.subclipped(1, 2).with_start(3).with_position((5, 6), relative=False).with_layer_index(4)
    clip = clip.with_mask().with_memoize(True)
    out = effect().apply(clip)
    assert {name: getattr(out, name) for name in KEPT} == {name: getattr(clip, name) for name in KEPT}
    assert tuple(out.size) == tuple(clip.size)
    out.close()


def test_memory_of_the_input_is_not_shown(root, made):
    """A memoized input's remembered frame is not shown for the result."""
    clip = root.subclipped(1, 2).with_memoize(True)
    clip.get_frame(0)
    with effect().apply(clip) as out:
        assert out.memoized_t is None


def test_result_is_told(root, made):
    """What it cost and where the file is can be read from the clip, and from a copy of it."""
    with applied(root.subclipped(1, 2)) as clip:
        assert clip.copy().runway_result.cost == 56.0
        assert clip.filename == str(clip.runway_result.path)


def test_closing_spares_the_sound(root, made):
    """Closing the result ends its own reader and leaves the input's sound alone."""
    clip = applied(root.subclipped(1, 2))
    reader = clip.reader
    clip.close()
    assert reader.proc is None
    assert np.abs(root.audio.get_frame(1.0)).max() >= 0
    assert root.audio.reader is not None


def test_aspect_has_its_own_size(root, made, monkeypatch):
    """With another shape asked for, the size is the result's and the mask fits it."""
    whole = made.run

    def shaped(source, step, out=None, **more):
        result = whole(source, step, out, **more)
        path = result.path.with_name("shaped.mp4")
        ffmpeg("-i", result.path, "-vf", "scale=90:160", path)
        return result.model_copy(update={"path": path})

    monkeypatch.setattr(engine, "run", shaped)
    with applied(root.subclipped(1, 2).with_mask(), aspect="9:16") as clip:
        assert tuple(clip.size) == (90, 160)
        assert clip.mask.get_frame(0).shape == (160, 90)


@pytest.mark.parametrize("rate", RATES)
def test_frames_stay_where_they_were(opened, made, rate):
    """Frame i of the result shows what frame i of the input showed, at every rate."""
    clip = opened(rate).subclipped(0, 3)
    with applied(clip) as out:
        assert shown(out) == shown(clip)


def test_result_of_a_result_goes_as_a_file(root, made):
    """Two effects in a row: the second gets the first one's file, not its frames."""
    with root.subclipped(1, 3).with_effects([effect(), effect()]) as clip:
        assert [type(call[0]).__name__ for call in made.calls] == ["PosixPath", "PosixPath"]
        assert shown(clip) == list(range(25, 75))


def test_unreadable_result_names_the_file(root, monkeypatch, tmp_path):
    """A result that moviepy cannot open is kept, and its path told."""
    path = tmp_path / "made.mp4"
    path.write_bytes(b"no video")
    result = outcome(path, 25)
    monkeypatch.setattr(engine, "run", lambda *_, **__: result)
    with pytest.raises(host.MediaError, match=r"made\.mp4"):
        applied(root.subclipped(1, 2))


# --- a part of a clip


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("start", "end"), [(1, 2), (1.01, 2.03), (0, 1.5), (0.77, 3.3)])
def test_part_is_exact(opened, made, rate, start, end):
    """With a part transformed, every frame of the whole still is where it was; length, rate and size too."""
    clip = opened(rate).subclipped(0, 3.5)
    out = clip.with_effects_on_subclip([effect()], start, end)
    assert shown(out) == shown(clip)
    assert (out.duration, out.fps, tuple(out.size)) == (pytest.approx(clip.duration), clip.fps, tuple(clip.size))


@pytest.mark.parametrize("start", [1.01, 1.03])
def test_rendered_part_is_exact(root, made, start):
    """A part of a clip that must be rendered is as exact as one of a file."""
    clip = root.image_transform(lambda picture: picture).subclipped(0.01, 3)
    out = clip.with_effects_on_subclip([effect()], start, 2)
    assert isinstance(made.calls[0][0], Frames)
    assert shown(out) == shown(clip)


def test_part_of_a_part_is_exact(root, made):
    """Twice over, off the frames' grid, the frames still are where they were."""
    clip = root.subclipped(0, 3)
    once = clip.subclipped(0.53, 2.51).with_effects([effect()])
    out = once.with_effects_on_subclip([effect()], 0.51, 1.5)
    assert shown(once) == shown(out) == shown(clip.subclipped(0.53, 2.51))
    assert isinstance(made.calls[1][0], Path)


@pytest.mark.parametrize("rate", RATES)
def test_laid_over_its_source(opened, made, rate):
    """Laid over the clip it was cut from, at any time, a result shows the frames that lie below it."""
    clip = opened(rate)
    with applied(clip.subclipped(1.03, 2.99)) as out:
        times = np.arange(0.005, out.duration - 2 / clip.fps, 0.017)
        assert [number(out.get_frame(t)) for t in times] == [number(clip.get_frame(t + 1.03)) for t in times]


def test_part_without_a_frame(root, made):
    """A part between two frames is refused before anything is paid."""
    with pytest.raises(SourceError, match="no frame"):
        root.with_effects_on_subclip([effect()], 1.01, 1.02)
    assert made.calls == []


def test_part_behind_the_end(root, made):
    """A part that ends behind the clip's end is moviepy's error, and costs nothing."""
    with pytest.raises(ValueError, match="end_time"):
        root.with_effects_on_subclip([effect()], 1, 9)
    assert made.calls == []


def test_part_counted_from_the_end(root, made):
    """A part may be counted from the clip's end, as everywhere in moviepy."""
    clip = root.subclipped(0, 3)
    assert shown(clip.with_effects_on_subclip([effect()], -2, -1)) == shown(clip)
    assert made.calls == [(Path(root.filename), Fraction(1), Fraction(2))]


@pytest.mark.parametrize("end", [None, "clip", "text", "pair"])
def test_part_up_to_the_end(root, made, end):
    """A part that ends where the clip ends is not lost after it was paid, however the end is written."""
    clip = root.subclipped(0, 3)
    ends = {None: None, "clip": clip.duration, "text": "00:00:03", "pair": (0, 3)}
    out = clip.with_effects_on_subclip([effect()], 1, ends[end])
    assert shown(out) == shown(clip)
    assert len(made.calls) == 1


def test_sound_that_ends_with_the_part(root, made):
    """A sound that ends where the part ends does not lose the part after it was paid."""
    clip = root.with_audio(root.audio.subclipped(0, 2))
    assert shown(clip.with_effects_on_subclip([effect()], 1, 2)) == shown(clip)


def test_sound_that_ends_within_the_part(root, made):
    """A sound too short for the part is moviepy's error, before anything is paid."""
    clip = root.with_audio(root.audio.subclipped(0, 1.5))
    with pytest.raises(ValueError, match="end_time"):
        clip.with_effects_on_subclip([effect()], 1, 2)
    assert made.calls == []


def test_other_effects_are_untouched(root):
    """For other people's effects moviepy does what it did."""
    with pytest.raises(ValueError, match="start_time"):
        root.subclipped(0, 2).with_effects_on_subclip([vfx.MirrorX()], 1, 2)


def test_wrapped_once():
    """Loading the host twice wraps moviepy's method once."""
    wrapped = VideoClip.with_effects_on_subclip
    host._mend_effects_on_subclip()
    assert VideoClip.with_effects_on_subclip is wrapped


# --- progress, notebooks, plans


class Told(proglog.ProgressBarLogger):
    def __init__(self):
        super().__init__()
        self.moves, self.words, self.threads = [], [], set()

    def bars_callback(self, bar, attr, value, old_value=None):
        self.moves.append((bar, attr, value))
        self.threads.add(threading.get_ident())

    def callback(self, **words):
        self.words += [words["message"]] if "message" in words else []


def test_progress(root, made):
    """The bar `runway` counts to 100, and each phase is a line."""
    told = Told()
    root.subclipped(1, 2).with_effects([RunwayVideoToVideo("at dusk", logger=told)])[0:1].close()
    assert told.moves == [("runway", "total", 100), ("runway", "index", 50), ("runway", "index", 100)]
    assert told.words == ["Runway - running: task t", "Runway - done"]


def test_progress_from_other_threads(root, made, monkeypatch):
    """Events from another thread reach the logger in the caller's."""
    told, whole = Told(), made.run

    def elsewhere(*args, on_progress, **more):
        thread = threading.Thread(target=on_progress, args=(Event(phase="preparing", overall=0.3),))
        thread.start()
        thread.join()
        return whole(*args, **more)

    monkeypatch.setattr(engine, "run", elsewhere)
    root.subclipped(1, 2).with_effects([RunwayVideoToVideo("at dusk", logger=told)]).close()
    assert told.moves[-1] == ("runway", "index", 30)
    assert told.threads == {threading.get_ident()}


def test_in_a_notebook(root, made):
    """It works where an event loop already runs in the thread."""

    async def cell():
        return applied(root.subclipped(1, 2))

    clip = asyncio.run(cell())
    assert shown(clip) == list(range(25, 50))
    clip.close()


def test_plan_sends_nothing(root, offline):
    """A plan says what it would do and cost, without a key and without a connection."""
    plan = effect().plan(root.subclipped(1, 3.4))
    assert (plan.last - plan.first, plan.credits) == (60, 68)  # 67.2 rounded up
    assert offline == []


def test_plan_of_a_rendered_clip(root):
    """A clip that must be rendered is planned without rendering it."""
    plan = effect().plan(root.with_effects([vfx.MirrorX()]).subclipped(0, 3))
    assert (plan.last - plan.first, plan.source) == (75, "frames")


# --- several at once


def settings(**values):
    return load_settings(runway_key="k", **values)


def test_map_keeps_the_order(root, made):
    """Results come in the order of the clips, and all of them ran."""
    parts = [root.subclipped(i, i + 1) for i in range(3)]
    out = effect(settings=settings()).map(parts)
    assert [shown(clip) for clip in out] == [shown(part) for part in parts]
    for clip in out:
        clip.close()


def test_map_with_a_key_is_refused(root, made):
    """A key names one clip: several under one key would all get the first one's result."""
    with pytest.raises(StepError, match="names one clip"):
        effect(settings=settings(), key="shot-12").map([root.subclipped(0, 1), root.subclipped(1, 2)])
    assert made.calls == []


def test_map_of_nothing(made):
    """No clips give no clips."""
    assert effect(settings=settings()).map([]) == []


def test_map_runs_at_once(root, made, monkeypatch):
    """Files go in parallel, as many as the settings allow."""
    meeting, whole = threading.Barrier(3, timeout=10), made.run

    def together(*args, **more):
        meeting.wait()
        return whole(*args, **more)

    monkeypatch.setattr(engine, "run", together)
    for clip in effect(settings=settings(max_concurrency=3)).map([root.subclipped(i, i + 1) for i in range(3)]):
        clip.close()


def test_map_reads_one_at_a_time(root, made, monkeypatch):
    """Clips that may share a reader are never read from two threads at once, and every frame is right."""
    parts = [root.image_transform(lambda picture: picture).subclipped(i, i + 1) for i in range(3)]
    expected = [shown(part) for part in parts]
    out = effect(settings=settings()).map(parts)
    assert [shown(clip) for clip in out] == expected
    for clip in out:
        clip.close()


def test_map_keeps_what_was_paid(root, made):
    """After a failure nothing new is started, what is done is in the error, and each failed clip is named."""
    made.failing["1"] = TaskFailed("The provider failed", task_id="t")
    with pytest.raises(
        SomeFailed, match=r"1 of 4 clips failed \(clip 1: The provider failed\); 2 not started"
    ) as caught:
        effect(settings=settings(max_concurrency=1)).map([root.subclipped(i / 2, i / 2 + 1) for i in range(4)])
    done, *others = caught.value.results
    assert shown(done) == list(range(25))
    assert others == [None, None, None]
    assert len(made.calls) == 2
    done.close()


def test_map_finishes_what_is_under_way(root, made, monkeypatch):
    """A clip that was under way when another failed is finished and kept."""
    meeting, failed, whole = threading.Barrier(2, timeout=10), threading.Event(), made.run

    def uneven(source, step, *, start, **more):
        meeting.wait()
        if start is None:
            failed.set()
            raise Ambiguous("Nobody knows")
        failed.wait(10)
        time.sleep(0.1)
        return whole(source, step, start=start, **more)

    monkeypatch.setattr(engine, "run", uneven)
    with pytest.raises(SomeFailed) as caught:
        effect(settings=settings(max_concurrency=2)).map([root.subclipped(0, 1), root.subclipped(1, 2)])
    assert caught.value.exit_code == 4
    assert shown(caught.value.results[1]) == list(range(25, 50))
    caught.value.results[1].close()


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([OverLimit("much"), Ambiguous("who knows")], 4),
        ([OverLimit("much"), OSError("disk")], 3),
        ([SourceError("bad"), OSError("disk")], 1),
        ([Interrupted("stop"), Ambiguous("who knows")], 130),
        ([SourceError("bad")], 2),
    ],
)
def test_exit_code_of_several(errors, code):
    """Of several failures the gravest gives the exit code."""
    assert SomeFailed([None] * len(errors), dict(enumerate(errors))).exit_code == code


def test_map_looks_at_all_first(root, made):
    """A clip that cannot be used is told before any other is ordered."""
    with pytest.raises(SomeFailed, match="clip 1: The clip has no frame rate"):
        effect(settings=settings()).map([root, ColorClip((64, 36), (1, 1, 1), duration=1)])
    assert made.calls == []


def test_map_tells_progress_from_the_callers_thread(root, made):
    """The logger is called by the thread that called `map`, and its bar reaches 100."""
    told = Told()
    parts = [root.subclipped(i, i + 1) for i in range(3)]
    out = RunwayVideoToVideo("at dusk", logger=told, settings=settings()).map(parts)
    assert told.threads == {threading.get_ident()}
    assert told.moves[-1] == ("runway", "index", 100)
    assert "Runway (clip 2) - done" in told.words
    for clip in out:
        clip.close()


def test_ctrl_c_stops_all(root, monkeypatch):
    """Ctrl-C stops every clip, waits for what became of them, and leaves as KeyboardInterrupt."""
    stopped, waited = [], host.wait

    def until_stopped(source, step, *, stop, **more):
        assert stop.wait(10)
        stopped.append(source)
        raise Interrupted("Stopped; task t was cancelled")

    def press(*args, **more):
        monkeypatch.setattr(host, "wait", waited)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", until_stopped)
    monkeypatch.setattr(host, "wait", press)
    with pytest.raises(KeyboardInterrupt) as caught:
        effect(settings=settings()).map([root.subclipped(0, 1), root.subclipped(1, 2)])
    assert len(stopped) == 2
    assert caught.value.__cause__.exit_code == 130


# --- against the sandbox


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["runway", "cometapi"])
def test_part_against_the_sandbox(root, runway_sandbox, provider):
    """The real engine and a served provider: a part comes back altered, the rest untouched, all in place."""
    clip = root.subclipped(0, 3.5)
    out = clip.with_effects_on_subclip([effect(settings=runway_sandbox.settings(provider))], 1, 3.2)
    assert (out.duration, out.fps, tuple(out.size)) == (pytest.approx(3.5), 25, (WIDTH, HEIGHT))
    assert np.array_equal(out.get_frame(0.5), clip.get_frame(0.5))
    assert np.abs(out.get_frame(2).astype(int) - clip.get_frame(2)).mean() > 5


@pytest.mark.slow
def test_rendered_odd_size_against_the_sandbox(root, runway_sandbox):
    """A rendered clip of odd size comes back at that size, with its length."""
    clip = root.resized((321, 181)).subclipped(0, 2)
    with applied(clip, settings=runway_sandbox.settings("runway")) as out:
        assert tuple(out.size) == (321, 181)
        assert out.runway_result.frames == 50
        assert out.get_frame(1.9).shape == (181, 321, 3)


@pytest.mark.slow
def test_map_against_the_sandbox(root, runway_sandbox):
    """Files and rendered clips side by side come back in order."""
    clips = [root.subclipped(0, 2), root.with_effects([vfx.MirrorX()]).subclipped(0, 2), root.subclipped(1.5, 3.5)]
    out = effect(settings=runway_sandbox.settings("runway")).map(clips)
    assert [clip.runway_result.frames for clip in out] == [50, 50, 50]
    for clip in out:
        clip.close()
