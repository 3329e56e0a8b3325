"""Three seconds of a shot, transformed; the rest of it untouched.

    export RUNWAYML_API_SECRET=...        (or COMETAPI_KEY)
    python example_workflows/one_shot.py INPUT OUTPUT

To try it without a key: `runway-node sandbox` prints two variables to export.
"""

import sys

from moviepy import VideoFileClip

from runway_node import RunwayVideoToVideo

source, output = sys.argv[1:]
dusk = RunwayVideoToVideo("the same place at dusk, long shadows, warm light")

with VideoFileClip(source) as clip:
    plan = dusk.plan(clip.subclipped(1, 4))  # sends nothing
    print(f"{plan.billed_seconds} seconds on {plan.model}, credits: {plan.credits}")

    edit = clip.with_effects_on_subclip([dusk], 1, 4)
    edit.write_videofile(output, audio_codec="aac")
