"""Which order it is: a digest over what is ordered, never over how. Pure.

Golden digests in the tests never change: another digest for the same order would be paid a second time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ..models import Step
from ..planning import Plan

VERSION = 1
UNTOLD_OVERLAP = {"seed": 6, "keyframe": 0}
"""Frames that calls share where an order says nothing of it. It never changes, whatever the default of Step becomes."""


def digest_of(content: str, plan: Plan, step: Step, origin: str, pictures: Sequence[str]) -> str:
    """The order's digest, hexadecimal.

    Args:
        content: SHA-256 of the source's bytes or raw frames, or "key:" and the user's own name for it; "" for the
            digest that all orders share which differ in nothing else.
        plan: Frame range, target size and rate, provider and model are taken from it.
        step: The fields as the user set them; an unset seed is derived from the digest.
        origin: The API's origin; "sandbox" for any on loopback.
        pictures: What the step's references and keyframes are, in order.

    """
    keyframes = [[frame.seconds, frame.at, list(frame.range) if frame.range else None] for frame in step.keyframes]
    told = {
        "version": VERSION,
        "content": content,
        "frames": [plan.first, plan.last],
        "size": [plan.width, plan.height],
        "fps": str(plan.fps),
        "origin": origin,
        "provider": plan.provider,
        "model": plan.model,
        "prompt": step.prompt,
        "seed": step.seed,
        "take": step.take,
        "aspect": step.aspect,
        "moderation": step.moderation,
        "output_format": step.output_format,
        "pictures": list(pictures),
        "keyframes": keyframes,
    }
    given = {"cut_at": step.cut_at, "continuity": step.continuity, "overlap": step.shared}
    untold = {"cut_at": "auto", "continuity": "seed", "overlap": UNTOLD_OVERLAP[step.continuity]}
    cutting = {name: value for name, value in given.items() if value != untold[name]}
    if cutting and len(plan.segments) > 1:
        # Only where they make another order: digests of one call, and of plain ones, are older than these words.
        told["cutting"] = cutting
    return _hash(json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True))


def segment_digest(order: str, position: int) -> str:
    """The digest of one of an order's paid calls."""
    return _hash(f"{order} {position}")


def seed_of(step: Step, digest: str) -> int:
    """The seed that is sent, 0 to 4294967295: the one set, else one derived from the order, take included."""
    return step.seed if step.seed is not None else int(_hash(f"{digest} seed")[:8], 16)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
