"""Every target, with what Hypothesis makes up: bytes, and seeds that were cut, joined and changed.

`make fuzz` looks for longer, by coverage. What it finds goes into `FOUND`, as it prints it.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.choices import Choices
from tests.fuzz.targets import TARGETS, Target

EXAMPLES = {"client": 60, "forwarded": 40, "peer": 30, "cluster_file": 60, "config_file": 60}
"""How many of the slow ones are tried by day, when Hypothesis tries a hundred of anything."""
OF_THE_OTHERS = 100

PROCESSOR_S = 2.0
"""More than any input of a few hundred bytes may take, or a large one that is no node's."""
PROCESSOR_OF_NODES_S = 20.0
"""The same, for targets in which whole nodes live on for minutes."""

MEMORY_BYTES = 512 * 1024
"""More than any input of a few hundred bytes may make a parser take."""

FOUND = [
    ("status", b'{"id":1,"role":"\xff"'),
    ("status", b'{"x":' + b"[" * 5000),
    ("cluster_file", b'{"cluster_id":"\xff"'),
    ("config_file", b"id = " + b"1" * 5000),
    ("config_file", b"id = " + b"[" * 5000),
]
"""Inputs that have once failed."""


def inputs_for(target: Target) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and such as begin with something valid."""
    anything = st.binary(max_size=200)
    if not target.seeds:
        return anything
    seed = st.sampled_from(target.seeds)
    edited = st.builds(lambda valid, script: Choices(script).edited(valid), seed, anything)
    joined = st.lists(seed | edited, max_size=4).map(b"".join)
    return anything | seed | edited | joined


def run_in_time(name: str, data: bytes) -> None:
    begun = time.process_time()
    TARGETS[name].run(data)
    bound = PROCESSOR_OF_NODES_S if name in {"client", "forwarded", "peer"} else PROCESSOR_S
    assert time.process_time() - begun < bound


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_from_outside_does_harm(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES.get(name, OF_THE_OTHERS) * settings().max_examples // 100,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(inputs_for(target))
    def tried(data: bytes) -> None:
        run_in_time(name, data)

    tried()


@pytest.mark.parametrize(("name", "data"), FOUND, ids=lambda value: repr(value)[:20])
def test_what_was_found_once(name: str, data: bytes) -> None:
    run_in_time(name, data)


HUGE = {
    "requests": [
        b"*65536\r\n" * 5,
        b"*1152921504606846976\r\n",
        b"*1\r\n$1152921504606846976\r\n",
        b"*20\r\n" + b"$0\r\n\r\n" * 19,
        b"*1\r\n" * 30_000,
        b"x " * 30_000,
    ],
    "replies": [
        b"*2000\r\n",
        b"*1\r\n" * 30_000,
        b"$1152921504606846976\r\n",
        b"+" + b"x" * 60_000,
    ],
    "stranger": [
        TARGETS["stranger"].seeds[0][:8] + b"\xff\xff\xff\xff\0\0\0\0\x01",
        TARGETS["stranger"].seeds[0] + b"\xff\xff\xff\xff\0\0\0\0\x03",
    ],
    "status": [
        b'{"x":' * 20_000,
        b'{"id":' + b"1" * 60_000,
    ],
    "messages": [
        b"\x97\x05\x01\x01\x01\x01\x01\xdd\xff\xff\xff\xff",
        b"\x94\x09\x01\x01\xc6\xff\xff\xff\xff",
        b"\x91" * 60_000,
        b"\xdf\xff\xff\xff\xff",
    ],
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_announced_takes_no_memory_before_it_comes(name: str) -> None:
    for data in HUGE[name]:
        run_in_time(name, data)
        tracemalloc.start()
        try:
            TARGETS[name].run(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY_BYTES, data[:40]
