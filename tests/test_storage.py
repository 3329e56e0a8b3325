"""Takes and clips in a shared folder, and by links into it: what a bucket does too, without one."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import runway_node
from runway_node import errors
from runway_node.engine import Stop, lending
from runway_node.ledger import Books, Ledger
from runway_node.media.shapes import Frames
from runway_node.models import Policy, Step
from runway_node.sandbox import Fault
from runway_node.settings import load_settings
from runway_node.storage import open_store

from . import front
from .shops import HOUR, filed_fixture

__all__ = ["filed_fixture"]


@pytest.fixture(autouse=True)
def no_verdicts():
    """No test believes another one's probe."""
    lending._VERDICTS.clear()


@pytest.fixture(name="cdn")
def cdn_fixture(tmp_path, filed):
    """A folder that is served as a CDN serves a bucket, which the sandbox may fetch from."""
    folder = tmp_path / "lent"
    folder.mkdir()
    served = front.of_folder(folder)
    served.folder = folder
    filed.sandbox.fetch_from = (served.url,)
    filed.values |= {"delivery_store": str(folder), "public_base_url": served.url}
    yield served
    served.close()


def taken_away(cdn):
    return list(cdn.folder.iterdir()) == []


# settings


@pytest.mark.parametrize(
    "values",
    [
        {"store": "relative/folder"}, {"store": "s3://"}, {"store": "s3://key:secret@bucket"}, {"store": "https://host/x"},
        {"store": "s3://bucket?key=secret"}, {"public_base_url": "http://cdn.example.com"}, {"delivery_store": "/lent"},
        {"public_base_url": "https://cdn.example.com/?token=secret"},
    ],
)  # fmt: skip
def test_a_bad_store_is_one_line_without_its_value(values):
    """What is wrong with a store's name is said, and never what it was: people paste keys into it."""
    with pytest.raises(errors.SettingsError) as caught:
        load_settings(**values)
    assert "secret" not in str(caught.value)


def test_a_store_is_a_bucket_or_an_absolute_folder(tmp_path):
    """Both are taken, without an end that says nothing."""
    settings = load_settings(store=tmp_path / "x", delivery_store="s3://bucket/clips/")
    assert (settings.store, settings.delivery_store) == (str(tmp_path / "x"), "s3://bucket/clips")


# delivery


@pytest.mark.parametrize("provider", ["runway", "cometapi"])
def test_a_clip_goes_by_the_store(filed, cdn, provider):
    """The provider fetches it from the link, once, and after the task it is gone."""
    result = filed(delivery="storage", provider=provider)
    (fetched,) = cdn.fetched()
    assert (result.path.exists(), filed.creates, taken_away(cdn), len(fetched)) == (True, 1, True, 44)
    assert result.warnings == ()


def test_a_failed_tasks_clip_is_taken_away(filed, cdn):
    """A task that came to nothing needs its clip no more."""
    filed.sandbox.add(Fault(where="create", kind="failed"))
    with pytest.raises(errors.TaskFailed):
        filed(delivery="storage")
    assert (len(cdn.fetched()), taken_away(cdn)) == (1, True)


def test_a_refused_orders_clip_is_taken_away(filed, cdn):
    """So does an order that the provider refuses."""
    filed.sandbox.add(Fault(where="create", kind="status", status=400))
    with pytest.raises(errors.Refused):
        filed(delivery="storage")
    assert taken_away(cdn)


@pytest.mark.parametrize("fails", [False, True])
def test_a_dead_runs_clip_is_taken_away_by_who_adopts_its_task(filed, cdn, fails):
    """Its name is made again from the ledger: the run that goes on with the task removes it, however that ends."""
    filed.left(delivery="storage", fails=fails)
    (lent,) = cdn.folder.iterdir()
    assert lent.stem.isalnum()
    if fails:
        with pytest.raises(errors.TaskFailed):
            filed()
    else:
        filed()
    assert (taken_away(cdn), filed.creates) == (True, 1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("point", ["lending", "lent", "id stored", "succeeded", "taken away", "before stored"])
def test_a_killed_runs_clip_is_taken_away_by_the_next(filed, cdn, point):
    """Wherever it was killed: one order, and no clip left, although the next run delivers otherwise."""
    script = str(Path(__file__).with_name("crash.py"))
    order = ["run", str(filed.source), "--prompt", "dusk", "--delivery", "storage"]
    env = {**os.environ, **filed.served.env("runway"), "PYTHONPATH": str(Path(__file__).parent.parent)}
    told = {"data_dir": filed.settings().data_dir, "poll_interval": 0.05, **filed.values}
    env |= {f"RUNWAY_NODE_{name.upper()}": str(value) for name, value in told.items()}
    killed = subprocess.run(
        [sys.executable, script, point, "SIGKILL", *order], env=env, cwd=filed.folder, check=False, capture_output=True
    )
    assert killed.returncode == -9
    filed(delivery="inline")
    assert (filed.creates, taken_away(cdn)) == (1, True)


def test_resume_takes_the_clip_away(filed, cdn):
    """Also where nobody gives the same order again."""
    filed.left(delivery="storage")
    runway_node.resume(settings=filed.settings())
    assert taken_away(cdn)


def test_cancel_takes_the_clip_away(filed, cdn):
    """And where somebody cancels the task."""
    task_id = filed.left(delivery="storage", runs=True)
    assert not taken_away(cdn)
    runway_node.cancel(task_id, settings=filed.settings())
    assert taken_away(cdn)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"head": 403}, "answers HEAD with 403"), ({"type": "application/octet-stream"}, "Content-Type"),
        ({"redirect": True}, "answers HEAD with 302"), ({"plain": True}, "ranged GET with 200"),
        ({"type": "video/mp4; charset=utf-8"}, "Content-Type"), ({"length": "7"}, "Content-Length"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("provider", "instead"), [("runway", "uploading"), ("cometapi", "inlining")])
def test_what_the_provider_could_not_read_goes_another_way(filed, cdn, broken, why, provider, instead):
    """Found out before anything is ordered, and told; the order is done all the same."""
    cdn.broken = broken
    result = filed(delivery="storage", provider=provider)
    (warning,) = result.warnings
    assert why in warning
    assert warning.endswith(f"; {instead} instead")
    assert (cdn.fetched(), filed.creates, taken_away(cdn)) == ([], 1, True)
    assert filed.sandbox.counters.upload_puts == (instead == "uploading")


@pytest.mark.slow
def test_a_link_that_breaks_after_the_probe_costs_nothing(filed, cdn):
    """The clip's own link is tried as well; what fails there goes another way, and is not left there."""
    filed(delivery="storage")
    cdn.broken = {"head": 500}
    result = filed("snow", delivery="storage")
    assert "HEAD with 500" in result.warnings[0]
    assert (filed.creates, len(cdn.fetched()), taken_away(cdn)) == (2, 1, True)


def test_auto_uses_the_store_only_where_it_must(filed, cdn):
    """What fits inline goes inline."""
    filed(provider="cometapi")
    assert cdn.fetched() == []


def test_auto_gives_a_large_clip_more_room_by_the_store(filed, cdn):
    """Where there is no upload, what does not fit inline is lent, and may be as large as a link's clip."""
    row = {"provider": "cometapi", "name": "gen4_aleph", "inline_chars": 30_000}
    result = filed(provider="cometapi", settings=filed.settings("cometapi", models=(row,)))
    assert (len(cdn.fetched()), result.warnings, taken_away(cdn)) == (1, (), True)


def test_auto_makes_a_large_clip_smaller_where_the_store_fails(filed, cdn):
    """A link that breaks between probe and order: the clip is encoded again to what goes inline."""
    row = {"provider": "cometapi", "name": "gen4_aleph", "inline_chars": 30_000}
    filed(provider="cometapi", settings=filed.settings("cometapi", models=(row,)))
    cdn.broken = {"head": 500}
    result = filed("snow", provider="cometapi", settings=filed.settings("cometapi", models=(row,)))
    assert "inlining instead" in result.warnings[0]
    assert (filed.creates, taken_away(cdn)) == (2, True)


def test_delivery_by_storage_needs_a_store(filed):
    """Without one it is refused before anything is sent."""
    with pytest.raises(errors.SettingsError, match="RUNWAY_NODE_DELIVERY_STORE"):
        filed(delivery="storage")
    assert filed.creates == 0


def test_no_link_is_told(filed, cdn, caplog):
    """A link's name is its secret: it is in no log, no event and no ledger."""
    caplog.set_level(logging.DEBUG)
    filed(delivery="storage")
    (name,) = cdn.fetched()
    told = caplog.text + repr(filed.events)
    ledger = b"".join(path.read_bytes() for path in filed.settings().data_dir.glob("ledger.db*"))
    assert name.removesuffix(".mp4") not in told
    assert name.removesuffix(".mp4").encode() not in ledger


# takes


@pytest.fixture(name="share")
def share_fixture(tmp_path, filed):
    """A shared folder for takes."""
    folder = tmp_path / "share"
    folder.mkdir()
    filed.values |= {"store": str(folder)}
    return folder


def test_a_take_is_kept_in_the_store_too(filed, share):
    """With the same name as in the data folder, and the ledger knows."""
    result = filed()
    (copy,) = share.rglob("*.mp4")
    with Ledger(filed.settings()) as ledger:
        stores = [take.store for take, _, _ in Books(ledger).owned()]
    assert copy.read_bytes() == result.takes[0].path.read_bytes()
    assert copy.relative_to(share) == result.takes[0].path.relative_to(filed.settings().data_dir)
    assert sorted(stores) == ["", str(share)]
    assert len(runway_node.takes(settings=filed.settings())) == 1


def test_a_store_that_fails_is_a_warning(filed, share):
    """The order is done; the next run puts the take there."""
    share.rmdir()
    result = filed()
    assert "was not put into" in result.warnings[0]
    share.mkdir()
    for path in (filed.settings().data_dir / "results").iterdir():
        path.unlink()
    filed()
    assert (len(list(share.rglob("*.mp4"))), filed.creates) == (1, 1)


def test_a_lost_take_comes_back_from_the_store(filed, share):
    """Without asking the provider anything."""
    result = filed()
    _forget(filed, result)
    asked = filed.sandbox.counters
    before = (asked.creates, asked.polls, asked.downloads)
    again = filed()
    assert (asked.creates, asked.polls, asked.downloads) == before
    assert again.takes[0].path.read_bytes() == next(iter(share.rglob("*.mp4"))).read_bytes()


@pytest.mark.parametrize("how", ["damaged", "gone", "away"])
def test_what_the_store_has_not_is_fetched_from_the_task(filed, share, how):
    """A damaged, missing or unreachable copy is no reason to pay; and it is healed."""
    result = filed()
    _forget(filed, result)
    (copy,) = share.rglob("*.mp4")
    good = copy.read_bytes()
    if how == "damaged":
        copy.write_bytes(bytes(len(good)))
    elif how == "gone":
        copy.unlink()
    else:
        share.rename(share.with_name("unmounted"))
    again = filed()
    assert (filed.creates, again.takes[0].path.read_bytes()) == (1, good)
    assert how == "away" or copy.read_bytes() == good


def test_where_the_task_is_gone_too_it_says_where_the_take_is(filed, share):
    """Never a new order: the error names the store and why it does not serve."""
    result = filed()
    _forget(filed, result)
    share.rename(share.with_name("unmounted"))
    for task in filed.sandbox.tasks.values():
        filed.sandbox.befall(task, Fault(where="poll", kind="vanishes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runway_node.engine.waiting.GRACE", 0.1)
        with pytest.raises(errors.NotFetched) as caught:
            filed(reorder=True)
    assert f"{share}" in str(caught.value)
    assert "is not there" in str(caught.value)
    assert filed.creates == 1


def _forget(filed, result):
    """Lose what is here of an order."""
    result.takes[0].path.unlink()
    for path in (filed.settings().data_dir / "results").iterdir():
        path.unlink()


def test_export_has_a_take_from_the_store(filed, share, tmp_path):
    """As if it were here."""
    result = filed()
    _forget(filed, result)
    out = runway_node.export(result.digest, tmp_path / "out.mp4", settings=filed.settings())
    assert out.path.exists()


def test_gc_leaves_the_store_alone(filed, share):
    """A take freed here is still owned: the store has it."""
    from datetime import timedelta

    result = filed()
    runway_node.gc(takes=True, older_than=timedelta(seconds=-5), dry_run=False, settings=filed.settings())
    assert not result.takes[0].path.exists()
    assert len(list(share.rglob("*.mp4"))) == 1
    assert (filed().spent, filed.creates) == (0.0, 1)


def test_the_policy_is_no_part_of_the_order(filed, cdn):
    """However it was delivered, it is the same order."""
    first = filed(delivery="storage")
    assert filed(delivery="inline").digest == first.digest
    assert (filed.creates, Policy(delivery="storage").delivery, HOUR) == (1, "storage", 3600.0)


# doctor, and what is not installed


def test_doctor_tells_the_stores(filed, cdn, share, program, monkeypatch):
    """Where they are, and whether a provider could read a link into the one for clips; nothing is left there."""
    for name, value in filed.served.env("runway").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNWAY_NODE_STORE", str(share))
    monkeypatch.setenv("RUNWAY_NODE_DELIVERY_STORE", str(cdn.folder))
    monkeypatch.setenv("RUNWAY_NODE_PUBLIC_BASE_URL", cdn.url)
    code, out, _ = program("doctor")
    assert (code, f"{share}: takes are kept there too" in out, "providers can read it" in out) == (0, True, True)
    cdn.broken = {"head": 403}
    code, out, _ = program("doctor")
    assert (code, "NO  delivery store" in out, "HEAD with 403" in out, taken_away(cdn)) == (1, True, True, True)


@pytest.fixture(name="bare_python")
def bare_python_fixture(monkeypatch):
    """A Python without the storage extra."""
    monkeypatch.setitem(sys.modules, "obstore", None)


@pytest.mark.usefixtures("bare_python")
@pytest.mark.parametrize("what", ["source", "out", "delivery"])
def test_a_missing_extra_is_one_line_before_anything_is_sent(filed, what):
    """It says what to install."""
    filed.values["delivery_store"] = "s3://bucket"
    how = {"out": "s3://bucket/out.mp4"} if what == "out" else {}
    how |= {"delivery": "storage"} if what == "delivery" else {}
    filed.source = "s3://bucket/in.mp4" if what == "source" else filed.source
    with pytest.raises(errors.WrongUse, match=r"pip install 'runway-node\[storage\]'"):
        filed(**how)
    assert filed.creates == 0


@pytest.mark.usefixtures("bare_python")
def test_without_the_extra_a_take_stays_here_with_a_warning(filed):
    """The order is done, and says why its take is nowhere else."""
    filed.values["store"] = "s3://bucket"
    assert "storage extra" in filed().warnings[0]


def test_a_buckets_url_as_a_path_is_refused(filed):
    """Pathlib makes "s3:/bucket" of it; no folder of that name is made."""
    with pytest.raises(errors.WrongUse, match="as text"):
        filed(out=Path("s3://bucket/out.mp4"))
    filed.source = Path("s3://bucket/in.mp4")
    with pytest.raises(errors.WrongUse, match="as text"):
        filed()


# who is left with what


def test_an_unclear_orders_clip_goes_with_its_next_attempt(filed, cdn):
    """While it may be running, the provider may read it; what is ordered in its place takes it along."""
    filed.lost(delivery="storage")
    assert not taken_away(cdn)
    filed(resubmit_ambiguous=True)
    assert taken_away(cdn)


def test_a_stop_before_the_order_takes_the_clip_away(filed, cdn, monkeypatch):
    """Nothing was sent, nothing stays."""

    def stopped(*_):
        raise errors.Interrupted("Stopped before the order was placed")

    monkeypatch.setattr("runway_node.engine.paying.wait_for_slot", stopped)
    with pytest.raises(errors.Interrupted):
        filed(delivery="storage")
    assert (filed.creates, taken_away(cdn)) == (0, True)


def test_a_clip_that_stays_is_told(filed, cdn, monkeypatch):
    """The order is done; where the clip may be is a warning."""

    def fail(*_):
        raise errors.StoreError("the share is read-only")

    monkeypatch.setattr("runway_node.storage.folder.Folder.delete", fail)
    lending._VERDICTS[str(cdn.folder), cdn.url, filed.settings().runway_base_url] = ("", float("inf"))
    result = filed(delivery="storage")
    assert f"may be left in {cdn.folder} (the share is read-only)" in result.warnings[0]


def test_one_probe_serves_a_process(filed, cdn):
    """Orders after the first only try their own link."""
    filed(delivery="storage")
    filed("snow", delivery="storage")
    tried = [key for method, who, key in cdn.asked if (method, who) == ("HEAD", "runway-node")]
    assert len(tried) == 3


@pytest.mark.slow
def test_each_call_of_a_long_clip_goes_by_the_store(filed, cdn, clips):
    """Each call has a clip of its own there, for as long as its task runs."""
    filed.source = clips(7)
    row = {"provider": "runway", "name": "aleph2", "seconds_max": 5.0}
    filed(delivery="storage", settings=filed.settings(models=(row,)))
    assert (filed.creates, len(set(cdn.fetched())), taken_away(cdn)) == (2, 2, True)


def test_export_mends_a_damaged_take_from_the_store(filed, share, tmp_path):
    """A copy with the right hash takes the damaged one's place."""
    result = filed()
    good = result.takes[0].path.read_bytes()
    result.takes[0].path.write_bytes(bytes(len(good)))
    for path in (filed.settings().data_dir / "results").iterdir():
        path.unlink()
    runway_node.export(result.digest, tmp_path / "out.mp4", settings=filed.settings())
    assert result.takes[0].path.read_bytes() == good


def test_the_store_under_another_name_is_tried_too(filed, share):
    """A share that is mounted elsewhere on this machine has the same files."""
    result = filed()
    _forget(filed, result)
    moved = share.with_name("mounted-elsewhere")
    share.rename(moved)
    filed.values["store"] = str(moved)
    filed.sandbox.reset()
    assert filed().takes[0].path.read_bytes() == next(iter(moved.rglob("*.mp4"))).read_bytes()


def test_resume_puts_takes_into_a_store_that_is_new(filed, tmp_path):
    """What was owned before the store was set is shared by then."""
    result = filed()
    filed.values["store"] = str(tmp_path / "new")
    (tmp_path / "new").mkdir()
    runway_node.resume(settings=filed.settings())
    (copy,) = (tmp_path / "new").rglob("*.mp4")
    assert copy.read_bytes() == result.takes[0].path.read_bytes()


def test_a_labels_takes_are_apart_in_the_store_too(filed, share):
    """Below the label's folder, as in the data folder."""
    filed.values["account"] = "acme"
    filed()
    (copy,) = share.rglob("*.mp4")
    assert copy.relative_to(share).parts[:3] == ("accounts", "acme", "takes")


def test_a_folders_keys_stay_within_it(tmp_path):
    """No name leads out of the store."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"x")
    store = open_store(str(tmp_path / "inside"))
    for key in ("../secret.mp4", "a/../../secret.mp4", str(tmp_path / "secret.mp4")):
        with pytest.raises(errors.StoreError):
            store.get(key, tmp_path / "got.mp4", most=10)
    assert not (tmp_path / "got.mp4").exists()


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "shot-12"])
def test_a_rendered_long_clip_is_made_smaller_where_the_store_fails(filed, cdn, key):
    """What was encoded for a link is encoded again to what goes inline; with a key, where frames are read once, too."""
    noise = np.random.default_rng(7).integers(0, 255, (175, 180, 320, 3), np.uint8)
    pieces = {"count": 175, "read": lambda: (one.tobytes() for one in noise)}
    filed.source = Frames(width=320, height=180, fps=Fraction(25), **pieces)
    row = {"provider": "cometapi", "name": "gen4_aleph", "inline_chars": 1_000_000}
    settings = filed.settings("cometapi", models=(row,))
    lending._VERDICTS[str(cdn.folder), cdn.url, settings.cometapi_base_url] = ("", float("inf"))
    cdn.broken = {"head": 500}
    result = filed(provider="cometapi", settings=settings, step=Step(prompt="dusk", key=key))
    assert (filed.creates, cdn.fetched(), taken_away(cdn)) == (2, [], True)
    assert "inlining instead" in result.warnings[0]
    assert any(event.message.startswith("encoding to 0.7 MB") for event in filed.events) == bool(key)


def test_a_clip_in_frames_goes_by_the_store(filed, cdn):
    """Frames from Python are encoded to what a link may carry, and lent."""
    frames = np.zeros((90, 160, 3), np.uint8)
    filed.source = Frames(width=160, height=90, fps=Fraction(25), count=75, read=lambda: iter([frames.tobytes()] * 75))
    filed(delivery="storage")
    assert (len(cdn.fetched()), taken_away(cdn)) == (1, True)


# a bucket that does not answer


@pytest.fixture(name="deaf")
def deaf_fixture(monkeypatch):
    """An S3 server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listener.getsockname()[1]}", "AWS_ALLOW_HTTP": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield listener


@pytest.mark.usefixtures("deaf")
def test_a_stop_is_heard_while_a_bucket_says_nothing(filed):
    """Before the order: nothing was sent, and nobody waits for the library's time-out."""
    stop = Stop()
    threading.Timer(0.5, stop.set).start()
    filed.source = "s3://bucket/shot.mp4"
    began = time.monotonic()
    with pytest.raises(errors.Interrupted):
        filed(stop=stop)
    assert (filed.creates, time.monotonic() - began < 10) == (0, True)


@pytest.mark.usefixtures("deaf")
def test_a_stop_after_the_paid_take_is_stored_keeps_it(filed):
    """While the take is put into the shared bucket: it is here, written down, and the next run costs nothing."""
    stop = Stop()
    filed.values["store"] = "s3://bucket"

    def hear(event):
        if event.phase == "stored":
            threading.Timer(0.3, stop.set).start()

    with pytest.raises(errors.Interrupted):
        filed(stop=stop, hear=hear)
    filed.values["store"] = None
    assert (filed().spent, filed.creates) == (0.0, 1)
