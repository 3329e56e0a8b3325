"""The sandbox speaks both protocols as their descriptions say: every answer validates."""

import base64
import io
import json
import socket
import subprocess
import time
from pathlib import Path

import httpx
import imageio_ffmpeg
import jsonschema
import pytest
from PIL import Image

from runway_node.sandbox import Sandbox, serve

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).parent / "schemas"
HEADERS = {"Authorization": "Bearer sandbox-key", "X-Runway-Version": "2024-11-06"}


def valid(name, value):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
    return value


def inline(data, mime="video/mp4"):
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.now = 1_790_000_000.0

    def __call__(self):
        return self.now


class Clip:
    """Test clips of any length and rate, made once each."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, seconds=2.4, fps=25, size="160x90", sound=False):
        path = self.folder / f"{seconds}-{fps}-{size}-{sound}.mp4".replace("/", "_")
        if not path.exists():
            source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={fps}:d={seconds}"]
            if sound:
                source += ["-f", "lavfi", "-i", f"sine=d={seconds}"]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-pix_fmt", "yuv420p", str(path)]
            subprocess.run(command, check=True)
        return path.read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return Clip(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def talk(clip, clock, tmp_path):
    """A client of a sandbox made with some options; answers at once with the clip itself unless told otherwise."""
    ready = tmp_path / "ready.mp4"
    ready.write_bytes(clip())
    open_clients = []

    def start(**options):
        sandbox = Sandbox(**{"clock": clock, "ready": ready, **options})
        served = serve(sandbox)
        url = served.__enter__().url
        client = httpx.Client(base_url=url, headers=HEADERS, timeout=60)
        client.sandbox = sandbox
        open_clients.append((client, served, sandbox))
        return client

    yield start
    for client, served, sandbox in open_clients:
        client.close()
        served.__exit__(None, None, None)
        sandbox.close()


@pytest.fixture
def order(clip):
    """A body that orders, for either provider."""
    return lambda **fields: {"model": "aleph2", "videoUri": inline(clip()), "promptText": "dusk", **fields}


@pytest.fixture
def comet(order):
    return lambda **fields: order(model="gen4_aleph", **fields)


def ended(client, path, identity):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        task = client.get(f"{path}/tasks/{identity}").json()
        if task["status"] in {"SUCCEEDED", "FAILED", "CANCELLED"}:
            return task
        time.sleep(0.02)
    raise AssertionError("the task did not end")


def test_runway_whole_life(talk, order, clock):
    """A Runway task is told as pending, running and succeeded, each closed variant as described."""
    client = talk(queue_seconds=10, seconds_per_task=10)
    made = valid("runway_created", client.post("/v1/video_to_video", json=order()).json())
    seen = []
    for _ in range(5):
        seen.append(valid("runway_task", client.get(f"/v1/tasks/{made['id']}").json())["status"])
        clock.now += 5.5
    assert seen == ["PENDING", "PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]


def test_comet_whole_life(talk, comet, clock):
    """A CometAPI task is told bare by default."""
    client = talk(queue_seconds=10, seconds_per_task=10)
    made = valid("comet_created", client.post("/runwayml/v1/video_to_video", json=comet()).json())
    for status in ("PENDING", "RUNNING", "SUCCEEDED"):
        task = valid("comet_task_bare", client.get(f"/runwayml/v1/tasks/{made['id']}").json())
        assert task["status"] == status
        clock.now += 10.5


def test_comet_wrapped(talk, comet, clock):
    """The wrapped shape has the gateway's words, percent, epoch seconds, and Runway's task inside."""
    client = talk(shape="wrapped", queue_seconds=10, seconds_per_task=10)
    made = client.post("/runwayml/v1/video_to_video", json=comet()).json()
    words = []
    for _ in range(3):
        data = valid("comet_task_wrapped", client.get(f"/runwayml/v1/tasks/{made['id']}").json())["data"]
        words.append((data["status"], data["data"]["status"]))
        clock.now += 10.5
    assert words == [("QUEUED", "PENDING"), ("IN_PROGRESS", "RUNNING"), ("SUCCESS", "SUCCEEDED")]
    assert data["finish_time"] > data["start_time"] > data["submit_time"]


def test_comet_not_exist_at_first(talk, comet, clock):
    """A CometAPI task just created is not known for its first moments."""
    client = talk(not_exist_seconds=5)
    made = client.post("/runwayml/v1/video_to_video", json=comet()).json()
    early = client.get(f"/runwayml/v1/tasks/{made['id']}")
    assert (early.status_code, early.json()["code"]) == (400, "task_not_exist")
    clock.now += 6
    assert client.get(f"/runwayml/v1/tasks/{made['id']}").json()["status"] == "SUCCEEDED"


def test_comet_has_no_cancel_and_no_upload(talk):
    """What CometAPI does not have is a 404 in its own words."""
    client = talk()
    for answer in (client.delete("/runwayml/v1/tasks/x"), client.post("/runwayml/v1/uploads", json={})):
        assert answer.status_code == 404
        valid("comet_error", answer.json())


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": "Bearer wrong"}, 401), ({"Authorization": ""}, 401), ({"X-Runway-Version": "2024-09-13"}, 400)],
)
def test_runway_wants_key_and_version(talk, headers, status):
    """A wrong key is 401, a wrong version 400, in Runway's words."""
    answer = talk().get("/v1/organization", headers=headers)
    assert answer.status_code == status
    valid("runway_error400", answer.json())


def test_comet_wants_key(talk, comet):
    """A wrong key is 401 in CometAPI's words."""
    answer = talk().post("/runwayml/v1/video_to_video", json=comet(), headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    valid("comet_error", answer.json())


def test_no_such_route(talk):
    """404 and 405 are Runway's where the path is not CometAPI's."""
    client = talk()
    missing, wrong = client.get("/v1/nothing"), client.put("/v1/organization")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    valid("runway_error", missing.json())
    valid("runway_error", wrong.json())


@pytest.mark.parametrize(
    ("clip_args", "message"),
    [
        ({"seconds": 1.9}, "at least 2 seconds"),
        ({"seconds": 30.1, "fps": 10}, "at most 30 seconds"),
        ({"fps": 31}, "at most 30 FPS"),
    ],
)
def test_runway_clip_limits(talk, order, clip, clip_args, message):
    """A clip outside 2 to 30 seconds, or over 30 frames per second, is refused by the validator."""
    answer = talk().post("/v1/video_to_video", json=order(videoUri=inline(clip(**clip_args))))
    assert answer.status_code == 400
    assert message in valid("runway_error400", answer.json())["issues"][0]["message"]


@pytest.mark.parametrize("fps", [30, "30000/1001", "24000/1001", 12])
def test_runway_takes_usual_rates(talk, order, clip, fps):
    """Rates up to exactly 30 are taken, at exactly 2 seconds for whole ones."""
    seconds = 2 if isinstance(fps, int) else 2.1
    answer = talk().post("/v1/video_to_video", json=order(videoUri=inline(clip(seconds=seconds, fps=fps))))
    assert answer.status_code == 200


def test_comet_short_clip_is_500_in_disguise(talk, comet, clip):
    """CometAPI passes on what Runway refuses as 500 invalid_request."""
    answer = talk().post("/runwayml/v1/video_to_video", json=comet(videoUri=inline(clip(seconds=1.9))))
    assert answer.status_code == 500
    error = valid("comet_error", answer.json())["error"]
    assert error["code"] == "invalid_request"
    assert "at least 2 seconds" in error["message"]


def test_comet_model_not_there(talk, comet):
    """An unknown model is the gateway's model_not_found."""
    answer = talk().post("/runwayml/v1/video_to_video", json=comet() | {"model": "gen9"})
    assert answer.status_code == 503
    assert valid("comet_error", answer.json())["error"]["code"] == "model_not_found"


def test_runway_retired_model(talk, order):
    """gen4_aleph is retired at Runway, and the answer says what to use."""
    answer = talk().post("/v1/video_to_video", json=order(model="gen4_aleph"))
    assert answer.status_code == 400
    assert "aleph2" in valid("runway_error400", answer.json())["issues"][0]["message"]


def test_playlist_dressed_as_clip(talk, order, tmp_path):
    """A playlist sent as a clip opens nothing."""
    text = f"ffconcat version 1.0\nfile {tmp_path}/x.mp4\n"
    answer = talk().post("/v1/video_to_video", json=order(videoUri=inline(text.encode())))
    assert "cannot be decoded" in answer.json()["issues"][0]["message"]


def test_bare_url_needs_fetch(talk, order, clip):
    """An https clip is refused unless the test says what is behind it."""
    body = order(videoUri="https://example.com/clip.mp4")
    assert talk().post("/v1/video_to_video", json=body).status_code == 400
    assert talk(fetch={body["videoUri"]: clip()}.__getitem__).post("/v1/video_to_video", json=body).status_code == 200


def test_money(talk, order, clip):
    """Credits are taken at the order, shown in the balance, and too few are refused after the body was checked."""
    client = talk(credits=100)
    made = client.post("/v1/video_to_video", json=order()).json()
    assert made["estimatedCost"]["credits"] == 68  # 2.4 s at 28
    assert valid("runway_organization", client.get("/v1/organization").json())["creditBalance"] == 32
    assert "issues" in client.post("/v1/video_to_video", json=order(seed=-1)).json()
    poor = client.post("/v1/video_to_video", json=order())
    assert (poor.status_code, poor.json()["error"]) == (400, "You do not have enough credits to run this task.")
    valid("runway_error400", poor.json())


def test_comet_quota(talk, comet):
    """CometAPI charges at the order, and refuses with 403 when the quota is gone."""
    client = talk(credits=100)
    assert client.post("/runwayml/v1/video_to_video", json=comet()).status_code == 200
    assert client.post("/runwayml/v1/video_to_video", json=comet()).status_code == 403


def test_daily_cap(talk, order, clock):
    """Over the daily cap an order is 429, until 24 hours have passed."""
    client = talk(daily=1)
    assert client.post("/v1/video_to_video", json=order()).status_code == 200
    over = client.post("/v1/video_to_video", json=order())
    assert over.status_code == 429
    valid("runway_error", over.json())
    clock.now += 24 * 3600 + 1
    assert client.post("/v1/video_to_video", json=order()).status_code == 200


def test_throttled_run_in_order(talk, order, clock):
    """Over the concurrency tasks are THROTTLED, and run one after the other though nobody looks."""
    client = talk(concurrency=1, seconds_per_task=10)
    ids = [client.post("/v1/video_to_video", json=order()).json()["id"] for _ in range(3)]

    def statuses():
        return [valid("runway_task", client.get(f"/v1/tasks/{one}").json())["status"] for one in ids]

    assert statuses() == ["RUNNING", "THROTTLED", "THROTTLED"]
    clock.now += 25
    assert statuses() == ["SUCCEEDED", "SUCCEEDED", "RUNNING"]


def test_delete(talk, order, clock):
    """DELETE cancels what is open, deletes what is over with its output, and answers 404 the second time."""
    client = talk(seconds_per_task=10, queue_seconds=5, ready=None)
    first = client.post("/v1/video_to_video", json=order()).json()["id"]
    assert client.delete(f"/v1/tasks/{first}").status_code == 204
    assert client.delete(f"/v1/tasks/{first}").status_code == 404
    assert client.get(f"/v1/tasks/{first}").status_code == 404
    assert client.sandbox.counters.billed == 0
    second = client.post("/v1/video_to_video", json=order()).json()["id"]
    clock.now += 20
    url = ended(client, "/v1", second)["output"][0]
    assert client.delete(f"/v1/tasks/{second}").status_code == 204
    assert httpx.get(url).status_code == 404


def test_other_account_sees_nothing(talk, order):
    """With any key accepted, each has tasks and credits of its own."""
    client = talk(key=None)
    made = client.post("/v1/video_to_video", json=order()).json()["id"]
    assert client.get(f"/v1/tasks/{made}", headers={"Authorization": "Bearer other"}).status_code == 404


def test_links_expire_and_are_renewed(talk, order, clock):
    """A link works until it expires; asking for the task again gives a fresh one; a forged one never works."""
    client = talk(link_seconds=60)
    made = client.post("/v1/video_to_video", json=order()).json()["id"]
    url = ended(client, "/v1", made)["output"][0]
    assert httpx.get(url).status_code == 200
    assert httpx.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    clock.now += 61
    assert httpx.get(url).status_code == 403
    assert httpx.get(ended(client, "/v1", made)["output"][0]).status_code == 200


def test_range(talk, order, clip):
    """Range, If-Range and HEAD are answered as RFC 9110 has it."""
    client = talk()
    url = ended(client, "/v1", client.post("/v1/video_to_video", json=order()).json()["id"])["output"][0]
    whole, head = httpx.get(url), httpx.head(url)
    assert whole.content == clip()
    assert head.headers["content-length"] == str(len(whole.content))
    part = httpx.get(url, headers={"Range": "bytes=10-19", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert httpx.get(url, headers={"Range": "bytes=10-", "If-Range": '"other"'}).status_code == 200
    assert httpx.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_leaked_key_is_counted(talk, order):
    """An Authorization header on a storage link is noticed."""
    client = talk()
    url = ended(client, "/v1", client.post("/v1/video_to_video", json=order()).json()["id"])["output"][0]
    httpx.get(url)
    assert client.sandbox.counters.leaked_keys == 0
    client.get(url)
    assert client.sandbox.counters.leaked_keys == 1


def upload(client, data, name="clip.mp4", **changed):
    ticket = valid(
        "runway_upload_ticket", client.post("/v1/uploads", json={"filename": name, "type": "ephemeral"}).json()
    )
    fields = {**ticket["fields"], **changed}
    return ticket, httpx.post(ticket["uploadUrl"], data=fields, files={"file": (name, data)})


def test_upload(talk, order, clip, clock):
    """An uploaded clip can be ordered by its runway:// URI, again and again, until it expires."""
    client = talk(upload_seconds=100)
    ticket, answer = upload(client, clip())
    assert answer.status_code == 204
    body = order(videoUri=ticket["runwayUri"])
    assert client.post("/v1/video_to_video", json=body).status_code == 200
    assert client.post("/v1/video_to_video", json=body).status_code == 200
    clock.now += 101
    assert client.post("/v1/video_to_video", json=body).status_code == 400


def test_upload_ticket_is_for_one_file(talk, clip):
    """A ticket works once."""
    client = talk()
    ticket, _ = upload(client, clip())
    again = httpx.post(ticket["uploadUrl"], data=ticket["fields"], files={"file": ("clip.mp4", clip())})
    assert again.status_code == 403


def test_upload_refusals(talk, clip):
    """Too small, a wrong field, a key, and `file` before the fields are refused as storage servers do."""
    client = talk()
    assert upload(client, b"x" * 511)[1].status_code == 400
    assert upload(client, clip(), key="elsewhere")[1].status_code == 403
    ticket = client.post("/v1/uploads", json={"filename": "clip.mp4", "type": "ephemeral"}).json()
    form = {"data": ticket["fields"], "files": {"file": ("clip.mp4", clip())}}
    assert httpx.post(ticket["uploadUrl"], headers=HEADERS, **form).status_code == 400
    parts = [("file", ("clip.mp4", clip())), *((name, (None, value)) for name, value in ticket["fields"].items())]
    assert httpx.post(ticket["uploadUrl"], files=parts).status_code == 400
    assert client.sandbox.counters.leaked_keys == 1


def test_upload_name_needs_extension(talk):
    """A file name without a media extension gets no ticket."""
    answer = talk().post("/v1/uploads", json={"filename": "notes.txt", "type": "ephemeral"})
    assert valid("runway_error400", answer.json())["issues"][0]["path"] == ["filename"]


def test_body_too_large(talk, order):
    """A body over the cap is 413."""
    client = talk(body_bytes=1000)
    answer = client.post("/v1/video_to_video", json=order())
    assert answer.status_code == 413
    valid("runway_error", answer.json())


def test_keyframes(talk, order):
    """A keyframe after the clip's end is refused once the clip is known; one inside is taken."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    frame = {"uri": inline(buffer.getvalue(), "image/png")}
    client = talk()
    late = client.post("/v1/video_to_video", json=order(keyframes=[{**frame, "seconds": 2.5}]))
    assert late.json()["issues"][0]["path"] == ["keyframes", 0, "seconds"]
    assert client.post("/v1/video_to_video", json=order(keyframes=[{**frame, "seconds": 2.4}])).status_code == 200
    mislabelled = {"uri": frame["uri"].replace("image/png", "image/jpeg"), "at": 0.5}
    assert client.post("/v1/video_to_video", json=order(keyframes=[mislabelled])).status_code == 400


def test_state_holds_no_key_and_no_media(talk, order):
    """The control door tells what happened without the key and without the clip."""
    client = talk()
    client.post("/v1/video_to_video", json=order())
    text = client.get("/_sandbox/state").text
    assert "sandbox-key" not in text
    assert len(text) < 3000
    assert json.loads(text)["last_fields"]["create"] == ["model", "promptText", "videoUri"]


def test_large_body_is_not_read_to_its_end(talk):
    """The 413 comes although the body never ends, and the connection closes."""
    client = talk()
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=5) as line:
        head = "\r\n".join(f"{name}: {value}" for name, value in HEADERS.items())
        line.sendall(
            f"POST /v1/video_to_video HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Length: 999999999\r\n\r\n".encode()
        )
        received = b""
        while chunk := line.recv(4096):
            received += chunk
    assert received.startswith(b"HTTP/1.1 413")
    assert b'"error"' in received
