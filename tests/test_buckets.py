"""Clips, takes, inputs and results in a real bucket, whose server checks every signature."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import httpx
import obstore
import pytest

import runway_node
from runway_node import errors
from runway_node.engine import lending
from runway_node.sandbox import Fault
from runway_node.storage import Missing, Taken, deliver, open_store

from . import front
from .seaweed import BUCKET
from .shops import Shop

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the test server is POSIX's")]


@pytest.fixture(autouse=True)
def no_verdicts():
    """No test believes another one's probe."""
    lending._VERDICTS.clear()


@pytest.fixture(name="bucket")
def bucket_fixture(seaweed, monkeypatch):
    """A bucket of this test's own; the environment leads to it."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in seaweed.env.items():
        monkeypatch.setenv(name, value)
    return Bucket(seaweed, seaweed.fresh())


class Bucket:
    """A bucket's folder as the tests look at it."""

    def __init__(self, server, name) -> None:
        self.server, self.url = server, f"s3://{BUCKET}/{name}"
        self.store = server.store(name)

    def keys(self):
        return sorted(one["path"] for page in obstore.list(self.store) for one in page)

    def look(self, key):
        try:
            return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError:
            return None

    def put(self, key, data):
        obstore.put(self.store, key, data, attributes={"Content-Type": "video/mp4"})


@pytest.fixture(name="shop")
def shop_fixture(runway_sandbox, clip, tmp_path):
    """Orders one clip."""
    return Shop(runway_sandbox, clip, tmp_path)


# the store itself


def test_the_server_checks_signatures(bucket):
    """A link that was changed by one character is refused: what is tested on this server says something."""
    bucket.put("a.mp4", b"a" * 600)
    link = open_store(bucket.url).sign("GET", "a.mp4", 60)
    changed = link[:-1] + ("0" if link[-1] != "0" else "1")
    assert httpx.get(link).content == b"a" * 600
    assert (httpx.get(changed).status_code, httpx.head(link).status_code) == (403, 403)


def test_a_bucket_does_what_a_store_does(bucket, tmp_path):
    """Put, put once only, look, get within bounds, delete twice."""
    store, path = open_store(f"{bucket.url}/folder"), tmp_path / "x.mp4"
    path.write_bytes(b"x" * 1000)
    store.put(path, "a/x.mp4", new=True)
    with pytest.raises(Taken):
        store.put(path, "a/x.mp4", new=True)
    assert (store.head("a/x.mp4").size, store.head("a/none"), bucket.keys()) == (1000, None, ["folder/a/x.mp4"])
    store.get("a/x.mp4", tmp_path / "y.mp4", most=1000)
    assert (tmp_path / "y.mp4").read_bytes() == path.read_bytes()
    with pytest.raises(errors.StoreError, match="larger"):
        store.get("a/x.mp4", tmp_path / "z.mp4", most=999)
    with pytest.raises(Missing):
        store.get("a/none", tmp_path / "z.mp4", most=999)
    assert not (tmp_path / "z.mp4").exists()
    store.delete("a/x.mp4")
    store.delete("a/x.mp4")
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "denies access"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "cannot be reached"),
        ("AWS_ALLOW_HTTP", "false", "AWS_ALLOW_HTTP"),
    ],
)  # fmt: skip
def test_a_store_says_no_in_one_line(bucket, monkeypatch, tmp_path, variable, value, said):
    """What is wrong and the mend, with no key, no link and no server's page in it."""
    monkeypatch.setenv(variable, value)
    path = tmp_path / "x.mp4"
    path.write_bytes(b"x")
    with pytest.raises(errors.StoreError, match=said) as caught:
        open_store(bucket.url).put(path, "x.mp4")
    told = str(caught.value) + repr(caught.value)
    assert bucket.server.key not in told
    assert bucket.server.secret not in told
    assert "\n" not in told


def test_a_bucket_that_is_not_there_is_said(bucket):
    """It is no empty one."""
    with pytest.raises(errors.StoreError):
        open_store("s3://no-such-bucket-here").put(Path(__file__), "x.py")


def test_a_file_is_delivered_once_and_over_nothing(bucket, tmp_path):
    """The same bytes again are no error, others are, and `replace` is the word for it."""
    path, url = tmp_path / "x.mp4", f"{bucket.url}/out/x.mp4"
    path.write_bytes(b"mine")
    deliver(path, url)
    deliver(path, url)
    path.write_bytes(b"other")
    with pytest.raises(Taken):
        deliver(path, url)
    assert bucket.look("out/x.mp4") == b"mine"
    deliver(path, url, replace=True)
    assert bucket.look("out/x.mp4") == b"other"


# delivery


@pytest.mark.parametrize(("provider", "instead"), [("runway", "uploading"), ("cometapi", "inlining")])
def test_a_signed_link_is_refused_before_anything_is_ordered(bucket, shop, provider, instead):
    """It answers HEAD with 403, which Runway does not take: told, and the clip goes another way."""
    shop.values["delivery_store"] = bucket.url
    result = shop(delivery="storage", provider=provider)
    assert result.warnings == (f"not by storage: the signed link answers HEAD with 403; {instead} instead",)
    assert (result.path.exists(), shop.creates, bucket.keys()) == (True, 1, [])
    assert shop.sandbox.counters.upload_puts == (instead == "uploading")


@pytest.fixture(name="cdn")
def cdn_fixture(bucket, shop):
    """A web server before the bucket, which the sandbox may fetch from."""
    served = front.Front(bucket.look)
    shop.sandbox.fetch_from = (served.url,)
    shop.values |= {"delivery_store": bucket.url, "public_base_url": served.url}
    yield served
    served.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_clip_goes_by_the_bucket(bucket, shop, cdn, fails):
    """The provider fetches it from the CDN, once; after the task, however it ended, it is gone."""
    if fails:
        shop.sandbox.add(Fault(where="create", kind="failed"))
        with pytest.raises(errors.TaskFailed):
            shop(delivery="storage")
    else:
        assert shop(delivery="storage").warnings == ()
    assert (len(cdn.fetched()), shop.creates, bucket.keys()) == (1, 1, [])


def test_a_dead_runs_clip_is_taken_away(bucket, shop, cdn):
    """By the run that goes on with its task."""
    shop.left(delivery="storage")
    assert len(bucket.keys()) == 1
    shop()
    assert (shop.creates, bucket.keys()) == (1, [])


# takes


@pytest.fixture(name="machines")
def machines_fixture(bucket, runway_sandbox, clip, tmp_path, database):
    """Two machines with one ledger and one bucket."""
    made = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        values = {"database_url": database, "store": f"{bucket.url}/takes", "data_dir": folder / "data"}
        made.append(Shop(runway_sandbox, clip, folder, **values))
    return made


def asked(shop):
    counters = shop.sandbox.counters
    return counters.creates, counters.polls, counters.downloads


def test_a_take_of_one_machine_is_had_by_another(machines):
    """From the bucket, without one more request to the provider, and without a new order."""
    first, second = machines
    paid = first()
    before = asked(first)
    had = second()
    assert asked(first) == before
    assert (had.spent, had.takes[0].path.read_bytes()) == (0.0, paid.takes[0].path.read_bytes())
    assert had.takes[0].path.is_relative_to(second.settings().data_dir)


@pytest.mark.parametrize("how", ["damaged", "gone", "denied"])
def test_without_the_bucket_a_take_is_fetched_from_its_task(machines, bucket, monkeypatch, how):
    """A copy that is damaged, gone or out of reach is no reason to pay again."""
    first, second = machines
    first()
    (key,) = bucket.keys()
    if how == "damaged":
        bucket.put(key, bytes(len(bucket.look(key))))
    elif how == "gone":
        obstore.delete(bucket.store, key)
    else:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    had = second()
    assert (had.spent, first.creates) == (0.0, 1)


def test_where_the_task_is_gone_too_the_error_says_where_it_is(machines, bucket, monkeypatch):
    """The store's name, and why it did not serve; never a new order."""
    first, second = machines
    first()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr("runway_node.engine.waiting.GRACE", 0.1)
    for task in first.sandbox.tasks.values():
        first.sandbox.befall(task, Fault(where="poll", kind="vanishes"))
    with pytest.raises(errors.NotFetched, match="denies access") as caught:
        second(reorder=True)
    assert bucket.url in str(caught.value)
    assert first.creates == 1


# inputs and results


def test_an_input_is_fetched_once_and_again_when_it_changed(bucket, shop, clip, clips):
    """The same object is not brought twice; another one under the same name is another order."""
    bucket.put("in/shot.mp4", clip.read_bytes())
    shop.source = f"{bucket.url}/in/shot.mp4"
    first = shop()
    kept = list((shop.settings().data_dir / "inputs").rglob("*.mp4"))
    assert ([path.name for path in kept], shop().digest) == (["shot.mp4"], first.digest)
    assert list((shop.settings().data_dir / "inputs").rglob("*.mp4")) == kept
    bucket.put("in/shot.mp4", clips(3).read_bytes())
    assert shop().digest != first.digest
    assert len(list((shop.settings().data_dir / "inputs").rglob("*.mp4"))) == 2


def test_gc_frees_an_input_that_was_not_used_lately(bucket, shop, clip):
    """Not one of today; an old one goes, and the same order then fetches it again, and pays nothing."""
    bucket.put("in/shot.mp4", clip.read_bytes())
    shop.source = f"{bucket.url}/in/shot.mp4"
    shop()
    (kept,) = (shop.settings().data_dir / "inputs").rglob("*.mp4")
    assert kept.parent not in {garbage.path for garbage in runway_node.gc(settings=shop.settings()).files}
    os.utime(kept.parent, (0, 0))
    freed = runway_node.gc(settings=shop.settings(), dry_run=False)
    assert ([garbage.path for garbage in freed.files], kept.exists()) == ([kept.parent], False)
    assert (shop().spent, kept.exists()) == (0.0, True)


def test_an_old_input_that_is_used_is_kept(bucket, shop, clip):
    """Its age counts from its last use."""
    bucket.put("in/shot.mp4", clip.read_bytes())
    shop.source = f"{bucket.url}/in/shot.mp4"
    shop()
    (kept,) = (shop.settings().data_dir / "inputs").rglob("*.mp4")
    os.utime(kept.parent, (0, 0))
    shop()
    assert kept.parent not in {garbage.path for garbage in runway_node.gc(settings=shop.settings()).files}


def test_an_input_that_is_not_there_is_said(bucket, shop):
    """Before anything is sent."""
    shop.source = f"{bucket.url}/none.mp4"
    with pytest.raises(errors.SourceError, match=r"There is no s3://.*/none\.mp4"):
        shop()


def test_a_result_goes_into_a_bucket_and_over_nothing(bucket, shop):
    """The same order again finds it; another's object is refused before anything is paid, unless it is forced."""
    url = f"{bucket.url}/out/dusk.mp4"
    first = shop(out=url)
    assert (first.url, first.path.exists(), bucket.look("out/dusk.mp4")) == (url, True, first.path.read_bytes())
    assert shop(out=url).spent == 0.0
    bucket.put("out/dusk.mp4", b"another's")
    with pytest.raises(errors.OutputError, match=f"{url} exists"):
        shop("snow", out=url)
    assert (shop.creates, bucket.look("out/dusk.mp4")) == (1, b"another's")


def test_a_result_that_cannot_be_put_is_kept(bucket, shop, monkeypatch):
    """What was paid is named."""
    put = lending.open_store(bucket.url).__class__.put

    def broken(self, *args, **how):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        return put(open_store(self.name), *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr("runway_node.storage.bucket.Bucket.put", broken)
        with pytest.raises(errors.StoreError, match="the paid result is kept: "):
            shop(out=f"{bucket.url}/dusk.mp4")
    assert shop.creates == 1


def test_the_program_takes_buckets(bucket, shop, clip, program, monkeypatch, tmp_path):
    """`run s3://… -o s3://…` prints where the result is."""
    bucket.put("shot.mp4", clip.read_bytes())
    for name, value in shop.served.env("runway").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "0.05")
    code, out, err = program("run", f"{bucket.url}/shot.mp4", "-p", "dusk", "-o", f"{bucket.url}/dusk.mp4")
    assert (code, out.strip()) == (0, f"{bucket.url}/dusk.mp4"), err
    assert shutil.which("weed") is None or bucket.look("dusk.mp4")


# secrets


def test_no_secret_is_told(bucket, machines, caplog):
    """Access key, secret and signature are in no log, event, error, result and ledger."""
    caplog.set_level(logging.DEBUG)
    first, second = machines
    first.values["delivery_store"] = bucket.url
    told = [repr(first(delivery="storage")), repr(second())]
    first.sandbox.add(Fault(where="create", kind="status", status=400))
    with pytest.raises(errors.Refused) as caught:
        first("snow", delivery="storage")
    told += [repr(caught.value), str(caught.value), repr(first.events), caplog.text, repr(first.settings())]
    told += [repr(runway_node.takes(settings=second.settings())), repr(runway_node.orders(settings=second.settings()))]
    tables = ("orders", "attempts", "takes", "results")
    from sqlalchemy import create_engine, text

    engine = create_engine(first.values["database_url"])
    with engine.connect() as conn:
        told += [repr(conn.execute(text(f"SELECT * FROM runway_node_{table}")).all()) for table in tables]
    engine.dispose()
    whole = "\n".join(told)
    for secret in (bucket.server.key, bucket.server.secret, "X-Amz-Signature", "X-Amz-Credential"):
        assert secret not in whole
