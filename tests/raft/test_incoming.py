"""Which pieces of a snapshot are written, compared with a receiver that keeps them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.incoming import IncomingSnapshot
from quorate.raft.messages import InstallSnapshot
from quorate.raft.snapshot import SnapshotMetadata

LEADER = NodeId(2)


def contents(term: int, index: int) -> bytes:
    """The snapshot of this index in the bytes of this term's leader."""
    return bytes([term, index]) * 5


def piece(term: int, index: int, offset: int, request_id: int) -> InstallSnapshot:
    data = contents(term, index)
    return InstallSnapshot(
        id=request_id,
        term=term,
        snapshot=SnapshotMetadata(index, 1, 0, configuration_of([1, 2, 3])),
        size=len(data),
        offset=offset,
        data=data[offset : offset + 4],
    )


STEPS = st.one_of(
    st.tuples(st.just("piece"), st.integers(1, 2), st.sampled_from([0, 4, 8])),
    st.tuples(st.just("newer term"), st.just(0), st.just(0)),
    st.tuples(st.just("written"), st.just(0), st.just(0)),
    st.tuples(st.just("of no use"), st.just(0), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_only_a_snapshot_of_one_leader_is_ever_put_together(
    steps: list[tuple[str, int, int]],
) -> None:
    """Whatever comes in whatever order: a file has the pieces of one snapshot, each once and in
    order, at most one waits to be written, and what is answered is true.
    """
    incoming = IncomingSnapshot()
    term = 1
    file = b""
    file_of: tuple[int, int] | None = None
    waiting = []
    asked: list[int] = []
    for number, (step, index, offset) in enumerate(steps):
        match step:
            case "piece":
                request = piece(term, index, offset, number)
                answer = incoming.receive(LEADER, request)
                waiting += incoming.take_received()
                assert len(waiting) <= 1
                if answer is None:
                    asked.append(number)
                else:
                    has = len(file) if file_of == (term, index) else 0
                    assert answer in (0, has)
            case "newer term":
                term += 1
            case "written" | "of no use" if waiting:
                received = waiting.pop()
                request = received.request
                if request.offset == 0:
                    file, file_of = b"", (request.term, request.snapshot.index)
                assert file_of == (request.term, request.snapshot.index)
                assert len(file) == request.offset
                file += request.data
                if step == "of no use":
                    file, file_of = b"", None
                assert incoming.written(received, len(file)) in asked
                if len(file) == request.size:
                    assert file == contents(request.term, request.snapshot.index)
                    file, file_of = b"", None


def test_a_leader_that_goes_on_comes_to_the_end() -> None:
    """A plain transfer needs each piece once."""
    incoming = IncomingSnapshot()
    offset = 0
    for number in range(3):
        assert incoming.receive(LEADER, piece(1, 5, offset, number)) is None
        (received,) = incoming.take_received()
        offset += len(received.request.data)
        assert incoming.written(received, offset) == number
    assert offset == 10
