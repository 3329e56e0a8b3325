"""Files that are owned: exported, freed, damaged, lost, kept elsewhere; and the provider's own copy."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

import runway_node
from runway_node import errors
from runway_node.engine import run, waiting
from runway_node.ledger import Ledger
from runway_node.models import Policy
from runway_node.sandbox import Fault

from .shops import Hasty, filed_fixture, shop_fixture

pytestmark = pytest.mark.slow

__all__ = ["filed_fixture", "shop_fixture"]


# export


def test_export_writes_the_finished_file(shop):
    """The same bytes that the run gave, and nothing is sent."""
    result = shop(out=shop.folder / "first.mp4")
    told = runway_node.export(result.digest[:12], shop.folder / "again.mp4", settings=shop.settings())
    assert told.path.read_bytes() == result.path.read_bytes()
    assert (told.spent, told.owned, told.digest, shop.creates) == (0, 1, result.digest, 1)


def test_export_makes_it_again(shop):
    """With the finished files gone it is made from its take, in any container."""
    result = shop(out=shop.folder / "first.mp4")
    shutil.rmtree(shop.settings().data_dir / "results")
    task_id = result.takes[0].task_id
    mov = runway_node.export(task_id, shop.folder / "again.mov", settings=shop.settings())
    assert (mov.frames, mov.path.suffix, mov.spent) == (50, ".mov", 0)
    again = runway_node.export(result.digest, shop.folder / "again.mp4", settings=shop.settings())
    assert again.path.read_bytes() == result.path.read_bytes()


def test_export_untouched_is_the_take(shop, clip):
    """Untouched: the bytes as the provider made them, even with the clip gone, which the finished file needs."""
    digest = shop().digest
    shutil.rmtree(shop.settings().data_dir / "results")
    shop.source.unlink()
    with pytest.raises(errors.SourceError, match=r"is not at .*shot\.mp4 any more"):
        runway_node.export(digest, shop.folder / "out.mp4", settings=shop.settings())
    told = runway_node.export(digest, shop.folder / "out.mp4", untouched=True, settings=shop.settings())
    assert told.path.read_bytes() == clip.read_bytes()
    with pytest.raises(errors.OutputError, match=r"out\.mp4"):
        runway_node.export(digest, shop.folder / "out.mov", untouched=True, settings=shop.settings())


def test_export_overwrites_only_by_force(shop):
    """What is there is left alone, unless it is said."""
    digest, out = shop().digest, shop.folder / "mine.mp4"
    out.write_text("mine")
    for untouched in (False, True):
        with pytest.raises(errors.OutputError, match="--force"):
            runway_node.export(digest, out, untouched=untouched, settings=shop.settings())
    assert out.read_text() == "mine"
    runway_node.export(digest, out, force=True, settings=shop.settings())
    assert out.stat().st_size > 1000


def test_export_of_what_is_not_fetched(shop):
    """An order without a take says where it stands."""
    shop.left(runs=True)
    with pytest.raises(errors.NotFetched, match="is submitted"):
        runway_node.export(shop.open.digest, shop.folder / "out.mp4", settings=shop.settings())


# gc


def test_gc_says_then_frees(shop):
    """Finished files and what dead runs left; the paid take stays, and the file is made again from it."""
    shop(out=shop.folder / "out.mp4")
    data = shop.settings().data_dir
    with Ledger(shop.settings()) as ledger, ledger.holder() as dead:
        (data / "work" / dead).mkdir(parents=True)
    (data / "work" / dead / "clip.mp4").write_bytes(b"x" * 1000)
    (data / "takes/gone.part").write_bytes(b"x" * 100)
    said = runway_node.gc(settings=shop.settings())
    assert {one.path.parent.name for one in said.files} == {"work", "takes", "results"}
    assert (said.done, all(one.path.exists() for one in said.files)) == (False, True)
    freed = runway_node.gc(dry_run=False, settings=shop.settings())
    assert (freed.files, freed.size, freed.done) == (said.files, said.size, True)
    assert not any(one.path.exists() for one in freed.files)
    assert runway_node.gc(settings=shop.settings()).files == ()
    again = shop(out=shop.folder / "again.mp4")
    assert (again.spent, again.path.read_bytes()) == (0, (shop.folder / "out.mp4").read_bytes())


def test_gc_never_frees_a_finished_file_without_its_take(shop):
    """What could not be made again is kept."""
    (take,) = shop().takes
    take.path.unlink()
    said = runway_node.gc(settings=shop.settings())
    assert (said.files, said.kept) == ((), 1)


@pytest.mark.parametrize("half", [{"takes": True}, {"older_than": timedelta(days=90)}])
def test_gc_frees_takes_by_age_only(shop, half):
    """Takes without an age, or an age without takes, is wrong use."""
    with pytest.raises(errors.WrongUse, match="--takes --older-than"):
        runway_node.gc(**half, settings=shop.settings())


def test_gc_frees_old_takes_where_asked(shop):
    """An old take can be freed; the same order says then that it is lost, and is paid again only by name."""
    (take,) = shop().takes
    how = {"takes": True, "settings": shop.settings(), "dry_run": False}
    runway_node.gc(older_than=timedelta(days=90), **how)
    assert take.path.is_file()
    freed = runway_node.gc(older_than=timedelta(0), **how)
    assert [one.path for one in freed.files] == [take.path]
    assert "PAID" in freed.files[0].why
    assert not take.path.exists()
    with pytest.raises(errors.TaskGone, match=r"freed by gc.*--reorder"):
        shop()
    assert (shop(reorder=True).spent, shop.creates) == (56, 2)


# lost and damaged


@pytest.fixture
def damaged(shop):
    """An order whose take was damaged, with no finished file that could stand in; gives the take's path."""
    (take,) = shop().takes
    shutil.rmtree(shop.settings().data_dir / "results")
    take.path.write_bytes(take.path.read_bytes()[:-100])
    return take.path


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_damaged_take_is_fetched_again(shop, damaged, clip, how):
    """While the task lives it is noticed, said, and fetched again: nothing is paid."""
    if how == "missing":
        damaged.unlink()
    result = shop()
    assert (result.spent, result.owned, shop.creates) == (0, 1, 1)
    assert any(f"is {how}" in warning and "fetching it again" in warning for warning in result.warnings)
    assert damaged.read_bytes() == clip.read_bytes()


def test_a_lost_take_is_ordered_again_by_name_only(shop, damaged, monkeypatch):
    """With the task gone too, the error says so and names reorder, which orders anew."""
    monkeypatch.setattr(waiting, "GRACE", 0.2)
    with shop.sandbox.lock:
        for task in shop.sandbox.tasks.values():
            task.gone = True
    with pytest.raises(errors.TaskGone, match="--reorder"):
        shop(stop=Hasty())
    assert (shop.open.state, "--reorder" in shop.open.advice) == ("expired", True)
    with pytest.raises(errors.TaskGone, match="--reorder"):
        shop()
    assert (shop(reorder=True).spent, shop.creates) == (56, 2)
    assert shop(reorder=True).spent == 0, "what is owned is not ordered again"


# another place


def test_a_folder_that_was_moved_keeps_what_was_paid(filed):
    """Ledger and takes together, copied to another folder or disk, are as they were."""
    result = filed()
    made = result.path.read_bytes()
    moved = filed.folder / "elsewhere"
    shutil.move(filed.settings().data_dir, moved)
    again = filed(settings=filed.settings(data_dir=moved))
    assert (again.spent, filed.creates, again.digest) == (0, 1, result.digest)
    assert again.takes[0].path.is_relative_to(moved)
    assert again.path.read_bytes() == made


@pytest.mark.slow
def test_another_machine_fetches_its_own_copy(filed, database, clip):
    """On one Postgres ledger, with a folder of its own: the same order is fetched from the provider, not paid again."""
    one, other = (
        filed.settings(database_url=database, data_dir=filed.folder / name_) for name_ in ("one", "other")
    )  # fmt: skip
    filed(settings=one)
    again = filed(settings=other)
    assert (again.spent, again.owned, filed.creates) == (0, 1, 1)
    assert again.takes[0].path.is_relative_to(filed.folder / "other")
    assert again.takes[0].path.read_bytes() == clip.read_bytes()


# the remote copy


def test_the_remote_task_is_deleted_once_the_take_is_stored(shop):
    """Exactly one DELETE, after the take is on the disk."""
    there = []
    listen = shop.events.append

    def look(event):
        listen(event)
        if event.phase == "stored":
            there.append((shop.sandbox.counters.deletes, len(list(shop.settings().home.glob("takes/*.mp4")))))

    policy = Policy(delete_remote="after_stored")
    run(shop.source, "dusk", policy=policy, settings=shop.settings(), on_progress=look)
    assert there == [(0, 1)]
    shop(delete_remote="after_stored")
    assert (shop.sandbox.counters.deletes, shop.creates) == (1, 1)


def test_a_delete_that_failed_is_said_and_tried_again(shop):
    """The take is there, so it is a warning; resume tries again."""
    shop.sandbox.add(Fault(where="cancel", kind="status", status=400))
    result = shop(delete_remote="after_stored")
    assert any("was not deleted" in warning for warning in result.warnings)
    runway_node.resume(settings=shop.settings())
    runway_node.resume(settings=shop.settings())
    assert shop.sandbox.counters.deletes == 2
    assert shop.tasks[0]["status"] == "GONE"


def test_a_take_without_its_remote_copy_is_lost_when_damaged(shop):
    """The provider is asked once, not waited for: the error says that it was deleted, and names reorder."""
    (take,) = shop(delete_remote="after_stored").takes
    shutil.rmtree(shop.settings().data_dir / "results")
    take.path.unlink()
    polls = shop.sandbox.counters.polls
    with pytest.raises(errors.TaskGone, match="--reorder"):
        shop()
    assert shop.sandbox.counters.polls == polls + 1


def test_cometapi_cannot_delete(shop):
    """Asked for where there is no DELETE, it is refused before anything is sent."""
    with pytest.raises(errors.StepError, match="cometapi cannot delete"):
        shop(provider="cometapi", delete_remote="after_stored")
    assert shop.creates == 0


def test_a_finished_file_is_exported_without_its_clip(shop):
    """What is there is handed out: only making it again would need the clip."""
    digest = shop().digest
    shop.source.unlink()
    out = shop.folder / "o.mp4"
    assert runway_node.export(digest, out, settings=shop.settings()).path == out


@pytest.mark.slow
def test_gc_frees_its_own_folder_s_take_only(filed, database):
    """Another data folder on the same Postgres still has it, and the order is not lost."""
    one, other = (filed.settings(database_url=database, data_dir=filed.folder / name) for name in ("one", "other"))
    filed(settings=one)
    filed(settings=other)
    freed = runway_node.gc(takes=True, older_than=timedelta(0), dry_run=False, settings=other)
    assert sum("PAID" in garbage.why for garbage in freed.files) == 1
    assert (runway_node.orders(settings=one), filed(settings=one).spent, filed.creates) == ((), 0, 1)


def test_gc_keeps_the_finished_file_of_a_take_that_it_frees(shop):
    """One of the two stays: a finished file can be made again only while its take is there."""
    result = shop()
    runway_node.gc(takes=True, older_than=timedelta(0), dry_run=False, settings=shop.settings())
    assert (result.takes[0].path.exists(), result.path.exists()) == (False, True)


def test_gc_keeps_the_finished_file_of_a_damaged_take(shop):
    """It could not be made again."""
    result = shop()
    result.takes[0].path.write_bytes(b"damaged")
    runway_node.gc(dry_run=False, settings=shop.settings())
    assert result.path.exists()


def test_a_finished_file_is_exported_though_its_take_was_freed(shop):
    """What is there is handed out."""
    digest = shop().digest
    runway_node.gc(takes=True, older_than=timedelta(0), dry_run=False, settings=shop.settings())
    out = shop.folder / "o.mp4"
    assert runway_node.export(digest, out, settings=shop.settings()).path == out


def test_a_remote_copy_is_deleted_though_the_order_was_finished_before(shop):
    """Asked for later, it is done then: once."""
    shop()
    for _ in range(2):
        shop(delete_remote="after_stored")
    assert shop.sandbox.counters.deletes == 1
