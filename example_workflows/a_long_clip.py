"""A clip of several calls: its plan first, then the film, joined without a seam. `python a_long_clip.py IN OUT`."""

import sys

from runway_node import Event, Policy, Step, plan, run


def show(event: Event) -> None:
    """One line for each call that is here."""
    if event.phase == "stored":
        print(f"call {event.segment + 1} of {event.segments} is here; {event.overall:.0%} of the whole")


source, out = sys.argv[1:3]
step = Step(prompt="the same scene at dusk, warm low light", overlap=12)
for call in plan(source, step).segments:
    print(f"frames [{call.first}, {call.last}), {float(call.seconds):.2f} s: {call.why}")
result = run(source, step, out, policy=Policy(max_seconds=60), on_progress=show)
cost = "a cost the provider does not state" if result.cost is None else f"{result.cost:g} credits"
print(f"{result.path}: {result.frames} frames, {len(result.takes)} takes, {cost}")
