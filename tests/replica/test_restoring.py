"""A replica takes over a snapshot: section by section, and lets go of the old state likewise."""

from __future__ import annotations

import random
import weakref
from typing import TYPE_CHECKING

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.core import Raft
from quorate.raft.messages import InstallSnapshot
from quorate.raft.ready import DurableState
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.replica import Replica
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable
from quorate.replica.state_machine import SECTION_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = configuration_of([1, 2, 3])


class Item:
    """Something whose end can be observed."""


class Items:
    """A state machine that holds items, and lets them go one by one."""

    def __init__(self, count: int = 0) -> None:
        self.items = [Item() for _ in range(count)]

    def apply(self, command: bytes) -> bytes:
        return command

    def query(self, _: None) -> int:
        return len(self.items)

    def snapshot(self) -> Iterator[bytes]:
        return iter([(b"%d" % len(self.items)).ljust(SECTION_BYTES)] * 3)

    def restore(self, section: bytes) -> None:
        self.items = [Item() for _ in range(int(section))]

    def dismantle(self) -> Iterator[None]:
        while self.items:
            self.items.pop()
            yield

    def digest(self) -> bytes:
        return b"%d" % len(self.items)


def snapshot_of(count: int) -> list[bytes]:
    """The sections of a state with so many items; one that nothing was applied to."""
    return list(ReplicatedState(Items(count), SessionTable(SessionLimits())).snapshot())


class Follower:
    """A replica whose leader, node 2, sends it snapshots."""

    def __init__(self) -> None:
        self.machines: list[Items] = []
        start = DurableState(0, None, SnapshotMetadata(0, 0, 0, MEMBERS))
        self.raft = Raft(NodeId(1), durable=start, settings=Settings(), rng=random.Random(0), now=0)
        self.replica = Replica(self.raft, self._new_state)

    def _new_state(self) -> ReplicatedState[None, int]:
        self.machines.append(Items(5))
        return ReplicatedState(self.machines[-1], SessionTable(SessionLimits()))

    def install(self, index: int) -> None:
        """A snapshot has come from the leader, and is on the disk."""
        metadata = SnapshotMetadata(index, 1, 0, MEMBERS)
        request = InstallSnapshot(index, 1, metadata, 4, 0, b"data")
        self.replica.receive(NodeId(2), request, 0)
        (received,) = self.raft.take_ready(0).received
        self.raft.chunk_written(received, 4, 0)
        self.replica.take_outcomes(0)
        assert self.replica.take_restore() == metadata
        assert self.replica.take_restore() is None


def test_the_state_that_was_is_there_until_the_new_one_is_complete() -> None:
    follower = Follower()
    follower.install(9)
    state = follower.replica.state
    for section in snapshot_of(7):
        assert follower.replica.is_restoring
        assert follower.replica.state is state
        assert follower.replica.take_snapshot_part(0) is None
        follower.replica.restore(section, 0)
    assert not follower.replica.is_restoring
    assert follower.replica.state.query(None) == 7


def test_the_state_that_was_goes_a_little_with_each_turn() -> None:
    follower = Follower()
    follower.install(9)
    old = follower.machines[0]
    items = [weakref.ref(item) for item in old.items]
    for section in snapshot_of(7):
        follower.replica.restore(section, 0)
    for left in (4, 3, 2, 1, 0, 0):
        assert follower.replica.deadline() == 0, "it goes on without delay"
        follower.replica.take_snapshot_part(0)
        assert sum(item() is not None for item in items) == left
    assert follower.replica.deadline() is None
    assert follower.replica.state.query(None) == 7


def test_a_newer_snapshot_may_come_before_the_last_one_is_restored() -> None:
    follower = Follower()
    follower.install(9)
    for section in snapshot_of(7)[:-1]:
        follower.replica.restore(section, 0)
    follower.install(12)
    for section in snapshot_of(8):
        follower.replica.restore(section, 0)
    assert follower.replica.state.query(None) == 8
    while follower.replica.deadline() is not None:
        follower.replica.take_snapshot_part(0)
    assert [len(machine.items) for machine in follower.machines] == [0, 0, 8]
