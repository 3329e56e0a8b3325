"""Six verbs, each one exchange: by answers (pytest-httpx), and by sockets for what only sockets show."""

import logging
import socket
import ssl
import threading
import time

import httpx
import pytest

from runway_node import errors
from runway_node.client import Broken, Client, Later, LinkDead, most_bytes, order_body
from runway_node.client.guard import ForbiddenAddress, Outside, public_addresses
from runway_node.settings import load_settings

KEY = "canary-4f1d9c-key"
RUNWAY = "https://api.dev.runwayml.com"
MIB = 1 << 20
ETAG = {"etag": '"one"'}


def connected(url=RUNWAY, provider="runway"):
    name = "runway" if provider == "runway" else "cometapi"
    return Client(load_settings(**{f"{name}_key": KEY, f"{name}_base_url": url}), provider)


@pytest.fixture
def client():
    """A client of Runway's own address, for answers that pytest-httpx gives."""
    with connected() as made:
        yield made


@pytest.fixture
def gateway():
    """A client of CometAPI's, likewise."""
    with connected("https://api.cometapi.com", "cometapi") as made:
        yield made


@pytest.fixture
def big(tmp_path):
    """An order's body of 14 MB: more than any socket buffer holds."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(10 * MIB))
    return order_body({"model": "aleph2"}, "videoUri", path)


@pytest.fixture
def small():
    """An order's body in one piece."""
    return order_body({"model": "aleph2"}, "videoUri", "https://example.com/clip.mp4")


@pytest.fixture
def part(tmp_path):
    """Where a download grows."""
    return tmp_path / "take.part"


# --- submit, by answers ---


def test_an_order_carries_key_version_and_length(client, httpx_mock, small):
    """Bearer key, X-Runway-Version, JSON of a stated length: no chunks."""
    httpx_mock.add_response(json={"id": "t1", "estimatedCost": {"credits": 56}})
    assert client.submit(small, "aleph2").task_id == "t1"
    (request,) = httpx_mock.get_requests()
    assert (request.method, request.url.path) == ("POST", "/v1/video_to_video")
    assert (request.headers["authorization"], request.headers["x-runway-version"]) == (f"Bearer {KEY}", "2024-11-06")
    assert (request.headers["content-length"], "transfer-encoding" in request.headers) == (str(small.length), False)


def test_comet_s_routes_have_their_prefix(gateway, httpx_mock, small):
    """POST /runwayml/v1/video_to_video."""
    httpx_mock.add_response(json={"id": "t1"})
    gateway.submit(small, "gen4_aleph")
    assert httpx_mock.get_requests()[0].url.path == "/runwayml/v1/video_to_video"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("odd"),
        httpx.DecodingError("gzip"),
        httpx.WriteError("pipe"),
        ssl.SSLError("bad record"),
        OSError("gone"),
    ],
)
def test_silence_after_the_whole_body_is_ambiguous(client, httpx_mock, small, error):
    """The order left: whatever breaks then, it may have been accepted."""
    httpx_mock.add_exception(error)
    with pytest.raises(errors.Ambiguous):
        client.submit(small, "aleph2")


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ConnectTimeout("slow"), httpx.ProxyError("no")])
def test_no_connection_is_later(client, httpx_mock, small, error):
    """Nothing left this machine."""
    httpx_mock.add_exception(error)
    with pytest.raises(Later):
        client.submit(small, "aleph2")


@pytest.mark.parametrize("text", ["{}", '{"id":null}', "[]", "", "<html>", '{"id":', "null", "[" * 100_000])
def test_a_200_without_an_id_is_ambiguous(client, httpx_mock, small, text):
    """Accepted, it seems, and no name for it."""
    httpx_mock.add_response(text=text)
    with pytest.raises(errors.Ambiguous):
        client.submit(small, "aleph2")


# --- task, cancel, account, upload, by answers ---


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "Something."},
        {"error": {"message": "m", "type": "comet_api_error", "param": "", "code": "c"}},
        {"code": "fail_to_fetch_task", "message": "upstream", "data": None},
        [],
        "text",
        {},
        {"status": "error"},
    ],
)
def test_an_error_about_a_task_says_nothing_of_it(gateway, httpx_mock, status, body):
    """It is neither the task nor its absence, in whatever shape the error comes."""
    httpx_mock.add_response(status_code=status, json=body)
    with pytest.raises(Later):
        gateway.task("t1")


def test_a_look_refused_for_now_says_for_how_long(gateway, httpx_mock):
    """Retry-After is handed on."""
    httpx_mock.add_response(status_code=429, json={"error": "slow"}, headers={"retry-after": "7"})
    with pytest.raises(Later) as caught:
        gateway.task("t1")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout("x"), httpx.ConnectError("x"), httpx.RemoteProtocolError("x"), OSError("x")]
)
def test_a_look_that_breaks_is_later(client, httpx_mock, error):
    """No network error reaches the engine as itself."""
    httpx_mock.add_exception(error)
    with pytest.raises(Later):
        client.task("t1")


@pytest.mark.parametrize("identity", ["../../organization", "a/b", "a?b=c", "a#b", "%2e%2e", "ä"])
def test_an_id_cannot_leave_its_place_in_the_path(client, httpx_mock, identity):
    """An id from outside is quoted."""
    httpx_mock.add_response(json={"status": "RUNNING"})
    client.task(identity)
    (request,) = httpx_mock.get_requests()
    assert request.url.raw_path.startswith(b"/v1/tasks/")
    assert (request.url.raw_path.count(b"/"), request.url.query) == (3, b"")


@pytest.mark.parametrize(("status", "took"), [(200, True), (204, True), (404, False), (410, False)])
def test_a_cancel_says_whether_it_took(client, httpx_mock, status, took):
    """A provider that knows no such task has cancelled nothing."""
    httpx_mock.add_response(status_code=status, method="DELETE")
    assert client.cancel("t1") is took


def test_a_cancel_where_there_is_none_sends_nothing(gateway, httpx_mock):
    """CometAPI has no such route."""
    assert not gateway.cancel("t1")
    assert httpx_mock.get_requests() == []


def test_an_account_s_refused_key_is_said(client, httpx_mock):
    """401 is final."""
    httpx_mock.add_response(status_code=401, json={"error": "Unauthorized"})
    with pytest.raises(errors.KeyRefused):
        client.account()


def test_an_endless_answer_is_cut_off(client, httpx_mock):
    """More than 4 MiB is no JSON of theirs."""
    httpx_mock.add_response(stream=httpx._content.IteratorByteStream(b" " * MIB for _ in range(64)))
    with pytest.raises(Later):
        client.task("t1")


def test_an_upload_to_a_private_address_is_refused(client, httpx_mock, tmp_path):
    """A ticket's URL is a URL from outside."""
    httpx_mock.add_response(
        json={"uploadUrl": "https://169.254.169.254/x", "fields": {}, "runwayUri": "runway://x"},
        url=f"{RUNWAY}/v1/uploads",
    )
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x" * 600)
    with pytest.raises(errors.Refused):
        client.upload(clip, "video/mp4")


# --- by sockets: the create ---


def test_a_reset_before_the_body_is_whole_is_no_order(raw, big):
    """The provider cannot have read the order's end: it may be sent again."""

    def script(talk):
        talk.read_head()
        talk.reset()

    with connected(raw(script).url) as client, pytest.raises(Later):
        client.submit(big, "aleph2")
    assert not big.complete


def test_a_reset_after_the_body_is_ambiguous(raw, small):
    """The whole order was read, then the line broke."""

    def script(talk):
        talk.read_all()
        talk.reset()

    with connected(raw(script).url) as client, pytest.raises(errors.Ambiguous):
        client.submit(small, "aleph2")


@pytest.mark.slow
def test_a_close_after_a_large_body_is_ambiguous(raw, big):
    """Also where it was megabytes, and the end is a polite one."""
    server = raw(lambda talk: talk.read_all())
    with connected(server.url) as client, pytest.raises(errors.Ambiguous):
        client.submit(big, "aleph2")
    assert len(server.talks[0].body) == big.length


def test_half_an_answer_is_ambiguous(raw, small):
    """A head without its body may have held an id."""

    def script(talk):
        talk.read_all()
        talk.answer("200 OK", b'{"id":', content_length=500)

    with connected(raw(script).url) as client, pytest.raises(errors.Ambiguous):
        client.submit(small, "aleph2")


def test_an_early_413_is_a_refusal(raw, big):
    """A server that says no while we still send is heard."""

    def script(talk):
        talk.read_head()
        talk.answer("413 Content Too Large", b'{"error":"too large"}')
        talk.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.3)

    with connected(raw(script).url) as client, pytest.raises((errors.Refused, Later)) as caught:
        client.submit(big, "aleph2")
    assert isinstance(caught.value, errors.Refused)


def test_an_error_while_the_body_is_cut_is_no_accepted_order(raw, big):
    """A 502 in the middle of our body: the order cannot have been read, so at worst it is unclear."""

    def script(talk):
        talk.read_head()
        talk.answer("502 Bad Gateway", b"<html>")

    with connected(raw(script).url) as client, pytest.raises((Later, errors.Ambiguous)):
        client.submit(big, "aleph2")


def test_nobody_listening_is_later(small):
    """A refused connection is no order."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with connected(f"http://127.0.0.1:{port}") as client, pytest.raises(Later):
        client.submit(small, "aleph2")


def test_tls_to_a_plain_server_is_later(raw, small):
    """A handshake that fails sends no order."""
    server = raw(lambda talk: talk.socket.recv(100))
    with connected(server.url.replace("http", "https")) as client, pytest.raises(Later):
        client.submit(small, "aleph2")
    assert not server.talks[0].body


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_not_followed_with_the_key(raw, small, status):
    """Neither the key nor the order goes where an answer points."""
    elsewhere = raw(lambda talk: talk.read_all())

    def script(talk):
        talk.read_all()
        talk.answer(status, location=elsewhere.url)

    with connected(raw(script).url) as client, pytest.raises((errors.Refused, errors.Ambiguous)):
        client.submit(small, "aleph2")
    assert elsewhere.talks == []


@pytest.mark.parametrize("verb", ["task", "cancel"])
def test_a_look_is_not_redirected_either(raw, verb):
    """The key stays where it is."""
    elsewhere = raw(lambda talk: talk.read_all())

    def script(talk):
        talk.read_head()
        talk.answer("302 Found", location=elsewhere.url)

    with connected(raw(script).url) as client, pytest.raises(Later):
        getattr(client, verb)("t1")
    assert elsewhere.talks == []


def test_no_order_is_pipelined_on_a_used_connection(raw, small):
    """A stale kept-alive connection would make a lost order ambiguous: each has its own."""

    def script(talk):
        talk.read_all()
        talk.answer("200 OK", b'{"id":"t1"}', connection="keep-alive")

    server = raw(script)
    with connected(server.url) as client:
        client.submit(small, "aleph2")
        client.submit(small, "aleph2")
    assert len(server.talks) == 2


@pytest.mark.slow
def test_an_environment_proxy_gets_no_loopback_order(raw, small, monkeypatch):
    """The sandbox is spoken to directly."""
    proxy = raw(lambda talk: talk.read_all())
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    server = raw(lambda talk: (talk.read_all(), talk.answer("200 OK", b'{"id":"t1"}')))
    with connected(server.url) as client:
        client.submit(small, "aleph2")
    assert proxy.talks == []


# --- by sockets: the download ---

DATA = bytes(range(256)) * 400


def whole(talk):
    talk.read_head()
    talk.answer("200 OK", DATA, **ETAG)


def cut(talk):
    """The first half, under a promise of all."""
    talk.read_head()
    talk.answer("200 OK", DATA[: len(DATA) // 2], content_length=len(DATA), **ETAG)


def rest(**changed):
    """The rest, as asked for; *changed* headers lie."""

    def script(talk):
        talk.read_head()
        start = int(talk.header("range").removeprefix("bytes=").rstrip("-"))
        head = {"content_range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}", **ETAG, **changed}
        talk.answer("206 Partial Content", DATA[start:], **head)

    return script


def fetched(server, part, attempts, most=MIB):
    """Download with so many attempts; all but the last must break."""
    with connected(server.url) as client:
        for _ in range(attempts - 1):
            with pytest.raises(Broken):
                client.download(f"{server.url}/out.mp4?sig=secret", part, most, "t1")
        client.download(f"{server.url}/out.mp4?sig=secret", part, most, "t1")
    return part.read_bytes()


def test_a_download_carries_no_key(raw, part):
    """The link is all that is needed; nothing encoded is asked for."""
    server = raw(whole)
    assert fetched(server, part, 1) == DATA
    assert server.talks[0].header("authorization") == ""
    assert KEY.encode() not in server.talks[0].head
    assert server.talks[0].header("accept-encoding") == "identity"


def test_what_came_before_a_cut_is_kept(raw, part):
    """A broken attempt leaves every byte that came, for the next one to go on from."""
    server = raw(cut)
    with connected(server.url) as client, pytest.raises(Broken):
        client.download(server.url, part, MIB, "t1")
    assert part.read_bytes() == DATA[: len(DATA) // 2]


def test_a_second_attempt_asks_for_the_rest(raw, part):
    """Range from what is held, If-Range with the strong ETag."""
    server = raw(cut, rest())
    assert fetched(server, part, 2) == DATA
    assert (server.talks[1].header("range"), server.talks[1].header("if-range")) == (
        f"bytes={len(DATA) // 2}-",
        '"one"',
    )


def test_a_changed_file_starts_over(raw, part):
    """200 to a Range means another file: nothing of the old one stays."""
    other = DATA[::-1]

    def script(talk):
        talk.read_head()
        talk.answer("200 OK", other, etag='"two"')

    assert fetched(raw(cut, script), part, 2) == other


def test_a_weak_etag_is_not_resumed_on(raw, part):
    """W/ promises no equal bytes: everything is asked for."""

    def weak(talk):
        talk.read_head()
        talk.answer("200 OK", DATA[:1000], content_length=len(DATA), etag='W/"one"')

    server = raw(weak, whole)
    assert fetched(server, part, 2) == DATA
    assert server.talks[1].header("range") == ""


@pytest.mark.parametrize("lie", ["bytes 0-99/102400", "bytes 51201-102399/102400", "bytes */102400", "", "junk"])
def test_a_lying_content_range_is_not_glued_on(raw, part, lie):
    """Bytes from elsewhere are dropped, and the next attempt starts over."""
    assert fetched(raw(cut, rest(content_range=lie), whole), part, 3) == DATA


def test_less_than_the_range_promised_is_not_whole(raw, part):
    """206 with a shorter piece than the file's total is honest, and not the end."""

    def some(talk):
        talk.read_head()
        start = len(DATA) // 2
        talk.answer(
            "206 Partial Content",
            DATA[start : start + 9],
            content_range=f"bytes {start}-{start + 8}/{len(DATA)}",
            **ETAG,
        )

    assert fetched(raw(cut, some, rest()), part, 3) == DATA


def test_an_unasked_part_is_not_taken_for_the_whole(raw, part):
    """206 of the first bytes, though no Range was asked."""

    def some(talk):
        talk.read_head()
        talk.answer("206 Partial Content", DATA[:100], content_range=f"bytes 0-99/{len(DATA)}", **ETAG)

    assert fetched(raw(some, rest()), part, 2) == DATA


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone"])
def test_a_dead_link_is_said_so(raw, part, status):
    """The engine then reads the task again."""
    server = raw(lambda talk: (talk.read_head(), talk.answer(status)))
    with connected(server.url) as client, pytest.raises(LinkDead):
        client.download(server.url, part, MIB, "t1")


def test_a_dead_link_drops_nothing(raw, part):
    """What is held survives an expired link; the fresh link goes on."""

    def dead(talk):
        talk.read_head()
        talk.answer("403 Forbidden")

    server = raw(cut, dead, rest())
    with connected(server.url) as client:
        for kind in (Broken, LinkDead):
            with pytest.raises(kind):
                client.download(server.url, part, MIB, "t1")
        client.download(server.url, part, MIB, "t1")
    assert part.read_bytes() == DATA
    assert server.talks[2].header("range")


@pytest.mark.parametrize("announced", [True, False])
def test_more_than_the_most_is_refused(raw, part, announced):
    """By the announcement before a byte is written, or by count."""

    def script(talk):
        talk.read_head()
        talk.answer("200 OK", DATA, **({} if announced else {"content_length": None}))

    server = raw(script)
    with connected(server.url) as client, pytest.raises(errors.NotFetched):
        client.download(server.url, part, 1000, "t1")
    assert not part.exists() or part.stat().st_size <= 1000


def test_a_redirect_within_the_origin_is_followed(raw, part):
    """Storage servers move things; the bytes still come."""
    server = raw(lambda talk: (talk.read_head(), talk.answer("302 Found", location="/there")), whole)
    assert fetched(server, part, 1) == DATA


def test_an_endless_redirect_ends(raw, part):
    """Few are followed."""
    server = raw(lambda talk: (talk.read_head(), talk.answer("302 Found", location="/again")))
    with connected(server.url) as client, pytest.raises((Broken, errors.NotFetched)):
        client.download(server.url, part, MIB, "t1")
    assert len(server.talks) <= 5


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/x",
        "https://127.0.0.1/x",
        "http://example.com/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://[::1]/x",
        "https://[fe80::1]/x",
        "https://[fd00::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[64:ff9b::a00:1]/x",
        "https://[2002:a00:1::]/x",
        "https://224.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://localhost/x",
        "file:///etc/passwd",
        "ftp://example.com/x",
    ],
)
@pytest.mark.parametrize("redirected", [False, True])
def test_a_link_reaches_public_https_addresses_only(raw, part, target, redirected):
    """Private, loopback, other schemes and disguised addresses are refused, named or redirected to."""
    server = raw(lambda talk: (talk.read_head(), talk.answer("302 Found", location=target)))
    with connected(server.url) as client, pytest.raises((errors.NotFetched, Broken)):
        client.download(server.url if redirected else target, part, MIB, "t1")
    assert (len(server.talks), part.exists()) == (int(redirected), False)


def test_another_port_of_the_same_host_is_another_origin(raw, part):
    """The exception is the base URL's own origin, port and scheme included."""
    server, other = raw(whole), raw(whole)
    with connected(server.url) as client, pytest.raises(errors.NotFetched):
        client.download(other.url, part, MIB, "t1")
    assert other.talks == []


# --- the guard itself ---


@pytest.fixture
def names(monkeypatch):
    """A name server of the test's own: name to addresses."""
    table = {}

    def resolve(host, port, **_):
        found = table.get(host, [host])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


def test_a_name_with_one_private_address_is_refused(names):
    """All of its addresses are judged, not the first only."""
    names["mixed.example"] = ["93.184.216.34", "10.0.0.1"]
    with pytest.raises(ForbiddenAddress):
        public_addresses("mixed.example", 443)


def test_a_public_name_is_let_through(names):
    """Its addresses, in order, once each."""
    names["cdn.example"] = ["93.184.216.34", "93.184.216.35", "93.184.216.34"]
    assert public_addresses("cdn.example", 443) == ["93.184.216.34", "93.184.216.35"]


@pytest.fixture
def wire(names, monkeypatch):
    """What reaches the plain transport below the guard: (host, Host header, TLS name) of each request."""
    names["cdn.example"] = ["93.184.216.34"]
    seen = []

    def handle(_, request):
        seen.append((request.url.host, request.headers["host"], request.extensions.get("sni_hostname")))
        moved = {"location": "/there"} if len(seen) == 1 and request.url.path == "/moved" else {}
        return httpx.Response(302 if moved else 200, headers=moved)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    return seen


def asked(url):
    """Get a link of somebody else's."""
    outside = Outside(RUNWAY)
    with outside.open("GET", url, headers={}) as response:
        assert response.status_code == 200
    outside.close()


def test_the_connection_goes_to_the_judged_address_under_the_host_s_name(wire):
    """No second look-up; Host and TLS name are the link's."""
    asked("https://cdn.example/x")
    assert wire == [("93.184.216.34", "cdn.example", "cdn.example")]


def test_a_relative_redirect_keeps_the_host_s_name(wire):
    """`Location: /there` is still on cdn.example, whose certificate is the one to check."""
    asked("https://cdn.example/moved")
    assert wire[1] == ("93.184.216.34", "cdn.example", "cdn.example")


def test_the_signature_is_on_the_wire_though_not_in_the_url(raw, part):
    """The library is not shown the query; the storage server is."""
    server = raw(whole)
    fetched(server, part, 1)
    assert server.talks[0].head.startswith(b"GET /out.mp4?sig=secret HTTP/1.1")


def test_an_odd_link_arrives_as_it_was_signed(raw, part):
    """Escapes and empty values are part of a signature: not one byte may change."""
    server = raw(whole)
    target = "/a%2Fb/c%20d.mp4?X=a%2Bb%3D&Y=&Z=%7E~"
    with connected(server.url) as client:
        client.download(server.url + target, part, MIB, "t1")
    assert server.talks[0].head.startswith(f"GET {target} HTTP/1.1".encode())


# --- secrets, sizes ---


def test_an_error_quotes_no_link(raw, part):
    """Neither query nor host of a signed link is in what a download says."""
    server = raw(lambda talk: talk.reset())
    with connected(server.url) as client, pytest.raises(Broken) as caught:
        client.download(f"{server.url}/x?sig=secret", part, MIB, "t1")
    assert "secret" not in str(caught.value)


def test_a_client_s_repr_holds_no_key():
    """A traceback that shows locals shows no key."""
    with connected() as client:
        assert KEY not in repr(vars(client))


def test_no_log_holds_a_signed_query(raw, part, caplog):
    """Libraries log each URL at INFO; ours are signed."""
    caplog.set_level(logging.DEBUG)
    fetched(raw(whole), part, 1)
    assert "sig=secret" not in caplog.text


@pytest.mark.parametrize(("seconds", "most"), [(0, 64), (2, 64), (5, 80), (30, 480), (99, 512)])
def test_the_most_a_result_may_weigh(seconds, most):
    """16 MiB a second, between 64 and 512."""
    assert most_bytes(seconds) == most * MIB


def test_two_downloads_of_one_client_do_not_mix(raw, tmp_path):
    """Each has its part and its note."""
    server = raw(whole)
    parts = [tmp_path / f"{number}.part" for number in range(2)]
    with connected(server.url) as client:
        threads = [threading.Thread(target=client.download, args=(server.url, part, MIB, "t")) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [part.read_bytes() for part in parts] == [DATA, DATA]
