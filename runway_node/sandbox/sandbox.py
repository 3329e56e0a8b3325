"""Sandbox: a local provider's whole behaviour apart from HTTP. Orders come in as JSON, tasks live, money moves."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FilePath, ValidationError

from ..errors import SettingsError
from ..models import Frozen, Rational
from ..models.table import MODELS
from ..settings import Provider
from .faults import Fault, FaultBook, Faults
from .refusal import Refusal
from .render import SUFFIXES, RenderError, Studio, Work
from .state import Account, Counters, Lane, RemoteTask, Upload, counted, shortened

DEFAULT_KEY = "sandbox-key"
GEN4_PRICE = 75
"""Credits one gen4_aleph task costs here: CometAPI publishes no price; this is Runway's old one, 15 a second for 5."""

FORMAT_SURCHARGES = {"prores": 5, "png_sequence": 5, "sdr_rec709_10bit": 20}
"""Credits per second for an answer that is not mp4 (Runway's description of August 2026, its notes of October)."""

Fetch = Callable[[str], bytes]


class Options(Frozen):
    """How this sandbox behaves when nothing goes wrong.

    Args:
        key: The only key accepted; None accepts any, each with an account of its own.
        shape: How CometAPI tells a task: "bare" or "wrapped".
        credits: What each account starts with.
        concurrency: Tasks of one account and model that run at once; the others are THROTTLED.
        daily: Orders of one account and model in 24 hours; None is no limit.
        queue_seconds: How long a task is PENDING.
        seconds_per_task: How long a task runs at least.
        not_exist_seconds: How long CometAPI does not know a task it just accepted.
        link_seconds: How long a link to an answer works.
        upload_seconds: How long an uploaded file can be used.
        body_bytes: A larger JSON body is answered with 413.
        fps: Rate of every answer, whatever the model's is.
        length_error: Frames too many or too few in every answer.
        length_kind: Whether these are at the "tail", or the answer is "stretch"ed.
        shift: Levels of 255 by which every second task's answer is lighter: looks that differ from call to call.
        ready: A file that answers every order, without encoding.
        comet_ratio: Whether CometAPI's `ratio` shapes the answer, as its page says; Runway says it is ignored.

    """

    key: str | None = DEFAULT_KEY
    shape: Literal["bare", "wrapped"] = "bare"
    credits: int = Field(100_000, ge=0)
    concurrency: int = Field(5, ge=1)
    daily: int | None = Field(None, ge=0)
    queue_seconds: float = Field(0.0, ge=0)
    seconds_per_task: float = Field(0.0, ge=0)
    not_exist_seconds: float = Field(0.0, ge=0)
    link_seconds: float = Field(24 * 3600.0, gt=0)
    upload_seconds: float = Field(24 * 3600.0, gt=0)
    body_bytes: int = Field(32 * 1024 * 1024, gt=0)
    fps: Rational | None = None
    length_error: int = Field(0, ge=-24, le=24)
    length_kind: Literal["tail", "stretch"] = "tail"
    shift: float = 0.0
    ready: FilePath | None = None
    comet_ratio: bool = False


def _options(values: dict[str, Any]) -> Options:
    try:
        return Options(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"Sandbox option {where}: {first['msg']}", "See runway_node.sandbox.Sandbox") from None


class Sandbox:
    """A provider on this machine: both protocols' state, one clock, one folder.

    Args:
        faults: What goes wrong, in order.
        folder: Where clips and answers are kept; unset: a temporary one that `close` removes.
        clock: Seconds since the epoch; a test may give one it moves by hand.
        fetch: Gives the bytes behind an https URL; without it such a clip is refused, for nothing is fetched here.
        fetch_from: Origins, such as "http://127.0.0.1:8000", that clips and pictures are fetched from over real HTTP,
            as strictly as Runway says it does; each counts as an https one with a domain name.
        options: Fields of `Options`.

    """

    def __init__(
        self,
        *,
        faults: Faults | Iterable[Fault] = (),
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        fetch: Fetch | None = None,
        fetch_from: Iterable[str] = (),
        **options: Any,  # Options checks them
    ) -> None:
        self.options = _options(options)
        self.clock = clock
        self.fetch = fetch
        self.fetch_from = tuple(origin.rstrip("/") for origin in fetch_from)
        self.faults = FaultBook(faults.faults if isinstance(faults, Faults) else faults)
        self.folder = Path(folder or tempfile.mkdtemp(prefix="runway-sandbox-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tidy = weakref.finalize(self, _remove, self.folder) if folder is None else None
        self.lock = threading.RLock()
        self._secret = secrets.token_bytes(32)
        self._studio = Studio()
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-model")
        self._forget()

    def _forget(self) -> None:
        self.counters = Counters()
        self.accounts: dict[tuple[str, str], Account] = {}
        self.uploads: dict[str, Upload] = {}
        self.tasks: dict[str, RemoteTask] = {}
        self.last_fields: dict[str, list[str]] = {}
        self._lanes: dict[tuple[str, str, str], Lane] = {}

    def add(self, *faults: Fault) -> None:
        """Let these go wrong too."""
        self.faults.add(*faults)

    def reset(self) -> None:
        """Forget all tasks, uploads, accounts, counters and faults."""
        with self.lock:
            self.faults.clear()
            self._forget()

    def close(self) -> None:
        """End running work and remove the temporary folder."""
        self._studio.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._tidy is not None:
            self._tidy()

    def account(self, provider: Provider, key: str) -> Account | None:
        """The account of *key*, None where the key is wrong; the key is compared in constant time and not kept."""
        if not key or (
            self.options.key is not None
            and not hmac.compare_digest(key.encode("utf-8", "replace"), self.options.key.encode())
        ):
            return None
        name = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:12]
        with self.lock:
            return self.accounts.setdefault((provider, name), Account(provider, name, self.options.credits))

    def new_file(self, suffix: str) -> Path:
        """A new name in the folder."""
        return self.folder / f"{uuid.uuid4().hex}{suffix}"

    def price(self, account: Account, model: str, work: Work) -> int:
        """Credits for *work*; part-seconds count as credits, part-credits are rounded up (undocumented)."""
        if account.provider == "cometapi":
            return GEN4_PRICE
        row = next(row for row in MODELS if (row.provider, row.name) == ("runway", model))
        credits_ = row.price(work.clip.seconds) or 0
        credits_ += FORMAT_SURCHARGES.get(work.format, 0) * float(work.clip.seconds)
        return math.ceil(round(credits_, 6))

    def admit(self, account: Account, model: str, work: Work, body: dict[str, Any]) -> RemoteTask:
        """Take the credits and make the task of a body that was checked.

        Raises:
            Refusal: Too many orders in 24 hours, or too few credits.

        """
        now = self.clock()
        price = self.price(account, model, work)
        with self.lock:
            if self.options.daily is not None and account.daily(model, now) >= self.options.daily:
                raise Refusal(429, f"You have reached the daily limit of {self.options.daily} tasks for {model}.")
            if account.credits < price:
                raise Refusal(400, "You do not have enough credits to run this task.", code="insufficient_user_quota")
            account.credits -= price
            account.created.append((now, model))
            work = work._replace(shift=self.options.shift * (self.counters.accepted % 2))
            self.counters.accepted += 1
            self.counters.billed += 1
            self.counters.credits += price
            identity = str(uuid.uuid4())
            task = RemoteTask(
                identity, account, model, now, now + self.options.queue_seconds, self.options.seconds_per_task, price,
                shortened(body), work, self.folder / f"{identity}{SUFFIXES[work.format]}",
            )  # fmt: skip
            self.tasks[identity] = task
            self._lane(task).waiting.append(task)
        self._begin(task)
        return task

    def _lane(self, task: RemoteTask) -> Lane:
        key = (task.provider, task.account.name, task.model)
        return self._lanes.setdefault(key, Lane(self.options.concurrency))

    def _begin(self, task: RemoteTask) -> None:
        if self.options.ready is not None:
            task.output = self.options.ready
            task.rendered = task.created
        else:
            self._pool.submit(self._render, task)

    def _render(self, task: RemoteTask) -> None:
        try:
            if not (task.gone or task.ends):
                self._studio.render(task.work, task.output)
        except (RenderError, OSError) as error:
            task.broken = str(error) or type(error).__name__
        task.rendered = self.clock()

    def find(self, account: Account, identity: str) -> RemoteTask | None:
        """The account's task of that id, as it is now; None where it never was, or is gone."""
        with self.lock:
            task = self.tasks.get(identity)
            if task is None or task.account is not account or task.gone:
                return None
            self.settle()
            return None if task.gone else task

    def settle(self) -> None:
        """Let everything happen that should have by now."""
        now = self.clock()
        with self.lock:
            for lane in self._lanes.values():
                for task in lane.settle(now):
                    self._ended(task)

    def _ended(self, task: RemoteTask) -> None:
        if task.ends == "cancelled":
            task.end_status = "CANCELLED"
            self._charge(task, task.price)
        elif task.ends == "failed" or task.broken:
            if task.broken:
                task.failure = ("INTERNAL.BAD_OUTPUT.01", "The output did not meet our standard of quality.", True)
            task.end_status = "FAILED"
            self._charge(task, 0 if task.failure[2] else task.price)
        else:
            task.end_status = "SUCCEEDED"
            self._charge(task, task.price)

    def _charge(self, task: RemoteTask, cost: int) -> None:
        task.cost = cost
        back = task.price - cost
        task.account.credits += back
        self.counters.credits -= back
        if not cost:
            self.counters.billed -= 1

    def cancel(self, task: RemoteTask) -> None:
        """Cancel an open task, or delete an ended one with its answer; either can't be fetched again.

        One that had not begun costs nothing; one that ran is charged (undocumented).
        """
        now = self.clock()
        with self.lock:
            if task.end_status is None:
                self._lane(task).leave(task, now)
                task.end_status, task.ended = "CANCELLED", now
                self._charge(task, task.price if task.started is not None else 0)
            elif task.output != self.options.ready:
                task.output.unlink(missing_ok=True)
            task.gone = True

    def befall(self, task: RemoteTask, fault: Fault) -> None:
        """Let *fault* be what becomes of *task*."""
        with self.lock:
            if fault.kind == "vanishes":
                self._lane(task).leave(task, self.clock())
                task.gone = True
            elif fault.kind == "long_queue":
                task.starts_after = max(task.starts_after, self.clock() + fault.seconds)
                task.told_throttled = True
                if task.started is not None and task.end_status is None:
                    self._lane(task).leave(task, self.clock())
                    task.started = None
                    self._lane(task).waiting.append(task)
            elif fault.kind == "hangs":
                task.seconds += fault.seconds
            elif fault.kind == "cancelled":
                task.ends = "cancelled"
            else:
                task.ends = "failed"
                task.failure = fault.failure()
            self.settle()

    def sign(self, name: str) -> str:
        """A `_jwt` for one stored file: when it expires, and a signature; a new one each time."""
        claims = f"{int((self.clock() + self.options.link_seconds) * 1000)}.{secrets.token_hex(4)}"
        return f"{claims}.{self._signature(name, claims)}"

    def signed(self, name: str, token: str) -> bool:
        """Whether *token* is ours, for that file, and has not expired."""
        claims, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(name, claims).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(claims.partition(".")[0]) / 1000 > self.clock()

    def _signature(self, name: str, claims: str) -> str:
        return hmac.new(self._secret, f"{name}.{claims}".encode("utf-8", "replace"), "sha256").hexdigest()

    def state(self) -> dict[str, Any]:
        """All that a test may ask, as JSON; holds no key."""
        with self.lock:
            self.settle()
            now = self.clock()
            return {
                "counters": counted(self.counters),
                "accounts": [
                    {"provider": account.provider, "account": account.name, "credits": account.credits}
                    for account in self.accounts.values()
                ],
                "tasks": [task.told(now) for task in self.tasks.values()],
                "last_fields": dict(self.last_fields),
                "faults": self.faults.left(),
            }


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
