"""The words of the package as values: Step, Policy, Picture, Keyframe, Model, Event, Take, Result."""

from .base import Frozen, Rational
from .outcome import Event, OnProgress, Phase, Result, Take
from .picture import Keyframe, Picture
from .step import Policy, Step, build
from .table import DEFAULT_MODELS, DOLLARS_PER_CREDIT, MODELS, Model, check, find_model, model_table

__all__ = [
    "DEFAULT_MODELS",
    "DOLLARS_PER_CREDIT",
    "MODELS",
    "Event",
    "Frozen",
    "Keyframe",
    "Model",
    "OnProgress",
    "Phase",
    "Picture",
    "Policy",
    "Rational",
    "Result",
    "Step",
    "Take",
    "build",
    "check",
    "find_model",
    "model_table",
]
