"""Snapshots (Raft §7 and Figure 13), sentence by sentence, and what this core promises beside them.

Pieces have eight bytes here, and what a snapshot holds has twenty: three pieces.
"""

from __future__ import annotations

import itertools
import tracemalloc
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.leader import STANDSTILL_TIMEOUTS
from quorate.raft.log import MAX_FREED_ENTRIES
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    InstallSnapshot,
    InstallSnapshotAnswer,
    PreVote,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
)
from quorate.raft.ready import ForwardLost, ReadyRead
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.raft.snapshot_transfer import MAX_PATIENCE, STUCK_AFTER_REPEATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

    from quorate.raft.ready import DurableState

    NewDisk = Callable[..., DurableState]

PRODUCTION = Settings(max_chunk_bytes=8)
PLAIN = Settings(pre_vote=False, check_quorum=False, no_op=False, max_chunk_bytes=8)
TIMEOUT = PRODUCTION.election_timeout_us
HEARTBEAT = PRODUCTION.heartbeat_interval_us
RETRY = PRODUCTION.append_timeout_us
MEMBERS = configuration_of([1, 2, 3])
DATA = b"twenty bytes of data"


def metadata(index: int, term: int = 1) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, 0, MEMBERS)


def piece(
    number: int,
    *,
    of: tuple[int, int] = (10, 1),
    term: int = 1,
    request_id: int | None = None,
    data: bytes = DATA,
) -> InstallSnapshot:
    """One of the three pieces of a leader's snapshot of this (index, term)."""
    offset = 8 * number
    return InstallSnapshot(
        id=100 + number if request_id is None else request_id,
        term=term,
        snapshot=metadata(*of),
        size=len(data),
        offset=offset,
        data=data[offset : offset + 8],
    )


def append_entries(
    *, term: int, after: tuple[int, int], terms: tuple[int, ...] = (), commit: int = 0
) -> AppendEntries:
    """A request with entries of these terms, to go after the entry of this (index, term)."""
    previous, previous_term = after
    entries = tuple(
        Entry(previous + position, entry_term, 0, EntryKind.DATA, b"from the leader")
        for position, entry_term in enumerate(terms, start=1)
    )
    return AppendEntries(7, term, previous, previous_term, commit, entries)


def matched(request: AppendEntries) -> AppendEntriesAnswer:
    """What a follower answers that has taken in everything."""
    match_index = request.prev_log_index + len(request.entries)
    return AppendEntriesAnswer(
        request.id,
        request.term,
        success=True,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
    )


def written(request: InstallSnapshot) -> InstallSnapshotAnswer:
    """What a follower answers that has written a piece."""
    return InstallSnapshotAnswer(request.id, request.term, request.offset + len(request.data))


def send(server: Server, *requests: InstallSnapshot) -> list[int]:
    """A leader sends these pieces; returns the offsets that it is answered."""
    for request in requests:
        server.receive(2, request)
    return [answer.next_offset for answer in server.take(InstallSnapshotAnswer)]


def answer_entries(leader: Server, peer: int) -> None:
    """This follower takes in all that the leader has sent and will send now."""
    while requests := leader.take(AppendEntries, to=peer):
        for request in requests:
            leader.receive(peer, matched(request))


def leader_with_snapshot(
    new_server: type[Server],
    new_disk_state: NewDisk,
    *,
    settings: Settings = PLAIN,
    snapshot: int = 10,
) -> Server:
    """A leader of term 2 whose log begins behind a snapshot, before it has asked anybody."""
    state = new_disk_state(snapshot=(snapshot, 1), log=(1, 1))
    leader = new_server(durable=state, settings=settings)
    leader.win_election()
    return leader


def lag(leader: Server, peer: int, last_index: int = 3) -> None:
    """A follower tells that its log ends early."""
    probe = leader.take(AppendEntries, to=peer)[0]
    term = leader.raft.current_term
    answer = AppendEntriesAnswer(
        probe.id,
        term,
        success=False,
        match_index=0,
        conflict_index=last_index + 1,
        conflict_term=0,
    )
    leader.receive(peer, answer)


# ---------------------------------------------------------------------- §7: compaction


def test_the_log_up_to_the_snapshot_is_discarded(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§7: "the entire current system state is written to a snapshot on stable storage, then the
    entire log up to that point is discarded."
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 2)))
    server.receive(2, append_entries(term=2, after=(4, 2), commit=3))
    server.compact()
    assert server.raft.snapshot == server.disk.state.snapshot == metadata(3)
    assert server.raft.log_start == server.disk.log_start == LogStart(3, 1)
    assert server.terms == [2]
    assert [entry.index for entry in server.disk.entries] == [4]


def test_only_what_was_applied_can_be_in_a_snapshot(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§7: "Each server takes snapshots independently, covering just the committed entries in its
    log."
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 2)))
    server.receive(2, append_entries(term=2, after=(4, 2), commit=2))
    with pytest.raises(AssertionError):
        server.raft.snapshot_metadata(3)
    with pytest.raises(AssertionError):
        server.raft.compact(metadata(3), 20, server.now)


def test_a_snapshot_says_what_it_covers(new_server: type[Server], new_disk_state: NewDisk) -> None:
    """§7: "the last included index is the index of the last entry in the log that the snapshot
    replaces (the last entry the state machine had applied), and the last included term is the
    term of this entry." And: "the snapshot also includes the latest configuration in the log as
    of last included index." Cluster time is ours.
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 2), time_ms=700))
    server.receive(2, append_entries(term=2, after=(3, 2), commit=3))
    assert server.raft.snapshot_metadata(2) == SnapshotMetadata(2, 1, 700, MEMBERS)
    assert server.raft.snapshot_metadata(3) == SnapshotMetadata(3, 2, 700, MEMBERS)


def test_the_first_entry_after_a_snapshot_is_checked_as_any_other(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§7: "These are preserved to support the AppendEntries consistency check for the first log
    entry following the snapshot, since that entry needs a previous log index and term."
    """
    server = new_server(durable=new_disk_state(log=(1, 2)))
    server.receive(2, append_entries(term=2, after=(2, 2), commit=2))
    server.compact()
    server.take(AppendEntriesAnswer)
    server.receive(2, append_entries(term=3, after=(2, 2), terms=(3,)))
    assert server.take_one(AppendEntriesAnswer).match_index == 3


def test_dropped_entries_are_freed(new_server: type[Server]) -> None:
    server = new_server(durable=None, settings=PLAIN)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        entries = tuple(
            Entry(index, 1, 0, EntryKind.DATA, bytes(100_000)) for index in range(1, 101)
        )
        server.receive(2, AppendEntries(1, 1, 0, 0, 100, entries))
        del entries
        server.committed = server.committed[-1:]
        server.disk.entries = server.disk.entries[-1:]
        server.disk.log_start = LogStart(99, 1)
        full, _ = tracemalloc.get_traced_memory()
        server.compact()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert full - before > 9_000_000
    assert after - before < 1_000_000


def test_a_long_log_is_freed_in_portions(new_server: type[Server]) -> None:
    """To free a hundred thousand entries takes long enough to hold up clients."""
    count = 3 * MAX_FREED_ENTRIES
    server = new_server(settings=Settings(max_committed_bytes=1 << 30))
    tracemalloc.start()
    try:
        entries = tuple(
            Entry(index, 1, 0, EntryKind.DATA, bytes(1000)) for index in range(1, count + 1)
        )
        server.receive(2, AppendEntries(1, 1, 0, 0, count, entries))
        del entries
        server.committed = server.committed[-1:]
        server.disk.entries = ()
        server.disk.log_start = LogStart(count, 1)
        stored = server.store_snapshot()
        held = [tracemalloc.get_traced_memory()[0]]
        server.raft.compact(stored.metadata, len(stored.data), server.now)
        held.append(tracemalloc.get_traced_memory()[0])
        for _ in range(2):
            server.raft.take_ready(server.now)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    portion = MAX_FREED_ENTRIES * 1000
    assert [(before - after) // portion for before, after in itertools.pairwise(held)] == [1, 1, 1]
    assert held[-1] < portion


def test_trailing_entries_stay_within_their_bytes(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """A follower that is a little behind needs no snapshot."""
    size = ENTRY_HEADER_BYTES + len(b"1 of term 1")
    settings = msgspec.structs.replace(PLAIN, trailing_bytes=2 * size + 1)
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 1, 1)), settings=settings)
    server.receive(2, append_entries(term=1, after=(5, 1), commit=4))
    server.compact()
    assert server.raft.snapshot.index == 4
    assert server.raft.log_start == server.disk.log_start == LogStart(2, 1)
    assert server.terms == [1, 1, 1]


def test_an_older_snapshot_changes_nothing(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    server = new_server(durable=new_disk_state(log=(1, 1, 1)))
    server.receive(2, append_entries(term=1, after=(3, 1), commit=3))
    older = server.raft.snapshot_metadata(2)
    newer = server.compact()
    server.raft.compact(older, 99, server.now)
    server.raft.compact(newer, 99, server.now)
    server.settle()
    assert server.raft.snapshot == newer
    assert server.raft.log_start == LogStart(3, 1)


def test_a_snapshot_vouches_for_what_the_own_disk_does_not_hold_yet(
    new_server: type[Server],
) -> None:
    """1. Two followers commit entries while the leader's own disk is slow. 2. It applies them, and
    takes a snapshot. 3. That is on the disk before the entries are, which need not be any more.
    """
    leader = new_server(settings=PLAIN, slow_disk=True)
    leader.win_election()
    for _ in range(3):
        leader.propose()
    for peer in (2, 3):
        while requests := leader.take(AppendEntries, to=peer):
            for request in requests:
                leader.receive(peer, matched(request))
    assert leader.raft.commit_index == 3
    assert leader.raft.durable_index == 0
    leader.compact()
    assert leader.raft.durable_index == 3
    leader.disk.crash(keep_write=False)
    assert (leader.disk.state.snapshot.index, leader.disk.state.entries) == (3, ())


def test_an_answer_that_waited_for_the_log_is_given_when_a_snapshot_covers_it(
    new_server: type[Server],
) -> None:
    follower = new_server(settings=PLAIN, slow_disk=True)
    follower.receive(2, append_entries(term=1, after=(0, 0)))
    follower.complete_writes()
    follower.receive(2, append_entries(term=1, after=(0, 0), terms=(1, 1), commit=2))
    follower.take(AppendEntriesAnswer)
    follower.compact()
    assert follower.take_one(AppendEntriesAnswer).match_index == 2


# ---------------------------------------------------------------------- §7: the leader sends


def test_a_follower_that_lags_behind_is_sent_the_snapshot(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§7: "the leader must occasionally send snapshots to followers that lag behind. This happens
    when the leader has already discarded the next log entry that it needs to send to a
    follower." Figure 13: "Leaders always send chunks in order."
    """
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    pieces = []
    while requests := leader.take(InstallSnapshot, to=2):
        (request,) = requests
        pieces.append(request)
        leader.receive(2, written(request))
    assert [request.offset for request in pieces] == [0, 8, 16]
    assert b"".join(request.data for request in pieces) == b"the state as of 0010"
    assert {request.snapshot for request in pieces} == {leader.raft.snapshot}
    assert {(request.term, request.size) for request in pieces} == {(2, 20)}
    entries = leader.take_one(AppendEntries, to=2)
    assert (entries.prev_log_index, len(entries.entries)) == (10, 2)
    leader.receive(2, matched(entries))
    assert leader.raft.commit_index == 10, "entries of an old term; but they were counted"
    leader.propose()
    leader.receive(2, matched(leader.take_one(AppendEntries, to=2)))
    assert leader.raft.commit_index == 13


def test_a_follower_that_the_trailing_entries_reach_needs_none(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    state = new_disk_state(snapshot=(10, 1), start=(7, 1), log=(1,) * 5)
    trailing_bytes = 3 * (ENTRY_HEADER_BYTES + len(b"10 of term 1"))
    settings = msgspec.structs.replace(PLAIN, trailing_bytes=trailing_bytes)
    leader = new_server(durable=state, settings=settings)
    leader.win_election()
    lag(leader, 2, last_index=7)
    lag(leader, 3, last_index=6)
    assert leader.take(InstallSnapshot, to=2) == []
    assert leader.take_one(AppendEntries, to=2).prev_log_index == 7
    assert leader.take_one(InstallSnapshot, to=3).offset == 0


def test_one_piece_is_under_way_at_a_time_and_is_sent_again_when_it_is_lost(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    again = second = leader.take_one(InstallSnapshot, to=2)
    for patience in (1, 2, MAX_PATIENCE, MAX_PATIENCE):
        leader.elapse(patience * RETRY - 1)
        assert leader.take(InstallSnapshot, to=2) == []
        leader.elapse(1)
        again = leader.take_one(InstallSnapshot, to=2)
        assert again.id > second.id
        assert (again.offset, again.data) == (second.offset, second.data)
    leader.receive(2, written(again))
    assert leader.take_one(InstallSnapshot, to=2).offset == 16
    leader.elapse(MAX_PATIENCE * RETRY)
    assert leader.take_one(InstallSnapshot, to=2).offset == 16


def test_a_piece_that_is_lost_again_and_again_may_be_of_a_snapshot_that_is_gone(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Its story: 1. A follower got a snapshot from its leader that had become of no use to it: its
    disk has that beside its own, its core only knows of its own. 2. It leads, and sends its own to
    another. 3. It takes the next: its own is not kept any more. 4. It asked its disk for the next
    piece for ever, if nothing was ever written again.
    """
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    leader.propose()
    answer_entries(leader, 3)
    assert leader.compact().index == 13
    sent = []
    for number in range(1 + STUCK_AFTER_REPEATS):
        request = leader.take_one(InstallSnapshot, to=2)
        sent.append((request.snapshot.index, request.offset))
        leader.elapse(min(2**number, MAX_PATIENCE) * RETRY)
    assert sent == [(10, 8)] * (1 + STUCK_AFTER_REPEATS)
    request = leader.take_one(InstallSnapshot, to=2)
    assert (request.snapshot.index, request.offset) == (13, 0)


def test_a_new_link_sends_the_piece_again_at_once(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """And goes on where it was: not from the beginning."""
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    leader.take(InstallSnapshot, to=2)
    leader.raft.link_changed(NodeId(2), up=True, now=leader.now)
    leader.settle()
    assert leader.take_one(InstallSnapshot, to=2).offset == 8


def test_a_late_answer_to_a_piece_that_was_sent_again_counts(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    first = leader.take_one(InstallSnapshot, to=2)
    leader.elapse(RETRY)
    again = leader.take_one(InstallSnapshot, to=2)
    leader.receive(2, written(first))
    assert leader.take_one(InstallSnapshot, to=2).offset == 8
    leader.receive(2, written(again))
    leader.receive(2, written(first))
    assert leader.take(InstallSnapshot, to=2) == [], "a repeated answer sends nothing"


def test_a_follower_that_lost_what_it_had_begins_again_but_not_in_a_loop(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """It restarted, or the snapshot that it put together was damaged, or its disk is full."""
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    second = leader.take_one(InstallSnapshot, to=2)
    leader.receive(2, InstallSnapshotAnswer(second.id, 2, 0))
    assert leader.take(InstallSnapshot, to=2) == []
    leader.elapse(RETRY)
    assert leader.take_one(InstallSnapshot, to=2).offset == 0


def test_heartbeats_and_the_others_go_on_beside_a_transfer(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Also reads: an answer to a piece confirms a round as well as any other answer."""
    leader = leader_with_snapshot(new_server, new_disk_state, settings=PRODUCTION)
    lag(leader, 2)
    leader.take(AppendEntries, to=2)
    for _ in range(9):
        leader.propose()
        answer_entries(leader, 3)
        assert leader.raft.commit_index == leader.raft.last_index
        leader.elapse(HEARTBEAT)
        assert len(leader.take(AppendEntries, to=2)) == 1
    leader.receive(2, written(leader.take(InstallSnapshot, to=2)[-1]))
    leader.read(5)
    request = leader.take_one(InstallSnapshot, to=2)
    assert leader.reads == [], "that piece was sent before"
    leader.receive(2, written(request))
    assert leader.reads == []
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    assert leader.reads == [ReadyRead(5, leader.raft.commit_index)]


def test_answers_to_pieces_keep_a_leader_in_office(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Dissertation §6.2; one follower is dead, the other takes in a snapshot."""
    leader = leader_with_snapshot(new_server, new_disk_state, settings=PRODUCTION)
    lag(leader, 2)
    for _ in range(3):
        leader.elapse(TIMEOUT - HEARTBEAT)
        leader.receive(2, written(leader.take(InstallSnapshot, to=2)[-1]))
    leader.elapse(TIMEOUT - 1)
    assert leader.raft.is_leader
    leader.elapse(1)
    assert not leader.raft.is_leader


def test_several_followers_are_sent_it_at_once(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    lag(leader, 3)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    assert leader.take_one(InstallSnapshot, to=2).offset == 8
    assert leader.take_one(InstallSnapshot, to=3).offset == 0


def test_a_transfer_goes_on_with_the_same_snapshot_while_that_is_kept(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """The newest and the one before are kept. A leader that compacts often would otherwise never
    come to the end.
    """
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))

    def take_a_snapshot() -> int:
        leader.propose()
        answer_entries(leader, 3)
        return leader.compact().index

    assert take_a_snapshot() == 13
    leader.take(InstallSnapshot, to=2)
    leader.elapse(RETRY)
    request = leader.take_one(InstallSnapshot, to=2)
    assert (request.snapshot.index, request.offset) == (10, 8)
    assert take_a_snapshot() == 14
    leader.elapse(2 * RETRY)
    request = leader.take_one(InstallSnapshot, to=2)
    assert (request.snapshot.index, request.offset) == (14, 0)
    leader.take(AppendEntries, to=2)
    leader.receive(2, InstallSnapshotAnswer(request.id, request.term, request.size))
    leader.propose()
    assert leader.take_one(AppendEntries, to=2).prev_log_index == 14


def test_a_follower_that_has_a_snapshot_and_already_needs_a_newer_one_gets_it(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Its story: 1. The last piece is under way. 2. The leader compacts. 3. The follower has the
    whole, but not what comes behind. 4. The leader went on from the end of the old snapshot, with
    a piece of no bytes.
    """
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    for _ in range(2):
        leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    leader.propose()
    answer_entries(leader, 3)
    assert leader.compact().index == 13
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    request = leader.take_one(InstallSnapshot, to=2)
    assert (request.snapshot.index, request.offset) == (13, 0)


def test_a_transfer_that_is_not_needed_any_more_is_given_up(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """The follower turns out to have the entries: an answer of this term was late."""
    leader = leader_with_snapshot(new_server, new_disk_state)
    probe = leader.take_one(AppendEntries, to=2)
    leader.receive(2, AppendEntriesAnswer(probe.id, 2, False, 0, 4, 0))
    assert leader.take_one(InstallSnapshot, to=2).offset == 0
    leader.receive(2, matched(probe))
    leader.elapse(RETRY)
    assert leader.take(InstallSnapshot, to=2) == []


def refuse(leader: Server, peer: int) -> None:
    """This follower takes in all pieces, and throws away what they make."""
    for _ in range(2):
        leader.receive(peer, written(leader.take_one(InstallSnapshot, to=peer)))
    last = leader.take_one(InstallSnapshot, to=peer)
    leader.receive(peer, InstallSnapshotAnswer(last.id, last.term, 0))


def test_a_snapshot_that_a_follower_threw_away_is_checked_before_it_is_sent_again(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    refuse(leader, 2)
    leader.now += RETRY
    (chunk,) = leader.step()[1].chunks
    assert (chunk.request.offset, chunk.is_doubted) == (0, True)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    leader.take(InstallSnapshot, to=2)
    leader.now += MAX_PATIENCE * RETRY
    (chunk,) = leader.step()[1].chunks
    assert (chunk.request.offset, chunk.is_doubted) == (8, False)


def test_another_that_covers_as_much_takes_the_place_of_a_damaged_one_only(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    size = leader.take_one(InstallSnapshot, to=2).size
    last_index, snapshot, another = leader.raft.last_index, leader.raft.snapshot, b"another file"
    assert leader.raft.snapshot_metadata(snapshot.index) == snapshot
    leader.raft.compact(snapshot, len(another), leader.now)
    assert leader.raft.snapshot_size == size != len(another)
    leader.raft.snapshot_damaged(snapshot.index, leader.now)
    leader.disk.replace_contents(another)
    leader.raft.compact(snapshot, len(another), leader.now)
    leader.step()
    request = leader.take_one(InstallSnapshot, to=2)
    assert (request.snapshot, request.size, request.offset) == (snapshot, len(another), 0)
    assert leader.raft.last_index == last_index, "it took no entry"


def test_a_damaged_snapshot_is_not_sent_until_there_is_another(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    state = new_disk_state(snapshot=(10, 1))
    leader = new_server(durable=state, settings=PLAIN)
    leader.win_election()
    leader.propose()
    answer_entries(leader, 3)
    leader.compact()
    lag(leader, 2)
    leader.take(InstallSnapshot)
    leader.raft.snapshot_damaged(11, leader.now)
    assert leader.raft.snapshot_is_damaged
    leader.elapse(RETRY)
    assert leader.take(InstallSnapshot) == []
    assert leader.raft.sending == {}
    leader.propose()
    answer_entries(leader, 3)
    leader.compact()
    assert not leader.raft.snapshot_is_damaged
    assert leader.take_one(InstallSnapshot, to=2).snapshot.index == 12


# ---------------------------------------------------------------------- bringing a follower up


def test_a_follower_that_lags_is_brought_up_until_little_is_left_after_a_round(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Dissertation §4.2.1: "The replication of entries to the new server is split into rounds. Each
    round replicates all the log entries present in the leader's log at the start of the round."
    """
    settings = msgspec.structs.replace(PLAIN, max_append_bytes=1, trailing_bytes=100)
    leader = leader_with_snapshot(new_server, new_disk_state, settings=settings)
    answer_entries(leader, 3)
    assert not leader.raft.brings_up_a_follower
    lag(leader, 2)
    assert leader.raft.brings_up_a_follower
    for _ in range(10):
        leader.propose()
        answer_entries(leader, 3)
    for _ in range(3):
        leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    assert leader.raft.commit_index == 22
    for _ in range(5):  # while the first round lasts, more is written
        leader.propose()
        answer_entries(leader, 3)
    matches = []
    requests = leader.take(AppendEntries, to=2)
    while leader.raft.brings_up_a_follower:
        answer = matched(requests.pop(0))
        matches.append(answer.match_index)
        leader.receive(2, answer)
        requests += leader.take(AppendEntries, to=2)
    # The first round ends with 22. Five entries are left then, so there is a second one.
    assert matches == list(range(11, 28))


def test_a_follower_that_finds_where_it_was_is_brought_up_too(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """It needs no snapshot, and none taken now should make it need one."""
    state = new_disk_state(log=(1,) * 10)
    settings = msgspec.structs.replace(PLAIN, trailing_bytes=100)
    leader = new_server(durable=state, settings=settings)
    leader.win_election()
    leader.propose()
    answer_entries(leader, 3)
    assert leader.raft.commit_index == 11
    lag(leader, 2, last_index=4)
    assert not leader.raft.brings_up_a_follower
    probe = leader.take(AppendEntries, to=2)[0]
    leader.receive(2, matched(msgspec.structs.replace(probe, entries=probe.entries[:1])))
    assert leader.raft.brings_up_a_follower
    leader.elapse(RETRY)
    answer_entries(leader, 2)
    assert not leader.raft.brings_up_a_follower


def test_nobody_waits_for_a_follower_that_gets_no_further(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Until it does again."""
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.elapse(STANDSTILL_TIMEOUTS * RETRY)
    assert leader.raft.brings_up_a_follower
    leader.elapse(1)
    assert not leader.raft.brings_up_a_follower
    leader.receive(2, written(leader.take(InstallSnapshot, to=2)[-1]))
    assert leader.raft.brings_up_a_follower


def test_nobody_waits_for_a_follower_that_was_never_heard(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    leader.propose()
    answer_entries(leader, 3)
    leader.compact()
    leader.elapse(RETRY)
    assert leader.raft.sending.keys() == {2}
    assert not leader.raft.brings_up_a_follower


# ---------------------------------------------------------------------- Figure 13: the receiver


def test_install_snapshot_1_a_stale_term_is_answered_at_once(new_server: type[Server]) -> None:
    """Figure 13: "1. Reply immediately if term < currentTerm"."""
    follower = new_server(settings=PLAIN)
    follower.receive(3, append_entries(term=5, after=(0, 0)))
    follower.receive(2, piece(0, term=4))
    assert follower.take_one(InstallSnapshotAnswer) == InstallSnapshotAnswer(100, 5, 0)
    assert follower.raft.leader == 3
    assert follower.received == []


def test_install_snapshot_2_to_4_pieces_are_written_one_after_the_other(
    new_server: type[Server],
) -> None:
    """Figure 13: "2. Create new snapshot file if first chunk (offset is 0). 3. Write data into
    snapshot file at given offset. 4. Reply and wait for more data chunks if done is false".
    """
    follower = new_server(settings=PLAIN)
    assert send(follower, piece(0)) == [8]
    assert follower.raft.snapshot.index == 0
    assert send(follower, piece(1)) == [16]
    assert follower.installed == []
    assert send(follower, piece(2)) == [20]
    assert follower.installed == [metadata(10)]
    assert follower.disk.contents_of(metadata(10)) == DATA


def test_install_snapshot_5_a_newer_snapshot_replaces_what_came_of_an_older_one(
    new_server: type[Server],
) -> None:
    """Figure 13: "5. Save snapshot file, discard any existing or partial snapshot with a smaller
    index".
    """
    follower = new_server(settings=PLAIN)
    assert send(follower, piece(0), piece(1)) == [8, 16]
    newer = (15, 1)
    assert send(follower, piece(0, of=newer)) == [8]
    assert send(follower, piece(2)) == [0], "of the older one there is nothing any more"
    assert send(follower, piece(0)) == [0], "and an overtaken piece does not bring it back"
    assert send(follower, piece(1, of=newer), piece(2, of=newer)) == [16, 20]
    assert follower.installed == [metadata(15)]


def test_install_snapshot_6_entries_behind_it_stay(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 13: "6. If existing log entry has same index and term as snapshot's last included
    entry, retain log entries following it and reply". §7: "log entries covered by the snapshot
    are deleted but entries following the snapshot are still valid and must be retained."
    """
    follower = new_server(durable=new_disk_state(log=(1,) * 10 + (2, 2)), settings=PLAIN)
    assert send(follower, *(piece(number, term=3) for number in range(3))) == [8, 16, 20]
    assert follower.raft.log_start == follower.disk.log_start == LogStart(10, 1)
    assert follower.terms == [2, 2]
    assert [entry.index for entry in follower.disk.entries] == [11, 12]
    assert follower.raft.commit_index == 10


@pytest.mark.parametrize(
    "log",
    [
        pytest.param((), id="empty"),
        pytest.param((1,) * 4, id="ends before it"),
        pytest.param((1,) * 6 + (2,) * 6, id="another term there"),
    ],
)
def test_install_snapshot_7_else_the_log_goes(
    log: tuple[int, ...], new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 13: "7. Discard the entire log". §7: "it is all superseded by the snapshot and may
    possibly have uncommitted entries that conflict with the snapshot."
    """
    follower = new_server(durable=new_disk_state(log=log), settings=PLAIN)
    of = (10, 3)
    assert send(follower, *(piece(number, of=of, term=3) for number in range(3))) == [8, 16, 20]
    assert follower.raft.log_start == follower.disk.log_start == LogStart(10, 3)
    assert (follower.terms, follower.disk.entries) == ([], ())
    assert (follower.raft.last_index, follower.raft.durable_index) == (10, 10)
    follower.receive(2, append_entries(term=3, after=(10, 3), terms=(3,), commit=11))
    assert [entry.index for entry in follower.committed] == [11]


def test_install_snapshot_8_the_state_is_replaced_before_entries_follow(
    new_server: type[Server],
) -> None:
    """Figure 13: "8. Reset state machine using snapshot contents (and load snapshot's cluster
    configuration)". That may take a while; the server goes on as a follower meanwhile.
    """
    follower = new_server(settings=PLAIN, slow_restore=True)
    send(follower, piece(0), piece(1), piece(2))
    assert follower.installed == [metadata(10)]
    follower.receive(2, append_entries(term=1, after=(10, 1), terms=(1, 1), commit=12))
    assert follower.take_one(AppendEntriesAnswer).match_index == 12
    assert follower.committed == []
    due = follower.raft.deadline()
    assert due is not None
    assert due > follower.now, "nobody is called for what cannot be given out"
    follower.restored()
    assert [entry.index for entry in follower.committed] == [11, 12]


def test_the_members_are_those_of_the_snapshot(new_server: type[Server]) -> None:
    """Figure 13, 8: "(and load snapshot's cluster configuration)"."""
    follower = new_server(settings=PLAIN)
    four = configuration_of([1, 2, 3, 4])
    request = InstallSnapshot(1, 1, SnapshotMetadata(10, 1, 0, four), 3, 0, b"abc")
    assert send(follower, request) == [3]
    assert follower.raft.configuration == four


# ---------------------------------------------------------------------- never backwards


def test_a_snapshot_of_what_is_committed_already_is_not_needed(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§7: "a snapshot that describes a prefix of its log (due to retransmission or by mistake)"."""
    follower = new_server(durable=new_disk_state(log=(1,) * 12), settings=PLAIN)
    follower.receive(2, append_entries(term=1, after=(12, 1), commit=11))
    assert send(follower, piece(0)) == [20]
    assert (follower.installed, follower.raft.log_start) == ([], LogStart(0, 0))
    assert follower.raft.commit_index == 11


def test_that_it_is_not_needed_is_said_when_the_entries_are_durable(
    new_server: type[Server],
) -> None:
    """The leader takes it as a promise, and will not send these entries again."""
    follower = new_server(settings=PLAIN, slow_disk=True)
    follower.receive(2, append_entries(term=1, after=(0, 0)))
    follower.complete_writes()
    follower.receive(2, append_entries(term=1, after=(0, 0), terms=(1,) * 10, commit=10))
    assert follower.raft.commit_index == 10
    assert send(follower, piece(0)) == []
    follower.complete_writes()
    assert [answer.next_offset for answer in follower.take(InstallSnapshotAnswer)] == [20]


@pytest.mark.parametrize("own_snapshot", [False, True])
def test_a_snapshot_that_entries_have_overtaken_is_of_no_use(
    own_snapshot: bool,  # noqa: FBT001  # a column of the table above
    new_server: type[Server],
    new_disk_state: NewDisk,
) -> None:
    """1. The last piece is being written. 2. Meanwhile entries come, beyond what it covers, and
    are applied; this server may even take a snapshot of the same index itself, whose bytes are
    others. 3. The state stays, and the log begins where a snapshot of its own says.
    """
    follower = new_server(durable=new_disk_state(log=(1,) * 9), settings=PLAIN, slow_disk=True)
    for number in (0, 1):
        send(follower, piece(number))
        follower.write_chunk()
    send(follower, piece(2))
    follower.receive(2, append_entries(term=1, after=(9, 1), terms=(1, 1, 1), commit=12))
    assert follower.raft.commit_index == 12
    stored = follower.store_snapshot(10) if own_snapshot else None
    follower.complete_writes()
    follower.take(InstallSnapshotAnswer)
    follower.write_chunk()
    assert follower.take_one(InstallSnapshotAnswer).next_offset == 20
    assert (follower.installed, follower.raft.snapshot.index) == ([], 0)
    assert [entry.index for entry in follower.committed] == list(range(1, 13))
    if stored is not None:
        follower.raft.compact(stored.metadata, 33, follower.now)
        assert follower.raft.snapshot == stored.metadata


def test_a_snapshot_that_is_complete_counts_although_its_leader_was_deposed(
    new_server: type[Server],
) -> None:
    """It is the newest on the disk by then, and what it covers is committed for ever. But the
    leader that sent it is not answered any more.
    """
    follower = new_server(settings=PLAIN, slow_disk=True)
    for number in (0, 1):
        send(follower, piece(number))
        follower.write_chunk()
    send(follower, piece(2))
    follower.receive(3, append_entries(term=2, after=(0, 0)))
    follower.take(InstallSnapshotAnswer)
    follower.write_chunk()
    follower.complete_writes()
    assert follower.installed == [metadata(10)]
    assert follower.take(InstallSnapshotAnswer) == []


def test_an_own_snapshot_that_is_older_than_an_installed_one_changes_nothing(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """1. A snapshot of index 5 is being taken. 2. One of index 10 is installed. 3. The first is
    finished.
    """
    follower = new_server(durable=new_disk_state(log=(1,) * 5), settings=PLAIN)
    follower.receive(2, append_entries(term=1, after=(5, 1), commit=5))
    own = follower.raft.snapshot_metadata(5)
    send(follower, piece(0), piece(1), piece(2))
    follower.raft.compact(own, 20, follower.now)
    assert follower.raft.snapshot == metadata(10)


# ---------------------------------------------------------------------- late, lost, repeated


def test_only_the_next_piece_is_written_and_all_are_answered_with_what_is_missing(
    new_server: type[Server],
) -> None:
    follower = new_server(settings=PLAIN)
    assert send(follower, piece(1)) == [0]
    assert send(follower, piece(0), piece(0), piece(2), piece(1)) == [8, 8, 8, 16]
    assert send(follower, piece(0)) == [16]
    assert send(follower, piece(2), piece(2), piece(0)) == [20, 20, 20]
    assert follower.installed == [metadata(10)]


def test_one_piece_waits_for_the_disk_and_its_newest_request_is_answered(
    new_server: type[Server],
) -> None:
    """A disk that stalls is sent the same piece over and over; memory holds it once."""
    follower = new_server(settings=PLAIN, slow_disk=True)
    follower.receive(2, append_entries(term=1, after=(0, 0)))
    follower.complete_writes()
    for request_id in (1, 3, 2):
        assert send(follower, piece(0, request_id=request_id)) == []
    assert send(follower, piece(1)) == [0]
    assert len(follower.received) == 1
    follower.write_chunk()
    assert follower.take_one(InstallSnapshotAnswer) == InstallSnapshotAnswer(3, 1, 8)


def test_pieces_of_two_leaders_are_never_put_together(new_server: type[Server]) -> None:
    """1. The leader of term 1 has sent two of three pieces. 2. The leader of term 2 has a snapshot
    of the same index and size; but the same state has other bytes there. 3. It begins at the
    beginning, as leaders do; a piece of it that is not the first is of no use.
    """
    follower = new_server(settings=PLAIN)
    assert send(follower, piece(0), piece(1)) == [8, 16]
    other = DATA[::-1]
    assert send(follower, piece(2, term=2, data=other)) == [0]
    pieces = [piece(number, term=2, data=other) for number in range(3)]
    assert send(follower, *pieces) == [8, 16, 20]
    assert follower.disk.contents_of(metadata(10)) == other


def test_another_leaders_piece_waits_until_the_disk_has_done_its_work(
    new_server: type[Server],
) -> None:
    follower = new_server(settings=PLAIN, slow_disk=True)
    send(follower, piece(0))
    assert send(follower, piece(0, term=2)) == [], "as if it were lost"
    follower.write_chunk()
    follower.complete_writes()
    assert follower.take(InstallSnapshotAnswer) == [], "of an earlier term"
    send(follower, piece(0, term=2))
    assert len(follower.received) == 1


def test_a_follower_that_restarts_begins_again(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    disks = {
        1: new_disk_state(snapshot=(10, 1), log=(1,)),
        2: new_disk_state(log=(1,) * 11),
        3: new_disk_state(log=(1,) * 4),
    }
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks)
    cluster.isolate(3)
    cluster.elect(1)
    cluster.heal()

    def is_second_piece(packet: Packet) -> bool:
        return isinstance(packet.message, InstallSnapshot) and packet.message.offset == 8

    while not any(is_second_piece(packet) for packet in cluster.network):
        cluster.run(1000)
    cluster.crash(3)
    cluster.run(HEARTBEAT)
    cluster.restart(3)
    cluster.run(4 * RETRY)
    assert cluster[3].installed == [cluster[1].raft.snapshot]
    assert cluster[3].raft.commit_index == cluster[1].raft.commit_index


def test_a_snapshot_that_is_of_no_use_is_asked_for_again(new_server: type[Server]) -> None:
    """It was damaged on its way, or there is no room for it."""
    follower = new_server(settings=PLAIN, slow_disk=True)
    follower.receive(2, append_entries(term=1, after=(0, 0)))
    follower.complete_writes()
    for number in (0, 1):
        send(follower, piece(number))
        follower.write_chunk()
    assert send(follower, piece(2)) == [16]
    follower.raft.chunk_written(follower.received.pop(), 0, follower.now)
    follower.settle()
    assert follower.take_one(InstallSnapshotAnswer).next_offset == 0
    assert follower.installed == []
    assert send(follower, piece(1)) == [0]
    assert send(follower, piece(0)) == []
    assert len(follower.received) == 1


def test_a_piece_keeps_a_follower_from_standing(new_server: type[Server]) -> None:
    """It is a sign of the leader like AppendEntries, and brings a candidate back in line."""
    follower = new_server(settings=PLAIN)
    follower.time_out()
    while follower.raft.role_name != "candidate":
        follower.time_out()
    follower.receive(2, piece(0, term=follower.raft.current_term))
    assert (follower.raft.role_name, follower.raft.leader) == ("follower", 2)
    due = follower.raft.deadline()
    assert due is not None
    assert due >= follower.now + TIMEOUT


# ---------------------------------------------------------------------- writes under way


def test_a_write_under_way_does_not_vouch_for_entries_that_an_installed_snapshot_discarded(
    new_server: type[Server],
) -> None:
    """1. Entries 1 to 12 of term 1 are on their way to the disk. 2. A snapshot of index 10, term 3
    is installed: at 10 this log has another term, so all of it goes. 3. The leader sends other
    entries 11 and 12. 4. The old write completes. It must not make these durable.
    """
    follower = new_server(settings=PLAIN, slow_disk=True)
    follower.receive(3, append_entries(term=1, after=(0, 0), terms=(1,) * 12))
    request = InstallSnapshot(1, 3, metadata(10, 3), 20, 0, DATA)
    send(follower, request)
    follower.write_chunk()
    follower.receive(2, append_entries(term=3, after=(10, 3), terms=(3, 3)))
    assert follower.raft.durable_index == 10
    follower.take(AppendEntriesAnswer)
    follower.complete_write()
    assert follower.raft.durable_index == 10
    assert follower.take(AppendEntriesAnswer) == []
    follower.complete_write()
    assert follower.take_one(AppendEntriesAnswer).match_index == 12
    assert follower.disk.log_start == LogStart(10, 3)
    assert [entry.term for entry in follower.disk.entries] == [3, 3]


@pytest.mark.parametrize("keep_write", [False, True])
@pytest.mark.parametrize("log", [(), (1,) * 4, (1,) * 12, (1,) * 6 + (2,) * 6])
def test_a_crash_between_any_two_steps_of_an_install_loses_nothing(
    log: tuple[int, ...],
    keep_write: bool,  # noqa: FBT001  # a column of the table above
    new_cluster: type[Cluster],
    new_disk_state: NewDisk,
) -> None:
    """Whatever the server had answered, its next life holds."""
    snapshot = (10, 3)

    def start() -> Cluster:
        cluster = new_cluster(
            3, settings=PLAIN, disks={1: new_disk_state(log=log)}, slow_disks=True
        )
        for number in range(3):
            cluster[1].receive(2, piece(number, of=snapshot, term=3))
        return cluster

    steps: list[Callable[[Server], None]] = [
        lambda server: server.complete_writes(),
        lambda server: server.write_chunk(),
        lambda server: server.receive(2, piece(1, of=snapshot, term=3)),
        lambda server: server.write_chunk(),
        lambda server: server.receive(2, piece(2, of=snapshot, term=3)),
        lambda server: server.write_chunk(),
        lambda server: server.receive(
            2, append_entries(term=3, after=snapshot, terms=(3, 3), commit=11)
        ),
        lambda server: server.complete_write(),
        lambda server: server.complete_writes(),
    ]
    for crash_after in range(len(steps) + 1):
        cluster = start()
        server = cluster[1]
        for step in steps[:crash_after]:
            if step is not steps[7] or server.disk.pending:
                step(server)
        promised = max(
            [answer.match_index for answer in server.take(AppendEntriesAnswer)]
            + [10 for answer in server.take(InstallSnapshotAnswer) if answer.next_offset == 20],
            default=0,
        )
        cluster.crash(1, keep_write=keep_write)
        cluster.restart(1)
        raft = cluster[1].raft
        assert raft.last_index >= max(promised, len(log) if crash_after < 6 else 10)
        if promised >= 10:
            assert raft.snapshot == metadata(*snapshot)
        if promised == 12:
            assert [raft.term_at(index) for index in (10, 11, 12)] == [3, 3, 3]


# ---------------------------------------------------------------------- restoring takes its time


def test_a_newer_snapshot_while_one_is_being_restored(new_server: type[Server]) -> None:
    """The layer above is told of it at once, and may give up the first."""
    follower = new_server(settings=PLAIN, slow_restore=True)
    send(follower, piece(0), piece(1), piece(2))
    newer = (20, 1)
    assert send(follower, *(piece(number, of=newer) for number in range(3))) == [8, 16, 20]
    follower.receive(2, append_entries(term=1, after=newer, terms=(1,), commit=21))
    assert follower.installed == [metadata(10), metadata(20)]
    follower.raft.snapshot_restored(10, follower.now)
    follower.settle()
    assert follower.committed == []
    follower.restored()
    assert [entry.index for entry in follower.committed] == [21]


def test_forwarded_proposals_that_expire_during_a_restore_spin_no_driver(
    new_server: type[Server],
) -> None:
    """Nothing depends on whether the layer above takes events meanwhile."""
    follower = new_server(settings=PRODUCTION)
    follower.receive(2, append_entries(term=1, after=(0, 0)))
    assert follower.raft.forward(5, b"data", follower.now)
    follower.raft.take_ready(follower.now)
    for _ in range(40):
        follower.now += HEARTBEAT
        follower.raft.receive(NodeId(2), append_entries(term=1, after=(0, 0)), follower.now)
        follower.raft.wake(follower.now)
        follower.raft.take_ready(follower.now)
        due = follower.raft.deadline()
        assert due is not None
        assert due > follower.now
    assert follower.raft.take_events(follower.now).forward_outcomes == [ForwardLost(5)]
    assert follower.take(Forward) == []


# ---------------------------------------------------------------------- a snapshot that is lost


def lost_server(new_server: type[Server], new_disk_state: NewDisk, **options: object) -> Server:
    """Its log begins after index 10; what came before cannot be read any more."""
    state = new_disk_state(snapshot=(10, 1), log=(1, 1), snapshot_is_lost=True)
    return new_server(durable=state, settings=PRODUCTION, **options)  # type: ignore[arg-type]


def test_a_server_without_its_snapshot_votes_but_does_not_stand(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    server = lost_server(new_server, new_disk_state)
    server.elapse(20 * TIMEOUT)
    assert (server.raft.role_name, server.raft.current_term) == ("follower", 1)
    assert server.sent == []
    server.receive(2, PreVote(1, 2, last_log_index=12, last_log_term=1))
    server.receive(2, RequestVote(2, 2, last_log_index=11, last_log_term=1))
    assert not server.take_one(RequestVoteAnswer).vote_granted, "its log is the longer one"
    server.receive(3, RequestVote(3, 2, last_log_index=12, last_log_term=1))
    assert server.take_one(RequestVoteAnswer).vote_granted


def test_a_server_without_its_snapshot_asks_for_one_and_keeps_its_entries(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """They may have been acknowledged."""
    server = lost_server(new_server, new_disk_state)
    server.receive(2, append_entries(term=1, after=(12, 1), terms=(1,), commit=13))
    assert server.take_one(SnapshotNeeded) == SnapshotNeeded(7, 1, 10)
    assert (server.raft.leader, server.raft.last_index, server.committed) == (2, 12, [])
    server.receive(2, piece(0, of=(9, 1)))
    assert server.take_one(SnapshotNeeded) == SnapshotNeeded(100, 1, 10)
    assert server.raft.snapshot_is_lost
    assert send(server, piece(0), piece(1), piece(2)) == [8, 16, 20]
    assert not server.raft.snapshot_is_lost
    assert server.installed == [metadata(10)]
    assert server.terms == [1, 1]
    server.receive(2, append_entries(term=1, after=(12, 1), terms=(1,), commit=13))
    assert [entry.index for entry in server.committed] == [11, 12, 13]


def test_the_leader_of_a_server_without_its_snapshot_sends_its_newest(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    disks = {
        1: new_disk_state(snapshot=(12, 1)),
        2: new_disk_state(log=(1,) * 12),
        3: new_disk_state(snapshot=(10, 1), log=(1, 1), snapshot_is_lost=True),
    }
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks)
    cluster.elect(1)
    cluster.run(RETRY)
    assert cluster[3].installed == [metadata(12)]
    assert cluster[1].snapshots_wanted == []
    cluster.propose(1)
    cluster.run(3 * HEARTBEAT)
    assert cluster[3].raft.commit_index == cluster[1].raft.commit_index == 14


def test_a_leader_without_a_snapshot_asks_for_one_when_a_follower_needs_it(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """Only once one could be taken: its own state has come so far."""
    disks = {
        1: new_disk_state(log=(1,) * 12),
        2: new_disk_state(log=(1,) * 12),
        3: new_disk_state(snapshot=(10, 1), log=(1, 1), snapshot_is_lost=True),
    }
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks)
    cluster.elect(1)
    cluster.run(5 * HEARTBEAT)
    wanted = cluster[1].snapshots_wanted
    assert set(wanted) == {10}
    assert 2 <= len(wanted) <= 7, "with each heartbeat, until there is one"
    cluster[1].compact()
    cluster.run(RETRY)
    assert cluster[3].installed == [cluster[1].raft.snapshot]
    assert cluster[3].raft.commit_index == cluster[1].raft.commit_index


def test_nobody_is_asked_for_a_snapshot_that_could_not_be_taken_yet(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """A new leader does not know yet what is committed; the follower asks again."""
    leader = new_server(durable=new_disk_state(log=(1,) * 12), settings=PLAIN)
    leader.win_election()
    probe = leader.take_one(AppendEntries, to=2)
    leader.receive(2, SnapshotNeeded(probe.id, probe.term, 10))
    assert leader.snapshots_wanted == []
    leader.propose()
    answer_entries(leader, 3)
    assert leader.snapshots_wanted == []
    leader.elapse(HEARTBEAT)
    heartbeat = leader.take(AppendEntries, to=2)[-1]
    leader.receive(2, SnapshotNeeded(heartbeat.id, heartbeat.term, 10))
    assert leader.snapshots_wanted == [10]


def test_only_the_newest_answer_tells_whether_a_follower_needs_a_snapshot(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    leader = leader_with_snapshot(new_server, new_disk_state)
    probe = leader.take_one(AppendEntries, to=2)
    leader.elapse(HEARTBEAT)
    heartbeat = leader.take_one(AppendEntries, to=2)
    leader.receive(2, SnapshotNeeded(heartbeat.id, heartbeat.term, 10))
    leader.receive(2, matched(probe))
    assert leader.take_one(InstallSnapshot, to=2).offset == 0
    assert leader.take(AppendEntries, to=2) == [], "the probe was answered by an earlier life"
    leader.elapse(HEARTBEAT)
    leader.receive(2, matched(leader.take_one(AppendEntries, to=2)))
    leader.receive(2, SnapshotNeeded(heartbeat.id, heartbeat.term, 10))
    leader.propose()
    assert len(leader.take_one(AppendEntries, to=2).entries) == 1


def test_a_transfer_of_what_is_too_old_for_a_follower_by_now_begins_again(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """1. A follower has a part of the snapshot. 2. Entries come to it after all, and it compacts
    them. 3. It restarts, and cannot read its snapshot any more.
    """
    leader = leader_with_snapshot(new_server, new_disk_state)
    lag(leader, 2)
    leader.receive(2, written(leader.take_one(InstallSnapshot, to=2)))
    leader.propose()
    answer_entries(leader, 3)
    assert leader.compact().index == 13
    leader.elapse(HEARTBEAT)
    heartbeat = leader.take(AppendEntries, to=2)[-1]
    leader.receive(2, SnapshotNeeded(heartbeat.id, heartbeat.term, 12))
    request = leader.take(InstallSnapshot, to=2)[-1]
    assert (request.snapshot.index, request.offset) == (13, 0)


# ---------------------------------------------------------------------- a snapshot of each entry


@pytest.mark.parametrize("settings", [PLAIN, PRODUCTION], ids=["plain", "production"])
def test_a_snapshot_after_each_entry_keeps_nobody_from_going_on(
    settings: Settings, new_cluster: type[Cluster]
) -> None:
    """One follower is cut off every other moment: it needs a snapshot each time, and gets it."""
    cluster = new_cluster(3, settings=settings)
    cluster.elect(1)
    for turn in range(40):
        if turn % 2:
            cluster.heal()
        else:
            cluster.isolate(3)
        for _ in range(3):
            cluster.propose(1)
            cluster.run(5_000)
            for server in cluster.up:
                if server.committed and server.committed[-1].index > server.raft.snapshot.index:
                    server.compact()
            cluster.collect()
        cluster.run(2 * PRODUCTION.append_timeout_us if turn % 2 else HEARTBEAT)
        if turn % 2:
            assert cluster[3].raft.commit_index == cluster[1].raft.commit_index
    assert cluster[1].raft.is_leader
    assert cluster[1].raft.commit_index >= 120
    assert cluster[1].raft.log_start.index == cluster[1].raft.commit_index
    assert len(cluster[3].installed) >= 10
