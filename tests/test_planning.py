"""What will be done and what it costs, decided without a file, a clock or a key."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from runway_node import errors
from runway_node.media.shapes import Color, Probe
from runway_node.models import MODELS, Policy, Step
from runway_node.planning import cut_of, fit_of, frame_range, make_plan

ALEPH2 = next(row for row in MODELS if (row.provider, row.name) == ("runway", "aleph2"))
COMET = next(row for row in MODELS if (row.provider, row.name) == ("cometapi", "gen4_aleph"))
NTSC = Fraction(24000, 1001)
STEP = Step(prompt="dusk")


def shot(frames=100, fps=25, width=1280, height=720, **more):
    return Probe(
        path=Path("/secret/folder/shot.mp4"), container="mp4", codec="h264", pix_fmt="yuv420p",
        width=width, height=height, fps=Fraction(fps), frames=frames, **more,
    )  # fmt: skip


def planned(probe, step=STEP, model=ALEPH2, policy=None, **span):
    return make_plan(probe, step, model, policy or Policy(), **span)


@pytest.mark.parametrize(
    ("fps", "start", "end", "first", "last"),
    [
        (25, None, None, 0, 100),
        (25, 0, 4, 0, 100),
        (25, 1, 2, 25, 50),
        (25, 1.01, 2.03, 25, 51),
        (25, 3, 99, 75, 100),
        (NTSC, 1, 2, 24, 48),
        (NTSC, Fraction(1001, 1000), None, 24, 100),
        (25, Fraction(1, 25), Fraction(2, 25), 1, 2),
    ],
)
def test_a_range_is_whole_frames(fps, start, end, first, last):
    """[round(start*fps), round(end*fps)), within the clip."""
    assert frame_range(shot(fps=fps), start, end) == (first, last)


@pytest.mark.parametrize(("start", "end"), [(2, 2), (3, 2), (4, None), (99, None), (-1, 2), (0, -1), (0, 0.01)])
def test_a_range_without_a_frame_is_refused(start, end):
    """Nothing is ordered for nothing."""
    with pytest.raises(errors.SourceError):
        frame_range(shot(), start, end)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", ["start", "end"])
def test_a_time_that_is_no_number_is_wrong_use(side, bad):
    """NaN and infinity are the caller's mistake, told as one."""
    with pytest.raises(errors.WrongUse):
        planned(shot(), **{side: bad})


def test_adjacent_ranges_neither_share_nor_lose_a_frame():
    """Where one range ends the next begins, at any time."""
    probe = shot(frames=1000, fps=NTSC)
    cuts = [frame_range(probe, at / 7, (at + 1) / 7) for at in range(1, 90)]
    assert all(one[1] == other[0] for one, other in pairwise(cuts))


def test_a_clip_as_long_as_the_model_takes_is_one_call():
    """Thirty seconds exactly are thirty seconds billed."""
    made = planned(shot(frames=750))
    assert (made.billed_seconds, made.credits, made.dollars, len(made.segments)) == (30, 840, 8.4, 1)


@pytest.mark.parametrize(
    ("frames", "span", "sent", "clones"),
    [
        (100, {"start": 1, "end": 2}, (25, 75), 0),
        (100, {"start": 3, "end": 4}, (50, 100), 0),
        (100, {"start": 3.96, "end": 4}, (50, 100), 0),
        (30, {"start": 0.4, "end": 0.8}, (0, 30), 20),
        (1, {}, (0, 1), 49),
        (50, {}, (0, 50), 0),
        (100, {}, (0, 100), 0),
    ],
)
def test_a_short_range_is_lengthened_by_its_neighbours_then_by_copies(frames, span, sent, clones):
    """Frames behind it first, then ahead of it, then copies of the last; two seconds are billed at least."""
    (segment,) = planned(shot(frames=frames), **span).segments
    assert ((segment.sent_first, segment.sent_last), segment.clones, segment.seconds >= 2) == (sent, clones, True)


LENGTHS = (1, 2, 7, 59, 60, 61, 90, 119, 120, 121, 240, 360)
SPANS = ((None, None), (0.05, None), (None, 0.6), (0.31, 0.5))


def spans(fps):
    """Clips at *fps* and ranges with a frame in them."""
    for frames in LENGTHS:
        for start, end in SPANS:
            if round(Fraction(start or 0) * fps) < (frames if end is None else min(frames, round(Fraction(end) * fps))):
                yield shot(frames=frames, fps=fps), start, end


@pytest.mark.parametrize("fps", [12, 24, NTSC, 30, 48, Fraction(60000, 1001), 60, Fraction(120000, 1001), 240])
def test_every_plan_covers_its_range_and_the_model_s_limits(fps):
    """What is sent holds the range, is a rate and length the model takes, and is billed as it is long."""
    for probe, start, end in spans(fps):
        made = planned(probe, start=start, end=end)
        (segment,) = made.segments
        cut = cut_of(made, segment, probe, 1)
        assert 0 <= segment.sent_first <= segment.first < segment.last <= segment.sent_last <= probe.frames
        assert (segment.first - segment.sent_first) % cut.divide == 0
        assert made.sent_fps <= 30
        assert segment.seconds == cut.frames / made.sent_fps
        assert 2 <= segment.seconds <= 30


def test_the_result_s_fit_is_the_range():
    """As many frames as the range, at the source's rate, less what was sent ahead."""
    probe = shot()
    made = planned(probe, start=3, end=4)
    fit = fit_of(made, made.segments[0], probe, STEP, Policy())
    assert (fit.frames, fit.fps, fit.skip, fit.span, fit.retime) == (25, 25, 25, 2, False)


@pytest.mark.parametrize(
    ("width", "height", "sar", "sent"),
    [
        (1280, 720, 1, (1280, 720)),
        (3840, 2160, 1, (1920, 1080)),
        (2160, 3840, 1, (1080, 1920)),
        (1921, 1081, 1, (1918, 1080)),
        (321, 181, 1, (320, 180)),
        (720, 576, Fraction(16, 15), (768, 576)),
        (1440, 1080, Fraction(4, 3), (1920, 1080)),
        (3440, 1440, 1, (1920, 802)),
    ],
)
def test_what_is_sent_keeps_the_shape_even_and_within_the_limits(width, height, sar, sent):
    """Square pixels, never larger than the source or the model's sides."""
    made = planned(shot(width=width, height=height, sar=Fraction(sar)))
    assert abs(made.sent_width - sent[0]) <= 2
    assert (made.sent_height, made.sent_width % 2) == (sent[1], 0)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [("9:16", (720, 1280)), ("16:9", (1280, 720)), ("1:1", (720, 720)), ("21:9", (1680, 720)), ("4:3", (960, 720))],
)
def test_an_asked_shape_has_the_source_s_short_side(aspect, size):
    """Even sizes at the short side."""
    made = planned(shot(), Step(prompt="x", aspect=aspect))
    assert (made.width, made.height) == size


def test_the_result_has_the_source_s_size_to_the_pixel():
    """An odd size stays odd."""
    made = planned(shot(width=853, height=479))
    assert (made.width, made.height) == (853, 479)


@pytest.mark.parametrize("hdr", ["pq", "hlg"])
def test_hdr_is_refused_unless_allowed(hdr):
    """Standard range comes back, so it has to be asked for."""
    with pytest.raises(errors.SourceError, match="allow_sdr"):
        planned(shot(hdr=hdr))
    assert planned(shot(hdr=hdr), policy=Policy(allow_sdr=True)).warnings == ("HDR becomes standard range",)


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (shot(fps=60), "every 2. frame"),
        (shot(width=3840, height=2160), "scaled up"),
        (shot(depth=10), "10 bits"),
        (shot(alpha=True), "transparency"),
        (shot(width=853), "odd size"),
        (shot(variable=True), "rate varies"),
        (shot(warnings=("the file is damaged",)), "damaged"),
    ],
)
def test_every_loss_is_named(probe, words):
    """What changes on the way is a warning before anything is sent."""
    assert any(words in warning for warning in planned(probe).warnings)


def test_a_plain_clip_has_no_warning():
    """Nothing lost, nothing said."""
    assert planned(shot()).warnings == ()


def test_a_plan_names_no_folder():
    """It may be printed or shared: the file's name only."""
    assert "secret" not in planned(shot()).model_dump_json()


def test_comet_s_price_is_unknown():
    """No number is made up."""
    made = planned(shot(), model=COMET)
    assert (made.credits, made.dollars, made.delivery) == (None, None, "inline")


def test_the_colour_of_the_source_is_the_result_s():
    """Its tags are wanted back."""
    color = Color(primaries="bt709", transfer="bt709", matrix="bt709", range="tv")
    probe = shot(color=color)
    made = planned(probe)
    assert fit_of(made, made.segments[0], probe, STEP, Policy()).color == color
