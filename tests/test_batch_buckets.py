"""A batch whose clips, takes and results lie in a real bucket, for machines that share nothing else but the ledger."""

from __future__ import annotations

import csv
import os

import obstore
import pytest

from .batches import desk_fixture  # noqa: F401 - a fixture
from .test_buckets import bucket_fixture  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the test server is POSIX's")]


@pytest.fixture
def studio(desk, bucket, monkeypatch):
    """The desk with clips and takes in the bucket; `studio("a", "b")` renders rows of these into it."""
    for name in ("a", "b"):
        bucket.put(f"in/{name}.mp4", (desk.folder / f"{name}.mp4").read_bytes())
    monkeypatch.setenv("RUNWAY_NODE_STORE", f"{bucket.url}/takes")

    def render(*names, flags=()):
        table = desk.table(*((f"{bucket.url}/in/{name}.mp4", "dusk") for name in names))
        words = ("render", desk.template, "--rows", table, "--media", f"{bucket.url}/in", "-o", f"{bucket.url}/out")
        return desk.program(*words, *flags)

    return render


def results(bucket):
    return list(csv.DictReader(bucket.look("out/results.csv").decode().splitlines()))


def test_rows_come_from_a_bucket_and_results_go_to_it(studio, desk, bucket):
    """Films are named by their clips, the table says where they are, and the bucket holds both."""
    code, said, noted = studio("a", "b")
    assert code == 0, noted
    assert {"out/a-dusk.mp4", "out/b-dusk.mp4"} <= set(bucket.keys())
    assert [row["output"] for row in results(bucket)] == [f"{bucket.url}/out/{name}-dusk.mp4" for name in "ab"]
    assert said.strip() == f"{bucket.url}/out/results.csv"
    assert desk.creates == 2


def test_again_only_what_is_missing(studio, desk, bucket):
    """What lies in the bucket is not rendered again; a row that is new is."""
    studio("a")
    before = bucket.look("out/a-dusk.mp4")
    code, _, noted = studio("a", "b")
    assert code == 0
    assert "1 done before" in noted
    assert bucket.look("out/a-dusk.mp4") == before
    assert desk.creates == 2


def test_another_s_object_is_left_alone(studio, desk, bucket):
    """An object that the batch did not make is not replaced, and nothing is paid for it."""
    bucket.put("out/a-dusk.mp4", b"mine")
    code, _, _ = studio("a")
    assert code == 2
    assert bucket.look("out/a-dusk.mp4") == b"mine"
    assert desk.creates == 0


def test_rows_may_name_allowed_buckets_only(desk, bucket):
    """A clip in a bucket that no --media allows is refused."""
    code, rows = desk((f"{bucket.url}/in/a.mp4", "dusk"))
    assert code == 2
    assert "is a URL" in rows[0]["error"]


def test_another_machine_makes_a_lost_result_again_for_nothing(studio, desk, bucket, database, monkeypatch, tmp_path):
    """With the ledger in Postgres and takes in the bucket, another machine's render asks the provider for nothing."""
    monkeypatch.setenv("RUNWAY_NODE_DATABASE_URL", database)
    studio("a")
    obstore.delete(bucket.store, "out/a-dusk.mp4")
    before = desk.sandbox.counters.polls, desk.creates
    monkeypatch.setenv("RUNWAY_NODE_DATA_DIR", str(tmp_path / "elsewhere"))
    code, _, noted = studio("a")
    assert code == 0, noted
    assert bucket.look("out/a-dusk.mp4")
    assert (desk.sandbox.counters.polls, desk.creates) == before


def test_a_film_of_another_container_goes_to_the_bucket_too(studio, desk, bucket):
    """What is not mp4 is made beside nothing of the data folder's own, and paid once."""
    desk.template.write_text(desk.template.read_text().replace('-${look}"}', '-${look}", suffix: .mov}'))
    code, _, noted = studio("a")
    assert code == 0, noted
    assert "out/a-dusk.mov" in bucket.keys()  # noqa: SIM118 - a method of the tests' own
    assert studio("a")[0] == 0
    assert desk.creates == 1
