"""What a clip that is drawn is ordered as: the same for the same edit, on any machine and any release."""

from __future__ import annotations

from pathlib import Path

import pytest

from runway_node.templates import Source
from runway_node.templates.lineage import Lineage

TEMPLATE = """
version: 1
vars: {{clip: {{type: path}}}}
steps:
  - {{id: cut, type: trim, in: "${{clip}}", start: {start}, duration: 2s}}
  - {{id: said, type: text, in: cut, text: hello, at: 0.5s{text}}}
  - {{id: one, type: runway.video_to_video, in: said, prompt: dusk{paid}}}
  - {{id: two, type: runway.video_to_video, in: one, prompt: snow{last}}}
"""

GOLDEN = "template 7973de5f81e9f244a546860da301cb635ffc3595"


@pytest.fixture
def clip(tmp_path):
    """A file whose content counts, not its name."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a clip")
    return path


def keys(path, *, start="1s", text="", paid="", last=""):
    """The names under which the two paid steps' clips are ordered."""
    source = Source(TEMPLATE.format(start=start, text=text, paid=paid, last=last), path.parent)
    recipe = source.recipe({"clip": path})
    lineage, found = Lineage(recipe.files.find), []
    for node in recipe.nodes:
        if node.step.type.startswith("runway"):
            found.append(lineage.key(node))
        lineage.add(node)
    return found


def test_a_key_never_changes(clip):
    """Another key for the same edit would be another order, and paid a second time."""
    assert keys(clip)[0] == GOLDEN


@pytest.mark.parametrize(
    "same",
    [{"start": "1000ms"}, {"start": "1"}, {"text": ", opacity: 1"}, {"paid": ", max_credits: 500"}],
    ids=str,
)
def test_what_shows_the_same_is_the_same(clip, same):
    """Another way to write a time, a default that is written out, and limits change no key."""
    assert keys(clip, **same) == keys(clip)


def test_a_name_changes_nothing(clip):
    """The same content under another name has the same keys."""
    other = Path(clip).rename(clip.with_name("other.mp4"))
    before = keys(other)
    assert keys(other.rename(clip)) == before


@pytest.mark.parametrize("other", [{"start": "1.5s"}, {"text": ", size: 20"}], ids=str)
def test_what_comes_before_counts(clip, other):
    """A step before the paid one changes its key, and the keys of those after it."""
    assert not set(keys(clip, **other)) & set(keys(clip))


def test_what_comes_after_does_not_count(clip):
    """The last step's own fields change no key; the one before it only the key of what comes after."""
    assert keys(clip, last=", seed: 9") == keys(clip)
    first, second = keys(clip, paid=", seed: 9")
    assert first == keys(clip)[0]
    assert second != keys(clip)[1]


def test_content_counts(clip):
    """Another clip under the same name is another order."""
    before = keys(clip)
    clip.write_bytes(b"another")
    assert not set(keys(clip)) & set(before)
