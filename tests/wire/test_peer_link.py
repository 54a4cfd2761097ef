import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries, Forward, PeerMessage, PreVote, ReadIndexAnswer
from quorate.wire.errors import PeerProtocolError, PeerRefusedError
from quorate.wire.peer_frame import FrameKind, encode_frame
from quorate.wire.peer_hello import MAX_HELLO_BYTES, Hello, encode_hello
from quorate.wire.peer_link import MAGIC, PeerConnection


def hello_of(node: int, to: int | None) -> Hello:
    return Hello(
        cluster_id="blue",
        sender=NodeId(node),
        to=None if to is None else NodeId(to),
        data_id=f"disk-of-{node}",
        boot=7,
        client_address=f"127.0.0.1:700{node}",
    )


def dialler(max_frame_bytes: int = 10_000) -> PeerConnection:
    return PeerConnection(hello_of(1, 2), max_frame_bytes=max_frame_bytes)


def listener(max_frame_bytes: int = 10_000) -> PeerConnection:
    return PeerConnection(hello_of(2, None), max_frame_bytes=max_frame_bytes)


def connected(max_frame_bytes: int = 10_000) -> tuple[PeerConnection, PeerConnection]:
    a, b = dialler(max_frame_bytes), listener(max_frame_bytes)
    assert b.receive(a.greet()) == []
    assert b.accept() == []
    assert a.receive(b.greet()) == []
    assert a.accept() == []
    return a, b


MESSAGES: list[PeerMessage] = [
    PreVote(id=1, term=2, last_log_index=3, last_log_term=2),
    AppendEntries(
        id=2,
        term=2,
        prev_log_index=3,
        prev_log_term=2,
        leader_commit=3,
        entries=tuple(
            Entry(index=i, term=2, time_ms=i, kind=EntryKind.DATA, data=b"x" * i)
            for i in range(4, 90)
        ),
    ),
    ReadIndexAnswer(id=3, term=2, read_index=None),
    Forward(id=4, term=2, data=b"\x00\xff"),
]


def test_each_side_learns_who_the_other_is() -> None:
    a, b = connected()
    assert a.hello == hello_of(2, None)
    assert b.hello == hello_of(1, 2)


def test_messages_travel_both_ways() -> None:
    a, b = connected()
    assert b.receive(b"".join(map(a.encode, MESSAGES))) == MESSAGES
    assert a.receive(b"".join(map(b.encode, MESSAGES))) == MESSAGES


@given(st.lists(st.integers(0, 6000), max_size=8))
def test_messages_are_what_was_sent_wherever_the_bytes_are_cut(places: list[int]) -> None:
    a, b = connected()
    data = b"".join(map(a.encode, MESSAGES))
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    received = []
    for start, end in itertools.pairwise(edges):
        received += b.receive(data[start:end])
    assert received == MESSAGES


def test_everything_may_arrive_byte_by_byte() -> None:
    a, b = connected()
    greeting = dialler().greet()
    late = listener()
    for i in range(len(greeting)):
        assert late.hello is None
        assert late.receive(greeting[i : i + 1]) == []
    assert late.hello == hello_of(1, 2)

    received = []
    data = b"".join(map(a.encode, MESSAGES))
    for i in range(len(data)):
        received += b.receive(data[i : i + 1])
    assert received == MESSAGES


def test_messages_right_behind_the_hello_are_kept_back_until_it_is_accepted() -> None:
    a, _ = connected()
    b = listener()
    assert b.receive(dialler().greet() + a.encode(MESSAGES[0])) == []
    assert b.receive(a.encode(MESSAGES[1])) == []
    assert b.accept() == MESSAGES[:2]
    assert b.receive(a.encode(MESSAGES[2])) == [MESSAGES[2]]


def test_what_is_kept_back_is_bounded() -> None:
    b = listener(max_frame_bytes=1000)
    assert b.receive(dialler().greet() + bytes(1000)) == []
    with pytest.raises(PeerProtocolError, match=r"node 1 .* 1001 bytes before it was accepted"):
        b.receive(b"x")


@pytest.mark.parametrize("greeted", [False, True])
def test_a_refused_server_learns_why(greeted: bool) -> None:  # noqa: FBT001  # a parameter of the case
    a, b = dialler(), listener()
    b.receive(a.greet())
    greeting = b.greet() if greeted else b""
    refusal = greeting + b.refuse("it is of another cluster\nFORGED")
    if greeted:
        a.receive(greeting)
        a.accept()
        refusal = refusal[len(greeting) :]
    # Whom it has called it knows, but who is there only says its hello.
    name = "node 2" if greeted else "the server at the address of node 2"
    with pytest.raises(
        PeerRefusedError, match=rf"^{name} refuses this .*: it is of another cluster\?FORGED"
    ):
        a.receive(refusal)


def test_a_server_that_was_refused_is_not_heard_any_more() -> None:
    a, b = dialler(), listener()
    b.receive(a.greet())
    b.refuse("no")
    assert b.receive(encode_frame(FrameKind.MESSAGE, b"")) == []


def test_the_longest_frame_passes_and_a_longer_one_is_refused_by_its_header() -> None:
    overhead = len(connected()[0].encode(Forward(id=1, term=1, data=bytes(999)))) - 999 - 9
    a, b = connected(max_frame_bytes=1000 + overhead)
    longest = Forward(id=1, term=1, data=bytes(1000))
    assert b.receive(a.encode(longest)) == [longest]
    longer, _ = connected()
    frame = longer.encode(Forward(id=1, term=1, data=bytes(1001)))
    with pytest.raises(PeerProtocolError, match=r"node 1 broke .*: frame of \d+ bytes, the limit"):
        b.receive(frame[:9])


def test_a_hello_is_small() -> None:
    frame = encode_frame(FrameKind.HELLO, bytes(MAX_HELLO_BYTES + 1))
    with pytest.raises(PeerProtocolError, match=r"a stranger broke .*: frame of 8193 bytes"):
        listener().receive(MAGIC + frame[:9])


A_HELLO = encode_frame(FrameKind.HELLO, encode_hello(hello_of(1, 2)))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n", "not a quorate server, it sent b'GET / HTTP/1.1"),
        (b"Q\x00", "not a quorate server, it sent b'Q"),
        (b"*1\r\n$4\r\nPING\r\n", "not a quorate server"),
        (MAGIC + encode_frame(FrameKind.MESSAGE, b"\x93\x07\x01\x01"), "MESSAGE out of turn"),
        (MAGIC + encode_frame(FrameKind.HELLO, b"\x93\x07\x01\x01"), "not a hello"),
        (MAGIC + encode_frame(FrameKind.REFUSAL, b"\x91\x07"), "not a refusal"),
        (MAGIC + A_HELLO[:-1] + b"\x00", "wrong checksum"),
        (MAGIC + b"\x00\x00\x00\x00" * 2 + b"\x63", "frame of an unknown kind, 99"),
    ],
)
def test_a_stranger_is_found_out(data: bytes, fault: str) -> None:
    called = "the server at the address of node 2"
    for connection, name in ((dialler(), called), (listener(), "a stranger")):
        with pytest.raises(PeerProtocolError, match=f"{name} broke the protocol.*: .*{fault}"):
            connection.receive(data)
        assert connection.receive(A_HELLO) == []
        assert connection.hello is None


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (A_HELLO, "HELLO out of turn"),
        (encode_frame(FrameKind.MESSAGE, b"\xc1"), "not a peer message"),
        (encode_frame(FrameKind.MESSAGE, b"\x93\x63\x01\x01"), "not a peer message"),
        (encode_frame(FrameKind.MESSAGE, b"\x95\x01\x01\x01\x01\x01")[:-1] + b"\x02", "checksum"),
    ],
)
def test_a_member_that_breaks_the_protocol_is_named(frame: bytes, fault: str) -> None:
    _, b = connected()
    with pytest.raises(PeerProtocolError, match=f"node 1 broke the protocol .*: .*{fault}"):
        b.receive(frame)
    assert b.receive(frame) == []


@given(st.binary(max_size=80), st.sampled_from(["stranger", "magic", "open", "framed"]))
def test_garbage_never_raises_anything_but_a_protocol_error(data: bytes, stage: str) -> None:
    b = connected()[1] if stage in ("open", "framed") else listener()
    if stage == "magic":
        b.receive(MAGIC)
    with contextlib.suppress(PeerProtocolError):
        b.receive(encode_frame(FrameKind.MESSAGE, data) if stage == "framed" else data)
