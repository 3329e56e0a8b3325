"""A template's faces: `look` says what a render would do and cost, `render` does it. Nothing here decides."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from .. import engine
from ..engine.files import Needed, beside, workshop
from ..engine.stop import hear_ctrl_c
from ..errors import MediaError, OutputError
from ..hosts.moviepy import frames_of
from ..ledger import opened
from ..media.codecs import H264_444, codec_for
from ..media.film import bare, draw
from ..media.join import Film
from ..media.opener import settle
from ..media.probe import probe
from ..media.rest import encode_range
from ..media.samples import CHANNELS, RATE
from ..media.shapes import Fit
from ..media.sound import add_samples, finish
from ..models import Event, OnProgress, Result, sum_known
from ..planning import Plan
from ..settings import Settings
from .making import Making
from .orders import Looking, Ordering
from .pieces import Piece, Stretch
from .sizes import ODD
from .sounds import samples
from .template import SUFFIXES, Recipe


class Looked(NamedTuple):
    """What a render would do.

    Args:
        plans: Of each paid step, by the step's name.
        frames: How many frames the result will have.
        fps, width, height: Its rate and size.
        warnings: What is lost or changed on the way.

    """

    plans: tuple[tuple[str, Plan], ...]
    frames: int
    fps: Fraction
    width: int
    height: int
    warnings: tuple[str, ...]


class Rendered(NamedTuple):
    """What a render gave.

    Args:
        path: The file.
        frames: How many it has.
        results: Of each paid step.
        warnings: What was lost or changed on the way, a line each.

    """

    path: Path
    frames: int
    results: tuple[Result, ...]
    warnings: tuple[str, ...]

    @property
    def cost(self) -> float | None:
        """Credits that the provider charged for its takes; None where it does not say."""
        return sum_known([result.cost for result in self.results])

    @property
    def spent(self) -> float | None:
        """What of that this render added."""
        return sum_known([result.spent for result in self.results])


def look(recipe: Recipe, settings: Settings, **policy: Any) -> Looked:
    """What `render` would do; sends nothing, needs no key, decodes nothing.

    Args:
        policy: Fields of `Policy` that overrule the template's.

    Raises:
        TemplateError: A step cannot be applied.
        RunwayNodeError: What `render` would refuse.

    """
    looking = Looking(settings, policy)
    making = Making(recipe, Path(), looking, blank=True)  # nothing is written where all is blank
    piece = making.made()
    warnings = [warning for _, plan in looking.plans for warning in plan.warnings]
    return Looked(
        tuple(looking.plans), piece.frames, piece.fps, piece.width, piece.height,
        tuple(dict.fromkeys((*warnings, *making.warnings, *_odd(piece, recipe.output.suffix)))),
    )  # fmt: skip


def render(
    recipe: Recipe,
    out: Path,
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    on_film: Callable[[Path, Rendered], None] | None = None,
    force: bool = False,
    began: float | None = None,
    **policy: Any,
) -> Rendered:
    """Make the recipe's film at *out*; it appears whole.

    Args:
        stop: Stops it (see `engine.Stop`).
        on_progress: Called with each `Event`, of the paid steps (`step` tells which) and of the film: with one at a
            time, from several threads.
        on_film: Called with the finished film before it appears, and with what will be returned.
        force: Replace what is at *out*.
        began: When the command was given: see `engine.run`.
        policy: Fields of `Policy` that overrule the template's.

    Raises:
        TemplateError: A step cannot be applied.
        OutputError: Something is at *out*, or its ending is none that is written; nothing was ordered.
        RunwayNodeError: Any of the tree in `errors`; what was paid stays in the ledger.
        KeyboardInterrupt: Ctrl-C, as from `engine.run`.

    """
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out.name} ends in none of {', '.join(SUFFIXES)}", "Choose another name")
    if out.exists() and not force:
        raise _exists(out)
    stop, suffix = stop or engine.Stop(), out.suffix.lower()
    with (
        hear_ctrl_c(stop),
        opened(settings) as ledger,
        ledger.holder() as token,
        workshop(settings, token, ledger.needed) as folder,
    ):
        with _beside(out, token, ledger.needed):
            pass  # a folder that cannot be written is told before anything is ordered
        # Paid steps' clips are made in the film's own container, so that nothing is encoded for another one.
        ordering = Ordering(settings, policy, None if suffix == ".mp4" else folder, suffix, stop, on_progress, began)
        making = Making(recipe, folder, ordering, blank=False, stop=stop)
        with contextlib.closing(making.readers):
            ordering.ahead(making, folder)
            piece = making.made()
            film, lost = write(piece, folder / f"film{suffix}", stop, on_progress)
        results = tuple(ordering.results[node.number] for node in recipe.nodes if node.number in ordering.results)
        told = [warning for result in results for warning in result.warnings]
        warnings = tuple(dict.fromkeys((*told, *making.warnings, *_odd(piece, suffix), *lost)))
        rendered = Rendered(out, piece.frames, results, warnings)
        if on_film is not None:
            on_film(film, rendered)
        with _beside(out, token, ledger.needed) as part:
            shutil.copyfile(film, part)
            settle(part, out, new=not force)
    return rendered


def write(
    piece: Piece, film: Path, stop: threading.Event, on_progress: OnProgress | None
) -> tuple[Path, tuple[str, ...]]:
    """The piece as a file, written once, or not at all where it is one; and what is lost.

    Raises:
        MediaError: ffmpeg failed, or the disk is full.

    """

    def tell(count: int) -> None:
        if on_progress is not None:
            done = min(1.0, count / piece.frames)
            on_progress(Event(phase="joining", message="writing the film", fraction=done, overall=done))

    untouched = isinstance(piece.picture, Stretch) and piece.picture.whole
    if untouched and piece.own_sound and piece.picture.path.suffix.lower() == film.suffix:
        return piece.picture.path, ()
    pictures = _pictures(piece, film, stop, tell)
    warnings = _with_sound(piece, pictures, film, stop)
    found = probe(film)
    if found.frames != piece.frames:
        raise MediaError(f"The film has {found.frames} frames, not {piece.frames}", "Report it")
    return film, warnings


def _pictures(piece: Piece, film: Path, stop: threading.Event, tell: Callable[[int], None]) -> Path:
    """The piece's pictures alone: copied where they are a whole file's and the film may hold them, else encoded.

    Not in Matroska, whose packets do not say when they are decoded: they could not be put beside a sound.
    """
    part, suffix = piece.picture, film.suffix
    out = film.with_name(f"pictures{'.webm' if suffix == '.webm' else '.mp4'}")
    if not isinstance(part, Stretch):
        draw(frames_of(part, piece.frames), out, stop=stop, on_frame=tell)
        return out
    for holder in (out,) if suffix in {".webm", ".mp4"} else (out, out.with_suffix(".mov")):
        if part.whole and bare(part.path, part.probe, holder, stop=stop):
            return holder
    found = part.probe
    fit = Fit(
        frames=piece.frames, fps=found.fps, width=found.width, height=found.height, sar=found.sar, color=found.color,
        span=piece.seconds, quality="sdr_rec709_10bit" if found.depth > 8 else "mp4",
    )  # fmt: skip
    encode_range(part.path, found, fit, suffix, part.first, part.last, out, stop, tell)
    return out


def _with_sound(piece: Piece, pictures: Path, film: Path, stop: threading.Event) -> tuple[str, ...]:
    sound = piece.sound
    if sound is None or isinstance(sound, Stretch):
        source, first, last = (None, 0, 0) if sound is None else (sound.probe, sound.first, sound.last)
        return finish(Film([pictures], piece.fps, piece.frames), source, first, last, film, stop=stop)
    add_samples(pictures, samples(sound, piece.seconds), RATE, CHANNELS, film, stop=stop)
    return ()


def _odd(piece: Piece, suffix: str) -> tuple[str, ...]:
    """That a film which is drawn will be of a size that many players refuse."""
    fit = Fit(frames=piece.frames, fps=piece.fps, width=piece.width, height=piece.height, span=piece.seconds)
    refused = not isinstance(piece.picture, Stretch) and codec_for(fit, suffix) is H264_444
    return (ODD.format(piece.width, piece.height),) if refused else ()


def _exists(out: Path) -> OutputError:
    return OutputError(f"{out} exists", "Choose another output, or remove it")


@contextlib.contextmanager
def _beside(out: Path, token: str, needed: Needed) -> Iterator[Path]:
    """A name in the output's folder, for what is put in place from there.

    Raises:
        OutputError: Something is in the place by now, or the folder cannot be written.

    """
    if out.parent.exists() and not out.parent.is_dir():
        raise OutputError(f"{out.parent} is no folder", "Choose another one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with beside(out, token, needed) as part:
            yield part
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror})", "Choose another folder") from error
