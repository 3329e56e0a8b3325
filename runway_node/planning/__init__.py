"""Planning: what will be done for a clip, decided before anything is sent. Pure: no file, no clock, no key."""

from .carrying import check_keyframes, cut_of, fit_of, reach_back, step_for
from .cutting import Bounds, windows
from .making import bounds_of, frame_range, make_plan
from .shapes import MAX_SECONDS, Plan, Segment, Standing

__all__ = [
    "MAX_SECONDS",
    "Bounds",
    "Plan",
    "Segment",
    "Standing",
    "bounds_of",
    "check_keyframes",
    "cut_of",
    "fit_of",
    "frame_range",
    "make_plan",
    "reach_back",
    "step_for",
    "windows",
]
