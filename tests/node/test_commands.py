"""Each command over RESP2 and RESP3, and what is wrong with a request, in the words of Redis 7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis
import pytest

from quorate.node.commands import COMMANDS
from quorate.node.limits import NodeLimits

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster

Words = tuple[bytes | str | int, ...]


@pytest.fixture
def client(cluster: Cluster) -> Client:
    """A client of a follower, of a cluster that holds three keys."""
    client = cluster.followers[0].connect()
    client.send("MSET", "word", "hello", "empty", "", "bytes", b"\x00\r\n\xff")
    cluster.settle()
    assert client.take() == b"+OK\r\n"
    return client


def ask(cluster: Cluster, client: Client, *words: bytes | str | int) -> bytes:
    """The bytes of the reply to one command."""
    client.send(*words)
    cluster.settle()
    return client.take()


def ask_parsed(cluster: Cluster, client: Client, *words: bytes | str | int) -> Any:
    """The reply to one command."""
    client.send(*words)
    cluster.settle()
    (reply,) = client.take_replies()
    return reply


def bulk(text: bytes | str) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def shown(value: object) -> str:
    return repr(value)[:40]


# ---------------------------------------------------------------------- what they answer

SAME_IN_BOTH: list[tuple[Words, bytes]] = [
    (("PING",), b"+PONG\r\n"),
    (("PING", "a b"), bulk("a b")),
    (("ECHO", b"\x00\xff"), bulk(b"\x00\xff")),
    (("ECHO", ""), bulk("")),
    (("SELECT", "0"), b"+OK\r\n"),
    (("GET", "word"), bulk("hello")),
    (("GET", "empty"), bulk("")),
    (("GET", "bytes"), bulk(b"\x00\r\n\xff")),
    (("SET", "word", "x"), b"+OK\r\n"),
    (("SET", "", ""), b"+OK\r\n"),
    (("APPEND", "word", " you"), b":9\r\n"),
    (("APPEND", "new", "abc"), b":3\r\n"),
    (("APPEND", "new", ""), b":0\r\n"),
    (("DEL", "word", "word", "nothing", "empty"), b":2\r\n"),
    (("EXISTS", "word", "word", "nothing"), b":2\r\n"),
    (("STRLEN", "word"), b":5\r\n"),
    (("STRLEN", "nothing"), b":0\r\n"),
    (("MGET", "word", "empty"), b"*2\r\n" + bulk("hello") + bulk("")),
    (("MSET", "a", "1", "b", "2", "a", "3"), b"+OK\r\n"),
    (("DBSIZE",), b":3\r\n"),
    (("AUTH", "default", "any password"), b"+OK\r\n"),
    (("CLIENT", "SETNAME", "me"), b"+OK\r\n"),
    (("CLIENT", "SETNAME", ""), b"+OK\r\n"),
    (("CLIENT", "SETINFO", "lib-name", "redis-py"), b"+OK\r\n"),
    (("CLIENT", "SETINFO", "LIB-VER", "5.0"), b"+OK\r\n"),
    (("COMMAND", "COUNT"), b":%d\r\n" % len(COMMANDS)),
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(("words", "reply"), SAME_IN_BOTH, ids=shown)
def test_a_command_answers_as_in_redis(
    cluster: Cluster, client: Client, protocol: int, words: Words, reply: bytes
) -> None:
    ask(cluster, client, "HELLO", protocol)
    assert ask(cluster, client, *words) == reply


DIFFERENT: list[tuple[Words, bytes, bytes]] = [
    (("GET", "nothing"), b"$-1\r\n", b"_\r\n"),
    (
        ("MGET", "nothing", "word"),
        b"*2\r\n$-1\r\n" + bulk("hello"),
        b"*2\r\n_\r\n" + bulk("hello"),
    ),
    (("CLIENT", "GETNAME"), b"$-1\r\n", b"_\r\n"),
    (
        ("CONFIG", "GET", "save"),
        b"*2\r\n" + bulk("save") + bulk(""),
        b"%1\r\n" + bulk("save") + bulk(""),
    ),
    (("CONFIG", "GET", "maxmemory"), b"*0\r\n", b"%0\r\n"),
    (("COMMAND", "DOCS", "nothing"), b"*0\r\n", b"%0\r\n"),
]


@pytest.mark.parametrize(("words", "in_resp2", "in_resp3"), DIFFERENT, ids=shown)
def test_what_resp3_words_differently(
    cluster: Cluster, client: Client, words: Words, in_resp2: bytes, in_resp3: bytes
) -> None:
    assert ask(cluster, client, *words) == in_resp2
    ask(cluster, client, "HELLO", "3")
    assert ask(cluster, client, *words) == in_resp3
    ask(cluster, client, "HELLO", "2")
    assert ask(cluster, client, *words) == in_resp2


def test_every_command_of_the_table_is_tested_here() -> None:
    tested = {str(words[0]) for words, *_ in [*SAME_IN_BOTH, *DIFFERENT]}
    below = {"HELLO", "ONCE", "QUIT", "QUORATE.SESSION"}
    in_test_status = {"INFO", "QUORATE.LEADER", "QUORATE.STATUS"}
    # In test_snapshots, test_members and test_servers.
    elsewhere = {"QUORATE.SNAPSHOT", "QUORATE.MEMBER", "QUORATE.SERVERS"}
    assert tested | below | in_test_status | elsewhere == {name.decode() for name in COMMANDS}


@pytest.mark.parametrize("name", ["get", "GET", "gEt"])
def test_names_are_taken_in_any_case(cluster: Cluster, client: Client, name: str) -> None:
    assert ask(cluster, client, name, "word") == bulk("hello")


@pytest.mark.parametrize(
    "words",
    [
        ("client", "setname", "x"),
        ("Config", "geT", "SAVE"),
        ("command", "info", "get"),
        ("command", "docs", "Get"),
        ("hello", "3", "setname", "x"),
    ],
    ids=shown,
)
def test_subcommands_and_options_are_taken_in_any_case(
    cluster: Cluster, client: Client, words: Words
) -> None:
    in_lower = ask(cluster, client, *words)
    assert in_lower == ask(cluster, client, *[str(word).upper() for word in words])
    assert not in_lower.startswith(b"-")
    assert b"get" in in_lower or words[0] != "command"


def test_keys_are_not_taken_in_any_case(cluster: Cluster, client: Client) -> None:
    assert ask(cluster, client, "GET", "WORD") == b"$-1\r\n"


# ---------------------------------------------------------------------- inline commands


def test_inline_commands_are_answered_like_others(cluster: Cluster, client: Client) -> None:
    client.send_raw(b'set k "a b"\r\n', b"get k\n", b"\r\n", b"  \r\n", b"PING\r\n")
    cluster.settle()
    assert client.take() == b"+OK\r\n" + bulk("a b") + b"+PONG\r\n"


def test_inline_commands_and_arrays_may_be_mixed(cluster: Cluster, client: Client) -> None:
    client.send_raw(b"ping\r\n*1\r\n$4\r\nPING\r\nping x\r\n*2\r\n$4\r\nECHO\r\n$1\r\ny\r\n")
    cluster.settle()
    assert client.take() == b"+PONG\r\n+PONG\r\n" + bulk("x") + bulk("y")


def test_a_request_may_come_byte_by_byte(cluster: Cluster, client: Client) -> None:
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\nget k\r\n"
    client.send_raw(*[bytes([byte]) for byte in request])
    cluster.settle()
    assert client.take() == b"+OK\r\n" + bulk("\r\n")


# ---------------------------------------------------------------------- what is wrong

TOO_FEW_OR_MANY: list[Words] = [
    ("APPEND", "k"),
    ("APPEND", "k", "v", "w"),
    ("CLIENT",),
    ("CONFIG",),
    ("DBSIZE", "x"),
    ("DEL",),
    ("ECHO",),
    ("ECHO", "a", "b"),
    ("EXISTS",),
    ("GET",),
    ("GET", "a", "b"),
    ("MGET",),
    ("MSET",),
    ("MSET", "k"),
    ("MSET", "k", "v", "l"),
    ("ONCE", "1", "1", "0"),
    ("PING", "a", "b"),
    ("QUORATE.LEADER", "x"),
    ("QUORATE.SERVERS", "x"),
    ("QUORATE.SESSION", "x"),
    ("QUORATE.STATUS", "x"),
    ("SELECT",),
    ("SELECT", "0", "0"),
    ("SET",),
    ("SET", "k"),
    ("STRLEN",),
    ("STRLEN", "a", "b"),
]


@pytest.mark.parametrize("words", TOO_FEW_OR_MANY, ids=shown)
def test_a_wrong_number_of_arguments(cluster: Cluster, client: Client, words: Words) -> None:
    name = str(words[0]).lower()
    expected = f"-ERR wrong number of arguments for '{name}' command\r\n"
    assert ask(cluster, client, *words) == expected.encode()
    # A name is shown as the table has it, not as it was sent.
    assert ask(cluster, client, name.title(), *words[1:]) == expected.encode()


WRONG: list[tuple[Words, bytes]] = [
    (("SET", "k", "v", "EX", "10"), b"-ERR syntax error\r\n"),
    (("SET", "k", "v", "NX"), b"-ERR syntax error\r\n"),
    (("SET", "k", "v", "nonsense"), b"-ERR syntax error\r\n"),
    (("SELECT", "1"), b"-ERR DB index is out of range\r\n"),
    (("SELECT", "-1"), b"-ERR DB index is out of range\r\n"),
    (("SELECT", "x"), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", ""), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", " 0"), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", "+0"), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", "00"), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", "0_0"), b"-ERR value is not an integer or out of range\r\n"),
    (("SELECT", "9" * 5000), b"-ERR value is not an integer or out of range\r\n"),
    (("CLIENT", "ID", "x"), b"-ERR wrong number of arguments for 'client|id' command\r\n"),
    (
        ("CLIENT", "GETNAME", "x"),
        b"-ERR wrong number of arguments for 'client|getname' command\r\n",
    ),
    (("CLIENT", "SETNAME"), b"-ERR wrong number of arguments for 'client|setname' command\r\n"),
    (
        ("CLIENT", "SETNAME", "a b"),
        b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    ),
    (
        ("CLIENT", "SETNAME", "a\n"),
        b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    ),
    (
        ("CLIENT", "SETINFO", "lib-name"),
        b"-ERR wrong number of arguments for 'client|setinfo' command\r\n",
    ),
    (("CLIENT", "SETINFO", "shoe", "42"), b"-ERR Unrecognized option 'shoe'\r\n"),
    (
        ("CLIENT", "MAINT_NOTIFICATIONS", "ON"),
        b"-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n",
    ),
    (("CONFIG", "GET"), b"-ERR wrong number of arguments for 'config|get' command\r\n"),
    (("CONFIG", "set", "a", "b"), b"-ERR unknown subcommand 'set'. Try CONFIG HELP.\r\n"),
    (("COMMAND", "nope"), b"-ERR unknown subcommand 'nope'. Try COMMAND HELP.\r\n"),
    (("COMMAND", "COUNT", "x"), b"-ERR wrong number of arguments for 'command|count' command\r\n"),
    (("HELLO", "1"), b"-NOPROTO unsupported protocol version\r\n"),
    (("HELLO", "4"), b"-NOPROTO unsupported protocol version\r\n"),
    (("HELLO", "-3"), b"-NOPROTO unsupported protocol version\r\n"),
    (("HELLO", "x"), b"-ERR Protocol version is not an integer or out of range\r\n"),
    (("HELLO", "3.0"), b"-ERR Protocol version is not an integer or out of range\r\n"),
    (("HELLO", ""), b"-ERR Protocol version is not an integer or out of range\r\n"),
    (("HELLO", "3", "SETNAME"), b"-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
    (("HELLO", "3", "AUTH", "me"), b"-ERR Syntax error in HELLO option 'AUTH'\r\n"),
    (("HELLO", "3", "shoe", "42"), b"-ERR Syntax error in HELLO option 'shoe'\r\n"),
    (
        ("HELLO", "3", "SETNAME", "a b"),
        b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    ),
    (
        ("HELLO", "3", "AUTH", "me", "secret", "SETNAME", "me"),
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    ),
    (
        ("HELLO", "3", "AUTH", "me", "secret", "shoe"),
        b"-ERR Syntax error in HELLO option 'shoe'\r\n",
    ),
    (
        ("AUTH", "me", "secret"),
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    ),
    (
        ("AUTH", "secret"),
        (
            b"-ERR AUTH <password> called without any password configured for the default user. "
            b"Are you sure your configuration is correct?\r\n"
        ),
    ),
    (("AUTH", "default", "secret", "x"), b"-ERR syntax error\r\n"),
]


@pytest.mark.parametrize(("words", "error"), WRONG, ids=shown)
def test_what_is_refused(cluster: Cluster, client: Client, words: Words, error: bytes) -> None:
    assert ask(cluster, client, *words) == error
    # Nothing has changed, and the connection goes on.
    assert ask(cluster, client, "MGET", "word", "nothing") == b"*2\r\n" + bulk("hello") + b"$-1\r\n"
    assert ask(cluster, client, "CLIENT", "GETNAME") == b"$-1\r\n"
    assert not client.is_closed


# Byte for byte what Redis 7.0 answers, the blank at the end included.
UNKNOWN: list[tuple[Words, str]] = [
    (("NOSUCH",), "unknown command 'NOSUCH', with args beginning with: "),
    (("nosuch", "a", "b c"), "unknown command 'nosuch', with args beginning with: 'a' 'b c' "),
    (("", "a"), "unknown command '', with args beginning with: 'a' "),
    (("x\r\ny", "\n"), "unknown command 'x  y', with args beginning with: ' ' "),
    (("x" * 200,), f"unknown command '{'x' * 128}', with args beginning with: "),
    # Redis shows 128 bytes of arguments at most, their quotes and blanks included.
    (("x", "y" * 200, "z"), f"unknown command 'x', with args beginning with: '{'y' * 128}' "),
    (
        ("x", *["12345"] * 50),
        "unknown command 'x', with args beginning with: " + "'12345' " * 16,
    ),
]


@pytest.mark.parametrize(("words", "text"), UNKNOWN, ids=shown)
def test_an_unknown_command_is_shown_with_its_arguments(
    cluster: Cluster, client: Client, words: Words, text: str
) -> None:
    assert ask(cluster, client, *words) == f"-ERR {text}\r\n".encode()


def test_a_line_break_in_what_is_quoted_does_not_end_the_reply(
    cluster: Cluster, client: Client
) -> None:
    for words in [
        ("a\r\nb", "c\r\nd"),
        ("CLIENT", "a\r\nb"),
        ("CONFIG", "a\r\nb"),
        ("COMMAND", "a\r\nb"),
        ("CLIENT", "SETINFO", "a\r\nb", "c"),
        ("HELLO", "3", "a\r\nb"),
        ("ONCE", "1", "1", "0", "a\r\nb"),
    ]:
        assert isinstance(ask_parsed(cluster, client, *words), hiredis.ReplyError)


# ---------------------------------------------------------------------- sizes

SMALL = NodeLimits(max_key_bytes=4, max_value_bytes=6)
KEY_ERROR = b"-ERR key exceeds maximum allowed size (4 bytes)\r\n"
VALUE_ERROR = b"-ERR string exceeds maximum allowed size (6 bytes)\r\n"


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "keyss", "v"),
        ("APPEND", "keyss", "v"),
        ("GET", "keyss"),
        ("STRLEN", "keyss"),
        ("MGET", "k", "keyss"),
        ("EXISTS", "k", "keyss"),
        ("DEL", "k", "keyss"),
        ("MSET", "k", "v", "keyss", "v"),
        ("ONCE", "1", "1", "0", "SET", "keyss", "v"),
    ],
    ids=shown,
)
def test_a_key_has_a_size(new_cluster: type[Cluster], words: Words) -> None:
    cluster = new_cluster(1, limits=SMALL)
    cluster.run_until_led()
    client = cluster.leader.connect()
    assert ask(cluster, client, *words) == KEY_ERROR
    shorter = ["keys" if word == "keyss" else word for word in words]
    assert ask(cluster, client, *shorter) != KEY_ERROR


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "k", "1234567"),
        ("APPEND", "k", "1234567"),
        ("MSET", "k", "v", "l", "1234567"),
        ("ONCE", "1", "1", "0", "SET", "k", "1234567"),
    ],
    ids=shown,
)
def test_a_value_has_a_size(new_cluster: type[Cluster], words: Words) -> None:
    cluster = new_cluster(1, limits=SMALL)
    cluster.run_until_led()
    client = cluster.leader.connect()
    assert ask(cluster, client, *words) == VALUE_ERROR
    assert ask(cluster, client, "DBSIZE") == b":0\r\n"
    shorter = ["123456" if word == "1234567" else word for word in words]
    assert ask(cluster, client, *shorter) != VALUE_ERROR


def test_a_value_does_not_grow_beyond_its_size(cluster: Cluster, client: Client) -> None:
    value = b"v" * NodeLimits().max_value_bytes
    assert ask(cluster, client, "SET", "k", value) == b"+OK\r\n"
    refusal = b"-ERR string exceeds maximum allowed size (1048576 bytes)\r\n"
    assert ask(cluster, client, "APPEND", "k", "w") == refusal
    assert ask(cluster, client, "STRLEN", "k") == b":1048576\r\n"
    assert ask(cluster, client, "GET", "k") == bulk(value)


def test_a_reply_has_a_size(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1, limits=NodeLimits(max_reply_bytes=10))
    cluster.run_until_led()
    client = cluster.leader.connect()
    ask(cluster, client, "MSET", "k", "12345", "l", "123456")
    assert ask_parsed(cluster, client, "MGET", "k", "m", "k") == [b"12345", None, b"12345"]
    refusal = b"-ERR reply exceeds maximum allowed size (10 bytes)\r\n"
    assert ask(cluster, client, "MGET", "k", "l") == refusal


def test_a_small_request_cannot_ask_for_gigabytes(cluster: Cluster, client: Client) -> None:
    ask(cluster, client, "SET", "k", "v" * 1_000_000)
    refusal = b"-ERR reply exceeds maximum allowed size (33554432 bytes)\r\n"
    assert ask(cluster, client, "MGET", *["k"] * 60_000) == refusal


# ---------------------------------------------------------------------- ONCE


def open_session(cluster: Cluster, client: Client) -> int:
    session = ask_parsed(cluster, client, "QUORATE.SESSION")
    assert isinstance(session, int)
    return session


def test_sessions_have_numbers_that_grow(cluster: Cluster, client: Client) -> None:
    other = cluster.leader.connect()
    first, second = open_session(cluster, client), open_session(cluster, other)
    assert 0 < first < second


def test_a_write_of_a_session_is_executed_once_and_answered_each_time(
    cluster: Cluster, client: Client
) -> None:
    session = open_session(cluster, client)
    other = cluster.leader.connect()
    for each in (client, other, client):
        assert ask(cluster, each, "ONCE", session, 1, 0, "APPEND", "k", "abc") == b":3\r\n"
    assert ask(cluster, client, "once", session, 2, 1, "set", "l", "x") == b"+OK\r\n"
    assert ask(cluster, client, "ONCE", session, 3, 2, "DEL", "l", "m") == b":1\r\n"
    assert ask(cluster, client, "ONCE", session, 4, 3, "MSET", "l", "1", "m", "2") == b"+OK\r\n"
    assert (
        ask(cluster, client, "MGET", "k", "l", "m") == b"*3\r\n$3\r\nabc\r\n$1\r\n1\r\n$1\r\n2\r\n"
    )


def test_what_a_session_refuses(cluster: Cluster, client: Client) -> None:
    session = open_session(cluster, client)
    ask(cluster, client, "ONCE", session, 1, 0, "SET", "k", "v")

    def once(*words: bytes | str | int) -> str:
        return str(ask_parsed(cluster, client, "ONCE", *words, "k", "w")).partition(" ")[0]

    assert once(session, 1, 0, "SET") == "MISMATCH"
    assert once(session, 1026, 1, "SET") == "WINDOW"
    assert once(session, 1, 1, "SET") == "STALE"
    assert once(session, 5, 7, "SET") == "STALE"
    assert once(session + 1, 1, 0, "SET") == "SESSIONEXPIRED"
    assert once(2**63 - 1, 1, 0, "SET") == "SESSIONEXPIRED"
    assert ask(cluster, client, "GET", "k") == bulk("v")


def test_a_client_cannot_use_the_session_of_a_node(cluster: Cluster, client: Client) -> None:
    # The sessions of the nodes were opened by the first entries of the log.
    for session in range(1, 8):
        reply = ask_parsed(cluster, client, "ONCE", session, 1, 1, "SET", "k", "v")
        assert str(reply).startswith("SESSIONEXPIRED")
    assert ask(cluster, client, "SET", "k", "w") == b"+OK\r\n"


NUMBERS = "a whole number from {} to 9223372036854775807"
WRONG_ONCE: list[tuple[Words, str]] = [
    (("x", "1", "0", "SET", "k", "v"), "session is not " + NUMBERS.format(1)),
    (("0", "1", "0", "SET", "k", "v"), "session is not " + NUMBERS.format(1)),
    (("-1", "1", "0", "SET", "k", "v"), "session is not " + NUMBERS.format(1)),
    (("1", "", "0", "SET", "k", "v"), "seq is not " + NUMBERS.format(1)),
    (("1", "0", "0", "SET", "k", "v"), "seq is not " + NUMBERS.format(1)),
    (("1", "1.0", "0", "SET", "k", "v"), "seq is not " + NUMBERS.format(1)),
    (("1", str(2**63), "0", "SET", "k", "v"), "seq is not " + NUMBERS.format(1)),
    (("1", "9" * 70_000, "0", "SET", "k", "v"), "seq is not " + NUMBERS.format(1)),
    (("1", "1", "-1", "SET", "k", "v"), "acked is not " + NUMBERS.format(0)),
    (("1", "1", "\u0661".encode(), "SET", "k", "v"), "acked is not " + NUMBERS.format(0)),
    (("1", "1", "0", "GET", "k"), "ONCE takes a write command; 'GET' is none"),
    (("1", "1", "0", "PING"), "ONCE takes a write command; 'PING' is none"),
    (("1", "1", "0", "QUIT"), "ONCE takes a write command; 'QUIT' is none"),
    (("1", "1", "0", "QUORATE.SESSION"), "ONCE takes a write command; 'QUORATE.SESSION' is none"),
    (("1", "1", "0", "once", "1", "1", "0", "SET", "k", "v"), "ONCE takes a write command; 'once'"),
    (("1", "1", "0", "NOPE", "k"), "unknown command 'NOPE', with args beginning with: 'k'"),
    (("1", "1", "0", "SET", "k"), "wrong number of arguments for 'set' command"),
    (("1", "1", "0", "MSET", "k", "v", "l"), "wrong number of arguments for 'mset' command"),
    (("1", "1", "0", "SET", "k", "v", "EX", "1"), "syntax error"),
]


@pytest.mark.parametrize(("words", "text"), WRONG_ONCE, ids=shown)
def test_a_call_that_is_wrong_is_refused_before_it_goes_anywhere(
    cluster: Cluster, client: Client, words: Words, text: str
) -> None:
    before = cluster.leader.node.raft.last_index
    reply = ask_parsed(cluster, client, "ONCE", *words)
    assert isinstance(reply, hiredis.ReplyError)
    assert str(reply).startswith(f"ERR {text}")
    assert cluster.leader.node.raft.last_index == before


def test_a_call_within_a_call_within_a_call_is_refused_like_any(
    cluster: Cluster, client: Client
) -> None:
    # A request of 64 KB, each part of which is a ONCE, once took the interpreter's stack with it,
    # and so the node.
    deep = ["ONCE", "1", "1", "0"] * 4000
    reply = ask_parsed(cluster, client, *deep, "SET", "k", "v")
    assert str(reply) == "ERR ONCE takes a write command; 'ONCE' is none"


# ---------------------------------------------------------------------- the connection


def test_hello_answers_the_whole_map(cluster: Cluster, client: Client) -> None:
    fields = {
        b"server": b"quorate",
        b"version": b"1.2.3",
        b"proto": 2,
        b"id": client.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }
    flat = ask_parsed(cluster, client, "HELLO")
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == fields
    assert ask_parsed(cluster, client, "HELLO", 3) == fields | {b"proto": 3}
    # Without a version it only tells.
    assert ask_parsed(cluster, client, "HELLO") == fields | {b"proto": 3}
    flat = ask_parsed(cluster, client, "HELLO", "2")
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == fields


def test_hello_may_set_the_name(cluster: Cluster, client: Client) -> None:
    ask(cluster, client, "HELLO", "3", "SETNAME", "me", "SETNAME", "you")
    assert ask(cluster, client, "CLIENT", "GETNAME") == bulk("you")


def test_hello_may_bring_the_password_that_a_client_was_given(
    cluster: Cluster, client: Client
) -> None:
    # As in a Redis without passwords, so that a client need not be told that there are none here.
    reply = ask_parsed(cluster, client, "HELLO", 3, "AUTH", "default", "secret", "SETNAME", "me")
    assert reply[b"proto"] == 3
    assert ask(cluster, client, "CLIENT", "GETNAME") == bulk("me")


def test_hello_changes_all_or_nothing(cluster: Cluster, client: Client) -> None:
    ask(cluster, client, "HELLO", "3", "SETNAME", "me", "shoe", "42")
    assert ask(cluster, client, "CLIENT", "GETNAME") == b"$-1\r\n"


def test_hello_changes_the_replies_behind_it_and_none_before(
    cluster: Cluster, client: Client
) -> None:
    client.send("GET", "nothing")
    client.send("HELLO", "3")
    client.send("GET", "nothing")
    client.send("HELLO", "2")
    client.send("GET", "nothing")
    cluster.settle()
    replies = client.take()
    assert replies.startswith(b"$-1\r\n%7\r\n")
    assert b"_\r\n*14\r\n" in replies
    assert replies.endswith(b"$-1\r\n")


def test_a_name_stays_until_it_is_changed(cluster: Cluster, client: Client) -> None:
    ask(cluster, client, "CLIENT", "SETNAME", "me")
    assert ask(cluster, client, "CLIENT", "GETNAME") == bulk("me")
    assert ask(cluster, client.server.connect(), "CLIENT", "GETNAME") == b"$-1\r\n"
    ask(cluster, client, "CLIENT", "SETNAME", "")
    assert ask(cluster, client, "CLIENT", "GETNAME") == b"$-1\r\n"


def test_connections_of_a_node_have_numbers_of_their_own(cluster: Cluster, client: Client) -> None:
    client.close()
    others = [client.server.connect() for _ in range(3)]
    ids = [ask_parsed(cluster, other, "CLIENT", "ID") for other in others]
    assert ids == [other.id for other in others]
    assert len({client.id, *ids}) == 4


def test_quit_ends_the_connection_after_its_answer(cluster: Cluster, client: Client) -> None:
    client.send_raw(b"PING\r\nQUIT\r\nSET word lost\r\nPING\r\n")
    cluster.settle()
    assert client.take() == b"+PONG\r\n+OK\r\n"
    assert client.is_closed
    assert ask(cluster, client.server.connect(), "GET", "word") == bulk("hello")


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], ["save", "appendonly", "appendfsync"]),
        (["append*"], ["appendonly", "appendfsync"]),
        (["SAVE"], ["save"]),
        (["s?ve", "nothing"], ["save"]),
        (["[st]ave", "append[o-p]nly"], ["save", "appendonly"]),
        (["a*y", "save", "a*"], ["save", "appendonly", "appendfsync"]),
        ([""], []),
        (["?"], []),
    ],
)
def test_config_get_takes_patterns(
    cluster: Cluster, client: Client, patterns: list[str], names: list[str]
) -> None:
    values = {"save": "", "appendonly": "yes", "appendfsync": "always"}
    ask(cluster, client, "HELLO", "3")
    reply = ask_parsed(cluster, client, "CONFIG", "GET", *patterns)
    assert reply == {name.encode(): values[name].encode() for name in names}


# ---------------------------------------------------------------------- COMMAND


def test_command_describes_every_command(cluster: Cluster, client: Client) -> None:
    described = ask_parsed(cluster, client, "COMMAND")
    assert described == ask_parsed(cluster, client, "COMMAND", "INFO")
    assert [name for name, *_ in described] == [name.lower() for name in COMMANDS]
    assert [b"get", 2, [b"readonly", b"fast"], 1, 1, 1, [], [], [], []] in described
    assert [b"mset", -3, [b"write", b"denyoom"], 1, -1, 2, [], [], [], []] in described
    assert ask_parsed(cluster, client, "COMMAND", "COUNT") == len(described)


def test_command_info_answers_nil_for_a_command_that_is_not_there(
    cluster: Cluster, client: Client
) -> None:
    get, nothing, again = ask_parsed(cluster, client, "COMMAND", "INFO", "get", "flushall", "GET")
    assert get == again
    assert get[:2] == [b"get", 2]
    assert nothing is None


@pytest.mark.parametrize("protocol", [2, 3])
def test_command_docs_has_a_summary_of_each(
    cluster: Cluster, client: Client, protocol: int
) -> None:
    ask(cluster, client, "HELLO", "3")
    every = ask_parsed(cluster, client, "COMMAND", "DOCS")
    assert set(every) == {name.lower() for name in COMMANDS}
    assert all(docs[b"summary"].endswith(b".") for docs in every.values())
    one = ask_parsed(cluster, client, "COMMAND", "DOCS", "get", "nothing")
    assert one == {b"get": every[b"get"]}
    ask(cluster, client, "HELLO", protocol)
    assert len(ask_parsed(cluster, client, "COMMAND", "DOCS")) == (4 - protocol) * len(COMMANDS)
