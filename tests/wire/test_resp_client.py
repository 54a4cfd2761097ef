import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_client import ReceivedReply, ReplyLimits, ReplyParser, encode_command
from quorate.wire.resp_guard import RequestLimits
from quorate.wire.resp_parser import RequestParser
from quorate.wire.resp_reply import ErrorReply, Reply, SimpleString, encode_reply

TIGHT = ReplyLimits(max_reply_bytes=70_000)


def parse(
    pieces: Iterable[bytes], limits: ReplyLimits = TIGHT
) -> tuple[list[ReceivedReply], str | None]:
    """All replies in the pieces, and the text of the error that ended them."""
    parser = ReplyParser(limits)
    replies: list[ReceivedReply] = []
    for piece in pieces:
        try:
            replies += parser.receive(piece)
        except ProtocolError as error:
            return replies, str(error)
    return replies, None


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


WELL_FORMED: dict[str, tuple[bytes, list[ReceivedReply]]] = {
    "a simple string": (b"+OK\r\n", [b"OK"]),
    "an empty simple string": (b"+\r\n", [b""]),
    "an error": (b"-ERR no such thing\r\n", [ErrorReply("ERR", "no such thing")]),
    "an error without text": (b"-STALE\r\n", [ErrorReply("STALE", "")]),
    "an error that is no text": (b"-ERR \xff\r\n", [ErrorReply("ERR", "\ufffd")]),
    "integers": (b":0\r\n:-12\r\n", [0, -12]),
    "the largest integers": (
        b":9223372036854775807\r\n:-9223372036854775808\r\n",
        [2**63 - 1, -(2**63)],
    ),
    "a bulk string": (b"$4\r\na\r\nb\r\n", [b"a\r\nb"]),
    "an empty bulk string": (b"$0\r\n\r\n", [b""]),
    "null": (b"$-1\r\n", [None]),
    "a null array": (b"*-1\r\n", [None]),
    "an array": (b"*3\r\n:0\r\n$-1\r\n$1\r\na\r\n", [[0, None, b"a"]]),
    "an empty array": (b"*0\r\n", [[]]),
    "arrays in arrays": (b"*3\r\n*0\r\n*1\r\n*1\r\n:1\r\n$1\r\na\r\n", [[[], [[1]], b"a"]]),
    "an error in an array": (b"*1\r\n-E x\r\n", [[ErrorReply("E", "x")]]),
}

MALFORMED = {
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "a verbatim string": b"=7\r\ntxt:abc\r\n",
    "no reply at all": b"HTTP/1.1 400 Bad Request\r\n",
    "a length that is no number": b"$x\r\n",
    "a negative length": b"$-2\r\n",
    "a bulk string beyond the limit": b"$70000\r\n",
    "an array with a negative length": b"*-2\r\n",
    "an array of a billion": b"*1000000000\r\n",
    "an array that is too long": b"*5\r\n" + (b"$20000\r\n%b\r\n" % bytes(20_000)) * 5,
    "a bulk string longer than it says": b"$1\r\nabc\r\n",
    "an integer beyond 64 bits": b":9223372036854775808\r\n",
    "an integer that is none": b":1.5\r\n",
    "a simple string with a line feed": b"+a\nb\r\n",
    "a simple string with a carriage return": b"+a\rb\r\n",
    "a simple string without end": b"+" + b"a" * 8_192,
    "arrays in arrays in arrays": b"*1\r\n" * 9,
}


@pytest.mark.parametrize(("data", "replies"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_reply_is_understood_however_it_arrives(
    data: bytes, replies: list[ReceivedReply]
) -> None:
    assert parse([data]) == (replies, None)
    assert parse(bytewise(data)) == (replies, None)
    assert parse([data + b":7\r\n"]) == ([*replies, 7], None)
    for place in range(len(data)):
        assert parse([b"+OK\r\n" + data[:place], data[place:]]) == ([b"OK", *replies], None)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_reply_is_refused(data: bytes) -> None:
    for pieces in ([data], [data[:2], data[2:]], [b"+OK\r\n", data], bytewise(data)):
        error = parse(pieces)[1]
        assert error is not None
        assert error.startswith("Protocol error: ")


def test_what_comes_after_a_fault_is_ignored() -> None:
    parser = ReplyParser(TIGHT)
    with pytest.raises(ProtocolError):
        parser.receive(b"%1\r\n")
    assert parser.receive(b"+OK\r\n") == []


def test_the_longest_reply_passes() -> None:
    body = bytes(TIGHT.max_reply_bytes - len(b"$69990\r\n\r\n"))
    assert parse([b"$%d\r\n%b\r\n" % (len(body), body)]) == ([body], None)
    assert parse([b"$%d\r\n%b\r\n" % (len(body) + 1, body)]) == (
        [],
        "Protocol error: too big reply",
    )


def test_a_large_reply_in_small_pieces() -> None:
    value = bytes(range(256)) * 4096
    data = b"*2\r\n" + (b"$%d\r\n%b\r\n" % (len(value), value)) * 2
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    assert parse(pieces, ReplyLimits()) == ([[value, value]], None)


@given(st.lists(st.one_of(st.binary(), st.text(), st.integers()), min_size=1, max_size=9))
def test_the_server_reads_the_command_that_was_encoded(arguments: list[bytes | str | int]) -> None:
    received = RequestParser(RequestLimits()).receive(encode_command(*arguments))
    assert received == [[a if isinstance(a, bytes) else str(a).encode() for a in arguments]]


single = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=20),
    st.sampled_from([SimpleString("OK"), ErrorReply("ERR", "a b"), ErrorReply("E", "")]),
)
nested = st.recursive(single, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


def plain(reply: Reply) -> object:
    match reply:
        case SimpleString(text):
            return text.encode()
        case list():
            return [plain(item) for item in reply]
        case _:
            return reply


@given(st.lists(nested, max_size=6), st.lists(st.integers(0, 500), max_size=5))
def test_replies_are_what_was_sent_wherever_the_bytes_are_cut(
    sent: list[Reply], places: list[int]
) -> None:
    data = b"".join(encode_reply(reply, 2) for reply in sent)
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    received, error = parse(data[a:b] for a, b in itertools.pairwise(edges))
    assert received == [plain(reply) for reply in sent]
    assert error is None


garbage = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="+-:$*%_,#=>~(01239\r\n ab", max_size=60).map(str.encode),
)


@given(garbage, st.integers(0, 60))
def test_garbage_gives_replies_or_a_protocol_error_wherever_it_is_cut(
    data: bytes, place: int
) -> None:
    replies, error = parse([data])
    in_pieces, error_in_pieces = parse([data[:place], data[place:]])
    assert error_in_pieces == error
    assert error is not None or in_pieces == replies
