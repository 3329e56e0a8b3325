"""Frames of templates: each step shows exactly those that it says, where and when it says."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from runway_node.media.probe import probe
from runway_node.templates import TemplateError

from .edits import edit_fixture, packets, pictures, plain, size, with_sound
from .media_clips import VP9, barcode, ffmpeg, made_of, numbers, read

__all__ = ["edit_fixture"]

pytestmark = pytest.mark.slow
RATES = ["24000/1001", "25", "30000/1001", "60000/1001"]


@pytest.fixture(scope="module", name="room")
def room_fixture(tmp_path_factory):
    """A folder for clips that all tests here share."""
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module", name="film")
def film_fixture(room):
    """Seventy-five numbered frames at 25 a second, with a tone."""
    return with_sound(barcode(room / "pictures.mp4", "25", 75), room / "film.mp4")


@pytest.fixture(scope="module", name="silent")
def silent_fixture(room):
    """Seventy-five numbered frames at 25 a second, without sound."""
    return barcode(room / "silent.mp4", "25", 75)


@pytest.fixture(scope="module", name="late")
def late_fixture(room):
    """Numbered frames that begin half a second after their sound."""
    ffmpeg("-itsoffset", "0.5", "-i", barcode(room / "l.mp4", "25", 50), "-f", "lavfi", "-t", "2.5", "-i",
           "sine=440", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", room / "late.mp4")  # fmt: skip
    return room / "late.mp4"


@pytest.fixture(scope="module", name="turned")
def turned_fixture(room):
    """Numbered frames, stored lying on their side, that a player turns upright."""
    flat = barcode(room / "t.mp4", "25", 50)
    ffmpeg("-i", flat, "-vf", "transpose=cclock", "-c:v", "libx264", "-crf", "16", room / "side.mp4")
    ffmpeg("-display_rotation:v:0", "-90", "-i", room / "side.mp4", "-c", "copy", room / "turned.mp4")
    return room / "turned.mp4"


@pytest.fixture(scope="module", name="varying")
def varying_fixture(room):
    """Numbered frames, every third of which is missing."""
    flat = barcode(room / "v.mp4", "30", 90)
    ffmpeg("-i", flat, "-vf", "select='not(eq(mod(n,3),2))'", "-fps_mode", "vfr", "-c:v", "libx264", "-crf", "16",
           "-video_track_timescale", "30000", room / "varying.mp4")  # fmt: skip
    return room / "varying.mp4"


TEXT = {"type": "text", "text": "x", "size": 12, "position": "top-left"}
"""Words that hide no number."""


def middle(path, row=90, column=160):
    """One pixel of every frame."""
    return [int(picture[row, column, 1]) for picture in pictures(path)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("how", ["file", "drawn"])
def test_trim(edit, room, rate, how):
    """Frames [round(start), round(end)) are left, at any rate, whether copied, encoded or drawn."""
    path = room / f"trim-{rate.replace('/', '_')}.mp4"
    clip = path if path.exists() else barcode(path, rate, 150)
    steps = [{"type": "trim", "in": clip, "start": 0.7, "end": 2.1}] + ([TEXT] if how == "drawn" else [])
    made = edit(*steps).path
    first, last = (int(seconds * Fraction(rate) + Fraction(1, 2)) for seconds in (Fraction("0.7"), Fraction("2.1")))
    assert numbers(made) == list(range(first, last))
    assert made_of(made) == (last - first, Fraction(rate), False)


@pytest.mark.parametrize("rate", RATES)
def test_a_trim_of_a_trim(edit, room, rate):
    """Parts of parts add up in whole frames."""
    clip = barcode(room / f"twice-{rate.replace('/', '_')}.mp4", rate, 150)
    steps = [{"type": "trim", "in": clip, "start": "1/3s"}, TEXT, {"type": "trim", "start": "1/3s", "duration": "1/3s"}]
    fps = Fraction(rate)
    third = int(fps / 3 + Fraction(1, 2))
    assert numbers(edit(*steps).path) == list(range(2 * third, 2 * third + int(fps * 2 / 3 + Fraction(1, 2)) - third))


def test_cut_after_cut(edit, film, silent):
    """Clips follow each other whole, in the order in which they are named."""
    part = {"id": "part", "type": "trim", "in": film, "start": 1, "end": 2}
    found = numbers(edit(part, {"type": "concat", "in": [silent, "part", film]}).path)
    assert found == [*range(75), *range(25, 50), *range(75)]


def test_a_cross_fade_shares_frames(edit, room):
    """Both are seen for its time, the later one's share rising in equal steps; the film is that much shorter."""
    dark, light = plain(room / "dark.mp4", 40, 50), plain(room / "light.mp4", 200, 50)
    fade = {"type": "crossfade", "duration": "200ms"}
    levels = middle(edit({"type": "concat", "in": [dark, light], "transition": fade}).path)
    low, high = levels[0], levels[-1]
    assert levels == pytest.approx([low] * 45 + [low + (high - low) * n / 6 for n in range(1, 6)] + [high] * 45, abs=3)


def test_a_clip_too_short_for_its_fades_is_told(edit, silent, room):
    """The first or last needs one transition's time and more, one between needs two; it is named."""
    short = barcode(room / "short.mp4", "25", 15)
    step = {"type": "concat", "in": [short, short, silent], "transition": {"duration": "400ms"}}
    with pytest.raises(TemplateError, match=r"steps\[0\].transition.duration, line 1: clip 2 lasts 0.60 s"):
        edit.look(step)
    assert edit.look({**step, "in": [short, silent, short]}).frames == 15 + 75 + 15 - 20


def test_three_clips_cross_faded(edit, silent):
    """Each neighbouring two share the transition; what is not shared is as it was."""
    fade = {"type": "crossfade", "duration": "400ms"}
    found = numbers(edit({"type": "concat", "in": [silent] * 3, "transition": fade}).path)
    assert len(found) == 3 * 75 - 2 * 10
    assert found[:65] == list(range(65))
    assert found[75:130] == list(range(10, 65))
    assert found[140:] == list(range(10, 75))


@pytest.mark.parametrize("rate", ["24000/1001", "50", "60000/1001"])
def test_another_rate_keeps_its_time(edit, silent, room, rate):
    """A clip of another rate shows at each moment what it showed then, for as long as it lasted."""
    other = barcode(room / f"other-{rate.replace('/', '_')}.mp4", rate, 120)
    made = edit({"type": "concat", "in": [silent, other]}).path
    count = round(120 / Fraction(rate) * 25)
    assert made_of(made) == (75 + count, 25, False)
    shown = [int(Fraction(n, 25) * Fraction(rate) + Fraction(1, 10**4)) for n in range(count)]
    assert numbers(made) == [*range(75), *(min(one, 119) for one in shown)]


@pytest.mark.parametrize("fit", ["contain", "cover"])
def test_another_shape_fills_the_frame(edit, silent, room, fit):
    """A tall clip is seen whole between bars, or cut to the frame."""
    tall = plain(room / "tall.mp4", 200, 25, "25", "90x180")
    made = edit({"type": "concat", "in": [silent, tall], "fit": fit}, out=f"{fit}.mp4").path
    last = pictures(made)[-1]
    assert size(made) == (320, 180)
    assert (last[90, 5].mean() > 150) == (fit == "cover")
    assert last[90, 160].mean() > 150


def test_words_are_seen_for_their_time(edit, room):
    """They appear with the frame at `at`, and are gone with that after `for`."""
    clip = plain(room / "ground.mp4", 40, 50)
    steps = {"type": "text", "in": clip, "text": "MMM", "size": "60%", "at": "0.4s", "for": "1s", "position": "center"}
    seen = [picture.max() > 150 for picture in pictures(edit(steps).path)]
    assert [number for number, there in enumerate(seen) if there] == list(range(10, 35))


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001"])
def test_words_are_seen_for_their_time_at_odd_rates(edit, room, rate):
    """So it is where a frame's time is no decimal."""
    clip = plain(room / f"odd-{rate.replace('/', '_')}.mp4", 40, 200, rate)
    steps = {"type": "text", "in": clip, "text": "MMM", "size": "60%", "at": "1.9s", "for": "0.7s"}
    seen = [picture.max() > 150 for picture in pictures(edit(steps).path)]
    first, count = (int(Fraction(seconds) * Fraction(rate) + Fraction(1, 2)) for seconds in ("1.9", "0.7"))
    assert [number for number, there in enumerate(seen) if there] == list(range(first, first + count))


def test_a_range_of_words_leaves_the_rest(edit, film):
    """With `range`, words are only on that part; numbers, sound and length stay."""
    made = edit({**TEXT, "in": film, "range": {"start": 1, "end": 2}, "background": "white"}).path
    assert numbers(made) == list(range(75))
    seen = [picture[4, 8].mean() > 150 for picture in pictures(made)]
    assert [number for number, there in enumerate(seen) if there] == list(range(25, 50))


def test_a_picture_lies_where_it_is_told(edit, room, tmp_path):
    """Its corner, its width and its share of the ground's colour are to the pixel."""
    Image.new("RGB", (20, 10), (255, 255, 255)).save(tmp_path / "logo.png")
    step = {"type": "overlay", "in": plain(room / "g2.mp4", 40, 25), "file": tmp_path / "logo.png", "width": 40,
            "position": [100, 50], "opacity": 0.5, "at": 0.2, "for": 0.4}  # fmt: skip
    found = pictures(edit(step).path)
    ground = int(found[0][90, 160, 1])
    seen = found[8].astype(int)[:, :, 1] - ground
    inside = seen[52:68, 102:138]
    assert inside.mean() == pytest.approx((255 - ground) / 2, abs=4)
    seen[48:72, 98:142] = 0
    assert np.abs(seen).max() < 12
    shown = [number for number, one in enumerate(found) if one[60, 120, 1] > ground + 50]
    assert shown == list(range(5, 15))


@pytest.mark.parametrize(
    ("position", "corner"),
    [("top-left", (0, 0)), ("bottom-right", (280, 160)), ("center", (140, 80)), (["25%", "bottom"], (60, 160)),
     ([-20, 10], (-20, 10))],
    ids=str,
)  # fmt: skip
def test_each_way_to_say_a_place(edit, room, tmp_path, position, corner):
    """Words, shares of its middle, pixels; a part may lie outside."""
    Image.new("RGB", (40, 20), (255, 255, 255)).save(tmp_path / "logo.png")
    ground = plain(room / f"g-{corner[0]}.mp4", 40, 3)
    made = edit({"type": "overlay", "in": ground, "file": tmp_path / "logo.png", "position": position}).path
    rows, columns = np.nonzero(pictures(made)[1][:, :, 1] > 150)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    wanted = (max(0, corner[0]), max(0, corner[1]), corner[0] + 40, corner[1] + 20)
    assert box == pytest.approx(wanted, abs=1)


def test_a_see_through_picture_shows_the_ground(edit, room, tmp_path):
    """Where a picture is transparent, what is under it is seen."""
    logo = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (0, 0, 20, 40))
    logo.save(tmp_path / "logo.png")
    step = {"type": "overlay", "in": plain(room / "g3.mp4", 40, 3), "file": tmp_path / "logo.png", "position": [0, 0]}
    shown = pictures(edit(step).path)[1]
    assert shown[20, 10, 1] > 200
    assert shown[20, 30, 1] < 60


def test_a_clip_over_a_clip_keeps_its_frames(edit, room, silent):
    """A clip that is laid over another begins with its first frame there and goes when it ends."""
    small = barcode(room / "small.mp4", "25", 20)
    ground = plain(room / "wide.mp4", 120, 60, "25", "640x360")
    made = edit({"type": "overlay", "in": ground, "file": small, "position": [320, 180], "at": "0.4s"}).path
    shown = [read(picture[180:, 320:, 1]) for picture in pictures(made)]
    assert shown[10:30] == list(range(20))
    light = [picture[190, 330, 1] > 80 for picture in pictures(made)]
    assert [number for number, bare in enumerate(light) if not bare] == list(range(10, 30))


def test_a_steps_clip_is_laid_over(edit, room, film):
    """A step's result may lie over another clip, drawn to a width."""
    ground = plain(room / "wide2.mp4", 120, 30, "25", "640x360")
    steps = [{"id": "part", "type": "trim", "in": film, "start": 1},
             {"type": "overlay", "in": ground, "file": "part", "width": "50%", "position": "top-left"}]  # fmt: skip
    shown = [read(picture[:180, :320, 1]) for picture in pictures(edit(*steps).path)]
    assert shown == list(range(25, 55))


@pytest.mark.parametrize(
    ("name", "fields", "shape"),
    [
        ("Resize", {"width": 160}, (160, 90)), ("Resize", {"new_size": [200, 100]}, (200, 100)),
        ("Resize", {"new_size": 0.5}, (160, 90)), ("Resize", {"height": 91}, (162, 91)),
        ("Resize", {"width": 100, "height": 60}, (100, 60)), ("Resize", {"height": 134}, (238, 134)),
        ("Crop", {"x1": 10, "y1": 20, "x2": 211, "y2": 121}, (201, 101)),
        ("Crop", {"x_center": 160, "width": 100}, (100, 180)), ("Crop", {"x2": "100", "width": 50}, (50, 180)),
        ("Margin", {"margin_size": 7}, (334, 194)),
        ("Margin", {"left": 3}, (323, 180)), ("Rotate", {"angle": 90}, (180, 320)), ("EvenSize", {}, (320, 180)),
    ],
    ids=str,
)  # fmt: skip
def test_an_effect_changes_the_shape(edit, silent, name, fields, shape):
    """What was looked for is rendered, odd sizes too, and every frame is there."""
    made = edit({"type": "effect", "in": silent, "name": name, "with": fields}).path
    assert size(made) == shape
    assert made_of(made) == (75, 25, False)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"width": 100}, "Crop's width alone cuts nothing. Give x1, x2 or x_center too: 160 is the middle"),
        ({"y_center": 90}, "Crop's y_center needs a height"), ({"x1": 100, "x2": 100}, "Crop from x 100 to 100"),
        ({"x_center": 300, "width": 50}, "Crop from x 275 to 325 is not within the picture, which is 320x180"),
        ({"x1": -5}, "Crop from x -5 to 320"), ({"x1": 0, "width": 5000}, "Crop from x 0 to 5000"),
    ],
    ids=str,
)  # fmt: skip
def test_a_crop_that_is_none_is_told(edit, silent, fields, told):
    """Else moviepy gives another picture than was asked for, and says nothing."""
    with pytest.raises(TemplateError, match=re.escape(told)):
        edit.look({"type": "effect", "in": silent, "name": "Crop", "with": fields})


@pytest.mark.parametrize(
    ("name", "fields"),
    [("Resize", {"height": 0}), ("Resize", {"width": -5}), ("Resize", {"new_size": [0, 9]}),
     ("MultiplySpeed", {"factor": 0}), ("Margin", {"margin_size": -16})],
    ids=str,
)  # fmt: skip
def test_a_size_that_is_none_is_refused(edit, silent, name, fields):
    """Before anything is drawn, at its own field."""
    with pytest.raises(TemplateError, match=r"steps\[0\]\.with\.\w+, line 1: .* is wrong: it must be"):
        edit.look({"type": "effect", "in": silent, "name": name, "with": fields})


@pytest.mark.parametrize(("out", "said"), [("odd.mp4", True), ("odd.mkv", True), ("odd.webm", False)])
def test_an_odd_size_is_told(edit, silent, out, said):
    """Where the film would be one that many players refuse, with the mend."""
    step = {"type": "effect", "in": silent, "name": "Crop", "with": {"x2": 201}}
    assert any("201x180 is an odd size" in one for one in edit(step, out=out).warnings) is said


@pytest.mark.parametrize("out", ["odd.mp4", "odd.mov", "odd.mkv", "odd.webm"])
def test_an_odd_size_is_kept_in_every_container(edit, silent, out):
    """A size that pairs of pixels do not fill is kept whatever holds the film."""
    corner = {"x1": 0, "y1": 0, "width": 201, "height": 101}
    made = edit({"type": "effect", "in": silent, "name": "Crop", "with": corner}, out=out).path
    assert size(made) == (201, 101)
    assert probe(made).frames == 75


def test_twice_as_fast(edit, film):
    """Every second frame is left."""
    made = edit({"type": "effect", "in": film, "name": "MultiplySpeed", "with": {"factor": 2}}).path
    found = numbers(made)
    assert len(found) == 38
    assert found == pytest.approx([2 * number for number in range(37)] + [74], abs=1)


def test_a_slowed_range(edit, film):
    """A range at half the speed lasts twice as long; around it nothing moves."""
    slow = {"type": "effect", "name": "MultiplySpeed", "with": {"factor": 0.5}}
    found = numbers(edit({**slow, "in": film, "range": {"start": 1, "end": 2}}).path)
    assert found[:25] == list(range(25))
    assert found[25:75] == [25 + number // 2 for number in range(50)]
    assert found[75:] == list(range(50, 75))


def test_backwards(edit, film):
    """The last frame is the first, and none is doubled."""
    assert numbers(edit({"type": "effect", "in": film, "name": "TimeMirror"}).path) == list(range(75))[::-1]


def test_a_fade_begins_dark(edit, room):
    """The first frame is black, light rises evenly, and is whole from the fade's end on."""
    clip = plain(room / "g4.mp4", 200, 50)
    levels = middle(edit({"type": "effect", "in": clip, "name": "FadeIn", "with": {"duration": 1}}).path)
    assert levels[0] < 5
    assert levels[:25] == pytest.approx([levels[-1] * number / 25 for number in range(25)], abs=4)
    assert levels[25:] == pytest.approx([levels[-1]] * 25, abs=2)


def test_a_start_offset(edit, late):
    """A clip whose picture begins late shows its frames from its first on."""
    assert numbers(edit({**TEXT, "in": late}).path) == list(range(50))


def test_a_turned_clip_is_upright(edit, turned):
    """What a player turns is drawn on upright."""
    made = edit({**TEXT, "in": turned}).path
    assert size(made) == (320, 180)
    assert numbers(made) == list(range(50))


def test_a_part_of_a_turned_clip_is_upright(edit, turned):
    """A part of it is too, without anything drawn."""
    made = edit({"type": "trim", "in": turned, "start": 1}).path
    assert numbers(made) == list(range(25, 50))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("how", [{"mode": "mute"}, {"gain": -3}], ids=["mute", "gain"])
def test_a_turned_clip_stays_turned(edit, turned, room, how, suffix):
    """Where only its sound changes, its packets and the way it is turned stay."""
    heard = with_sound(turned, room / "heard.mp4")
    made = edit({"type": "audio", "in": heard, **how}, out=f"film{suffix}").path
    assert packets(made) == packets(turned)
    assert probe(made).rotation == probe(turned).rotation == 90


def test_a_varying_rate_is_copied(edit, varying, film):
    """Where only its sound changes, each frame keeps its time."""
    made = edit({"type": "audio", "in": varying, "file": film}).path
    assert packets(made) == packets(varying)
    assert probe(made).frames == probe(varying).frames


@pytest.mark.parametrize("how", ["trimmed", "drawn"])
def test_a_varying_rate_goes_by_the_clock(edit, varying, how):
    """At each tick of the nominal rate, what was shown then is shown."""
    step = TEXT if how == "drawn" else {"type": "trim", "start": 0, "end": 2}
    found = probe(varying)
    made = edit({**step, "in": varying}).path
    rate = found.fps
    shown = numbers(made)
    clock = [number / rate * 30 for number in range(len(shown))]
    assert all(abs(one - at) <= 1.01 for one, at in zip(shown, clock, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("how", ["whole", "part", "drawn"])
def test_each_container(edit, film, suffix, how):
    """Every ending holds the same frames, and the sound."""
    step = {"whole": {"type": "trim"}, "part": {"type": "trim", "start": 1}, "drawn": TEXT}[how]
    made = edit({**step, "in": film}, out=f"film{suffix}").path
    assert numbers(made) == list(range(25 if how == "part" else 0, 75))
    assert probe(made).sounds
    assert probe(made).fps == 25


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".avi"])
def test_each_source(edit, room, suffix):
    """Other containers and codecs are read to the frame."""
    codec = VP9 if suffix == ".webm" else ()
    clip = barcode(room / f"source{suffix}", "25", 60, *codec)
    made = edit({"type": "trim", "in": clip, "start": 1}, TEXT).path
    assert numbers(made) == list(range(25, 60))


def test_a_hundred_steps(edit, room):
    """A long way through many steps is drawn as a short one is."""
    clip = plain(room / "g5.mp4", 40, 3)
    made = edit({**TEXT, "in": clip}, *[{"type": "effect", "name": "InvertColors"}] * 100).path
    assert probe(made).frames == 3


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_film_of_one_frame(edit, silent, suffix):
    """One frame is a film, too, in every container."""
    made = edit({"type": "trim", "in": silent, "start": 1, "duration": "40ms"}, out=f"film{suffix}").path
    assert numbers(made) == [25]
