"""How Hypothesis works here.

By default it tries the same examples every time, so that a red run is red for the change at hand,
and knows no deadline, because a busy machine is no bug. `--hypothesis-profile=night` looks for new
ones and goes on for longer.
"""

from hypothesis import settings

settings.register_profile("day", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("night", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("day")
