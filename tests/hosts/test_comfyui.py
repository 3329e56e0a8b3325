"""The ComfyUI nodes, in a stand-in of the few names they use: what comes out, what it costs, what Stop does."""

from __future__ import annotations

import asyncio
import importlib
import io
import re
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from runway_node import gc, orders, takes
from runway_node.hosts.comfyui import owned
from runway_node.hosts.comfyui.driving import Host
from runway_node.hosts.comfyui.owned import Shelf
from runway_node.media.probe import probe

from ..media_clips import barcode, numbers
from .comfy_stand_in import Comfy, InterruptProcessingException, VideoFromComponents, VideoFromFile, components

CANARY = "key_canary0123456789"

ASKED = ["video", "prompt", "model", "seed", "take", "provider", "references", "keyframes", "aspect", "moderation",
         "max_seconds", "max_credits", "continuity", "start", "end", "keep_rest",
         "output_format", "cut_at", "overlap", "allow_sdr", "clip_name"]  # fmt: skip
"""The widgets, in the order in which saved graphs hold their values."""


@pytest.fixture(scope="session")
def comfyui():
    """The stand-in, in place of ComfyUI's modules: one for good, for the nodes are imported against it once."""
    stand_in = Comfy()
    sys.modules.update(stand_in.modules())
    return stand_in


@pytest.fixture
def comfy(comfyui, tmp_path):
    comfyui.begin(tmp_path)
    return comfyui


def nodes_module():
    return importlib.import_module("runway_node.hosts.comfyui.nodes")


@pytest.fixture
def nodes(comfy, monkeypatch):
    """The nodes by their ids; their list of takes is of this test alone."""
    monkeypatch.setattr(nodes_module(), "_SHELF", Shelf())
    monkeypatch.setattr(owned, "FRESH", 0.0)
    module = importlib.import_module("runway_node.hosts.comfyui")
    found = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
    return {node.define_schema().node_id: node for node in found}


@pytest.fixture
def served(runway_sandbox, monkeypatch, tmp_path):
    """A sandbox that the environment points to, as Runway; the key is in it too."""
    monkeypatch.setenv("RUNWAYML_BASE_URL", runway_sandbox.url)
    monkeypatch.setenv("RUNWAYML_API_SECRET", "sandbox-key")
    monkeypatch.setenv("RUNWAY_NODE_POLL_INTERVAL", "0.05")
    return runway_sandbox.sandbox


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Three numbered seconds at 25 frames per second, silent."""
    return barcode(tmp_path_factory.mktemp("counted") / "counted.mp4", "25", 75)


def order(node, video, prompt="noir", **widgets):
    """One run of a node, as ComfyUI starts it."""
    return asyncio.run(node.execute(video=video, prompt=prompt, **widgets)).args


def slow(sandbox, seconds=30.0):
    sandbox.options = sandbox.options.model_copy(update={"seconds_per_task": seconds})


async def until(true):
    last = time.monotonic() + 20
    while not true() and time.monotonic() < last:  # noqa: ASYNC110 - what it waits for is no event
        await asyncio.sleep(0.02)
    assert true()


def test_the_widgets_keep_their_order(nodes):
    """A saved graph holds values by place: ids and places never change, new ones go last."""
    assert list(nodes) == ["RunwayVideoToVideo", "RunwayKeyframe", "RunwayPlan", "RunwayTake"]
    for name in ("RunwayVideoToVideo", "RunwayPlan"):
        assert [given.id for given in nodes[name].define_schema().inputs] == ASKED


def test_every_input_says_what_it_is_for(nodes):
    """Each has a tooltip, each node a page of help, and none asks for a key."""
    web = Path(importlib.import_module("runway_node.hosts.comfyui").WEB_DIRECTORY)
    for name, node in nodes.items():
        schema = node.define_schema()
        assert all(given.fields["tooltip"] for given in schema.inputs)
        assert not [given.id for given in schema.inputs if "key" in given.id.replace("keyframes", "")]
        assert (web / "docs" / f"{name}.md").read_text(encoding="utf-8").startswith("# Runway")


def test_a_seed_does_not_change_by_itself(nodes):
    """Queue pressed again on an unchanged graph is the same order."""
    seed = next(given for given in nodes["RunwayVideoToVideo"].define_schema().inputs if given.id == "seed")
    assert (seed.fields["control_after_generate"].value, seed.fields["default"]) == ("fixed", -1)


def test_a_clip_goes_in_and_one_comes_out_that_takes_its_place(nodes, served, clip):
    """A file in, a file out: same length, rate, size and sound; info names task, cost and order."""
    video, info = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    was, came = probe(clip), probe(Path(video.file))
    assert (came.frames, came.fps, came.width, came.height) == (was.frames, was.fps, was.width, was.height)
    assert len(came.sounds) == 1
    task = next(iter(served.tasks))
    assert task in info
    assert "56 credits; spent in this run: 56" in info


def test_queued_again_it_costs_nothing(nodes, served, clip):
    """ComfyUI's cache forgets; the ledger does not."""
    node = nodes["RunwayVideoToVideo"]
    first, _ = order(node, VideoFromFile(str(clip)))
    second, info = order(node, VideoFromFile(str(clip)))
    assert served.counters.creates == 1
    assert second.file == first.file
    assert "spent in this run: 0" in info
    assert "1 of 1 takes" in info


@pytest.mark.slow
def test_a_trim_is_honoured(nodes, served, counted):
    """The stream source is the whole file: what is sent, and comes back, is the window alone."""
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(counted), start_time=0.4, duration=2.0))
    shown = numbers(Path(video.file))
    assert (len(shown), shown[0], shown[-1]) == (50, 10, 59)


@pytest.mark.slow
def test_a_range_counts_from_the_trims_start(nodes, served, counted):
    """Start and end are what the person sees in the trimmed clip."""
    trimmed = VideoFromFile(str(counted), start_time=0.4, duration=2.4)
    video, _ = order(nodes["RunwayVideoToVideo"], trimmed, start=0.2, end=2.2)
    shown = numbers(Path(video.file))
    assert (len(shown), shown[0]) == (50, 15)


@pytest.mark.slow
def test_the_rest_that_is_kept_is_the_trimmed_clips(nodes, served, counted):
    """With keep_rest the whole file is made, and handed on with the trim it came with."""
    trimmed = VideoFromFile(str(counted), start_time=0.4, duration=2.4)
    video, _ = order(nodes["RunwayVideoToVideo"], trimmed, end=2.0, keep_rest=True)
    assert probe(Path(video.file)).frames == 75
    assert (video.start_time, video.duration) == (0.4, 2.4)


@pytest.mark.slow
def test_a_file_in_memory_is_known_by_its_bytes(nodes, served, clip):
    """Two streams of the same bytes are one order."""
    for _ in range(2):
        video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(io.BytesIO(clip.read_bytes())))
    assert served.counters.creates == 1
    assert len(probe(Path(video.file)).sounds) == 1


@pytest.mark.slow
def test_tensors_keep_their_sound(nodes, served):
    """Frames that exist nowhere else are rendered once; the waveform beside them is put back."""
    shade = np.linspace(0, 1, 50 * 90 * 160 * 3, dtype=np.float32).reshape(50, 90, 160, 3)
    tone = 0.3 * np.sin(np.arange(96_000, dtype=np.float32) * 0.05)
    audio = {"waveform": components(tone[None, None, :], 1).images, "sample_rate": 48_000}
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromComponents(components(shade, 25, audio)))
    came = probe(Path(video.file))
    assert (came.frames, came.width, came.height, float(came.fps)) == (50, 160, 90, 25.0)
    assert [(sound.rate, sound.channels) for sound in came.sounds] == [(48_000, 1)]
    order(nodes["RunwayVideoToVideo"], VideoFromComponents(components(shade, 25, audio)))
    assert served.counters.creates == 1


def test_a_trim_shows_the_frames_that_begin_within_it(nodes, served, counted):
    """As ComfyUI's own do: 0.41 s lie between the tenth frame and the eleventh."""
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(counted), start_time=0.41, duration=2.0))
    shown = numbers(Path(video.file))
    assert (shown[0], shown[-1]) == (11, 60)


@pytest.mark.slow
def test_a_range_of_tensors_has_its_own_sound(nodes, served):
    """The samples are cut with the frames: what began at two seconds begins one second into a range from one."""
    shade = np.linspace(0, 1, 100 * 36 * 64 * 3, dtype=np.float32).reshape(100, 36, 64, 3)
    tone = np.where(np.arange(4 * 48_000) >= 2 * 48_000, 0.5 * np.sin(np.arange(4 * 48_000) * 0.3), 0)
    audio = {"waveform": components(tone[None, None, :], 1).images, "sample_rate": 48_000}
    clip = VideoFromComponents(components(shade, 25, audio))
    video, _ = order(nodes["RunwayVideoToVideo"], clip, start=1.0, end=3.0)
    heard = samples(Path(video.file))
    assert abs(len(heard) / 48_000 - 2) < 0.05
    assert abs(int(np.argmax(np.abs(heard) > 0.1)) / 48_000 - 1) < 0.01


def samples(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.mark.slow
def test_a_clip_that_wobbles_has_a_name(nodes, served):
    """Under one clip_name, pixels that come out a little differently are the same order."""
    picture = np.full((50, 36, 64, 3), 0.5, np.float32)
    for shift in (0.0, 0.02):
        clip = VideoFromComponents(components(picture + np.float32(shift), 25))
        _, info = order(nodes["RunwayVideoToVideo"], clip, clip_name="shot-12")
    assert served.counters.creates == 1
    assert "1 of 1 takes" in info


@pytest.mark.slow
def test_one_stream_feeds_two_nodes_at_once(nodes, served, clip):
    """Neither moves the other's place in it."""
    video = VideoFromFile(io.BytesIO(clip.read_bytes()))
    node = nodes["RunwayVideoToVideo"]

    async def both():
        return await asyncio.gather(*(node.execute(video=video, prompt=prompt) for prompt in ("noir", "snow")))

    made = asyncio.run(both())
    assert [probe(Path(one.args[0].file)).frames for one in made] == [50, 50]


def test_a_stream_is_put_down_once(nodes, clip, tmp_path):
    """A file that another node reads is not replaced by the same bytes: that would be a changed clip, and refused."""
    clips = importlib.import_module("runway_node.hosts.comfyui.clips")
    video, gate = VideoFromFile(io.BytesIO(clip.read_bytes())), threading.Barrier(16)

    def put() -> int:
        gate.wait()
        return clips.clip_of(video, tmp_path).source.stat().st_ino

    with ThreadPoolExecutor(16) as threads:
        assert len({one.result() for one in [threads.submit(put) for _ in range(16)]}) == 1


@pytest.mark.slow
def test_what_comfyui_holds_outlives_gc(nodes, served, clip):
    """Its cache knows the file by a name of its own."""
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert len(gc(dry_run=False).files) == 1
    assert probe(Path(video.file)).frames == 50


def test_a_stop_that_another_node_took_down_was_heard(nodes, served, comfy, clip):
    """Who hears it first clears it, and the await is cancelled: it was the person's, so the task is cancelled."""
    slow(served)

    async def pressed():
        run = asyncio.create_task(nodes["RunwayVideoToVideo"].execute(video=VideoFromFile(str(clip)), prompt="noir"))
        await until(lambda: served.counters.accepted)
        comfy.interrupt = True
        time.sleep(0.3)  # noqa: ASYNC251 - a node that holds the loop
        comfy.interrupt = False
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: served.counters.deletes == 1)

    asyncio.run(pressed())


@pytest.mark.slow
def test_a_pack_that_breaks_progress_ends_nothing(nodes, served, comfy, clip, monkeypatch):
    """Others hang on ComfyUI's progress too; the order is paid and goes on."""

    async def broken(event):
        raise RuntimeError("another pack")

    monkeypatch.setattr(nodes_module(), "_host", lambda node: Host(lambda: False, broken, KeyError))
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert probe(Path(video.file)).frames == 50


def test_stop_cancels_the_task_and_is_no_error(nodes, served, comfy, clip):
    """The person's interrupt is heard at once, not when the task ends, and ends as ComfyUI's own interruption."""
    slow(served, 60.0)

    async def pressed():
        run = asyncio.create_task(nodes["RunwayVideoToVideo"].execute(video=VideoFromFile(str(clip)), prompt="noir"))
        await until(lambda: any("running" in text for _, text in comfy.texts))
        comfy.interrupt, began = True, time.monotonic()
        with pytest.raises(InterruptProcessingException):
            await run
        return time.monotonic() - began

    assert asyncio.run(pressed()) < 20  # a twentieth of a second, and the way to the server and back
    assert served.counters.deletes == 1
    assert orders() == ()


@pytest.mark.slow
def test_a_failing_sibling_leaves_the_task_running(nodes, served, comfy, clip):
    """ComfyUI cancels the await: the task goes on, and the next Queue collects its take unpaid."""
    slow(served, 2.0)

    async def failed():
        run = asyncio.create_task(nodes["RunwayVideoToVideo"].execute(video=VideoFromFile(str(clip)), prompt="noir"))
        await until(lambda: served.counters.accepted)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(failed())
    video, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert probe(Path(video.file)).frames == 50
    assert (served.counters.creates, served.counters.deletes) == (1, 0)


@pytest.mark.slow
def test_siblings_run_side_by_side(nodes, served, clip):
    """The second is ordered before the first has ended, and the loop turns all the while."""
    slow(served, 4.0)
    turns = []

    async def watch():
        while True:
            await asyncio.sleep(0.01)
            turns.append(served.counters.accepted)

    async def both():
        watcher = asyncio.create_task(watch())
        node = nodes["RunwayVideoToVideo"]
        await asyncio.gather(
            *(node.execute(video=VideoFromFile(str(clip)), prompt=prompt) for prompt in ("noir", "snow"))
        )
        watcher.cancel()

    asyncio.run(both())
    starts = sorted(task.created for task in served.tasks.values())
    assert starts[1] - starts[0] < 4.0
    assert turns.count(2) > 20


@pytest.mark.slow
def test_progress_is_shown(nodes, served, comfy, clip):
    """The bar rises to its end; the line under the node says phase and share."""
    slow(served, 1.0)
    order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert comfy.progress == sorted(comfy.progress)
    assert comfy.progress[-1] == 1.0
    assert any(re.match(r"running 00:0\d, \d\d%, 56 credits so far", text) for _, text in comfy.texts)
    assert {where for where, _ in comfy.texts} == {"7"}


@pytest.mark.parametrize(
    ("widgets", "linked", "words"),
    [
        ({"model": "aleph2"}, {"references": "IMAGE"}, "aleph2 on runway does not take references. Unplug"),
        ({"model": "gen4_aleph"}, {"keyframes": "RUNWAY_KEYFRAMES"}, "aleph2 (runway)"),
        ({"model": "gen4_aleph", "continuity": "keyframe"}, {}, "aleph2"),
        ({"aspect": "3:2", "model": "gen4_aleph"}, {}, "There is no model gen4_aleph on runway"),
        ({"prompt": " "}, {}, "The prompt is empty"),
        ({"prompt": "x" * 1001}, {}, "Shorten it by 1"),
        ({"model": "aleph9"}, {}, "There is no model aleph9"),
        ({}, {"video": "LATENT"}, "video takes VIDEO, not LATENT"),
        ({}, {"start": "IMAGE"}, "start takes FLOAT, not IMAGE"),
        ({"provider": "cometapi"}, {}, "There is no key for cometapi. Write it as one line into "),
    ],
)  # fmt: skip
def test_what_no_run_could_do_is_refused_before_the_graph_runs(nodes, served, widgets, linked, words):
    """ComfyUI asks before anything runs; the answer names the model that could."""
    kinds = {"video": "VIDEO", **linked}
    said = nodes["RunwayVideoToVideo"].validate_inputs(**{"prompt": "noir", **widgets}, input_types=kinds)
    assert words in str(said)


def test_what_can_run_is_let_through(nodes, served):
    """Also a prompt that is linked, and is not known yet."""
    for node in ("RunwayVideoToVideo", "RunwayPlan"):
        assert nodes[node].validate_inputs(input_types={"video": "VIDEO", "prompt": "STRING"}) is True
        assert nodes[node].validate_inputs(input_types={"video": "VIDEO"}, prompt="noir", model="aleph2") is True
        switched = {"video": "COMFY_MATCHTYPE_V3", "max_credits": "FLOAT"}
        assert nodes[node].validate_inputs(input_types=switched, prompt="noir") is True


@pytest.mark.slow
def test_keyframes_chain(nodes, served, clip):
    """Each node adds one; the step sends them all."""
    still = components(np.full((1, 90, 160, 3), 0.5, np.float32), 1).images
    make = nodes["RunwayKeyframe"].execute
    one = make(image=still, at=0.5, unit="seconds").args[0]
    both = make(image=still, at=75.0, unit="percent", keyframes=one).args[0]
    assert [(frame.seconds, frame.at) for frame in both] == [(0.5, None), (None, 0.75)]
    order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)), keyframes=both)
    assert len(next(iter(served.tasks.values())).body["keyframes"]) == 2


def test_the_plan_sends_nothing(nodes, served, clip):
    """Text, seconds, credits and calls; nothing reaches the provider, and no key is needed."""
    made = asyncio.run(nodes["RunwayPlan"].execute(video=VideoFromFile(str(clip)), prompt="noir"))
    text, seconds, price, calls = made.args
    assert (seconds, price, calls) == (2.0, 56.0, 1)
    assert "56 credits, $0.56" in text
    assert made.ui.as_dict()["text"] == (text,)
    assert served.counters.creates == 0


def test_a_plan_is_looked_up_anew(nodes):
    """What would be paid changes when it is paid: the node is never taken from ComfyUI's cache."""
    first = nodes["RunwayPlan"].fingerprint_inputs()
    time.sleep(0.01)
    assert nodes["RunwayPlan"].fingerprint_inputs() != first


def test_a_lower_setting_holds(nodes, served, clip, monkeypatch):
    """The widget's 60 seconds do not lift the person's own limit."""
    monkeypatch.setenv("RUNWAY_NODE_MAX_SECONDS", "1")
    with pytest.raises(nodes_module().RunwayError, match="1 seconds are allowed"):
        order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)), max_seconds=60.0)
    assert served.counters.creates == 0


def test_two_keys_are_told_apart_by_the_widget(nodes, served, monkeypatch):
    """Before anything runs, in the graph's own word."""
    monkeypatch.setenv("COMETAPI_KEY", "another")
    said = nodes["RunwayVideoToVideo"].validate_inputs(input_types={"video": "VIDEO"}, prompt="noir")
    assert said == 'There are keys for both providers. Choose one in the widget "provider"'


def test_over_the_limit_nothing_is_sent(nodes, served, clip):
    """The error says what raises the limit, in the widget's name."""
    with pytest.raises(Exception, match='widget "max_credits"'):
        order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)), max_credits=10.0)
    assert served.counters.creates == 0


@pytest.mark.slow
def test_a_take_is_had_again_without_paying(nodes, served, clip):
    """From the list, by the start of its digest, or by its task's id; untouched too."""
    first, _ = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    node, mine = nodes["RunwayTake"], takes()[0]
    choice = node.define_schema().inputs[0].fields["options"][0]
    assert "noir" in choice
    for given in ({"take": choice}, {"take": "", "named": mine.digest[:8]}, {"take": "", "named": mine.task_id}):
        assert asyncio.run(node.execute(**given)).args[0].file == first.file
    untouched = asyncio.run(node.execute(take=choice, untouched=True)).args[0]
    assert untouched.file == str(mine.path)
    assert served.counters.creates == 1


def test_a_take_that_left_the_list_may_still_be_named(nodes, served):
    """ComfyUI's own check of the list would refuse an older graph."""
    assert nodes["RunwayTake"].validate_inputs(take="2026-01-01 shot.mp4: noir [0123456789ab]") is True
    assert "No take is chosen" in str(nodes["RunwayTake"].validate_inputs(take="no take is owned yet"))


def test_without_a_key_the_error_says_where_one_may_be(nodes, comfy, clip):
    """It names the file in ComfyUI's own user folder by its full path."""
    with pytest.raises(Exception, match="There is no API key") as said:
        order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert str(comfy.user / "runway_node.key") in str(said.value)


def test_a_key_in_the_user_folder_is_used_and_made_private(nodes, served, comfy, clip, monkeypatch):
    """One line is enough; what others could read, they can read no longer."""
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    path = comfy.user / "runway_node.key"
    path.write_text("RUNWAYML_API_SECRET=sandbox-key\n")
    path.chmod(0o644)
    order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert served.counters.creates == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_made_private_is_told(nodes, served, comfy, clip, monkeypatch):
    """A disk that knows no owners is no reason to stop, but one to say so."""
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    (comfy.user / "runway_node.key").write_text("RUNWAYML_API_SECRET=sandbox-key")
    keys = importlib.import_module("runway_node.hosts.comfyui.keys")
    monkeypatch.setattr(keys, "is_private", lambda path: False)
    monkeypatch.setattr(keys, "make_private", lambda path: False)
    _, info = order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    assert "others on this machine may read the key in" in info


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CANARY, {"runway": CANARY}),
        ("# mine\n\nsk-abc", {"cometapi": "sk-abc"}),
        (f'COMETAPI_KEY = "x1"\nRUNWAYML_API_SECRET={CANARY}', {"cometapi": "x1", "runway": CANARY}),
    ],
)
def test_a_key_file_is_a_line_a_key(comfy, text, found):
    """Bare where its look tells whose it is, else with its variable's name."""
    keys = importlib.import_module("runway_node.hosts.comfyui.keys")
    assert keys.keys_in(text, comfy.user) == found


@pytest.mark.parametrize("text", ["canary0123456789", f"RUNWAYML_API_SECRET={CANARY}"])
def test_a_key_is_never_shown(nodes, served, comfy, clip, monkeypatch, caplog, text):
    """Neither a line that is not understood nor a refused key comes back, in the error, its causes or the log."""
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    (comfy.user / "runway_node.key").write_text(text)
    with pytest.raises(nodes_module().RunwayError) as said:
        order(nodes["RunwayVideoToVideo"], VideoFromFile(str(clip)))
    trace = "".join(traceback.format_exception(said.value))
    assert "canary" not in trace.replace("test_a_key_is_never_shown", "") + caplog.text
