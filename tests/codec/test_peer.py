import contextlib
import typing
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.errors import DecodeError
from quorate.codec.peer import decode_message, encode_message
from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries, InstallSnapshot, PeerMessage
from quorate.raft.snapshot import SnapshotMetadata

numbers = st.integers(0, 2**63 - 1)
times = st.integers(0, 2**62)
of_type = {
    int: numbers,
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    int | None: st.none() | numbers,
    bytes | None: st.none() | st.binary(max_size=40),
}
MESSAGE_TYPES = typing.get_args(PeerMessage)


members = st.builds(
    Member, id=numbers.map(NodeId), peer_address=st.text(max_size=9), data_id=st.text(max_size=9)
)
configurations = st.builds(
    Configuration,
    voters=st.lists(members, min_size=1, max_size=3).map(tuple),
    learners=st.lists(members, max_size=2).map(tuple),
    promoting=st.lists(numbers.map(NodeId), max_size=2).map(tuple),
    removed=st.lists(st.text(max_size=9), max_size=2).map(tuple),
)


def entries_of(index: int, term: int, time_ms: int) -> st.SearchStrategy[Entry]:
    """Entries as leaders make them, of every kind."""
    make = partial(Entry, index, term, time_ms)
    return (
        st.builds(make, st.just(EntryKind.NO_OP))
        | st.builds(make, st.just(EntryKind.DATA), st.binary(max_size=40))
        | st.builds(make, st.just(EntryKind.CONFIGURATION), configuration=configurations)
    )


@st.composite
def append_entries(draw: st.DrawFn) -> AppendEntries:
    """A request as leaders send them: indices without gaps, terms and times that never go back."""
    prev_log_index = draw(st.integers(0, 2**62))
    terms = sorted(draw(st.lists(st.integers(1, 2**63 - 1), min_size=2, max_size=7)))
    time_ms = draw(times)
    entries = tuple(
        draw(entries_of(prev_log_index + place, term, time_ms))
        for place, term in enumerate(terms[1:-1], start=1)
    )
    return AppendEntries(
        id=draw(numbers),
        term=terms[-1],
        prev_log_index=prev_log_index,
        prev_log_term=terms[0] if prev_log_index else 0,
        leader_commit=draw(numbers),
        entries=entries,
    )


members = st.builds(Member, numbers.map(NodeId), st.text(max_size=9), st.text(max_size=9))
configurations = st.builds(Configuration, st.lists(members, min_size=1, max_size=5).map(tuple))


@st.composite
def install_snapshot(draw: st.DrawFn) -> InstallSnapshot:
    """A piece as leaders send them: of a snapshot of this term or an earlier one."""
    term = draw(st.integers(1, 2**63 - 1))
    offset = draw(st.integers(0, 2**62))
    data = draw(st.binary(min_size=1, max_size=40))
    return InstallSnapshot(
        id=draw(numbers),
        term=term,
        snapshot=SnapshotMetadata(
            index=draw(st.integers(1, 2**63 - 1)),
            term=draw(st.integers(1, term)),
            time_ms=draw(times),
            configuration=draw(configurations),
        ),
        size=offset + len(data) + draw(st.integers(0, 2**62 - 40)),
        offset=offset,
        data=data,
    )


def messages_of(kind: type) -> st.SearchStrategy[PeerMessage]:
    if kind is AppendEntries:
        return append_entries()
    if kind is InstallSnapshot:
        return install_snapshot()
    fields = typing.get_type_hints(kind)
    return st.builds(kind, **{name: of_type[hint] for name, hint in fields.items()})


messages = st.one_of([messages_of(kind) for kind in MESSAGE_TYPES])


@given(messages)
def test_a_message_survives_the_round_trip(message: PeerMessage) -> None:
    received = decode_message(encode_message(message))
    assert received == message
    assert type(received) is type(message)


def test_the_bytes_of_an_entry_travel_as_they_are() -> None:
    # A batch is encoded once, when it is proposed, and never again for any follower.
    data = bytes(range(256))
    entry = Entry(index=1, term=1, time_ms=0, kind=EntryKind.DATA, data=data)
    assert data in encode_message(AppendEntries(1, 1, 0, 0, 0, (entry,)))


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([(7, 2)], "after index 5 holds an entry of index 7 and term 2 in place 6"),
        ([(6, 2), (8, 2)], "after index 5 holds an entry of index 8 and term 2 in place 7"),
        ([(6, 2), (6, 2)], "after index 5 holds an entry of index 6 and term 2 in place 7"),
        ([(6, 1)], "after index 5 holds an entry of index 6 and term 1 in place 6"),
        ([(6, 3), (7, 2)], "after index 5 holds an entry of index 7 and term 2 in place 7"),
        ([(6, 4)], "after index 5 holds an entry of index 6 and term 4 in place 6"),
    ],
    ids=["gap before", "gap", "twice", "older than what they follow", "back", "newer than leader"],
)
def test_entries_that_no_leader_can_have_are_a_decode_error(
    entries: list[tuple[int, int]], fault: str
) -> None:
    request = AppendEntries(
        id=1,
        term=3,
        prev_log_index=5,
        prev_log_term=2,
        leader_commit=5,
        entries=tuple(Entry(index, term, 0, EntryKind.DATA, b"") for index, term in entries),
    )
    with pytest.raises(DecodeError, match=fault):
        decode_message(encode_message(request))


@pytest.mark.parametrize(
    ("term", "index", "previous_term"),
    [(0, 0, 0), (3, 0, 2), (3, 5, 0), (3, 5, 4)],
    ids=["no term", "a term before all", "an entry of no term", "of a later term"],
)
def test_an_entry_that_no_leader_can_have_is_followed_by_nothing(
    term: int, index: int, previous_term: int
) -> None:
    # A request behind entry 0 of term 2 tripped the follower's assertion that
    # committed entries never change, and one of no term made it follow a leader of none.
    with pytest.raises(DecodeError, match=f"follows an entry of index {index}"):
        decode_message(encode_message(AppendEntries(1, term, index, previous_term, 0, ())))


@pytest.mark.parametrize("times_ms", [(-1,), (2**62 + 1,), (20, 10)])
def test_time_never_goes_back_nor_to_its_end(times_ms: tuple[int, ...]) -> None:
    entries = tuple(Entry(6 + n, 2, t, EntryKind.NO_OP) for n, t in enumerate(times_ms))
    with pytest.raises(DecodeError, match="ms after one of"):
        decode_message(encode_message(AppendEntries(1, 3, 5, 2, 5, entries)))
    snapshot = SnapshotMetadata(9, 2, min(times_ms), Configuration((Member(NodeId(1)),)))
    if len(times_ms) == 1:
        with pytest.raises(DecodeError, match="a snapshot of"):
            decode_message(encode_message(InstallSnapshot(1, 3, snapshot, 10, 0, b"abc")))


@pytest.mark.parametrize("number", [-1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_numbers_that_none_of_us_has_are_a_decode_error(kind: type, number: int) -> None:
    # With a term of 2**64 - 1 a server could not say its next one, and ended.
    values = {bool: False, bytes: b"", bytes | None: b"", tuple[Entry, ...]: ()}
    hints = typing.get_type_hints(kind)
    fields = {name: values.get(hint, number) for name, hint in hints.items()}
    with pytest.raises(DecodeError, match="not a peer message"):
        decode_message(encode_message(kind(**fields)))


@pytest.mark.parametrize(
    ("kind", "configuration"),
    [
        (EntryKind.CONFIGURATION, None),
        (EntryKind.CONFIGURATION, Configuration(())),
        (EntryKind.DATA, Configuration((Member(NodeId(1)),))),
    ],
    ids=["none", "without voters", "in a batch"],
)
def test_a_configuration_is_in_its_own_entries_and_there_alone(
    kind: EntryKind, configuration: Configuration | None
) -> None:
    entry = Entry(6, 2, 0, kind, configuration=configuration)
    with pytest.raises(DecodeError, match=r"entry 6 .* configuration"):
        decode_message(encode_message(AppendEntries(1, 3, 5, 2, 5, (entry,))))


SNAPSHOT = SnapshotMetadata(9, 2, 0, Configuration((Member(NodeId(1)),)))


@pytest.mark.parametrize(
    ("piece", "fault"),
    [
        (InstallSnapshot(1, 3, SNAPSHOT, 10, 8, b"abc"), "bytes 8 to 11 of a snapshot of 10"),
        (InstallSnapshot(1, 3, SNAPSHOT, 10, -1, b"abc"), r"Expected `int` >= 0 .* `\$\[5\]`"),
        (InstallSnapshot(1, 3, SNAPSHOT, 10, 10, b""), "bytes 10 to 10 of a snapshot of 10"),
        (InstallSnapshot(1, 1, SNAPSHOT, 10, 0, b"abc"), "of term 1 .* of index 9 and term 2"),
        (
            InstallSnapshot(1, 3, SnapshotMetadata(0, 2, 0, SNAPSHOT.configuration), 10, 0, b"a"),
            "of term 3 .* of index 0 and term 2",
        ),
        (
            InstallSnapshot(1, 3, SnapshotMetadata(9, 0, 0, SNAPSHOT.configuration), 10, 0, b"a"),
            "of term 3 .* of index 9 and term 0",
        ),
        (
            InstallSnapshot(1, 3, SnapshotMetadata(9, 2, 0, Configuration(())), 10, 0, b"abc"),
            "without voters",
        ),
    ],
    ids=["too long", "before it", "empty", "of a later term", "of nothing", "no term", "nobody's"],
)
def test_pieces_that_no_leader_can_have_are_a_decode_error(
    piece: InstallSnapshot, fault: str
) -> None:
    with pytest.raises(DecodeError, match=fault):
        decode_message(encode_message(piece))


def test_a_message_keeps_nothing_of_the_buffer_that_it_came_in() -> None:
    entry = Entry(index=1, term=1, time_ms=0, kind=EntryKind.DATA, data=b"payload")
    message = AppendEntries(1, 1, 0, 0, 0, (entry,))
    buffer = bytearray(encode_message(message))
    received = decode_message(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert received == message


@given(messages, st.data())
def test_a_message_that_is_cut_short_is_a_decode_error(
    message: PeerMessage, data: st.DataObject
) -> None:
    encoded = encode_message(message)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError, match="not a peer message"):
        decode_message(encoded[:length])


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_message(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x95\x01\x01\x01\x01\x01\x00",  # something behind the message
        b"\x93\x63\x01\x01",  # an unknown type
        b"\x92\x07\x01",  # a field is missing
        b"\x97\x05\x01\x01\x01\x01\x01\xdd\xff\xff\xff\xff",  # four thousand million entries
        b"\x94\x09\x01\x01\xc6\xff\xff\xff\xff",  # data of 4 GiB
        b"\x95\x09\x01\x01\xc4\x00" + b"\x91" * 100_000,  # a field too many, endlessly nested
    ],
)
def test_what_is_no_message_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a peer message"):
        decode_message(data)
