"""The wire, without a network: what we write validates, what they answer is read, in either shape."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest

from runway_node import errors
from runway_node.client import order_body
from runway_node.models import MODELS, Keyframe, Picture, Step
from runway_node.wire import (
    ROUTES,
    create_body,
    nearest_ratio,
    outcome,
    read_account,
    read_created,
    read_problem,
    read_task,
    read_ticket,
    refusal,
    task_error,
    upload_body,
)

SCHEMAS = Path(__file__).parent / "schemas"
ALEPH2 = next(row for row in MODELS if (row.provider, row.name) == ("runway", "aleph2"))
COMET = next(row for row in MODELS if (row.provider, row.name) == ("cometapi", "gen4_aleph"))
URL = Picture(url="https://example.com/a.png")
PNG = "data:image/png;base64,AAAA"
LINK = "https://bucket.example/out.mp4?_jwt=secret"


def valid(name, value):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
    return value


def sent(step, model, clip="https://example.com/clip.mp4", **pictures):
    """The whole create body, as it leaves."""
    fields = create_body(step, model, width=1280, height=720, seed=step.seed or 7, **pictures)
    return json.loads(b"".join(order_body(fields, model.clip_field, clip)))


# --- what is written ---


@pytest.mark.parametrize(
    ("step", "pictures"),
    [
        (Step(prompt="dusk"), {}),
        (Step(prompt='dusk \U0001f319 \u2028 "quoted" \\ \x00 end', seed=2**32 - 1), {}),
        (Step(prompt="dusk", aspect="9:16", moderation="low", seed=0), {}),
        (Step(aspect="21:9"), {}),
        (Step(keyframes=[Keyframe(picture=URL, seconds=1.5)]), {"keyframes": [PNG]}),
        (Step(keyframes=[Keyframe(picture=URL, at=0), Keyframe(picture=URL, at=1)]), {"keyframes": [PNG, PNG]}),
        (Step(keyframes=[Keyframe(picture=URL, seconds=2, range=(1, 4))]), {"keyframes": ["runway://" + "x" * 40]}),
    ],
)
def test_an_aleph2_body_is_what_runway_describes(step, pictures):
    """Every combination of fields validates against Runway's own description."""
    valid("runway_aleph2_create", sent(step, ALEPH2, **pictures))


@pytest.mark.parametrize(
    ("step", "pictures"),
    [
        (Step(prompt="dusk"), {}),
        (Step(prompt="dusk", aspect="1:1", moderation="auto", seed=7), {}),
        (Step(prompt="dusk", references=[URL]), {"references": [PNG]}),
    ],
)
def test_a_gen4_body_is_what_both_pages_describe(step, pictures):
    """CometAPI's page and Runway's older description both take it."""
    body = sent(step, COMET, **pictures)
    valid("comet_create", body)
    valid("runway_gen4_aleph_create", body)


def test_a_file_is_sent_as_a_data_uri(tmp_path):
    """The clip stands in the body as base64 of exactly its bytes."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(range(256)) * 3000)
    body = sent(Step(prompt="x"), ALEPH2, clip)
    assert body["videoUri"].startswith("data:video/mp4;base64,AAECAwQF")
    valid("runway_aleph2_create", body)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 196_607, 196_608, 196_609])
def test_a_body_is_as_long_as_it_says(tmp_path, size):
    """Content-Length is right at every remainder of base64."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(size))
    body = order_body({"model": "x"}, "videoUri", clip)
    assert (len(b"".join(body)), body.complete) == (body.length, True)


def test_a_body_can_be_read_twice(tmp_path):
    """A second attempt sends the same bytes, and counts anew."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"abc" * 100_000)
    body = order_body({}, "videoUri", clip)
    whole = b"".join(body)
    next(iter(body))
    assert not body.complete
    assert b"".join(body) == whole


def test_nothing_optional_is_sent_unasked():
    """A plain order holds model, prompt, seed and clip only."""
    assert set(sent(Step(prompt="x"), ALEPH2)) == {"model", "promptText", "seed", "videoUri"}


@pytest.mark.parametrize(
    ("aspect", "width", "height", "ratio"),
    [
        (None, 1920, 1080, "1280:720"),
        (None, 848, 480, "848:480"),
        (None, 1080, 1920, "720:1280"),
        (None, 640, 480, "640:480"),
        (None, 800, 600, "1104:832"),
        (None, 500, 500, "960:960"),
        (None, 1920, 800, "1584:672"),
        ("9:16", 1920, 1080, "720:1280"),
    ],
)
def test_the_ratio_is_the_nearest_that_the_clip_fits_in(aspect, width, height, ratio):
    """Shape first, then the smallest that is large enough."""
    assert nearest_ratio(COMET.ratios, aspect, width, height) == ratio


def test_an_upload_request_is_what_runway_describes():
    """The ticket's request validates."""
    valid("runway_upload_create", upload_body("clip.mp4"))


# --- ids and tasks ---


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "t1"},
        {"task_id": "t1"},
        {"data": {"id": " t1 "}},
        {"code": "success", "message": "", "data": {"task_id": "t1"}},
        {"id": "", "task_id": "t1"},
    ],
)
def test_an_id_is_found_wherever_it_stands(answer):
    """Both providers' create answers, and the gateway's wrapper."""
    assert read_created(answer).task_id == "t1"


@pytest.mark.parametrize(
    "answer", [None, [], "t1", {}, {"id": None}, {"id": ""}, {"data": None}, {"data": [{"id": 1}]}]
)
def test_no_id_is_no_id(answer):
    """What holds no id is not guessed at."""
    assert read_created(answer).task_id is None


def runway_task(status, **more):
    identity = "17f20503-6c24-4c16-946b-35dbbce2af2f"
    cost = "estimatedCost" if status in {"PENDING", "THROTTLED", "RUNNING"} else "cost"
    told = {"id": identity, "createdAt": "2026-09-01T12:00:00.000Z", "status": status, cost: {"credits": 56}, **more}
    return valid("runway_task", told)


def wrapped(status, inner, **more):
    data = {
        "task_id": "t1", "action": "x", "status": status, "fail_reason": "", "submit_time": 1, "start_time": 0,
        "finish_time": 0, "progress": "30%", **more,
        "data": {"id": "t1", "createdAt": "2026-09-01T12:00:00+08:00", **inner},
    }  # fmt: skip
    return valid("comet_task_wrapped", {"code": "success", "message": "", "data": data})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (runway_task("PENDING"), "queued"),
        (runway_task("THROTTLED"), "queued"),
        (runway_task("RUNNING", progress=0.5), "running"),
        (runway_task("SUCCEEDED", output=[LINK]), "succeeded"),
        (runway_task("FAILED", failure="no"), "failed"),
        (runway_task("CANCELLED"), "cancelled"),
        (wrapped("NOT_START", {"status": "PENDING"}), "queued"),
        (wrapped("SUBMITTED", {"status": "THROTTLED"}), "queued"),
        (wrapped("IN_PROGRESS", {"status": "RUNNING"}), "running"),
        (wrapped("SUCCESS", {"status": "SUCCEEDED", "output": [LINK]}), "succeeded"),
        (wrapped("FAILURE", {"status": "FAILED"}), "failed"),
        (wrapped("UNKNOWN", {"status": "RUNNING"}), "running"),
        (wrapped("IN_PROGRESS", {"status": "SUCCEEDED", "output": [LINK]}), "succeeded"),
        ({"status": "succeeded"}, "succeeded"),
        ({"status": "REVIEWING"}, "unknown"),
        ({"status": ""}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_status_in_either_shape(answer, status):
    """Both shapes and vocabularies, any case; a word nobody documented is "unknown", never an end."""
    assert read_task(answer, "t1").status == status


@pytest.mark.parametrize(
    "answer",
    [
        runway_task("SUCCEEDED", output=[LINK]),
        wrapped("SUCCESS", {"status": "SUCCEEDED", "output": [LINK]}),
        {"status": "SUCCESS", "fail_reason": LINK},
        {"status": "SUCCEEDED", "output": LINK},
        {"status": "SUCCEEDED", "output": [{"url": LINK}]},
        {"status": "SUCCEEDED", "result_url": LINK},
    ],
)
def test_the_link_wherever_it_stands(answer):
    """`output` in its forms, and the gateway's older places."""
    assert read_task(answer, "t1").outputs == (LINK,)


def test_a_failed_task_s_reason_is_no_link():
    """`fail_reason` is a link only where the task succeeded."""
    assert read_task({"status": "FAILURE", "fail_reason": LINK}, "t1").outputs == ()


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (0.5, 0.5),
        ("30%", 0.3),
        ("100%", 1.0),
        (55, 0.55),
        (-1, 0.0),
        (1e9, 1.0),
        ("soon", None),
        (True, None),
        (None, None),
    ],
)
def test_progress_is_a_share_or_nothing(told, progress):
    """Fractions, percents and nonsense."""
    assert read_task({"status": "RUNNING", "progress": told}, "t1").progress == progress


@pytest.mark.parametrize(
    "answer",
    [
        {"code": "task_not_exist", "message": "task_not_exist", "data": None},
        {"status": "task_not_exist"},
        {"error": {"message": "x", "code": "task_not_exist"}},
        {"code": "success", "message": "", "data": None},
        None,
        [],
        "x",
    ],
)
def test_no_such_task_is_none(answer):
    """Each form in which CometAPI says it; and what is no object at all."""
    assert read_task(answer, "t1") is None


@pytest.mark.parametrize(
    "junk", [{"status": 7}, {"status": None}, {"status": "RUNNING", "cost": 3, "output": 5}, {"data": {"data": {}}}]
)
def test_junk_in_a_task_is_survived(junk):
    """Fields of the wrong type are as if absent."""
    assert not read_task(junk, "t1").ended


def test_a_task_nested_without_end_is_survived():
    """A hundred wrappers deep is not followed to the bottom."""
    answer = {"status": "RUNNING"}
    for _ in range(100):
        answer = {"data": answer}
    assert read_task(answer, "t1").status == "unknown"


# --- refusals ---


def problem(status, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_problem(status, named, body if isinstance(body, str) else json.dumps(body))


RUNWAY = valid("runway_error", {"error": "Something."})
COMETS = valid(
    "comet_error", {"error": {"message": "no (request id: 2026x)", "type": "comet_api_error", "param": "", "code": "c"}}
)
PAGE = "<html><h1>502 Bad Gateway</h1></html>"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 415, 422])
@pytest.mark.parametrize("body", [RUNWAY, COMETS, {"code": "c", "message": "m", "data": None}])
def test_a_stated_4xx_is_a_refusal(status, body):
    """All three error shapes: surely nothing was ordered."""
    assert outcome(problem(status, body)) == "refused"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *[(status, PAGE) for status in (400, 401, 403, 404, 408, 409, 500, 502, 503, 504, 520, 524, 530)],
        *[(status, RUNWAY) for status in (408, 409, 500, 502, 504, 524)],
        *[(status, "") for status in (302, 303, 400, 500, 503)],
        (500, COMETS),
        (503, {}),
        (503, []),
        (503, "null"),
        (504, {"message": "Endpoint request timed out"}),
        (503, {"message": "Service Unavailable"}),
    ],
)
def test_what_is_not_surely_a_refusal_is_ambiguous(status, body):
    """A proxy's words, and its 503 too, say nothing about the order behind it."""
    assert outcome(problem(status, body)) == "ambiguous"


@pytest.mark.parametrize(("status", "body"), [(429, RUNWAY), (429, PAGE), (429, ""), (503, RUNWAY), (503, COMETS)])
def test_later_is_later(status, body):
    """429 always; 503 in the provider's own words."""
    assert outcome(problem(status, body)) == "later"


@pytest.mark.parametrize(("status", "body"), [(413, PAGE), (301, ""), (307, ""), (308, "")])
def test_too_large_and_redirected_are_refusals_without_words(status, body):
    """A body that was not taken cannot have been an order."""
    assert outcome(problem(status, body)) == "refused"


def test_comet_s_faulty_request_is_a_refusal():
    """500 `invalid_request` is CometAPI's form of 400."""
    assert outcome(problem(500, {"error": {"message": "m", "code": "invalid_request"}})) == "refused"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, RUNWAY, errors.KeyRefused),
        (403, RUNWAY, errors.KeyRefused),
        (400, {"error": "You do not have enough credits to run this task."}, errors.OutOfCredits),
        (400, {"error": "Not enough credits"}, errors.OutOfCredits),
        (
            403,
            {"error": {"message": "user quota is not enough", "code": "insufficient_user_quota"}},
            errors.OutOfCredits,
        ),
        (403, {"error": {"message": "token quota exceeded", "code": ""}}, errors.OutOfCredits),
        (429, {"error": "Daily limit"}, errors.RateLimited),
        (400, {"error": {"message": "Invalid token", "code": ""}}, errors.KeyRefused),
    ],
)
def test_a_refusal_by_its_words(status, body, kind):
    """Key, credits and limits are errors of their own."""
    assert type(refusal(problem(status, body), "runway", "aleph2")) is kind


def test_an_issue_is_told_with_its_field():
    """Runway's validator names the field; so do we."""
    body = {
        "error": "Validation of body failed",
        "issues": [{"code": "x", "path": ["keyframes", 0, "uri"], "message": "Invalid url"}],
    }
    told = problem(400, valid("runway_error400", body))
    assert told.message == "Validation of body failed: keyframes.0.uri: Invalid url"


def test_a_white_balance_is_not_the_account_s():
    """A validator's complaint that happens to say "balance" is no empty account."""
    body = {
        "error": "Validation of body failed",
        "issues": [{"code": "x", "path": ["promptText"], "message": "unbalanced quotes"}],
    }
    assert type(refusal(problem(400, body), "runway", "aleph2")) is errors.Refused


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0"}, 0),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_numbers(headers, seconds):
    """Seconds, milliseconds and nonsense."""
    assert problem(429, RUNWAY, **headers).retry_after == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(60, 55, 60), (-60, 0, 0)])
def test_retry_after_as_a_date(ahead, least, most):
    """An HTTP date, also one that has passed."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    assert least <= problem(429, RUNWAY, retry_after=moment).retry_after <= most


def test_an_error_is_one_short_line():
    """A page of text does not end up in an error."""
    message = problem(500, "<html>" + "long\n" * 9999).message
    assert len(message) <= 300
    assert "\n" not in message


@pytest.mark.parametrize(
    ("code", "kind", "retry"),
    [
        ("SAFETY.INPUT.TEXT", errors.Moderated, "no"),
        ("SAFETY.INPUT.IMAGE", errors.Moderated, "no"),
        ("SAFETY.OUTPUT.VIDEO", errors.Moderated, "changed"),
        ("INPUT_PREPROCESSING.SAFETY.TEXT", errors.Moderated, "no"),
        ("INPUT_PREPROCESSING.INTERNAL", errors.TaskFailed, "later"),
        ("internal.bad_output.code01", errors.TaskFailed, "changed"),
        ("INTERNALS", errors.TaskFailed, "later"),
        ("ASSET.INVALID", errors.TaskFailed, "no"),
        ("", errors.TaskFailed, "later"),
    ],
)
def test_a_failure_by_its_code(code, kind, retry):
    """By dotted prefix, whatever its case."""
    error = task_error(read_task({"status": "FAILED", "failureCode": code}, "t1"))
    assert (type(error), error.retry, error.task_id) == (kind, retry, "t1")


@pytest.mark.parametrize(("cost", "words"), [(0, "not charged"), (56, "charged 56 credits"), (None, "it is charged")])
def test_a_failure_tells_its_cost(cost, words):
    """What the provider states wins over what its class usually costs."""
    task = {"status": "FAILED", "failureCode": "SAFETY.INPUT.TEXT", "cost": {"credits": cost}}
    assert words in str(task_error(read_task(task, "t1")))


# --- the rest ---


def test_a_ticket_is_read():
    """URL, fields and the name it will have."""
    told = valid(
        "runway_upload_ticket", {"uploadUrl": "https://s3.example", "fields": {"key": "k"}, "runwayUri": "runway://x"}
    )
    assert read_ticket(told).fields == {"key": "k"}


@pytest.mark.parametrize(
    "answer", [None, [], "x", {}, {"uploadUrl": "x"}, {"uploadUrl": 1, "fields": 2, "runwayUri": 3}]
)
def test_no_ticket_is_none(answer):
    """An answer that is no ticket is not guessed at."""
    assert read_ticket(answer) is None


def test_the_account_is_read():
    """Balance and the limits of each model."""
    answer = valid(
        "runway_organization",
        {
            "tier": {
                "maxMonthlyCreditSpend": 9,
                "models": {"aleph2": {"maxConcurrentGenerations": 2, "maxDailyGenerations": 50}},
            },
            "creditBalance": 1234,
            "usage": {"models": {"aleph2": {"dailyGenerations": 3}}},
        },
    )
    told = read_account(answer)
    assert (told.credits, told.at_once, told.per_day, told.used_today) == (
        1234,
        {"aleph2": 2},
        {"aleph2": 50},
        {"aleph2": 3},
    )


@pytest.mark.parametrize("answer", [None, [], {"tier": 1}, {"tier": {"models": []}}])
def test_an_odd_account_is_empty(answer):
    """Nothing is made up."""
    assert read_account(answer).credits is None


def test_only_runway_uploads_and_cancels():
    """CometAPI has neither, and no account route."""
    assert (ROUTES["cometapi"].upload, ROUTES["cometapi"].account, ROUTES["cometapi"].cancels) == (None, None, False)


def test_a_price_is_not_rounded():
    """Part-seconds are charged as such; the minimum holds."""
    assert (ALEPH2.price(Fraction(5, 2)), ALEPH2.price(Fraction(1)), COMET.price(Fraction(5))) == (70, 56, None)
