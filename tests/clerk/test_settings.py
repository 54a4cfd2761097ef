import random

import msgspec
import pytest

from quorate.clerk.backoff import Backoff
from quorate.clerk.settings import ClerkSettings


@pytest.mark.parametrize("name", sorted({*ClerkSettings.__struct_fields__} - {"learns_servers"}))
def test_every_number_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        msgspec.convert({name: 0}, ClerkSettings)


def test_the_longest_wait_is_not_below_the_first() -> None:
    with pytest.raises(ValueError, match="backoff_max_us"):
        ClerkSettings(backoff_min_us=10, backoff_max_us=9)


def test_waits_double_up_to_their_bound_and_vary_in_their_upper_half() -> None:
    rng = random.Random(1)
    drawn = []
    for _ in range(200):
        backoff = Backoff(minimum_us=10, maximum_us=45, rng=rng)
        drawn.append([backoff.next_us() for _ in range(5)])
    for waits, bound in zip(zip(*drawn, strict=True), [10, 20, 40, 45, 45], strict=True):
        assert (min(waits), max(waits)) == ((bound + 1) // 2, bound)


def test_after_a_success_waits_begin_anew() -> None:
    backoff = Backoff(minimum_us=10, maximum_us=1000, rng=random.Random(1))
    for _ in range(6):
        backoff.next_us()
    backoff.reset()
    assert backoff.next_us() <= 10
