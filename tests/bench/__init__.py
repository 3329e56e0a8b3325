"""The benchmarks: `python -m tests.bench` prints what the step costs beside the bare work. Nothing here is asserted."""
