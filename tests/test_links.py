"""Clips by URL: the sandbox fetches them as strictly as Runway says it does; a link is first tried in the same way."""

from __future__ import annotations

import socket

import httpx
import pytest

from runway_node.client import preflight
from runway_node.sandbox import Sandbox, serve

from . import front

HEADERS = {"Authorization": "Bearer sandbox-key", "X-Runway-Version": "2024-11-06"}
SANDBOX = "http://127.0.0.1:9"
RUNWAY = "https://api.dev.runwayml.com"


@pytest.fixture(name="cdn")
def cdn_fixture(tmp_path):
    """A folder that is served."""
    served = front.of_folder(tmp_path)
    served.folder = tmp_path
    yield served
    served.close()


@pytest.fixture(name="order")
def order_fixture(cdn, clip):
    """Orders a clip by its URL from a sandbox that was told of the origin; gives the answer."""
    (cdn.folder / "clip.mp4").write_bytes(clip.read_bytes())
    sandbox = Sandbox(fetch_from=(cdn.url,))
    with serve(sandbox) as served:

        def order(uri=f"{cdn.url}/clip.mp4", **values):
            body = {"model": "aleph2", "promptText": "dusk", "videoUri": uri, **values}
            return httpx.post(f"{served.url}/v1/video_to_video", json=body, headers=HEADERS)

        order.sandbox = sandbox
        yield order
    sandbox.close()


# the sandbox


def test_a_clip_by_url_is_asked_for_and_fetched(order, cdn):
    """HEAD first, then GET, by an agent that begins as the provider's does."""
    assert order().status_code == 200
    assert [(method, agent) for method, agent, _ in cdn.asked] == [("HEAD", "RunwayML API"), ("GET", "RunwayML API")]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"head": 403}, "HEAD was answered with HTTP 403"), ({"redirect": True}, "must not redirect"),
        ({"type": "application/octet-stream"}, "unsupported Content-Type"), ({"length": ""}, "no Content-Length"),
        ({"length": "32000001"}, "larger than 32 MB"), ({"type": "video/mp4; x=y"}, "unsupported Content-Type"),
    ],
)  # fmt: skip
def test_a_url_that_misbehaves_is_a_400_of_the_validator_s(order, cdn, broken, said):
    """In the provider's shape, naming the field; nothing is taken for it."""
    cdn.broken = broken
    answer = order()
    (issue,) = answer.json()["issues"]
    assert (answer.status_code, issue["path"], said in issue["message"]) == (400, ["videoUri"], True)
    assert order.sandbox.counters.accepted == 0


def test_a_url_that_is_not_there_is_a_400(order, cdn):
    """A wrong name, or a server that is gone."""
    assert "HTTP 404" in order(f"{cdn.url}/none.mp4").text


def test_other_origins_are_refused_as_before(order, cdn):
    """Only what the sandbox was told of is fetched: not another port, not a longer host."""
    for uri in ("http://127.0.0.1:1/clip.mp4", f"{cdn.url}1/clip.mp4", f"{cdn.url}.example.com/clip.mp4"):
        assert order(uri).json()["issues"][0]["message"] == "Invalid url"
    assert "no network" in order("https://cdn.example.com/clip.mp4").text
    assert cdn.asked == []


def test_a_url_longer_than_2048_characters_is_refused(order, cdn):
    """Counted as the provider counts it."""
    assert "at most 2048" in order(f"{cdn.url}/{'x' * 2048}.mp4").text
    assert cdn.asked == []


# the preflight


def test_what_the_provider_could_read_is_good(cdn):
    """HEAD 200, a ranged GET 206, type and length right."""
    (cdn.folder / "a.mp4").write_bytes(b"x" * 600)
    assert preflight(SANDBOX, f"{cdn.url}/a.mp4", 600, 2048) == ""
    assert [method for method, _, _ in cdn.asked] == ["HEAD", "GET"]


def test_a_wrong_length_is_seen(cdn):
    """Another object than the one that was put there."""
    (cdn.folder / "a.mp4").write_bytes(b"x" * 600)
    assert "'600', not 601" in preflight(SANDBOX, f"{cdn.url}/a.mp4", 601, 2048)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://cdn.example.com/a.mp4", "not https"), ("https://93.184.216.34/a.mp4", "an address"),
        ("https://[2606:2800::1]/a.mp4", "an address"), ("https://cdn/a.mp4", "no domain name"),
        (f"https://cdn.example.com/{'x' * 2048}", "characters long"), ("http://127.0.0.1:9/a.mp4", "not https"),
        ("https://localhost/a.mp4", "no domain name"), ("https://[broken/a.mp4", "cannot be read"),
    ],
)  # fmt: skip
def test_a_link_that_the_provider_would_refuse_is_never_asked_for(url, why):
    """What the address alone says needs no connection; loopback is for a provider on loopback."""
    assert why in preflight(RUNWAY, url, 600, 2048)


def test_a_domain_that_leads_into_a_private_network_is_refused(monkeypatch):
    """The guard judges the address that is connected to."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert "not a public address" in preflight(RUNWAY, "https://cdn.example.com/a.mp4?X-Amz-Signature=s", 600, 2048)


def test_the_reason_quotes_no_link(cdn):
    """Neither path nor query of what was tried is told."""
    assert "/a.mp4" not in preflight(SANDBOX, f"{cdn.url}/a.mp4?X-Amz-Signature=secret", 600, 2048)
    assert "secret" not in preflight(SANDBOX, "http://127.0.0.1:1/a.mp4?sig=secret", 600, 2048)
