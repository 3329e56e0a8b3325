"""One order from end to end, on a sandbox that does what goes wrong: paid once, never lost, no trace of a key."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction

import pytest

from runway_node import errors
from runway_node.engine import Stop, plan, run, run_async, waiting
from runway_node.media.probe import probe
from runway_node.media.shapes import Frames
from runway_node.models import Picture, Policy, Step
from runway_node.sandbox import Fault, Sandbox, serve
from runway_node.sandbox.plugin import PytestSandbox

CANARY = "canary-4f1d9c-key"


class Hasty(Stop):
    """A stop whose waits are cut to 30 milliseconds: back-off is counted, not slept."""

    def wait(self, timeout=None):
        return super().wait(0.03 if timeout is None else min(timeout, 0.03))


class Orders:
    """Runs orders against one sandbox and remembers what was told."""

    def __init__(self, served, clip, folder):
        self.served, self.sandbox = served, served.sandbox
        self.source = folder / "source.mp4"
        shutil.copyfile(clip, self.source)
        self.folder = folder / "outputs"
        self.out = self.folder / "out.mp4"
        self.data = None
        self.events = []
        self.hooks = {}
        self.stop = Hasty()
        self.values = {}
        self.set(ready=clip, seconds_per_task=0.06)

    def set(self, **options):
        self.sandbox.options = self.sandbox.options.model_copy(update=options)

    def on(self, phase, act):
        """Call *act* at the first event of *phase*."""
        self.hooks[phase] = act

    def listen(self, event):
        self.events.append(event)
        act = self.hooks.pop(event.phase, None)
        if act:
            act()

    def __call__(self, *faults, provider="runway", step="dusk", out=..., **options):
        self.sandbox.add(*faults)
        settings = self.served.settings(provider, **self.values)
        self.data = settings.data_dir
        keywords = {"on_progress": self.listen, "stop": self.stop, "settings": settings, **options}
        return run(self.source, step, self.out if out is ... else out, **keywords)

    def fails(self, kind, *faults, **options):
        """Run an order that must end in *kind*; gives the error."""
        with pytest.raises(kind) as caught:
            self(*faults, **options)
        return caught.value

    @property
    def counted(self):
        return self.sandbox.counters

    @property
    def phases(self):
        return [event.phase for event in self.events]

    def task(self):
        """The only task there is."""
        (task,) = self.sandbox.state()["tasks"]
        return task

    def leftovers(self):
        """Unfinished files, wherever we write."""
        outputs = [path for path in self.folder.glob("*") if path != self.out] if self.folder.exists() else []
        inside = [path for path in self.data.rglob("*") if path.suffix in {".part", ".etag"} or path.name[0] == "."]
        return outputs + inside + list((self.data / "work").glob("*"))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One server for all tests of this file: as `runway_sandbox`, which starts one a test."""
    folder = tmp_path_factory.mktemp("sandbox")
    sandbox = Sandbox(folder=folder / "server")
    with serve(sandbox) as server:
        env = {provider: server.env(provider) for provider in ("cometapi", "runway")}
        yield PytestSandbox(server.url, sandbox, env, folder)
    sandbox.close()


@pytest.fixture
def order(served, clip, tmp_path):
    """Runs orders on a sandbox that answers with the clip itself."""
    honest = served.sandbox.options
    yield Orders(PytestSandbox(served.url, served.sandbox, served._env, tmp_path), clip, tmp_path)
    served.sandbox.reset()
    served.sandbox.options = honest


@pytest.fixture
def impatient(monkeypatch):
    """A task that the provider denies is given up after 0.1 seconds."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)


def fault(where, kind, *, slow=False, **values):
    """A fault with a name that a failing test shows; *slow* leaves it out of the quick set."""
    value = Fault(where=where, kind=kind, **{"seconds": 0.1, **values})
    facts = [str(part) for name, part in values.items() if name not in {"seconds", "times"}]
    return pytest.param(value, id="-".join([kind, *facts]), marks=[pytest.mark.slow] if slow else [])


# --- the honest path ---


@pytest.mark.parametrize("provider", ["runway", "cometapi"])
def test_a_rendered_answer_takes_the_clip_s_place(runway_sandbox, clip, tmp_path, provider):
    """The result has the source's frames, rate, size and sound, whatever rate the model answers at."""
    result = run(clip, "dusk", tmp_path / "out.mp4", settings=runway_sandbox.settings(provider))
    made, source = probe(result.path), probe(clip)
    assert (made.frames, made.fps, made.width, made.height) == (50, 25, 320, 180)
    assert [sound.codec for sound in made.sounds] == [sound.codec for sound in source.sounds]


def test_a_range_gives_its_frames_only(order):
    """A range of 0.4 s is 10 frames, although the model's minimum of 2 s is sent and billed."""
    result = order(start=0.4, end=0.8)
    assert (probe(result.path).frames, order.task()["frames"]) == (10, 50)


def test_a_clip_under_the_minimum_is_lengthened_and_cut_back(order, clips):
    """One second is sent as two, and one second comes back."""
    shutil.copyfile(clips(1), order.source)
    assert probe(order().path).frames == 25
    assert order.task()["seconds"] == 2


def test_a_fast_clip_is_sent_at_half_its_rate(order, clips):
    """60 frames a second are sent as 30 and come back as 60."""
    shutil.copyfile(clips(2, "60"), order.source)
    order.set(ready=None)
    made = probe(order().path)
    assert (made.frames, made.fps, order.task()["frames"]) == (120, 60, 60)


def test_frames_from_python_are_an_order_like_any_other(order):
    """A clip that exists only as frames comes back as a file of as many frames."""
    frames = Frames(width=320, height=180, fps=Fraction(24), count=48, read=lambda: iter([bytes(320 * 180 * 3)] * 48))
    order.source = frames
    order.set(ready=None)
    assert probe(order().path).frames == 48


def test_the_cost_is_what_the_provider_says(order):
    """Two seconds of aleph2 cost 56 credits, in the plan and in the result."""
    result = order()
    assert (result.cost, plan(order.source, "dusk", settings=order.served.settings("runway")).credits) == (56, 56)


def test_without_an_output_the_result_is_in_the_data_folder(order):
    """`out=None` leaves the finished file below the data folder."""
    assert order(out=None).path.is_relative_to(order.data)


def test_overall_progress_never_falls(order):
    """`overall` rises to 1 and never falls."""
    order()
    told = [event.overall for event in order.events]
    assert told == sorted(told)
    assert told[-1] == 1


def test_an_upload_carries_the_clip_where_asked(order):
    """`delivery="upload"` sends a runway:// URI."""
    order(policy=Policy(delivery="upload"))
    assert order.task()["body"]["videoUri"].startswith("runway://")


def test_no_key_reaches_the_storage_servers(order):
    """Upload and download links get no Authorization header."""
    order(policy=Policy(delivery="upload"))
    assert (order.counted.downloads, order.counted.upload_puts, order.counted.leaked_keys) == (1, 1, 0)


def test_nothing_unfinished_stays(order):
    """After an order no working file is left, in the output's folder or in ours."""
    order()
    assert order.leftovers() == []


# --- the create: never paid twice ---

AMBIGUOUS = [
    fault("create", "status", status=500, accept=True),
    fault("create", "status", status=500),
    fault("create", "status", status=408, accept=True),
    fault("create", "status", status=409, accept=True),
    fault("create", "status", status=502, html=True, accept=True),
    fault("create", "status", status=503, html=True, accept=True),
    fault("create", "status", status=504, html=True, accept=True),
    fault("create", "status", status=524, html=True, accept=True),
    fault("create", "redirect", status=302, accept=True),
    fault("create", "html"),
    fault("create", "reset"),
    fault("create", "reset", accept=False),
    fault("create", "reset_mid_body", after_bytes=5),
    fault("create", "truncated", after_bytes=5),
    fault("create", "close_delimited", after_bytes=5),
    fault("create", "no_id"),
    fault("create", "null_data"),
]
PROVIDERS = ["runway", pytest.param("cometapi", marks=pytest.mark.slow)]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("wrong", AMBIGUOUS)
def test_an_unclear_answer_is_never_sent_again(order, provider, wrong):
    """An order that may have been accepted ends with exit code 4 after one POST."""
    error = order.fails(errors.Ambiguous, wrong, provider=provider)
    assert (error.exit_code, order.counted.creates) == (4, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        fault("create", "status", status=429),
        fault("create", "status", status=429, html=True),
        fault("create", "status", status=429, retry_after=1),
        fault("create", "status", status=429, retry_after=1, http_date=True),
        fault("create", "status", status=503),
        fault("create", "status", status=429, times=4, slow=True),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_refused_for_now_is_tried_again(order, provider, wrong):
    """429, and 503 in the provider's own words, are tried again until one order is accepted."""
    order(wrong, provider=provider)
    assert (order.counted.accepted, order.counted.creates) == (1, 1 + wrong.times)


@pytest.mark.slow
def test_refused_for_now_six_times_is_refused(order):
    """After the first try and five more a lasting 429 is the error, and nothing is ordered."""
    error = order.fails(errors.RateLimited, Fault(where="create", kind="status", status=429, times=None))
    assert (order.counted.creates, order.counted.accepted, error.status) == (6, 0, 429)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (errors.KeyRefused, Fault(where="create", kind="status", status=401)),
        (errors.KeyRefused, Fault(where="create", kind="status", status=403)),
        (errors.Refused, Fault(where="create", kind="status", status=400)),
        (errors.Refused, Fault(where="create", kind="status", status=404)),
        (errors.Refused, Fault(where="create", kind="status", status=413, html=True)),
        (errors.Refused, Fault(where="create", kind="status", status=422)),
        (errors.Refused, Fault(where="create", kind="redirect", status=301)),
    ],
)
def test_a_clear_no_is_final(order, kind, wrong):
    """A refusal ends the run at once: one POST, no task."""
    order.fails(kind, wrong)
    assert (order.counted.creates, order.counted.accepted) == (1, 0)


def test_comet_s_500_invalid_request_is_a_refusal(order):
    """CometAPI's 500 `invalid_request` is the order's fault, not an unclear answer."""
    order.fails(errors.Refused, Fault(where="create", kind="status", code="invalid_request"), provider="cometapi")
    assert order.counted.creates == 1


def test_an_empty_account_is_said_so(order):
    """Too few credits is OutOfCredits."""
    order.set(credits=10)
    order.fails(errors.OutOfCredits)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        *[fault("create", "id_nested", field=field) for field in ("data.id", "data.task_id", "task_id")],
        fault("create", "stall"),
        fault("create", "trickle"),
        fault("create", "long_queue", seconds=0.2),
        fault("create", "hangs", seconds=0.2),
    ],
)
def test_an_odd_but_clear_answer_is_taken(order, wrong):
    """An id is found wherever the answer has it, however late it comes."""
    order(wrong)
    assert (order.counted.accepted, order.counted.creates) == (1, 1)


# --- the wait: a look that fails says nothing ---

LOOKS = [
    *[fault("poll", "status", status=status) for status in (401, 404, 429, 500)],
    *[fault("poll", "status", status=status, slow=True) for status in (400, 403, 408, 503)],
    *[fault("poll", "status", status=status, html=True) for status in (404, 502)],
    *[fault("poll", "status", status=status, html=True, slow=True) for status in (403, 429)],
    fault("poll", "status", status=429, retry_after=0.1),
    *[fault("poll", kind) for kind in ("redirect", "html", "reset", "truncated", "null_data", "unknown_status")],
    *[fault("poll", kind, slow=True) for kind in ("reset_mid_body", "stall", "trickle", "close_delimited")],
    *[fault("poll", kind, slow=True) for kind in ("not_found", "no_progress", "lower_case", "vocabulary", "shape")],
    *[fault("poll", kind, slow=True) for kind in ("url_in_fail_reason", "output_objects")],
    fault("poll", "not_exist", form="400"),
    *[fault("poll", "not_exist", form=form, slow=True) for form in ("200", "error", "null")],
]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", LOOKS)
def test_a_failed_look_never_fails_a_paid_task(order, wrong):
    """Whatever one look at the task answers, the result comes and was ordered once."""
    order(wrong, provider="cometapi")
    assert (order.counted.accepted, order.out.exists()) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lower_case", "vocabulary", "shape", "url_in_fail_reason", "output_objects"])
def test_a_task_is_read_in_any_dialect(order, kind):
    """A task always told in the other dialect is followed to its end."""
    order(Fault(where="poll", kind=kind, times=None), provider="cometapi")
    assert order.out.exists()


@pytest.mark.slow
def test_twenty_failed_looks_are_no_more_than_one(order):
    """A long row of errors does not end the wait."""
    order(Fault(where="poll", kind="status", status=502, html=True, times=20))
    assert order.counted.accepted == 1


def test_a_fresh_task_unknown_for_a_while_is_waited_out(order):
    """`task_not_exist` after the create is no failure."""
    order.set(not_exist_seconds=0.4)
    order(provider="cometapi")
    assert order.counted.accepted == 1


@pytest.mark.usefixtures("impatient")
def test_a_task_that_stays_unknown_is_gone(order):
    """After the grace a denied task is TaskGone, with its id, and nothing is ordered anew."""
    error = order.fails(errors.TaskGone, Fault(where="poll", kind="vanishes"))
    assert (bool(error.task_id), order.counted.creates) == (True, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [429, 500])
def test_errors_longer_than_the_grace_are_not_an_absence(order, status):
    """The grace counts denials of the task, not failed looks."""
    order(Fault(where="poll", kind="status", status=status, times=8), provider="cometapi")
    assert order.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "kind", "credits", "retry"),
    [
        ("SAFETY.INPUT.TEXT", errors.Moderated, 56, "no"),
        ("SAFETY.OUTPUT.VIDEO", errors.Moderated, 0, "changed"),
        ("INPUT_PREPROCESSING.SAFETY.TEXT", errors.Moderated, 0, "no"),
        ("INTERNAL.BAD_OUTPUT.CODE01", errors.TaskFailed, 0, "changed"),
        ("ASSET.INVALID", errors.TaskFailed, 0, "no"),
        ("THIRD_PARTY.UNAVAILABLE", errors.TaskFailed, 0, "later"),
        ("BRAND.NEW", errors.TaskFailed, 0, "later"),
    ],
)
def test_a_failed_task_says_its_cost_and_whether_to_try_again(order, code, kind, credits, retry):
    """The failure's class decides the error; cost and code are the provider's."""
    error = order.fails(kind, Fault(where="create", kind="failed", code=code))
    assert (error.credits, error.retry, error.code, order.counted.creates) == (credits, retry, code, 1)


def test_a_failure_without_a_code_is_told_in_the_provider_s_words(order):
    """CometAPI's wrapper has only `fail_reason`."""
    order.set(shape="wrapped")
    error = order.fails(errors.TaskFailed, Fault(where="create", kind="failed"), provider="cometapi")
    assert (error.exit_code, bool(error.task_id)) == (1, True)


def test_a_task_cancelled_elsewhere_is_not_ordered_again(order):
    """TaskCancelled names the cost; nothing is sent again."""
    error = order.fails(errors.TaskCancelled, Fault(where="create", kind="cancelled"))
    assert (error.credits, order.counted.creates) == (56, 1)


def test_a_deadline_leaves_the_task_running(order):
    """StillRunning names the id; the task runs on."""
    order.set(seconds_per_task=30)
    error = order.fails(errors.StillRunning, policy=Policy(timeout=0.3))
    assert (order.counted.deletes, order.task()["status"], error.task_id) == (0, "RUNNING", order.task()["id"])


def test_a_deadline_cancels_where_the_policy_says(order):
    """`on_timeout="cancel"` deletes the task."""
    order.set(seconds_per_task=30)
    order.fails(errors.StillRunning, policy=Policy(timeout=0.3, on_timeout="cancel"))
    assert order.counted.deletes == 1


@pytest.mark.slow
def test_the_queue_has_a_deadline_of_its_own(order):
    """Time in the provider's queue does not count as running."""
    order.set(queue_seconds=0.6)
    order(policy=Policy(timeout=0.4))
    assert order.out.exists()


def test_a_queue_past_its_deadline_is_left(order):
    """`queue_timeout` ends the wait, not the task."""
    order.set(queue_seconds=30)
    order.fails(errors.StillRunning, policy=Policy(queue_timeout=0.2))
    assert order.counted.deletes == 0


@pytest.mark.slow
def test_an_unknown_status_is_bounded_by_the_deadline(order):
    """A word that nobody documented keeps polling until the timeout."""
    wrong = Fault(where="poll", kind="unknown_status", times=None)
    order.fails(errors.StillRunning, wrong, policy=Policy(timeout=0.4))
    assert order.counted.polls > 2


# --- the download: never lost ---


DOWNLOADS = [
    *[fault("download", "status", status=status) for status in (404, 416, 500)],
    *[fault("download", "status", status=status, slow=True) for status in (403, 410, 429, 503)],
    fault("download", "status", status=502, html=True, slow=True),
    *[fault("download", kind) for kind in ("html", "reset", "expired", "larger")],
    *[fault("download", kind, slow=True) for kind in ("stall", "trickle", "wrong_type")],
    *[fault("download", kind, after_bytes=100_000) for kind in ("reset_mid_body", "truncated", "close_delimited")],
    *[fault("download", "not_video", content=what) for what in ("truncated", "ffconcat")],
    *[fault("download", "not_video", content=what, slow=True) for what in ("html", "empty", "text", "m3u8", "mpd")],
    fault("download", "not_video", content="audio", slow=True),
    fault("download", "bloated", after_bytes=1000),
]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", DOWNLOADS)
def test_the_take_is_the_provider_s_file_byte_for_byte(order, clip, wrong):
    """Whatever one download does, what is kept is whole, and was ordered once."""
    (take,) = order(wrong).takes
    assert take.path.read_bytes() == clip.read_bytes()
    assert order.counted.accepted == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["etag_changes", "ignores_range", "range_lies"])
def test_a_resumed_download_mixes_no_two_files(order, clip, kind):
    """After a cut, an answer that is not the rest of the same file is not glued to it."""
    wrong = [Fault(where="download", kind="truncated", after_bytes=9000), Fault(where="download", kind=kind)]
    (take,) = order(*wrong).takes
    assert take.path.read_bytes().startswith(clip.read_bytes())


@pytest.mark.slow
def test_a_cut_download_goes_on_where_it_stopped(order, clip):
    """Twenty cuts of a thousand bytes are no failure: each attempt brings something."""
    (take,) = order(Fault(where="download", kind="truncated", after_bytes=1000, times=20)).takes
    assert take.path.read_bytes() == clip.read_bytes()


def test_an_expired_link_is_fetched_anew(order):
    """403 on the link is answered by another look at the task."""
    order(Fault(where="download", kind="expired", times=2))
    assert order.counted.downloads == 3


def test_a_link_into_a_private_network_is_refused(order):
    """A redirect to 169.254.169.254 is not followed, and the paid task is not deleted."""
    error = order.fails(errors.NotFetched, Fault(where="download", kind="redirect"))
    assert (error.task_id, order.counted.deletes) == (order.task()["id"], 0)


def test_a_result_that_is_never_a_video_stays_with_the_provider(order):
    """NotFetched names the task; it is neither deleted nor ordered again, and no part of it stays."""
    error = order.fails(errors.NotFetched, Fault(where="download", kind="not_video", times=None))
    assert (error.exit_code, error.task_id, order.counted.deletes) == (1, order.task()["id"], 0)
    assert (order.leftovers(), order.out.exists()) == ([], False)


@pytest.mark.slow
def test_a_lasting_download_error_ends_as_not_fetched(order):
    """A link that never answers ends the run, not the task."""
    error = order.fails(errors.NotFetched, Fault(where="download", kind="reset", times=None))
    assert (order.counted.creates, order.counted.deletes, bool(error.task_id)) == (1, 0, True)


def test_a_data_folder_lost_after_the_order_is_not_wrong_use(order):
    """Exit code 2 says that nothing was sent: not after an order was paid."""

    def lose():
        shutil.rmtree(order.data / "takes", ignore_errors=True)
        (order.data / "takes").write_text("in the way")

    order.set(seconds_per_task=1.0)
    order.on("running", lose)
    error = order.fails(errors.RunwayNodeError)
    assert (error.exit_code, error.task_id) == (1, order.task()["id"])


def test_a_source_lost_after_the_order_leaves_the_take_named(order):
    """Where the sound cannot be put back any more, the error is ours (1) and names the paid file."""
    order.set(seconds_per_task=1.0)
    order.on("running", order.source.unlink)
    error = order.fails(errors.RunwayNodeError)
    (take,) = (order.data / "takes").glob("*.mp4")
    assert (error.exit_code, str(take) in str(error)) == (1, True)


# --- stopping ---


def test_a_stop_while_it_runs_cancels_the_task(order):
    """`Stop.set()` deletes the running task: Interrupted, 130."""
    order.set(seconds_per_task=30)
    order.on("running", order.stop.set)
    error = order.fails(errors.Interrupted)
    assert (error.exit_code, order.counted.deletes, order.task()["status"]) == (130, 1, "GONE")


def test_a_stop_where_there_is_no_cancel_says_so(order):
    """CometAPI has no cancel: the message says that the task runs on and is billed."""
    order.set(seconds_per_task=30)
    order.on("running", order.stop.set)
    error = order.fails(errors.Interrupted, provider="cometapi")
    assert "runs on" in str(error)
    assert order.task()["id"] in str(error)


def test_a_stop_may_leave_the_task_running(order):
    """`on_interrupt="detach"` deletes nothing."""
    order.set(seconds_per_task=30)
    order.on("running", order.stop.set)
    order.fails(errors.Interrupted, policy=Policy(on_interrupt="detach"))
    assert (order.counted.deletes, order.task()["status"]) == (0, "RUNNING")


def test_detach_wins_over_the_policy(order):
    """`Stop.detach()` leaves the task running whatever the policy says."""
    order.set(seconds_per_task=30)
    order.on("running", order.stop.detach)
    order.fails(errors.Interrupted)
    assert order.counted.deletes == 0


def test_a_plain_event_is_a_stop_too(order):
    """A host's own `threading.Event` stops and cancels."""
    order.set(seconds_per_task=30)
    event = threading.Event()
    order.on("running", event.set)
    order.fails(errors.Interrupted, stop=event)
    assert order.counted.deletes == 1


def kept(order, error):
    """Whether the paid result is in the data folder, and named."""
    takes = list((order.data / "takes").glob("*.mp4"))
    return len(takes) == 1 and str(takes[0]) in str(error)


@pytest.mark.parametrize("phase", ["succeeded", "fetching"])
def test_a_stop_after_the_end_keeps_what_was_paid(order, phase):
    """A finished task's result is fetched and named, never deleted."""
    order.on(phase, order.stop.set)
    error = order.fails(errors.Interrupted)
    assert (kept(order, error), order.counted.deletes) == (True, 0)


def test_a_stop_at_the_last_step_loses_nothing(order):
    """Set while the file is finished: whether it still is or not, the take is kept."""
    order.on("conforming", order.stop.set)
    with contextlib.suppress(errors.Interrupted):
        assert order().path.exists()
    assert (len(list((order.data / "takes").glob("*.mp4"))), order.counted.deletes) == (1, 0)


def test_a_task_that_finished_before_the_cancel_is_fetched(order):
    """The task is read once more before DELETE, which would destroy the output."""

    def late():
        time.sleep(1.0)
        order.stop.set()

    order.set(seconds_per_task=0.5)
    order.on("running", late)
    error = order.fails(errors.Interrupted)
    assert (kept(order, error), order.counted.deletes) == (True, 0)


@pytest.mark.slow
def test_a_failed_cancel_is_said(order):
    """Where DELETE fails the message says that the task runs on."""
    order.set(seconds_per_task=30)
    order.on("running", order.stop.set)
    error = order.fails(errors.Interrupted, Fault(where="cancel", kind="status", status=500, times=None))
    assert "runs on" in str(error)


def test_a_stop_before_the_order_sends_nothing(order):
    """Set while the clip is prepared: no POST."""
    order.on("preparing", order.stop.set)
    error = order.fails(errors.Interrupted)
    assert (order.counted.creates, order.leftovers(), error.exit_code) == (0, [], 130)


def test_a_stop_between_two_tries_orders_nothing(order):
    """Set while a 429 is waited out: no second POST."""
    order.on("retrying", order.stop.set)
    order.fails(errors.Interrupted, Fault(where="create", kind="status", status=429, times=None))
    assert (order.counted.creates, order.counted.accepted) == (1, 0)


def test_ctrl_c_cancels_and_leaves_as_keyboard_interrupt(order):
    """SIGINT in a script's main thread: the task is cancelled, then KeyboardInterrupt."""
    order.set(seconds_per_task=30)
    order.on("running", lambda: signal.raise_signal(signal.SIGINT))
    order.fails(KeyboardInterrupt)
    assert order.counted.deletes == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_ctrl_c_at_a_terminal_while_ffmpeg_works_is_no_ffmpeg_failure(order, clips, tmp_path):
    """A terminal's Ctrl-C reaches ffmpeg too: the run is interrupted all the same, not failed."""
    shutil.copyfile(clips(3), order.source)  # a part of it is encoded, not copied
    slow = tmp_path / "ffmpeg"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    script = textwrap.dedent(f"""
        import os, signal, threading
        from runway_node.engine import run
        def act(event):
            if event.phase == "preparing":
                threading.Timer(0.5, os.killpg, (0, signal.SIGINT)).start()
        try:
            run({str(order.source)!r}, "dusk", on_progress=act, end=2)
        except BaseException as error:
            print(type(error).__name__)
    """)
    env = {**os.environ, **order.served.env("runway"), "IMAGEIO_FFMPEG_EXE": str(slow), "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - as the shell has it
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == "KeyboardInterrupt"


# --- before anything is sent ---


@pytest.mark.parametrize(
    ("provider", "policy"),
    [
        ("runway", Policy(max_seconds=1.9)),
        ("runway", Policy(max_credits=55)),
        ("cometapi", Policy(max_seconds=1)),
        ("cometapi", Policy(max_credits=1e6)),
    ],
)
def test_over_the_limit_sends_nothing(order, provider, policy):
    """Exit code 3 and no request at all; an unknown price is over any credit limit."""
    error = order.fails(errors.OverLimit, provider=provider, policy=policy)
    assert (error.exit_code, order.counted.creates, order.counted.accounts) == (3, 0, 0)


def test_the_minimum_counts_against_the_limit(order):
    """A range of 0.4 s is billed as 2 s, and refused where 1 s is allowed."""
    assert order.fails(errors.OverLimit, end=0.4, policy=Policy(max_seconds=1)).seconds == 2


def test_an_existing_output_is_refused_unread(order):
    """It exits with 2 before anything is sent, and the file is as it was."""
    order.folder.mkdir()
    order.out.write_text("mine")
    error = order.fails(errors.OutputError)
    assert (error.exit_code, order.counted.creates, order.out.read_text()) == (2, 0, "mine")


def test_force_replaces_an_existing_output(order):
    """`force` puts the result in its place."""
    order.folder.mkdir()
    order.out.write_text("mine")
    order(force=True)
    assert probe(order.out).frames == 50


def test_an_output_that_appeared_meanwhile_is_left_alone(order):
    """The result stays in the data folder, is warned of, and its path is the result's."""
    order.set(seconds_per_task=1.0)
    order.on("running", lambda: order.out.write_text("theirs"))
    result = order()
    assert (order.out.read_text(), probe(result.path).frames, order.leftovers()) == ("theirs", 50, [])
    assert any(str(order.out) in warning for warning in result.warnings)


def test_a_failing_disk_leaves_no_empty_output(order, monkeypatch):
    """Where the last rename fails nothing stands at the output's name."""
    from runway_node.engine import finishing as room

    honest = room.settle

    def settle(part, path, **how):
        if path == order.out:
            raise OSError(28, "No space left on device")
        honest(part, path, **how)

    monkeypatch.setattr(room, "settle", settle)
    order.fails(errors.MediaError)
    assert (order.out.exists(), order.leftovers()) == (False, [])


@pytest.mark.parametrize("name", ["out", "out.txt", "out.gif"])
def test_an_output_without_a_container_is_refused(order, name):
    """The ending decides the container: another one is wrong use."""
    order.fails(errors.OutputError, out=order.folder / name)
    assert order.counted.creates == 0


def test_the_clip_itself_is_no_output(order):
    """Not even with force."""
    order.fails(errors.OutputError, out=order.source, force=True)
    assert order.counted.creates == 0


def test_a_source_that_changes_meanwhile_sends_nothing(order):
    """A clip that is written to while it is prepared is an error, and no order."""
    order.on("preparing", lambda: order.source.write_bytes(order.source.read_bytes() + b"\0"))
    error = order.fails(errors.SourceError)
    assert (error.exit_code, order.counted.creates) == (2, 0)


@pytest.mark.parametrize("source", [None, 7, b"\0"])
def test_a_source_that_is_no_path_is_wrong_use(order, source):
    """It exits with 2."""
    order.source = source
    assert order.fails(errors.RunwayNodeError).exit_code == 2


@pytest.mark.parametrize("step", ["", " ", Step(prompt="x" * 1001), Step(prompt="x", model="gen9")])
def test_a_bad_step_sends_nothing(order, step):
    """What the model would refuse is refused here."""
    order.fails(errors.StepError, step=step)
    assert order.counted.creates == 0


def test_a_picture_that_is_missing_sends_nothing(order, tmp_path):
    """A reference that cannot be read ends the run before the order."""
    step = Step(prompt="x", references=(Picture(path=tmp_path / "none.png"),))
    order.fails(errors.StepError, step=step, provider="cometapi")
    assert order.counted.creates == 0


def test_a_plan_needs_no_key_and_sends_nothing(order):
    """Without a key `plan` is Runway's default model's."""
    assert plan(order.source, "dusk").model == "aleph2"
    assert order.counted.creates == 0


# --- whoever listens ---


def test_a_listener_that_raises_is_harmless(order):
    """The order goes on, and comes home."""

    def bad(_):
        raise RuntimeError("listener")

    assert order(on_progress=bad).path.exists()


def test_an_async_listener_of_a_blocking_run_is_run(order):
    """`run` awaits what an async `on_progress` returns."""
    heard = []

    async def listen(event):
        await asyncio.sleep(0)
        heard.append(event.phase)

    order(on_progress=listen)
    assert heard[-1] == "done"


def test_run_async_calls_an_async_listener_on_the_caller_s_loop(order):
    """Every event is heard on the loop that awaits."""
    loops = set()

    async def listen(_):
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())

    async def main():
        settings = order.served.settings("runway")
        await run_async(order.source, "dusk", order.out, settings=settings, on_progress=listen)
        return loops == {asyncio.get_running_loop()}

    assert asyncio.run(main())


def test_run_async_raises_what_run_raises(order):
    """An error crosses the thread as it is."""
    order.sandbox.add(Fault(where="create", kind="reset"))

    async def main():
        await run_async(order.source, "dusk", settings=order.served.settings("runway"))

    with pytest.raises(errors.Ambiguous):
        asyncio.run(main())


def wind_up():
    """Wait until the thread of a cancelled `run_async` has ended."""
    for thread in threading.enumerate():
        if thread.name == "runway-node":
            thread.join(10)
            assert not thread.is_alive()


def test_a_cancelled_await_detaches(order):
    """The remote task runs on, the thread ends, and nothing is left unawaited."""
    order.set(seconds_per_task=30)

    async def main():
        settings, placed = order.served.settings("runway"), asyncio.Event()

        def listen(event):
            if event.phase == "running":
                placed.set()

        task = asyncio.ensure_future(run_async(order.source, "dusk", settings=settings, on_progress=listen))
        await asyncio.wait_for(placed.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wind_up()
    assert (order.counted.deletes, order.task()["status"]) == (0, "RUNNING")


# --- secrets ---

ENDINGS = [
    pytest.param((), id="done"),
    pytest.param((Fault(where="create", kind="status", status=401),), id="refused"),
    pytest.param((Fault(where="create", kind="reset"),), id="ambiguous", marks=pytest.mark.slow),
    pytest.param((Fault(where="create", kind="failed"),), id="failed"),
    pytest.param((Fault(where="poll", kind="reset", times=2),), id="poll", marks=pytest.mark.slow),
    pytest.param((Fault(where="download", kind="redirect"),), id="redirect"),
    pytest.param((Fault(where="download", kind="reset", times=14),), id="download"),
    pytest.param((Fault(where="upload_put", kind="reset", times=None),), id="upload"),
]


def everything(order, caplog, faults):
    """All that an order says to anybody: events, the error with its causes, our logs; and what libraries log."""
    caplog.set_level(logging.DEBUG)
    order.set(key=None)
    order.values = {"runway_key": CANARY}
    said = []
    try:
        said.append(repr(order(*faults, policy=Policy(delivery="upload"))))
    except errors.RunwayNodeError as error:
        cause = error
        while cause is not None:
            said += [str(cause), repr(cause), repr(vars(cause))]
            cause = cause.__cause__ or cause.__context__
    said += [event.model_dump_json() for event in order.events]
    ours = [record for record in caplog.records if record.name.startswith("runway_node")]
    theirs = [record for record in caplog.records if record not in ours]
    return "\n".join([*said, *map(told, ours)]), "\n".join(map(told, theirs))


def told(record):
    """A log record with all that hangs on it."""
    return f"{record.getMessage()} {record.exc_text or ''} {vars(record)}"


@pytest.mark.slow
@pytest.mark.parametrize("faults", ENDINGS)
def test_the_key_is_in_no_log_error_or_event(order, caplog, faults):
    """Whatever happens, the key is said nowhere, not even by the libraries at DEBUG."""
    ours, theirs = everything(order, caplog, faults)
    assert CANARY not in ours + theirs


@pytest.mark.slow
@pytest.mark.parametrize("faults", ENDINGS)
def test_a_signed_query_is_in_no_log_error_or_event_of_ours(order, caplog, faults):
    """Links to results are as good as keys: we never say their query."""
    ours, _ = everything(order, caplog, faults)
    assert "_jwt=" not in ours


def test_a_signed_query_is_in_no_log_of_httpx(order, caplog):
    """Libraries log every URL at INFO, query and all, wherever the host has turned logging on."""
    _, theirs = everything(order, caplog, ())
    assert "_jwt=" not in theirs


def test_a_key_that_the_provider_quotes_is_not_passed_on(order, caplog):
    """Some gateways repeat the key in their refusal."""
    wrong = Fault(where="create", kind="status", status=401, message=f"Incorrect API key provided: {CANARY}")
    ours, _ = everything(order, caplog, [wrong])
    assert CANARY not in ours


def test_a_link_that_the_provider_quotes_is_not_passed_on(order, caplog):
    """A failure text with a signed link in it is told without the link's query."""
    text = "cannot read https://bucket.example/clip.mp4?_jwt=secret"
    wrong = Fault(where="create", kind="status", status=422, message=text)
    ours, _ = everything(order, caplog, [wrong])
    assert "_jwt=secret" not in ours


def test_nothing_in_the_data_folder_holds_the_key(order, caplog):
    """What stays on the disk holds neither the key nor a signed query."""
    everything(order, caplog, ())
    held = [path for path in order.data.rglob("*") if path.is_file()]
    assert held
    assert not any(CANARY.encode() in path.read_bytes() or b"_jwt=" in path.read_bytes() for path in held)


def test_events_are_json(order):
    """Each event survives JSON, as `--json` writes it."""
    order()
    assert [json.loads(event.model_dump_json())["phase"] for event in order.events] == order.phases
