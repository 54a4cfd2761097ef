import itertools
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_guard import RequestLimits
from quorate.wire.resp_inline import split_inline
from quorate.wire.resp_parser import RequestParser

Requests = list[list[bytes]]

TIGHT = RequestLimits(
    max_arguments=20, max_bulk_bytes=200, max_request_bytes=1000, max_inline_bytes=300
)
PING = b"*1\r\n$4\r\nPING\r\n"


def command(*arguments: bytes) -> bytes:
    header = b"*%d\r\n" % len(arguments)
    return header + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in arguments)


def parse(pieces: Iterable[bytes], limits: RequestLimits = TIGHT) -> tuple[Requests, str | None]:
    """All requests in the pieces, and the text of the error that ended them."""
    parser = RequestParser(limits)
    requests: Requests = []
    for piece in pieces:
        try:
            requests += parser.receive(piece)
        except ProtocolError as error:
            return requests + error.requests, str(error)
    return requests, None


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


# --------------------------------------------------------------------------- cases

WELL_FORMED: dict[str, tuple[bytes, Requests]] = {
    "one argument": (PING, [[b"PING"]]),
    "two arguments": (command(b"GET", b"k"), [[b"GET", b"k"]]),
    "empty arguments": (command(b"", b"", b""), [[b"", b"", b""]]),
    "line breaks in an argument": (command(b"ECHO", b"\r\n*9\r\n"), [[b"ECHO", b"\r\n*9\r\n"]]),
    "bytes that are no text": (command(b"SET", b"\x00\xff"), [[b"SET", b"\x00\xff"]]),
    "the longest small argument": (command(b"ECHO", b"x" * 99), [[b"ECHO", b"x" * 99]]),
    "a large last argument": (command(b"SET", b"k", b"x" * 100), [[b"SET", b"k", b"x" * 100]]),
    "a large first argument": (command(b"x" * 100, b"k"), [[b"x" * 100, b"k"]]),
    "only large arguments": (command(b"x" * 150, b"y" * 160), [[b"x" * 150, b"y" * 160]]),
    "as many arguments as are small": (command(*b"1234567".split()), [b"1234567".split()]),
    "more arguments than are small": (command(*[b"a"] * 8), [[b"a"] * 8]),
    "a long run of small arguments": (command(*[b"ab"] * 20), [[b"ab"] * 20]),
    "large ones in a long run": (
        command(*[b"a"] * 5, b"x" * 120, *[b"b"] * 9, b"y" * 130),
        [[b"a"] * 5 + [b"x" * 120] + [b"b"] * 9 + [b"y" * 130]],
    ),
    "no arguments": (b"*0\r\n", []),
    "a null array": (b"*-1\r\n", []),
    "an array of negative length": (b"*-7\r\n", []),
    "nothing between requests": (PING + b"*0\r\n" + PING, [[b"PING"], [b"PING"]]),
    "small, large, small": (
        PING + command(b"ECHO", b"x" * 100) + PING,
        [[b"PING"], [b"ECHO", b"x" * 100], [b"PING"]],
    ),
    "a long pipeline": (PING * 300, [[b"PING"]] * 300),
    "inline": (b"PING\r\n", [[b"PING"]]),
    "inline without carriage return": (b"PING\n", [[b"PING"]]),
    "inline with arguments": (b"  SET\tk   v \r\n", [[b"SET", b"k", b"v"]]),
    "inline with quotes": (b"SET k \"a b\" 'c d'\r\n", [[b"SET", b"k", b"a b", b"c d"]]),
    "blank lines": (b"\r\n\n   \r\n", []),
    "inline between arrays": (PING + b"ECHO a\r\n" + PING, [[b"PING"], [b"ECHO", b"a"], [b"PING"]]),
    "inline that looks like a reply": (b"+OK\r\n$3\r\n", [[b"+OK"], [b"$3"]]),
}

MALFORMED: dict[str, tuple[bytes, str]] = {
    "a billion arguments": (b"*1000000000\r\n", "invalid multibulk length"),
    "more arguments than allowed": (b"*21\r\n", "invalid multibulk length"),
    "no count": (b"*\r\n", "invalid multibulk length"),
    "a count that is no number": (b"*x\r\n", "invalid multibulk length"),
    "a count with a leading zero": (b"*03\r\n", "invalid multibulk length"),
    "a count with a sign": (b"*+3\r\n", "invalid multibulk length"),
    "a negative zero": (b"*-0\r\n", "invalid multibulk length"),
    "a count beyond 64 bits": (b"*" + b"9" * 30 + b"\r\n", "invalid multibulk length"),
    "a count without end": (b"*" + b"1" * 40, "invalid multibulk length"),
    "a count that ends in a line feed alone": (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
    "an inline command as an argument": (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
    "an integer as an argument": (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
    "a simple string as an argument": (b"*2\r\n$3\r\nGET\r\n+k\r\n", "expected '$', got '+'"),
    "an array as an argument": (b"*2\r\n$3\r\nGET\r\n*1\r\n", "expected '$', got '*'"),
    "a map as an argument": (b"*1\r\n%1\r\n", "expected '$', got '%'"),
    "one argument short": (b"*3\r\n$3\r\nGET\r\n$1\r\nk\r\n" + PING, "expected '$', got '*'"),
    "a null argument": (b"*1\r\n$-1\r\n", "invalid bulk length"),
    "an argument without length": (b"*1\r\n$\r\n", "invalid bulk length"),
    "a length that is no number": (b"*1\r\n$4x\r\n", "invalid bulk length"),
    "a length with a leading zero": (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
    "a length without end": (b"*1\r\n$" + b"1" * 40, "invalid bulk length"),
    "a larger argument than allowed": (b"*1\r\n$201\r\n", "invalid bulk length"),
    "an argument of a billion bytes": (
        b"*2\r\n$3\r\nGET\r\n$1000000000\r\n",
        "invalid bulk length",
    ),
    "a small argument longer than it says": (
        b"*2\r\n$3\r\nGETX\r\n$1\r\nk\r\n",
        "expected CRLF after a bulk string",
    ),
    "a large argument longer than it says": (
        b"*1\r\n$100\r\n" + b"x" * 105 + b"\r\n",
        "expected CRLF after a bulk string",
    ),
    "a larger request than allowed": (
        b"*5\r\n" + b"$198\r\n%b\r\n" % (b"x" * 198) * 5,
        "too big request",
    ),
    "an inline command that is too long": (b"x" * 301, "too big inline request"),
    "a line that is too long": (b"x" * 301 + b"\r\n", "too big inline request"),
    "an open double quote": (b'SET k "a b\r\n', "unbalanced quotes in request"),
    "an open single quote": (b"SET k 'a b\r\n", "unbalanced quotes in request"),
    "something behind a closing quote": (b'SET "k"v\r\n', "unbalanced quotes in request"),
    "a request line of HTTP": (b"POST / HTTP/1.1\r\n", "this is HTTP, not RESP"),
    "a header of HTTP": (b"host: localhost:7001\r\n", "this is HTTP, not RESP"),
}


@pytest.mark.parametrize(("data", "requests"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_request_is_understood_however_it_arrives(data: bytes, requests: Requests) -> None:
    assert parse([data]) == (requests, None)
    assert parse(bytewise(data)) == (requests, None)
    for place in range(len(data)):
        assert parse([data[:place], data[place:]]) == (requests, None)
    assert parse([data + PING]) == ([*requests, [b"PING"]], None)
    assert parse([data, PING]) == ([*requests, [b"PING"]], None)
    assert parse([PING + data]) == ([[b"PING"], *requests], None)


@pytest.mark.parametrize(("data", "fault"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_fault_is_named_as_redis_does_after_the_requests_before_it(
    data: bytes, fault: str
) -> None:
    error = f"Protocol error: {fault}"
    assert parse([data]) == ([], error)
    assert parse(bytewise(data)) == ([], error)
    assert parse([data + PING]) == ([], error)
    assert parse([PING + b"PING\r\n" + command(b"ECHO", b"x" * 150) + data]) == (
        [[b"PING"], [b"PING"], [b"ECHO", b"x" * 150]],
        error,
    )


@pytest.mark.parametrize(
    "header",
    [b"*1000000000\r\n", b"*2147483647\r\n", b"*1\r\n*1000000000\r\n", PING + b"*9999999\r\n"],
)
def test_a_huge_count_is_refused_at_once_and_costs_no_memory(header: bytes) -> None:
    parser = RequestParser(RequestLimits())
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            parser.receive(header)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_comes_after_a_fault_is_ignored() -> None:
    parser = RequestParser(TIGHT)
    with pytest.raises(ProtocolError):
        parser.receive(PING + b"*x\r\n" + PING)
    assert parser.receive(PING) == []


@pytest.mark.parametrize(
    ("longest", "beyond"),
    [
        (command(*[b"a"] * 20), b"*21\r\n"),
        (command(b"x" * 200), b"*1\r\n$201\r\n"),
        (command(*[b"x" * 200] * 4, b"y" * 156), command(*[b"x" * 200] * 4, b"y" * 157)),
        (b"x" * 299 + b"\n", b"x" * 300),
    ],
    ids=["max_arguments", "max_bulk_bytes", "max_request_bytes", "max_inline_bytes"],
)
def test_each_limit_can_be_reached_but_not_exceeded(longest: bytes, beyond: bytes) -> None:
    requests, error = parse([longest])
    assert (len(requests), error) == (1, None)
    assert parse([beyond])[1] is not None


def test_a_request_that_never_ends_is_bounded_by_the_largest_request() -> None:
    limits = RequestLimits(max_request_bytes=200_000, max_bulk_bytes=150_000)
    parser = RequestParser(limits)
    argument = b"$1000\r\n%b\r\n" % bytes(1000)
    most = limits.max_request_bytes // len(argument)
    assert parser.receive(b"*65000\r\n") == []
    tracemalloc.start()
    try:
        for _ in range(most):
            assert parser.receive(argument) == []
        with pytest.raises(ProtocolError, match="too big request"):
            parser.receive(argument)
        assert tracemalloc.get_traced_memory()[1] < 2 * limits.max_request_bytes
    finally:
        tracemalloc.stop()


def test_large_values_in_small_pieces() -> None:
    value = bytes(range(256)) * 4096
    data = command(b"SET", b"k", value) + command(b"APPEND", b"k", value)
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    expected = [[b"SET", b"k", value], [b"APPEND", b"k", value]]
    assert parse(pieces, RequestLimits()) == (expected, None)


# --------------------------------------------------------------------------- the twin


class Incomplete(Exception):  # noqa: N818  # not an error
    pass


def plain_number(data: bytes, position: int, fault: str) -> tuple[int, int]:
    """The twin of `read_number`."""
    newline = data.find(b"\n", position)
    if newline < 0 and len(data) - position < 32:
        raise Incomplete
    line = data[position:newline]
    digits = line.removesuffix(b"\r")
    try:
        number = int(digits)
    except ValueError:
        raise ProtocolError(fault) from None
    if newline < 0 or line == digits or b"%d" % number != digits or len(digits.lstrip(b"-")) > 19:
        raise ProtocolError(fault)
    return number, newline + 1


def plain_request(data: bytes, start: int) -> tuple[list[bytes], int]:
    """The twin of the guard and hiredis together, written as Redis's rules read."""
    count, position = plain_number(data, start + 1, "Protocol error: invalid multibulk length")
    if count > TIGHT.max_arguments:
        raise ProtocolError("Protocol error: invalid multibulk length")
    arguments = []
    for _ in range(count):
        if position == len(data):
            raise Incomplete
        if data[position : position + 1] != b"$":
            got = chr(data[position])
            raise ProtocolError(f"Protocol error: expected '$', got '{got}'")
        length, body = plain_number(data, position + 1, "Protocol error: invalid bulk length")
        if not 0 <= length <= TIGHT.max_bulk_bytes:
            raise ProtocolError("Protocol error: invalid bulk length")
        position = body + length + 2
        if position - start > TIGHT.max_request_bytes:
            raise ProtocolError("Protocol error: too big request")
        if position > len(data):
            raise Incomplete
        if data[position - 2 : position] != b"\r\n":
            raise ProtocolError("Protocol error: expected CRLF after a bulk string")
        arguments.append(data[body : position - 2])
    return arguments, position


def plain_inline(data: bytes, start: int) -> tuple[list[bytes], int]:
    newline = data.find(b"\n", start, start + TIGHT.max_inline_bytes)
    if newline >= 0:
        arguments = split_inline(data[start:newline])
        if arguments and arguments[0].lower() in (b"post", b"host:"):
            raise ProtocolError("Protocol error: this is HTTP, not RESP")
        return arguments, newline + 1
    if len(data) - start < TIGHT.max_inline_bytes:
        raise Incomplete
    raise ProtocolError("Protocol error: too big inline request")


def plain_parse(data: bytes) -> tuple[Requests, str | None]:
    """The twin of `RequestParser` on bytes that arrive all at once."""
    requests: Requests = []
    position = 0
    try:
        while position < len(data):
            take = plain_request if data[position : position + 1] == b"*" else plain_inline
            arguments, position = take(data, position)
            if arguments:
                requests.append(arguments)
    except Incomplete:
        return requests, None
    except ProtocolError as error:
        return requests, str(error)
    return requests, None


argument = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"GET", b"SET", b"\r\n", b"$1\r\n", b"*3\r\n", b"x" * 99, b"x" * 100]),
    st.integers(95, 210).map(lambda n: b"v" * n),
)
commands = st.lists(argument, min_size=1, max_size=22).map(lambda a: command(*a))
noise = st.one_of(
    st.text(alphabet="*$0123456789-\r\n ab\"'\\xn%:+", max_size=30).map(str.encode),
    st.binary(max_size=40),
    st.sampled_from(
        [
            *(b"*0\r\n", b"*-1\r\n", b"\r\n", b"*3\r\n", b"$3\r\n", b"$100\r\n", b"*1\r\n*1\r\n"),
            *(b"POST /\r\n", b"Host: x\n"),
        ]
    ),
)
streams = st.lists(st.one_of(commands, commands, noise), max_size=8).map(b"".join)
places = st.lists(st.integers(0, 4000), max_size=6)


@given(st.lists(commands, max_size=12), places)
def test_commands_are_what_was_sent_wherever_the_bytes_are_cut(
    sent: list[bytes], where: list[int]
) -> None:
    data = b"".join(sent)
    assert parse(cut(data, where)) == plain_parse(data)


@given(streams, places)
def test_any_bytes_give_what_the_plain_twin_gives_wherever_they_are_cut(
    data: bytes, where: list[int]
) -> None:
    expected = plain_parse(data)
    assert parse([data]) == expected
    assert parse(cut(data, where)) == expected


@given(streams)
def test_any_bytes_give_the_same_one_by_one(data: bytes) -> None:
    assert parse(bytewise(data)) == plain_parse(data)


@given(commands, st.integers(0, 10**6), st.integers(0, 255))
def test_one_changed_byte_gives_what_the_plain_twin_gives(
    data: bytes, place: int, value: int
) -> None:
    changed = bytearray(data + PING)
    changed[place % len(changed)] = value
    assert parse([bytes(changed)]) == plain_parse(bytes(changed))
