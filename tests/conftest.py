"""How Hypothesis works here, and which tests run side by side.

By default Hypothesis tries the same examples every time, so that a red run is red for the change
at hand, and knows no deadline, because a busy machine is no bug. `--hypothesis-profile=night` looks
for new ones and goes on for longer.
"""

import pytest
from hypothesis import settings

settings.register_profile("day", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("night", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("day")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of real processes some files run side by side, but of those under load one.

    Two that take all that there is would measure each other. The tests of a file may share nodes.
    """
    for item in items:
        if item.get_closest_marker("processes"):
            is_load = item.get_closest_marker("load") is not None
            item.add_marker(pytest.mark.xdist_group("load" if is_load else item.path.stem))
