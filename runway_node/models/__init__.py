"""The words of the package as values: Step, Policy, Picture, Keyframe, Model, Limits, Event, Take, Result, books."""

from .base import Frozen, Rational
from .books import Finished, Freed, Garbage, OpenOrder, OwnedTake, Spend, SpendLine
from .limits import Limits, check_limits, dollars_of, price_text, sum_known
from .outcome import Event, OnProgress, Phase, Result, Take
from .picture import Keyframe, Picture, as_picture
from .step import MAX_SEED, Policy, Step, build
from .table import DEFAULT_MODELS, DOLLARS_PER_CREDIT, MODELS, URL_CHARS, Model, check, find_model, model_table

__all__ = [
    "DEFAULT_MODELS",
    "DOLLARS_PER_CREDIT",
    "MAX_SEED",
    "MODELS",
    "URL_CHARS",
    "Event",
    "Finished",
    "Freed",
    "Frozen",
    "Garbage",
    "Keyframe",
    "Limits",
    "Model",
    "OnProgress",
    "OpenOrder",
    "OwnedTake",
    "Phase",
    "Picture",
    "Policy",
    "Rational",
    "Result",
    "Spend",
    "SpendLine",
    "Step",
    "Take",
    "as_picture",
    "build",
    "check",
    "check_limits",
    "dollars_of",
    "find_model",
    "model_table",
    "price_text",
    "sum_known",
]
