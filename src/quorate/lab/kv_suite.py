"""The tests of the key/value lab in the course's order, on several kinds of clients and servers."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from quorate.lab.kv_generic import Generic
from quorate.lab.kv_part_a import one_partition, unreliable_one_key
from quorate.lab.kv_part_b import MAX_RAFT_STATE, install_snapshot, snapshot_size
from quorate.lab.kv_promises import (
    overwritten_entries,
    replayed_log,
    sessions,
    stale_read,
)
from quorate.lab.kv_speed import speed
from quorate.lab.scenario import Scenario
from quorate.lab.world import World
from quorate.replica.snapshot_taker import NEVER

KV_VARIANTS = {
    "clerk": "the Clerk, on servers that refuse what only the leader can do",
    "plain": "plain Redis clients, each command to any node, which passes it on",
    "snapshots": "the Clerk, on servers that take a snapshot after every entry",
}
"""What the variants are."""

KvScenario = Callable[[World], Coroutine[Any, Any, None]]

_a = partial(Generic, part="3A")
_b = partial(Generic, part="3B", max_raft_state=MAX_RAFT_STATE)
_random_keys = partial(
    Generic,
    clients=15,
    servers=7,
    unreliable=True,
    crash=True,
    partitions=True,
    random_keys=True,
)

_TESTS: tuple[tuple[str, Generic | KvScenario], ...] = (
    ("TestBasic3A", _a(clients=1)),
    ("TestSpeed3A", partial(speed, part="3A", max_raft_state=NEVER)),
    ("TestConcurrent3A", _a(clients=5)),
    ("TestUnreliable3A", _a(clients=5, unreliable=True)),
    ("TestUnreliableOneKey3A", unreliable_one_key),
    ("TestOnePartition3A", one_partition),
    ("TestManyPartitionsOneClient3A", _a(clients=1, partitions=True)),
    ("TestManyPartitionsManyClients3A", _a(clients=5, partitions=True)),
    ("TestPersistOneClient3A", _a(clients=1, crash=True)),
    ("TestPersistConcurrent3A", _a(clients=5, crash=True)),
    ("TestPersistConcurrentUnreliable3A", _a(clients=5, unreliable=True, crash=True)),
    ("TestPersistPartition3A", _a(clients=5, crash=True, partitions=True)),
    (
        "TestPersistPartitionUnreliable3A",
        _a(clients=5, unreliable=True, crash=True, partitions=True),
    ),
    (
        "TestPersistPartitionUnreliableLinearizable3A",
        _random_keys(part="3A", max_raft_state=NEVER),
    ),
    ("TestSnapshotRPC3B", install_snapshot),
    ("TestSnapshotSize3B", snapshot_size),
    ("TestSpeed3B", partial(speed, part="3B", max_raft_state=MAX_RAFT_STATE)),
    ("TestSnapshotRecover3B", _b(clients=1, crash=True)),
    ("TestSnapshotRecoverManyClients3B", _b(clients=20, crash=True)),
    ("TestSnapshotUnreliable3B", _b(clients=5, unreliable=True)),
    ("TestSnapshotUnreliableRecover3B", _b(clients=5, unreliable=True, crash=True)),
    (
        "TestSnapshotUnreliableRecoverConcurrentPartition3B",
        _b(clients=5, unreliable=True, crash=True, partitions=True),
    ),
    (
        "TestSnapshotUnreliableRecoverConcurrentPartitionLinearizable3B",
        _random_keys(part="3B", max_raft_state=MAX_RAFT_STATE),
    ),
)

_OURS: tuple[tuple[str, str, KvScenario], ...] = (
    ("TestStaleRead3A", "clerk", stale_read),
    ("TestOverwritten3A", "clerk", overwritten_entries),
    ("TestReplay3A", "clerk", replayed_log),
    ("TestSessions3A", "clerk", partial(sessions, plain=False)),
    ("TestSessions3A", "plain", partial(sessions, plain=True)),
)
"""Not the course's: names, variants, and what they do."""


def _scenario(name: str, variant: str, run: KvScenario) -> Scenario:
    return Scenario(
        name=name,
        part=name[-2:],
        variant=variant,
        run=run,
        takes_snapshots=variant == "snapshots",
    )


def _with_clerks(test: Generic | KvScenario) -> KvScenario:
    return test.run if isinstance(test, Generic) else test


KV_SCENARIOS = (
    *(_scenario(name, "clerk", _with_clerks(test)) for name, test in _TESTS),
    *(
        _scenario(name, "plain", msgspec.structs.replace(test, plain=True).run)
        for name, test in _TESTS
        if isinstance(test, Generic)
    ),
    *(
        _scenario(name, "snapshots", _with_clerks(test))
        for name, test in _TESTS
        if name.endswith("3A")
    ),
    *(_scenario(*ours) for ours in _OURS),
)
"""All of the course's with clerks, the generic ones with plain clients, those of part 3A on servers
that take snapshots (the handout's own suggestion), then ours."""
