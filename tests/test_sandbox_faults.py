"""Each fault does what its row in KINDS says, and what was accepted is billed."""

import base64
import subprocess
import time

import av
import httpx
import imageio_ffmpeg
import pytest

from runway_node.sandbox import FAILURES, KINDS, Fault, Faults, Sandbox, serve

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": "Bearer sandbox-key", "X-Runway-Version": "2024-11-06"}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2.4", "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def served(video):
    with serve(ready=video) as served:
        yield served


@pytest.fixture
def sandbox(served):
    served.sandbox.reset()
    return served.sandbox


class Caller:
    """A naive client of one provider's routes."""

    def __init__(self, url, video, prefix="/v1", model="aleph2"):
        self.http = httpx.Client(base_url=url, headers=HEADERS, timeout=5)
        self.prefix = prefix
        data = base64.b64encode(video.read_bytes()).decode()
        self.body = {"model": model, "promptText": "dusk", "videoUri": f"data:video/mp4;base64,{data}"}

    def create(self):
        return self.http.post(f"{self.prefix}/video_to_video", json=self.body)

    def poll(self, identity):
        return self.http.get(f"{self.prefix}/tasks/{identity}")

    def link(self):
        return self.poll(self.create().json()["id"]).json()["output"][0]


@pytest.fixture
def runway(sandbox, served, video):
    caller = Caller(served.url, video)
    yield caller
    caller.http.close()


@pytest.fixture
def comet(sandbox, served, video):
    caller = Caller(served.url, video, "/runwayml/v1", "gen4_aleph")
    yield caller
    caller.http.close()


@pytest.fixture(scope="module")
def wrapped(video):
    """A caller of a sandbox that wraps its tasks."""
    with serve(ready=video, shape="wrapped") as served:
        caller = Caller(served.url, video, "/runwayml/v1", "gen4_aleph")
        caller.sandbox = served.sandbox
        yield caller
        caller.http.close()


def test_every_kind_is_checked():
    """A kind that is unknown, or befalls another request, is refused and the known ones are listed."""
    with pytest.raises(ValueError, match="there are status, redirect"):
        Fault(where="create", kind="gremlin")
    with pytest.raises(ValueError, match="befalls poll"):
        Fault(where="create", kind="lower_case")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504, 524])
def test_status(runway, sandbox, status):
    """A status fault refuses before anything is accepted, in the provider's words, once."""
    sandbox.add(Fault(where="create", kind="status", status=status, message="no"))
    answer = runway.create()
    assert (answer.status_code, answer.json()["error"]) == (status, "no")
    assert sandbox.counters.accepted == 0
    assert runway.create().status_code == 200


def test_status_in_comet_words(comet, sandbox):
    """On CometAPI's routes the envelope is CometAPI's."""
    sandbox.add(Fault(where="poll", kind="status", status=503, code="busy"))
    assert comet.poll("x").json()["error"]["code"] == "busy"


def test_status_as_html(runway, sandbox):
    """A proxy's answer is a web page."""
    sandbox.add(Fault(where="create", kind="status", status=502, html=True))
    answer = runway.create()
    assert answer.headers["content-type"].startswith("text/html")
    assert "502 Bad Gateway" in answer.text


@pytest.mark.parametrize(("date", "value"), [(False, "7"), (True, "GMT")])
def test_retry_after(runway, sandbox, date, value):
    """Retry-After comes in seconds or as a date."""
    sandbox.add(Fault(where="create", kind="status", status=429, retry_after=7, http_date=date))
    assert runway.create().headers["retry-after"].endswith(value)


@pytest.mark.parametrize("kind", ["reset", "truncated", "reset_mid_body"])
def test_accepted_but_unanswered(runway, sandbox, kind):
    """An order whose answer is lost exists and is billed: doing it again pays twice."""
    sandbox.add(Fault(where="create", kind=kind, after_bytes=5))
    with pytest.raises(httpx.TransportError):
        runway.create()
    assert (sandbox.counters.accepted, sandbox.counters.billed) == (1, 1)
    runway.create()
    assert sandbox.counters.billed == 2


def test_reset_before_acceptance(runway, sandbox):
    """With accept=False nothing was ordered."""
    sandbox.add(Fault(where="create", kind="reset", accept=False))
    with pytest.raises(httpx.TransportError):
        runway.create()
    assert sandbox.counters.accepted == 0


def test_accepted_then_504(runway, sandbox):
    """With accept=True the order was obeyed before the gateway gave up."""
    sandbox.add(Fault(where="create", kind="status", status=504, html=True, accept=True))
    assert runway.create().status_code == 504
    assert sandbox.counters.billed == 1


def test_stall(runway, sandbox):
    """A stalled answer comes late."""
    sandbox.add(Fault(where="account", kind="stall", seconds=0.3))
    begun = time.monotonic()
    assert runway.http.get("/v1/organization").status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_close_delimited(runway, sandbox):
    """A body without a length is cut, and no client can tell by HTTP."""
    sandbox.add(Fault(where="account", kind="close_delimited", after_bytes=10))
    answer = runway.http.get("/v1/organization")
    assert (answer.status_code, len(answer.content)) == (200, 10)


def test_redirect(runway, sandbox):
    """A redirect points into a private network unless told otherwise."""
    sandbox.add(Fault(where="create", kind="redirect"))
    answer = runway.create()
    assert (answer.status_code, answer.headers["location"][:22]) == (301, "http://169.254.169.254")


@pytest.mark.parametrize(
    ("fault", "has"),
    [
        ({"kind": "no_id"}, lambda told: told == {}),
        ({"kind": "null_data"}, lambda told: told["data"] is None),
        ({"kind": "id_nested"}, lambda told: told["data"]["id"]),
        ({"kind": "id_nested", "field": "data.task_id"}, lambda told: told["data"]["task_id"]),
        ({"kind": "id_nested", "field": "task_id"}, lambda told: told["task_id"]),
    ],
)
def test_created_answers(comet, sandbox, fault, has):
    """An accepted order's id can be missing or elsewhere."""
    sandbox.add(Fault(where="create", **fault))
    assert has(comet.create().json())
    assert sandbox.counters.billed == 1


@pytest.mark.parametrize(
    ("fault", "has"),
    [
        ({"kind": "unknown_status", "word": "DREAMING"}, lambda told: told["status"] == "DREAMING"),
        ({"kind": "lower_case"}, lambda told: told["status"] == "succeeded"),
        ({"kind": "vocabulary"}, lambda told: told["status"] == "SUCCESS"),
        ({"kind": "shape"}, lambda told: told["data"]["data"]["status"] == "SUCCEEDED"),
        ({"kind": "url_in_fail_reason"}, lambda told: told["fail_reason"].startswith("http") and "output" not in told),
        ({"kind": "output_objects"}, lambda told: told["output"][0]["url"]),
        ({"kind": "not_exist", "form": "200"}, lambda told: told["status"] == "task_not_exist"),
        ({"kind": "not_exist", "form": "null"}, lambda told: told["data"] is None),
        ({"kind": "not_found"}, lambda told: "error" in told),
    ],
)
def test_told_tasks(comet, sandbox, fault, has):
    """A task can be told in all the ways that were seen, and rightly the next time."""
    identity = comet.create().json()["id"]
    sandbox.add(Fault(where="poll", **fault))
    assert has(comet.poll(identity).json())
    assert comet.poll(identity).json()["status"] == "SUCCEEDED"


def test_no_progress_waits_for_a_running_task(video):
    """A fault that needs a running task is not used up by a pending one."""
    now = [1_790_000_000.0]
    sandbox = Sandbox(ready=video, clock=lambda: now[0], queue_seconds=5, seconds_per_task=5)
    sandbox.add(Fault(where="poll", kind="no_progress"))
    with serve(sandbox) as served:
        caller = Caller(served.url, video)
        identity = caller.create().json()["id"]
        assert caller.poll(identity).json()["status"] == "PENDING"
        now[0] += 7
        assert "progress" not in caller.poll(identity).json()
        assert 0 < caller.poll(identity).json()["progress"] < 1
        caller.http.close()
    sandbox.close()


@pytest.mark.parametrize("prefix", FAILURES)
def test_failed(runway, sandbox, prefix):
    """A failed task has the code, and costs nothing where that code is refunded."""
    code = prefix if prefix in {"INTERNAL", "ASSET.INVALID"} else f"{prefix}.TEXT"
    sandbox.add(Fault(where="create", kind="failed", code=code))
    task = runway.poll(runway.create().json()["id"]).json()
    assert (task["status"], task["failureCode"]) == ("FAILED", code)
    refunded = FAILURES[prefix][1]
    assert task["cost"]["credits"] == (0 if refunded else 68)
    assert sandbox.counters.billed == (0 if refunded else 1)


def test_failed_wrapped(wrapped):
    """In the wrapped shape a failure stands in fail_reason and inside."""
    wrapped.sandbox.add(Fault(where="create", kind="failed", code="SAFETY.INPUT.TEXT"))
    data = wrapped.poll(wrapped.create().json()["id"]).json()["data"]
    assert (data["status"], data["data"]["failureCode"]) == ("FAILURE", "SAFETY.INPUT.TEXT")
    assert "moderation" in data["fail_reason"]


def test_cancelled_elsewhere(runway, sandbox):
    """A task cancelled elsewhere is told as CANCELLED."""
    sandbox.add(Fault(where="create", kind="cancelled"))
    assert runway.poll(runway.create().json()["id"]).json()["status"] == "CANCELLED"


def test_vanishes(runway, sandbox):
    """A task that vanishes is 404 from then on."""
    identity = runway.create().json()["id"]
    sandbox.add(Fault(where="poll", kind="vanishes", skip=1))
    assert [runway.poll(identity).status_code for _ in range(3)] == [200, 404, 404]


def test_long_queue(runway, sandbox):
    """A task in the queue is THROTTLED, then runs."""
    sandbox.add(Fault(where="create", kind="long_queue", seconds=0.4))
    identity = runway.create().json()["id"]
    assert runway.poll(identity).json()["status"] == "THROTTLED"
    time.sleep(0.5)
    assert runway.poll(identity).json()["status"] == "SUCCEEDED"


def test_expired_at_first(runway, sandbox):
    """A link that has expired at the first download works from a fresh look at the task."""
    sandbox.add(Fault(where="download", kind="expired"))
    identity = runway.create().json()["id"]
    links = [runway.poll(identity).json()["output"][0] for _ in range(2)]
    assert [httpx.get(link).status_code for link in links] == [403, 200]


@pytest.mark.parametrize("content", ["html", "empty", "text", "ffconcat", "m3u8", "mpd", "truncated", "audio"])
def test_not_a_video(runway, sandbox, content):
    """What comes as video/mp4 need not be one."""
    sandbox.add(Fault(where="download", kind="not_video", content=content))
    answer = httpx.get(runway.link())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert len(answer.content) != 0 or content == "empty"


def test_audio_only_is_sound(runway, sandbox, tmp_path):
    """The audio-only answer really is an mp4 with sound and no picture."""
    sandbox.add(Fault(where="download", kind="not_video", content="audio"))
    path = tmp_path / "sound.mp4"
    path.write_bytes(httpx.get(runway.link()).content)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]


def test_wrong_type(runway, sandbox, video):
    """The right bytes can come with a wrong type."""
    sandbox.add(Fault(where="download", kind="wrong_type"))
    answer = httpx.get(runway.link())
    assert (answer.headers["content-type"], answer.content) == ("application/octet-stream", video.read_bytes())


def test_ranges_that_lie(runway, sandbox, video):
    """Range can be ignored, the file can have changed, and Content-Range can lie."""
    link, whole = runway.link(), video.read_bytes()
    part = {"Range": "bytes=100-"}
    sandbox.add(Fault(where="download", kind="ignores_range"), Fault(where="download", kind="range_lies"))
    ignored, lying = httpx.get(link, headers=part), httpx.get(link, headers=part)
    assert (ignored.status_code, ignored.content) == (200, whole)
    assert (lying.status_code, lying.headers["content-range"][:8]) == (206, "bytes 0-")
    etag = httpx.get(link).headers["etag"]
    sandbox.add(Fault(where="download", kind="etag_changes"))
    changed = httpx.get(link, headers={**part, "If-Range": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize("kind", ["truncated", "reset_mid_body"])
def test_cut_download(runway, sandbox, kind):
    """A download breaks off in the middle."""
    link = runway.link()
    sandbox.add(Fault(where="download", kind=kind, after_bytes=1000))
    with pytest.raises(httpx.TransportError):
        httpx.get(link)


def test_larger_and_bloated(runway, sandbox, video):
    """What comes beyond the promised length is no part of the answer; far more than needed can be promised."""
    link = runway.link()
    sandbox.add(Fault(where="download", kind="larger"), Fault(where="download", kind="bloated", after_bytes=3_000_000))
    assert httpx.get(link).content == video.read_bytes()
    assert len(httpx.get(link).content) == 3_000_000


def test_trickle(runway, sandbox, video):
    """A trickling body is whole, only slow."""
    link = runway.link()
    sandbox.add(Fault(where="download", kind="trickle", seconds=0.4))
    begun = time.monotonic()
    assert httpx.get(link).content == video.read_bytes()
    assert time.monotonic() - begun >= 0.35


def test_upload_faults(runway, sandbox):
    """The ticket and the form can each go wrong."""
    sandbox.add(Fault(where="upload_ticket", kind="status", status=429), Fault(where="upload_put", kind="status"))
    asked = {"filename": "clip.mp4", "type": "ephemeral"}
    assert runway.http.post("/v1/uploads", json=asked).status_code == 429
    ticket = runway.http.post("/v1/uploads", json=asked).json()
    answer = httpx.post(ticket["uploadUrl"], data=ticket["fields"], files={"file": ("clip.mp4", b"x" * 1000)})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/xml")


def test_cancel_faults(runway, sandbox):
    """A DELETE whose answer is lost has cancelled all the same."""
    identity = runway.create().json()["id"]
    sandbox.add(Fault(where="cancel", kind="reset"))
    with pytest.raises(httpx.TransportError):
        runway.http.delete(f"/v1/tasks/{identity}")
    assert runway.poll(identity).status_code == 404


def test_control_door(runway):
    """Faults come in as JSON, are told while they last, and a reset forgets all."""
    rows = {"faults": [{"where": "create", "kind": "status", "status": 503, "times": "always"}]}
    assert runway.http.post("/_sandbox/faults", json=rows).status_code == 200
    assert [runway.create().status_code for _ in range(3)] == [503] * 3
    state = runway.http.get("/_sandbox/state").json()
    assert state["faults"][0]["times"] is None
    assert (state["counters"]["creates"], state["counters"]["faults"]) == (3, 3)
    assert runway.http.post("/_sandbox/faults", json={"where": "create", "kind": "gremlin"}).status_code == 400
    runway.http.post("/_sandbox/reset")
    assert runway.create().status_code == 200


def test_faults_as_one_value(video):
    """Faults travel as JSON and back."""
    faults = Faults.of(
        Fault(where="poll", kind="stall", times=None), Fault(where="create", kind="failed", code="INTERNAL")
    )
    assert Faults.model_validate_json(faults.model_dump_json()) == faults


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if "poll" in row.where])
def test_no_poll_fault_breaks_the_wrapped_shape(wrapped, kind):
    """Each fault of a poll works on the wrapped shape too, where it does not cut the connection."""
    wrapped.sandbox.reset()
    identity = wrapped.create().json()["id"]
    wrapped.sandbox.add(Fault(where="poll", kind=kind, seconds=0.1))
    try:
        assert wrapped.poll(identity).text != "Internal Server Error"
    except httpx.TransportError:
        assert kind in {"reset", "reset_mid_body", "truncated"}
