"""The sound of templates: replaced, mixed, louder, faded, looped, late, loud enough; and in time with its frames."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runway_node.media.probe import probe

from .edits import (
    edit_fixture,
    heard,
    level,
    loudness,
    packets,
    packets_of_sound,
    pitch,
    plain,
    sounds,
    tone,
    with_sound,
)
from .media_clips import CLICKS, barcode, clicks, ffmpeg, numbers

__all__ = ["edit_fixture"]

pytestmark = pytest.mark.slow

FULL = 0.5 / math.sqrt(2)
"""The RMS of a tone of half the full height."""

TEXT = {"type": "text", "text": "x", "size": 12, "position": "top-left"}
FAST = {"type": "effect", "name": "MultiplySpeed", "with": {"factor": 2}}


@pytest.fixture(scope="module", name="room")
def room_fixture(tmp_path_factory):
    """A folder for clips that all tests here share."""
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module", name="silent")
def silent_fixture(room):
    """Four seconds without sound."""
    return plain(room / "silent.mp4", 40, 100)


@pytest.fixture(scope="module", name="film")
def film_fixture(room, silent):
    """Four seconds with a tone of 440 Hz."""
    return with_sound(silent, room / "film.mp4")


@pytest.fixture(scope="module", name="high")
def high_fixture(room):
    """A sound file: two seconds of 2000 Hz."""
    return tone(room / "high.wav", hertz=2000)


@pytest.fixture(scope="module", name="tracks")
def tracks_fixture(room, silent):
    """Four seconds with two tracks."""
    for hertz in (300, 3000):
        tone(room / f"{hertz}.wav", hertz=hertz, seconds=4)
    ffmpeg("-i", silent, "-i", room / "300.wav", "-i", room / "3000.wav", "-map", "0:v", "-map", "1:a", "-map", "2:a",
           "-c:v", "copy", "-c:a", "aac", room / "tracks.mp4")  # fmt: skip
    return room / "tracks.mp4"


@pytest.fixture(scope="module", name="clicking")
def clicking_fixture(room):
    """Six numbered seconds, with a click in the middle of each."""
    flat = barcode(room / "c.mp4", "25", 150)
    ffmpeg("-i", flat, "-f", "lavfi", "-i", CLICKS.format(seconds=6), "-map", "0:v", "-map", "1:a", "-c:v", "copy",
           "-c:a", "aac", room / "clicking.mp4")  # fmt: skip
    return room / "clicking.mp4"


def test_replaced(edit, film, high):
    """Another sound takes the place of the clip's own; where it ends, it is silent."""
    found = heard(edit({"type": "audio", "in": film, "file": high}).path)
    assert pitch(found, 0.2, 1.8) == pytest.approx(2000, abs=5)
    assert level(found, 0.2, 1.8) == pytest.approx(FULL, rel=0.03)
    assert level(found, 2.1, 3.9) < FULL / 1000


def test_mixed(edit, film, high):
    """Both are heard, each with its own gain."""
    step = {"type": "audio", "in": film, "file": high, "mode": "mix", "gain": "-12dB", "own_gain": -6}
    found = heard(edit(step).path)
    own, laid = FULL * 10 ** (-6 / 20), FULL * 10 ** (-12 / 20)
    assert level(found, 0.2, 1.8) == pytest.approx(math.hypot(own, laid), rel=0.03)
    assert level(found, 2.2, 3.8) == pytest.approx(own, rel=0.03)
    assert pitch(found, 2.2, 3.8) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("gain", [-20, -6, 0, 3])
def test_gain(edit, film, gain):
    """Decibels are decibels."""
    found = heard(edit({"type": "audio", "in": film, "gain": gain}).path)
    assert level(found, 0.5, 3.5) == pytest.approx(FULL * 10 ** (gain / 20), rel=0.03)


def test_faded(edit, film):
    """It rises and falls in a straight line, over the time that is told."""
    found = heard(edit({"type": "audio", "in": film, "fade_in": 1, "fade_out": "500ms"}).path)
    assert level(found, 0.48, 0.52) == pytest.approx(FULL / 2, rel=0.05)
    assert level(found, 0.23, 0.27) == pytest.approx(FULL / 4, rel=0.08)
    assert level(found, 1.1, 3.4) == pytest.approx(FULL, rel=0.03)
    assert level(found, 3.73, 3.77) == pytest.approx(FULL / 2, rel=0.05)


def test_begun_late_and_looped(edit, silent, high):
    """It begins at `at`, and again whenever it ends, without a hole."""
    found = heard(edit({"type": "audio", "in": silent, "file": high, "at": "0.5s", "loop": True}).path)
    assert level(found, 0, 0.48) < FULL / 100
    for begin in np.arange(0.52, 3.9, 0.05):
        assert level(found, begin, begin + 0.05) == pytest.approx(FULL, rel=0.05)


def test_begun_late(edit, clicking, silent):
    """What is laid at a time is heard at that time, to the millisecond."""
    found = clicks(edit({"type": "audio", "in": silent, "file": clicking, "at": "0.75s"}).path)
    assert found == pytest.approx([1.25, 2.25, 3.25], abs=0.001)


def test_muted(edit, film):
    """A muted clip has no sound track, and its pictures are copied."""
    made = edit({"type": "audio", "in": film, "mode": "mute"}).path
    assert sounds(made) == []
    assert packets(made) == packets(film)


@pytest.mark.parametrize("lufs", [-14, -23])
def test_loudness(edit, film, lufs):
    """The whole is as loud as asked for, within 1 LU."""
    assert loudness(edit({"type": "audio", "in": film, "loudness": lufs}).path) == pytest.approx(lufs, abs=1)


@pytest.mark.parametrize("seconds", [0.5, 1, 2.5])
def test_loudness_of_something_short(edit, film, seconds):
    """So it is of less than the three seconds that are measured at a time."""
    cut = {"type": "trim", "in": film, "duration": seconds}
    assert loudness(edit(cut, {"type": "audio", "loudness": -20}).path) == pytest.approx(-20, abs=1)


def test_loudness_of_a_loud_mix(edit, film, high, room):
    """What two sounds make together is brought down without having been cut off before."""
    loud = tone(room / "loud.wav", hertz=440, seconds=4, volume=0.99)
    step = {"type": "audio", "in": film, "file": loud, "mode": "mix", "gain": 6, "loudness": -23}
    found = heard(edit(step).path)[48_000:96_000, 0]
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found))))
    assert spectrum[1320 - 5 : 1320 + 5].max() < spectrum.max() / 300


def test_silence_has_no_loudness(edit, film, room):
    """Silence stays silent, and it is said."""
    quiet = tone(room / "quiet.wav", volume=0, seconds=4)
    made = edit({"type": "audio", "in": film, "file": quiet, "loudness": -14})
    assert any("silent" in warning for warning in made.warnings)
    assert level(heard(made.path), 0, 4) == 0


def test_no_sound_to_treat(edit, silent):
    """A clip without sound stays without one, and it is said; a mix with it is the file."""
    made = edit({"type": "audio", "in": silent, "gain": -3, "loudness": -14})
    assert any("no sound" in warning for warning in made.warnings)
    assert sounds(made.path) == []


def test_a_mix_with_no_sound(edit, silent, high):
    """A file mixed with a silent clip is heard as it is."""
    found = heard(edit({"type": "audio", "in": silent, "file": high, "mode": "mix"}).path)
    assert level(found, 0.2, 1.8) == pytest.approx(FULL, rel=0.03)


def test_a_range_of_sound(edit, film):
    """With `range`, only that part is treated."""
    found = heard(edit({"type": "audio", "in": film, "gain": -20, "range": {"start": 1, "end": 2}}).path)
    for begin, gain in ((0.1, 1), (1.1, 0.1), (2.1, 1), (3.1, 1)):
        assert level(found, begin, begin + 0.8) == pytest.approx(FULL * gain, rel=0.03)


@pytest.mark.parametrize("kind", ["22050-1.wav", "44100-1.mp3", "44100-2.flac", "8000-1.wav", "48000-2.ogg"])
def test_other_sounds(edit, silent, room, kind):
    """Other rates, one channel, other codecs: the same pitch, loudness and length."""
    rate, channels = kind.split(".")[0].split("-")
    source = tone(room / kind, hertz=1000, rate=rate, channels=channels)
    found = heard(edit({"type": "audio", "in": silent, "file": source}).path)
    assert pitch(found, 0.2, 1.8) == pytest.approx(1000, abs=5)
    assert level(found, 0.2, 1.8) == pytest.approx(FULL, rel=0.08)  # of MP3
    assert level(found, 2.2, 3.8) < FULL / 100


def test_a_clips_own_mono(edit, silent, room):
    """A clip whose own sound is 44.1 kHz mono is treated like any."""
    source = with_sound(silent, room / "mono.mp4", codec=("-c:a", "aac", "-ar", "44100", "-af", "pan=mono|c0=c0"))
    found = heard(edit({"type": "audio", "in": source, "gain": -6}).path)
    assert level(found, 0.5, 3.5) == pytest.approx(FULL / 2, rel=0.03)
    assert pitch(found, 0.5, 3.5) == pytest.approx(440, abs=5)


def test_every_track_is_kept(edit, tracks):
    """Where the sound is left alone, all its tracks are there, drawn over or not, whole or in a part."""
    made = edit({"type": "trim", "in": tracks, "start": 1}, {**TEXT, "range": {"end": 1}}).path
    assert [pitch(heard(made, track), 0.5, 2.5) for track in (0, 1)] == pytest.approx([300, 3000], abs=5)


@pytest.mark.parametrize("step", [TEXT, {"type": "effect", "name": "InvertColors"}], ids=["text", "effect"])
def test_sound_that_nobody_touches_is_copied(edit, film, step):
    """Drawing over the pictures does not encode the sound again."""
    assert packets_of_sound(edit({**step, "in": film}).path) == packets_of_sound(film)


def test_a_track_that_is_lost_is_said(edit, tracks):
    """A mix has one track; the others are named."""
    made = edit({"type": "audio", "in": tracks, "gain": -3})
    assert any("of its 2 sound tracks only the first" in warning for warning in made.warnings)
    assert len(sounds(made.path)) == 1


def test_cuts_keep_time(edit, clicking, silent):
    """After cuts and drawing, every click is where its frame is."""
    parts = [{"id": "a", "type": "trim", "in": clicking, "start": "1.2s", "end": "3.6s"},
             {"id": "b", "type": "trim", "in": clicking, "start": "0.36s", "duration": "1s"},
             {"type": "concat", "in": ["a", silent, "b"]}]  # fmt: skip
    made = edit(*parts).path
    assert clicks(made) == pytest.approx([0.3, 1.3, 2.3, 2.4 + 4 + 0.14], abs=0.003)
    assert numbers(made)[:60] == list(range(30, 90))


def test_cuts_of_odd_rates_keep_time(edit, room):
    """Thirty cuts at 29.97 add up to no drift."""
    flat = barcode(room / "o.mp4", "30000/1001", 60)
    ffmpeg("-i", flat, "-f", "lavfi", "-i", CLICKS.format(seconds=2), "-map", "0:v", "-map", "1:a", "-c:v", "copy",
           "-c:a", "aac", room / "odd.mp4")  # fmt: skip
    part = {"id": "part", "type": "trim", "in": room / "odd.mp4", "end": "1s"}
    found = clicks(edit(part, {"type": "concat", "in": ["part"] * 30}).path)
    assert found == pytest.approx([30 * 1001 / 30000 * number + 0.5 for number in range(30)], abs=0.003)


def test_a_cross_fade_of_sound(edit, film, room, silent):
    """Where the pictures share frames, one sound falls while the other rises."""
    other = with_sound(silent, room / "other.mp4", hertz=3000)
    fade = {"type": "crossfade", "duration": "1s"}
    found = heard(edit({"type": "concat", "in": [film, other], "transition": fade}).path)
    assert len(found) == pytest.approx(7 * 48_000, abs=2100)
    assert pitch(found, 0.2, 2.8) == pytest.approx(440, abs=5)
    assert pitch(found, 4.2, 6.8) == pytest.approx(3000, abs=5)
    assert level(found, 3.45, 3.55) == pytest.approx(FULL / math.sqrt(2), rel=0.1)


def test_twice_as_fast_is_heard(edit, film):
    """An effect on time takes the sound along: half as long, twice as high."""
    found = heard(edit({**FAST, "in": film}).path)
    assert pitch(found, 0.2, 1.8) == pytest.approx(880, abs=5)
    assert len(found) == pytest.approx(2 * 48_000, abs=2100)


@pytest.mark.parametrize(
    ("name", "fields", "factor"),
    [("MultiplyVolume", {"factor": 0.5}, 0.5), ("MultiplyStereoVolume", {"left": 0.5, "right": 0.5}, 0.5),
     ("AudioNormalize", {}, 2), ("AudioFadeIn", {"duration": 0.4}, 1)],
    ids=str,
)  # fmt: skip
def test_an_effect_of_sound(edit, film, name, fields, factor):
    """An effect of moviepy's on sound changes nothing but the sound."""
    made = edit({"type": "effect", "in": film, "name": name, "with": fields}).path
    assert level(heard(made), 1, 3) == pytest.approx(FULL * factor, rel=0.1)  # AAC makes other peaks than it was given
    assert packets(made) == packets(film)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_each_container_is_in_time(edit, clicking, suffix):
    """Whatever holds the film, made or copied sound is where its frame is."""
    made = edit({"type": "trim", "in": clicking, "start": 1}, {"type": "audio", "gain": -1}, out=f"film{suffix}").path
    assert clicks(made) == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5], abs=0.003)
    assert probe(made).frames == 125


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_cut_that_nobody_hears_is_in_time(edit, clicking, suffix):
    """Where the sound of a part is not touched, it begins at the part's first frame."""
    made = edit({"type": "trim", "in": clicking, "start": "1.2s", "end": "3.6s"}, TEXT, out=f"film{suffix}").path
    assert clicks(made) == pytest.approx([0.3, 1.3, 2.3], abs=0.003)
    assert numbers(made) == list(range(30, 90))


def test_a_late_picture_keeps_its_sound(edit, clicking, room):
    """Where the picture begins after the sound, they are together all the same, copied, treated or drawn."""
    both = ["-map", "0:v", "-map", "1:a", "-c", "copy"]
    ffmpeg("-itsoffset", "0.4", "-i", clicking, "-i", clicking, *both, room / "late.mp4")
    steps = {"drawn": TEXT, "treated": {"type": "audio", "gain": -1}, "part": {"type": "trim", "start": 0, "end": 5}}
    for name, step in steps.items():
        made = edit({**step, "in": room / "late.mp4"}, out=f"{name}.mp4").path
        wanted = [0.1, 1.1, 2.1, 3.1, 4.1, 5.1][: 5 if name == "part" else 6]
        assert clicks(made) == pytest.approx(wanted, abs=0.003), name


def test_a_longer_sound_ends_with_the_film(edit, silent, room):
    """A sound that lasts longer than the pictures ends with them."""
    found = heard(edit({"type": "audio", "in": silent, "file": tone(room / "ten.wav", seconds=10)}).path)
    assert len(found) == pytest.approx(4 * 48_000, abs=2100)


def test_a_step_as_a_sound(edit, film, silent):
    """The sound of another step's clip can be laid under one."""
    steps = [{"id": "part", "type": "trim", "in": film, "duration": 1}, {"type": "audio", "in": silent, "file": "part"}]
    found = heard(edit(*steps).path)
    assert level(found, 0.1, 0.9) == pytest.approx(FULL, rel=0.03)
    assert level(found, 1.1, 3.9) < FULL / 100


@pytest.mark.parametrize("loop", [True, False])
def test_a_sound_of_no_length(edit, silent, room, loop):
    """A sound file that holds no moment is silence, looped or not."""
    empty = tone(room / "empty.wav", seconds=0.0001)
    made = edit({"type": "audio", "in": silent, "file": empty, "loop": loop})
    assert probe(made.path).frames == 100
