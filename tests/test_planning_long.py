"""Where a long clip is cut: covered exactly, within what a call takes, even, at scene cuts where there are some."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from runway_node import errors
from runway_node.media.shapes import Probe
from runway_node.models import MODELS, Keyframe, Picture, Policy, Step, check
from runway_node.planning import bounds_of, check_keyframes, make_plan, step_for, windows

ALEPH2 = next(row for row in MODELS if (row.provider, row.name) == ("runway", "aleph2"))
COMET = next(row for row in MODELS if (row.provider, row.name) == ("cometapi", "gen4_aleph"))
RATES = [Fraction(24000, 1001), *map(Fraction, (24, 25)), Fraction(30000, 1001), *map(Fraction, (30, 50, 60, 12))]
STILL = Picture(url="https://stills.example/a.png")


def shot(frames, fps):
    return Probe(
        path=Path("/shots/shot.mp4"), container="mp4", codec="h264", pix_fmt="yuv420p",
        width=1280, height=720, fps=Fraction(fps), frames=frames,
    )  # fmt: skip


def planned(seconds, fps=24, model=COMET, cuts=None, **fields):
    probe = shot(round(seconds * Fraction(fps)), fps)
    return make_plan(probe, Step(prompt="dusk", **fields), model, Policy(), cuts=cuts)


clips = some.tuples(some.integers(1, 36_000), some.sampled_from(RATES))
models = some.builds(
    lambda row, least, most: row.model_copy(
        update={"seconds_min": Fraction(least, 10), "seconds_max": Fraction(most, 10)}
    ),
    some.sampled_from([ALEPH2, COMET]), some.integers(0, 30), some.integers(40, 300),
)  # fmt: skip
ways = some.fixed_dictionaries(
    {"cut_at": some.sampled_from(["auto", "scenes", "equal"]), "overlap": some.sampled_from([None, 0, 1, 6, 12])}
)
scenes = some.lists(some.integers(1, 36_000), max_size=40)


@settings(deadline=None)
@given(clip=clips, model=models, way=ways, cuts=scenes)
def test_every_frame_is_covered_once_but_in_overlaps(clip, model, way, cuts):
    """Each piece begins where the one before it ends, less the frames they share; nothing is missing at either end."""
    frames, fps = clip
    plan = make_plan(shot(frames, fps), Step(prompt="dusk", **way), model, Policy(), cuts=cuts)
    assert (plan.segments[0].first, plan.segments[-1].last, plan.segments[-1].overlap) == (0, frames, 0)
    for one, two in pairwise(plan.segments):
        assert two.first == one.last - one.overlap
        assert two.last > one.last
        assert two.last - two.first > one.overlap + two.overlap
    shared = sum(piece.overlap for piece in plan.segments)
    assert sum(piece.last - piece.first for piece in plan.segments) == frames + shared


@settings(deadline=None)
@given(clip=clips, model=models, way=ways, cuts=scenes)
def test_every_call_is_within_the_models_seconds(clip, model, way, cuts):
    """Of several calls each is a sent frame shorter than the model's most, and none shorter than its least."""
    frames, fps = clip
    plan = make_plan(shot(frames, fps), Step(prompt="dusk", **way), model, Policy(), cuts=cuts)
    most = model.seconds_max - (1 / plan.sent_fps if len(plan.segments) > 1 else 0)
    for piece in plan.segments:
        sent = piece.sent_last - piece.sent_first
        assert piece.seconds == (-(-sent // (fps / plan.sent_fps)) + piece.clones) / plan.sent_fps
        assert model.seconds_min <= piece.seconds <= most
        assert 0 <= piece.sent_first <= piece.first < piece.last <= piece.sent_last <= frames


@settings(deadline=None)
@given(clip=clips, model=models, overlap=some.sampled_from([0, 6, 12]))
def test_equal_calls_are_of_one_length_and_as_few_as_can_be(clip, model, overlap):
    """No short tail: no two differ by more than a frame, and one call less would not hold the clip."""
    frames, fps = clip
    probe, step = shot(frames, fps), Step(prompt="dusk", cut_at="equal", overlap=overlap)
    plan = make_plan(probe, step, model, Policy())
    lengths = [piece.last - piece.first for piece in plan.segments]
    assert max(lengths) - min(lengths) <= 1
    count = len(lengths) - 1
    if count > 1:
        assert count * bounds_of(probe, step, model).most - (count - 1) * overlap < frames


@settings(deadline=None)
@given(clip=clips, cuts=scenes)
def test_scene_cuts_add_no_call(clip, cuts):
    """Where "auto" cuts elsewhere than evenly, it pays no more calls, and no more seconds, for it."""
    frames, fps = clip
    plain, plan = (
        make_plan(shot(frames, fps), Step(prompt="dusk", cut_at=at), COMET, Policy(), cuts=cuts)
        for at in ("equal", "auto")
    )
    assert len(plan.segments) <= len(plain.segments)
    assert plan.overlap_seconds <= plain.overlap_seconds


def test_a_scene_cut_within_reach_ends_the_call_without_an_overlap():
    """The call ends there, and says so; elsewhere six frames are shared."""
    plan = planned(13, cuts=[100])
    one, two, three = plan.segments
    assert (one.last, one.overlap, one.why) == (100, 0, "a scene cut at 4.17 s")
    assert (two.first, two.overlap, three.last) == (100, 6, 312)
    assert two.why == "calls of one length, no scene cut near; 6 frames are shared with the next"


def test_windows_lie_around_the_wanted_boundaries_only():
    """Not the whole clip is looked at."""
    probe, step = shot(24 * 40, 24), Step(prompt="dusk")
    (window,) = windows(0, 960, bounds_of(probe, step, ALEPH2), Fraction(24))
    assert window == (477 - 48, 477 + 49)
    assert windows(0, 960, bounds_of(probe, Step(prompt="dusk", cut_at="equal"), ALEPH2), Fraction(24)) == []
    assert windows(0, 960, bounds_of(probe, Step(prompt="dusk", cut_at="scenes"), ALEPH2), Fraction(24)) == [(0, 960)]


def test_scenes_are_cut_at_wherever_they_are():
    """Rather more calls than a seam within a scene."""
    plan = planned(9.5, cuts=[76, 152], cut_at="scenes")
    assert [(piece.last, piece.overlap) for piece in plan.segments] == [(76, 0), (152, 0), (228, 0)]
    assert [piece.overlap for piece in planned(9.5, cuts=[76, 152]).segments] == [6, 0]


def test_what_the_overlaps_cost_is_told():
    """In seconds, and in credits where the price is known."""
    plan = planned(61, model=ALEPH2)
    assert (len(plan.segments), plan.overlap_seconds, plan.billed_seconds) == (3, Fraction(1, 2), Fraction(123, 2))
    assert plan.overlap_credits == plan.credits - sum(
        ALEPH2.price(piece.seconds - Fraction(piece.overlap, 24)) for piece in plan.segments
    )
    assert planned(61).overlap_credits is None


def test_an_overlap_that_leaves_no_room_is_wrong_use():
    """It is told with what a call holds."""
    with pytest.raises(errors.StepError, match="An overlap of 60 frames is too long for calls of at most 119"):
        planned(30, overlap=60)


def test_an_overlap_says_nothing_where_there_is_one_call():
    """There is nothing to overlap."""
    assert len(planned(3, overlap=60).segments) == 1


def test_formats_cost_their_surcharge():
    """Five credits a second more for ProRes, twenty for ten bits."""
    prices = [planned(10, model=ALEPH2, output_format=name).credits for name in ALEPH2.formats]
    assert prices == [280, 330, 480]


# --- keyframes ---


def test_a_keyframe_goes_to_the_calls_that_show_its_moment():
    """In an overlap to both; its moment stays the range's."""
    moments = (0.0, 5.0, 29.8, 60.0)
    frames = tuple(Keyframe(picture=STILL, seconds=moment) for moment in moments)
    plan = planned(60, model=ALEPH2, keyframes=frames, overlap=24)
    step = Step(prompt="dusk", keyframes=frames)
    given_to = [[frame.seconds for frame in step_for(plan, piece, step).keyframes] for piece in plan.segments]
    assert [piece.first for piece in plan.segments] == [0, 472, 944]
    assert given_to == [[0, 5], [29.8], [60]]
    assert step_for(plan, plan.segments[1], step, STILL).keyframes[0].seconds == pytest.approx(472 / 24)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keyframes": (Keyframe(picture=STILL, seconds=1, range=(0, 2)),)}, "range cannot be kept over 3 calls"),
        ({"keyframes": (Keyframe(picture=STILL, seconds=1),) * 6}, "6 keyframes given for call 1"),
        ({"prompt": "", "keyframes": (Keyframe(picture=STILL, seconds=1),)}, "nor a keyframe for call 2"),
    ],
    ids=["range", "many", "no prompt"],
)  # fmt: skip
def test_keyframes_that_a_call_could_not_have_are_wrong_use(fields, words):
    """Before anything is sent, with the call's number."""
    step = Step(**{"prompt": "dusk", **fields})
    plan = make_plan(shot(24 * 61, 24), step, ALEPH2, Policy())
    with pytest.raises(errors.StepError, match=words):
        check_keyframes(plan, step, ALEPH2)


def test_chained_calls_follow_one_another_without_overlap():
    """Unless one is asked for; side by side they take as long as there are rounds of slots."""
    chained = planned(24, continuity="keyframe", model=ALEPH2.model_copy(update={"seconds_max": Fraction(5)}))
    assert (chained.chained, chained.overlap_seconds, chained.rounds) == (True, 0, 5)
    assert planned(24).model_copy(update={"at_once": 2}).rounds == 3


def test_a_model_without_keyframes_cannot_chain():
    """It is told which one can."""
    with pytest.raises(errors.StepError, match=r'continuity="seed" or aleph2 \(runway\)'):
        check(Step(prompt="dusk", continuity="keyframe"), COMET)
