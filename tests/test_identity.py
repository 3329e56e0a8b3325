"""Which order it is: golden digests that never change, what is no part of an order, and what is.

Another digest for the same order would be paid a second time; the same digest for another one would not be made at all.
"""

from __future__ import annotations

import io
import shutil
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from runway_node.engine.identity import digest_of, seed_of, segment_digest
from runway_node.engine.order import content_of, decide, name
from runway_node.ledger import Ledger
from runway_node.media.content import Rendered, alike, picture_content
from runway_node.media.shapes import Frames
from runway_node.models import Keyframe, Picture, Policy, Step
from runway_node.planning import Plan, Segment
from runway_node.settings import load_settings, origin_of

CONTENT = "c" * 64
RUNWAY, COMET = "https://api.dev.runwayml.com", "https://api.cometapi.com"
STILL = Picture(url="https://stills.example/a.png")
TWO = (Keyframe(picture=STILL, seconds=1, range=(0, 2)), Keyframe(picture=STILL, at=0.5, range=(2, 4)))


def plan(**values):
    """A plan of four seconds at 24 frames per second; only some of it is the order's identity."""
    segment = Segment(
        index=0, first=24, last=120, sent_first=24, sent_last=120, clones=0, seconds=Fraction(4), why="the range ends"
    )
    told = {
        "provider": "runway", "model": "aleph2", "source": "a.mp4", "fps": Fraction(24000, 1001), "width": 1280,
        "height": 720, "first": 24, "last": 120, "seconds": Fraction(4), "segments": (segment,), "sent_width": 1280,
        "sent_height": 720, "sent_fps": Fraction(24), "delivery": "upload", "billed_seconds": Fraction(4),
        "credits": 112.0, "dollars": 1.12,
    }  # fmt: skip
    return Plan(**told | values)


def digest(step=None, origin=RUNWAY, content=CONTENT, pictures=(), **values):
    """An order's digest, from its parts."""
    return digest_of(content, plan(**values), step or Step(prompt="dusk"), origin, pictures)


def a_digest(source, settings=None, policy=None, step=None, **values):
    """An order's digest, as a run names it; without a ledger."""
    settings = settings or load_settings(runway_key="k", **values)
    order = decide(source, step or Step(prompt="dusk"), None, None, policy or Policy(), settings, "runway")
    with Ledger(settings, create=False) as ledger:
        return name(order, ledger, "", content_of(order)).digest


def rendered(read, count=5, size=(64, 36)):
    """A clip from Python, rendered once: what it is, and its sketch."""
    frames = Frames(width=size[0], height=size[1], fps=Fraction(25), count=count, read=read)
    found = Rendered(frames)
    for _ in found.frames.read():
        pass
    return found


def png(image, **options):
    """A picture in memory."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return Picture.model_construct(path=None, url=None, png=buffer.getvalue())


# --- golden: never to change ---


@pytest.mark.parametrize(
    ("found", "golden"),
    [
        (digest(), "c747a49e692ebf18b89e11b057703f10a131db2e62e75e5e8ec828ad114fa011"),
        (
            digest(
                Step(prompt="dusk", aspect="9:16", references=(STILL,)), COMET,
                pictures=["url:https://stills.example/a"], provider="cometapi", model="gen4_aleph", width=720,
                fps=Fraction(25),
            ),
            "f5aecd574ed94dcbd1bbfbbb5cdc9c98ff80e678b8f50c34c90880a2b3ffc7c5",
        ),
        (digest(Step(prompt="dusk", take=2)), "f11e4239e221edd6661d93e3481b468ede95ec88864a847299a644b400f1871f"),
        (
            digest(Step(prompt="ночь \U0001f303", seed=7, moderation="low")),
            "83accdee483c88da8684ff096738c0a7fbf12e615a74c37eda46a6d65fe9ad3c",
        ),
        (
            digest(Step(keyframes=TWO), pictures=["bytes:" + "a" * 64, "pixels:" + "b" * 64]),
            "c543c7adf66f4bfd9ed2e8822abae0638e4e79091a9eea792fe8dd940aa36f37",
        ),
        (
            digest(content="key:shot-12-v3", origin="sandbox"),
            "d32dbb1767b97265e39c7628e3e046eea9f7e3bc7b71ac06a717023b493683dc",
        ),
    ],
    ids=["plain", "cometapi", "take 2", "seed", "keyframes", "key"],
)  # fmt: skip
def test_golden_digests(found, golden):
    """A fixed order has this digest in every release."""
    assert found == golden


def test_golden_seed_and_segments():
    """So have the seed that is derived from it, and the digests of its paid calls."""
    plain = digest()
    assert seed_of(Step(prompt="dusk"), plain) == 2522427642
    assert segment_digest(plain, 0) == "a6840d40c2f7a4b7ecff544a6f5d7a4367937e6241731a72bac043525157e563"
    assert segment_digest(plain, 1) == "86e276833376644223d09acc57aed9192c2dee4485e47b86dcac7fcb7d33ea70"


def test_golden_order_from_a_file(clip):
    """From the clip to the digest: the file's name for itself stands aside, for encoders differ."""
    found = a_digest(clip, step=Step(prompt="dusk", key="shot-12-v3"))
    assert found == "b53b6597b72983fd4542e5f531b612ceff9df14a811abf65aed391a65703b968"


def test_golden_content_of_frames():
    """Frames from Python are what their raw pixels, size and number are."""
    found = rendered(lambda: (bytes([n]) * (64 * 36 * 3) for n in range(5)))
    assert found.content == "d10b63fa3d9c79f35d4b545d975a41c40b229643490c63155251709c88c7d59e"


# --- no part of it ---


@pytest.mark.parametrize(
    "values",
    [
        {"source": "b.mp4"}, {"sent_width": 640, "sent_height": 360}, {"sent_fps": Fraction(12)}, {"segments": ()},
        {"delivery": "inline"}, {"billed_seconds": Fraction(9)}, {"credits": None, "dollars": None},
        {"warnings": ("a loss",)},
    ],
)  # fmt: skip
def test_how_it_is_carried_out_is_no_part_of_it(values):
    """Name, what is sent, cuts, delivery, price and warnings may differ: it is the same order."""
    assert digest(**values) == digest()


def test_neither_path_nor_policy_nor_price_nor_port(clip, tmp_path):
    """The same bytes elsewhere, carried out another way, at another price, at another loopback port."""
    shutil.copyfile(clip, tmp_path / "other name.mp4")
    here = {"runway_base_url": "http://127.0.0.1:1"}
    price = ({"provider": "runway", "name": "aleph2", "credits_per_second": 1.5},)
    how = Policy(delivery="upload", conform="retime", max_seconds=9, timeout=9, on_interrupt="detach", reorder=True)
    first = a_digest(clip, **here)
    assert {
        a_digest(tmp_path / "other name.mp4", **here),
        a_digest(clip, policy=how, **here),
        a_digest(clip, models=price, **here),
        a_digest(clip, runway_base_url="http://localhost:2"),
        a_digest(clip, account="shop", **here),
        a_digest(clip, data_dir=tmp_path / "elsewhere", **here),
    } == {first}


def test_a_name_of_the_users_own_stands_for_the_content(clip, clips):
    """With a key another rendering is the same order, and without it the file is what it is."""
    other = clips(sound=False)
    assert a_digest(clip) != a_digest(other)
    named = Step(prompt="dusk", key="shot-12-v3")
    assert a_digest(clip, step=named) == a_digest(other, step=named) != a_digest(clip)


# --- all of it ---


@pytest.mark.parametrize(
    "values",
    [
        {"content": "d" * 64}, {"first": 25}, {"last": 119}, {"width": 1279}, {"height": 719}, {"fps": Fraction(24)},
        {"origin": "https://proxy.example"}, {"origin": "sandbox"}, {"provider": "cometapi"}, {"model": "aleph3"},
        {"pictures": ["url:a"]}, {"pictures": ["url:a", "url:b"]}, {"pictures": ["url:b", "url:a"]},
    ],
)  # fmt: skip
def test_what_is_ordered_is_part_of_it(values):
    """Another content, frame range, size, rate, address, model or still is another order."""
    assert digest(**values) != digest()


def test_every_field_of_a_step_is_part_of_it():
    """No two of these steps are the same order."""
    steps = [
        {}, {"prompt": "dawn"}, {"seed": 0}, {"seed": 7}, {"take": 2}, {"aspect": "1:1"}, {"moderation": "auto"},
        {"moderation": "low"}, {"output_format": "mov"}, {"keyframes": TWO}, {"keyframes": TWO[:1]},
        {"keyframes": (Keyframe(picture=STILL, seconds=1),)}, {"keyframes": (Keyframe(picture=STILL, at=1),)},
    ]  # fmt: skip
    digests = {digest(Step(**{"prompt": "dusk", **values})) for values in steps}
    assert len(digests) == len(steps)


def test_nothing_of_a_step_is_forgotten():
    """A field that is added to Step is looked at here before it is released."""
    said = {"prompt", "seed", "take", "aspect", "moderation", "output_format", "keyframes", "references", "key"}
    assert set(Step.model_fields) == said | {"model", "provider", "cut_at", "overlap", "continuity"}


CUTTINGS = ({"cut_at": "equal"}, {"cut_at": "scenes"}, {"overlap": 0}, {"overlap": 12}, {"continuity": "keyframe"})


def test_how_a_long_clip_is_cut_is_part_of_its_order():
    """Cut or held together otherwise, it is another film; what is said as it is anyway is the same order."""
    two = plan().segments * 2
    digests = {digest(Step(prompt="dusk", **values), segments=two) for values in ({}, *CUTTINGS)}
    assert len(digests) == 1 + len(CUTTINGS)
    assert digest(Step(prompt="dusk", overlap=6, cut_at="auto"), segments=two) == digest(segments=two) == digest()


@pytest.mark.parametrize("values", CUTTINGS, ids=str)
def test_one_call_is_the_same_order_however_others_are_cut(values):
    """There is nothing to cut."""
    assert digest(Step(prompt="dusk", **values)) == digest()


def test_golden_digest_of_a_cut_clip():
    """It never changes either."""
    step = Step(prompt="dusk", cut_at="scenes", overlap=12, continuity="keyframe")
    assert digest(step, segments=plan().segments * 2) == (
        "87cb5dd38db14c43f306a3a350d69be9d31e58aef0308e7cda99ea43bf36dfc7"
    )


# --- the seed ---


def test_an_unset_seed_follows_from_the_order_and_the_take():
    """It is the same each time, another with another take, within what the providers take; a set one is sent."""
    one, two = (digest(Step(prompt="dusk", take=take)) for take in (1, 2))
    assert seed_of(Step(), one) == seed_of(Step(take=1), one) != seed_of(Step(take=2), two)
    assert all(0 <= seed_of(Step(), digest(content=str(n))) < 2**32 for n in range(200))
    assert seed_of(Step(seed=0), one) == 0


# --- stills ---


def test_a_picture_file_is_its_bytes(tmp_path):
    """The same bytes under another name are the same still; other bytes are not."""
    for place, data in (("a.png", b"one"), ("b.png", b"one"), ("c.png", b"two")):
        (tmp_path / place).write_bytes(data)
    a, b, c = (picture_content(Picture(path=tmp_path / place)) for place in ("a.png", "b.png", "c.png"))
    assert a == b != c


def test_a_picture_in_memory_is_its_pixels():
    """However tightly it is packed."""
    image = Image.effect_noise((32, 32), 50).convert("RGB")
    other = Image.effect_noise((32, 32), 50).convert("RGB")
    assert picture_content(png(image, compress_level=0)) == picture_content(png(image, compress_level=9))
    assert picture_content(png(image)) != picture_content(png(other))


def test_a_palette_is_part_of_its_pixels():
    """Two stills of the same indices in other colours are two."""
    red, blue = Image.new("P", (8, 8)), Image.new("P", (8, 8))
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    assert picture_content(png(red)) != picture_content(png(blue))


@pytest.mark.parametrize("query", ["X-Amz-Signature=1&X-Amz-Date=2", "Expires=1&Signature=2&Key-Pair-Id=3", "_jwt=1"])
def test_a_signature_is_no_part_of_a_link(query):
    """A link that is signed anew is the same still."""
    link = "https://stills.example/a.png"
    assert picture_content(Picture(url=f"{link}?{query}")) == picture_content(Picture(url=link))


def test_a_query_that_names_the_still_is_part_of_its_link():
    """What is no signature says which still it is."""
    one, two = (picture_content(Picture(url=f"https://stills.example/still?id={number}")) for number in (1, 2))
    assert one != two


def test_a_design_is_no_signature():
    """A parameter that only sounds like one counts."""
    one, two = (picture_content(Picture(url=f"https://stills.example/still?design={name}")) for name in ("a", "b"))
    assert one != two


def test_beside_a_signature_the_rest_of_the_query_counts():
    """Two signed links to two stills are two."""
    links = [f"https://stills.example/still?file={name}.png&X-Amz-Signature=1" for name in ("a", "b")]
    assert len({picture_content(Picture(url=link)) for link in links}) == 2


# --- renderings that look alike ---


def scene(shift=0.0, noise=0.0, clock=None, seed=0):
    """Frames of a gradient that moves; noise over it, or a clock in its corner."""

    def read():
        random = np.random.default_rng(seed)
        y, x = np.mgrid[0:180, 0:320]
        for frame in range(5):
            grey = 110 + 90 * np.sin(x / 60 + shift + frame / 10) * np.cos(y / 50 + shift)
            grey = grey + random.normal(0, noise, grey.shape) if noise else grey
            if clock is not None:
                grey[150:170, 10:90] = 255 * (random.random((20, 80)) > clock)
            yield np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2).tobytes()

    return rendered(read, size=(320, 180))


def test_noise_and_a_running_clock_look_alike():
    """The same scene rendered again with other noise, or another time on its clock."""
    plain = scene()
    for other in (scene(noise=20, seed=1), scene(noise=20, seed=2), scene(clock=0.3), scene(clock=0.7, seed=3)):
        assert alike(plain.sketch, other.sketch)
        assert plain.content != other.content


def test_another_shot_does_not_look_alike():
    """A scene that moved on is another one, and so is what has no sketch."""
    assert not alike(scene().sketch, scene(shift=1.5).sketch)
    assert not alike(scene().sketch, "")
    assert not alike("", "")


def test_the_same_frames_are_the_same_content():
    """Rendered twice alike it is one clip, and its sketch is the same, too."""
    one, two = scene(noise=5, seed=4), scene(noise=5, seed=4)
    assert (one.content, one.sketch) == (two.content, two.sketch)


@pytest.mark.parametrize("signed", ["q-ak=A&q-signature=1", "x-oss-signature=1&OSSAccessKeyId=2", "auth_key=1-2-3"])
def test_other_clouds_signatures_are_none_of_a_still_s_identity(signed):
    """However a link is signed, and signed again, it is the same still."""
    plain = picture_content(Picture(url="https://stills.example/a.png"))
    assert picture_content(Picture(url=f"https://stills.example/a.png?{signed}")) == plain


def test_a_link_with_a_password_is_no_picture():
    """It would be sent, and kept, as it is."""
    with pytest.raises(ValueError, match="password"):
        Picture(url="https://me:secret@stills.example/a.png")


@pytest.mark.parametrize("url", ["https://api.example.com", "https://API.example.com:443", "https://api.example.com/"])
def test_an_origin_has_one_name(url):
    """Case, the usual port and a slash make no other origin."""
    assert origin_of(url) == "https://api.example.com"
