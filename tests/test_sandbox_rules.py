"""The sandbox's rules agree with the providers' schemas, and add what the schemas say only in prose."""

import json
from pathlib import Path

import jsonschema
import pytest

from runway_node.sandbox.rules import aleph2_issues, comet_issues

SCHEMAS = Path(__file__).parent / "schemas"
VIDEO = "data:video/mp4;base64,AAAAAAAA"
IMAGE = "data:image/png;base64,AAAAAAAA"
URL = "https://example.com/clip.mp4"
FRAME = {"uri": IMAGE, "seconds": 1}


def conforms(name, body):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema).is_valid(body)


COMMON = [
    {},
    {"promptText": "x" * 1000},
    {"promptText": "x" * 1001},
    {"promptText": ""},
    {"promptText": 5},
    {"seed": 0},
    {"seed": 4294967295},
    {"seed": 4294967296},
    {"seed": -1},
    {"seed": 1.5},
    {"seed": 5.0},
    {"seed": True},
    {"seed": "1"},
    {"videoUri": URL},
    {"videoUri": "https://" + "x" * 2040},
    {"videoUri": "https://" + "x" * 2041},
    {"videoUri": "http://example.com/clip.mp4"},
    {"videoUri": 1},
    {"videoUri": "data:video/mp4;base64," + "A" * (5242880 - 24)},
    {"videoUri": "data:video/mp4;base64," + "A" * (5242880 - 20)},
    {"contentModeration": {}},
    {"contentModeration": {"publicFigureThreshold": "low"}},
    {"contentModeration": {"publicFigureThreshold": "high"}},
    {"contentModeration": {"other": 1}},
    {"contentModeration": None},
    {"unknown": 1},
]
ALEPH2 = [
    *COMMON,
    {"videoUri": "runway://abcdefgh"},
    {"videoUri": "runway://" + "x" * 4992},
    {"ratio": "anything"},
    {"ratio": 5},
    {"references": []},
    {"targetAspectRatio": "21:9"},
    {"targetAspectRatio": "5:4"},
    {"outputFormat": "png_sequence"},
    {"outputFormat": "gif"},
    {"outputFormat": "prores", "proresProfile": "422 HQ"},
    {"outputFormat": "prores", "proresProfile": "423"},
    {"keyframes": []},
    {"keyframes": [FRAME] * 5},
    {"keyframes": [FRAME] * 6},
    {"keyframes": [{"uri": IMAGE}]},
    {"keyframes": [{**FRAME, "at": 0.5}]},
    {"keyframes": [{"uri": IMAGE, "at": 1}]},
    {"keyframes": [{"uri": IMAGE, "at": 1.01}]},
    {"keyframes": [{"uri": IMAGE, "seconds": 30.5}]},
    {"keyframes": [{**FRAME, "range": {"start_seconds": 0, "end_seconds": 2}}]},
    {"keyframes": [{**FRAME, "range": {"start_seconds": 0.5, "end_seconds": 2}}]},
    {"keyframes": [{**FRAME, "range": {"start_seconds": 0}}]},
    {"keyframes": [{"uri": VIDEO, "seconds": 1}]},
]
COMET = [
    *COMMON,
    {"ratio": "1280:720"},
    {"ratio": "16:9"},
    {"references": []},
    {"references": [{"type": "image", "uri": IMAGE}]},
    {"references": [{"type": "image", "uri": "https://example.com/a.png"}] * 2},
    {"references": [{"type": "video", "uri": IMAGE}]},
    {"references": [{"uri": IMAGE}]},
    {"targetAspectRatio": "16:9"},
    {"videoUri": "runway://abcdefgh"},
]


def label(body):
    return json.dumps(body)[:60]


@pytest.mark.parametrize("fields", ALEPH2, ids=label)
def test_aleph2_as_described(fields):
    """An aleph2 body is refused exactly if Runway's schema refuses it."""
    body = {"model": "aleph2", "videoUri": VIDEO, **fields}
    assert (not aleph2_issues(body)) == conforms("runway_aleph2_create", body)


@pytest.mark.parametrize("fields", COMET, ids=label)
def test_comet_as_documented(fields):
    """A CometAPI body is refused exactly if the transcribed page refuses it."""
    body = {"model": "gen4_aleph", "videoUri": VIDEO, "promptText": "dusk", **fields}
    assert (not comet_issues(body)) == conforms("comet_create", body)


def test_what_comet_takes_runway_took():
    """The full CometAPI body also conforms to Runway's last description of gen4_aleph."""
    body = {"model": "gen4_aleph", "videoUri": VIDEO, "promptText": "dusk", "seed": 1, "ratio": "1280:720"}
    body["references"] = [{"type": "image", "uri": IMAGE}]
    assert not comet_issues(body)
    assert conforms("runway_gen4_aleph_create", body)


def test_prompt_is_counted_in_utf16():
    """An emoji counts twice, as in JavaScript."""
    body = {"model": "aleph2", "videoUri": VIDEO}
    assert not aleph2_issues({**body, "promptText": "🌆" * 500})
    assert aleph2_issues({**body, "promptText": "🌆" * 501})


@pytest.mark.parametrize(
    "uri",
    ["data:video/mp4;base64,", "data:video/mp4,", "data:video/mp4;base64;x,", "data:VIDEO/mp4;base64,"],
)
def test_malformed_data_uri_is_read_as_url(uri):
    """A data URI that is not well-formed is answered with the length of URLs."""
    long = uri + "A" * 4000 + "="  # one character too many for base64
    [issue] = aleph2_issues({"model": "aleph2", "videoUri": long})
    assert issue.message == "String must contain at most 2048 character(s)"


@pytest.mark.parametrize(
    "frames",
    [
        [{**FRAME, "range": {"start_seconds": 0, "end_seconds": 2}}, FRAME],
        [{**FRAME, "range": {"start_seconds": 2, "end_seconds": 4}}],
        [{**FRAME, "range": {"start_seconds": 0, "end_seconds": 1}}],
        [{**FRAME, "range": {"start_seconds": 3, "end_seconds": 3}}],
    ],
)
def test_ranges_in_prose(frames):
    """All keyframes have a range or none, and each lies within its own, end exclusive."""
    assert aleph2_issues({"model": "aleph2", "videoUri": VIDEO, "keyframes": frames})


def test_profile_needs_prores():
    """A ProRes profile without ProRes is refused."""
    assert aleph2_issues({"model": "aleph2", "videoUri": VIDEO, "proresProfile": "422"})
