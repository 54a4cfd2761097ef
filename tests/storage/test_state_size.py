"""The size of the persisted state against a twin that encodes everything anew each time."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.log import WriteRecord, encode_record
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.storage.frames import encode_frame
from quorate.storage.state_size import StateSize


def framed_size(record: WriteRecord) -> int:
    return len(encode_frame(encode_record(record), sequence=1, offset=0))


def size_of(term: int, voted_for: NodeId | None, entries: list[Entry]) -> int:
    """The newest term and vote, and each live entry in a frame of its own."""
    alone = [WriteRecord(0, None, (entry,)) for entry in entries]
    return framed_size(WriteRecord(term, voted_for, ())) + sum(map(framed_size, alone))


@given(
    st.integers(0, 2**40),
    st.lists(
        st.tuples(
            st.integers(0, 2**20),
            st.none() | st.integers(1, 2**20),
            st.integers(0, 5),
            st.lists(st.integers(0, 300), max_size=4),
            st.sampled_from(["grow"] * 3 + ["all goes", "some stays"]),
            st.integers(0, 5),
        ),
        max_size=20,
    ),
)
def test_the_size_is_that_of_the_live_state(
    start: int, steps: list[tuple[int, int | None, int, list[int], str, int]]
) -> None:
    size = StateSize(start)
    entries: list[Entry] = []
    term = 0
    for more, vote, overwritten, lengths, kind, moved in steps:
        if kind == "all goes":
            start += moved + len(entries)
            entries.clear()
            size.move_start(start, start)
        elif kind == "some stays":
            gone = min(moved, len(entries))
            start += gone
            del entries[:gone]
            size.move_start(start, start + len(entries))
        assert size.last_index == start + len(entries)
        term += more
        voted_for = None if vote is None else NodeId(vote)
        if lengths:
            del entries[max(0, len(entries) - overwritten) :]
        new = tuple(
            Entry(start + len(entries) + position, term, term * 3, EntryKind.DATA, bytes(length))
            for position, length in enumerate(lengths, start=1)
        )
        entries.extend(new)
        record = WriteRecord(term, voted_for, new)
        size.record(record, len(encode_record(record)))
        assert size.total == size_of(term, voted_for, entries)
        assert size.last_index == start + len(entries)


def test_entries_that_are_not_known_count_nothing_until_they_are_gone() -> None:
    size = StateSize(10, last_index=13)
    assert size.last_index == 13
    entry = Entry(13, 1, 0, EntryKind.DATA, b"data")
    record = WriteRecord(1, None, (entry,))
    size.record(record, len(encode_record(record)))
    size.move_start(12, 13)
    assert size.total == size_of(1, None, [entry])


def test_an_empty_log_has_the_size_of_a_term_and_a_vote() -> None:
    assert StateSize(0).total == size_of(0, None, [])
