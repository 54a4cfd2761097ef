"""What a client with a Clerk does, and what it writes down."""

import random

import pytest

from quorate.checker import Kind
from quorate.clerk.errors import (
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionExpiredError,
    UnavailableError,
)
from quorate.cli.torture.ledger import Call, Fate, Ledger
from quorate.cli.torture.program import Program


class Client:
    """A program, and its next append to a key that is only appended to."""

    def __init__(self) -> None:
        self.ledger = Ledger(random.Random(1))
        self.program = Program("Clerk-1", self.ledger, random.Random(1))

    def next_append(self) -> Call:
        while (call := self.program.next_step().call).argument is None or call.history.is_register:
            self.program.failed(call, UnavailableError())
        return call

    def fate_of(self, call: Call) -> Fate:
        """By what the history says of it."""
        operations = [o for o in call.history.operations if o.argument == call.argument]
        if not operations:
            assert call.argument in call.history.refused
            return Fate.NOT_EXECUTED
        (operation,) = operations
        return Fate.UNKNOWN if operation.returned is None else Fate.ACKNOWLEDGED


@pytest.fixture
def client() -> Client:
    return Client()


def test_an_answer_is_an_acknowledgement(client: Client) -> None:
    call = client.next_append()
    client.program.answered(call, 7)
    assert client.fate_of(call) is Fate.ACKNOWLEDGED
    assert client.ledger.surprises == []


def test_not_executed_is_taken_at_its_word(client: Client) -> None:
    call = client.next_append()
    client.program.failed(call, NotExecutedError())
    assert client.fate_of(call) is Fate.NOT_EXECUTED


@pytest.mark.parametrize("value", [None, b"", b"another.1;"])
def test_a_look_that_does_not_show_it_disproves_what_was_unknown(
    client: Client, value: bytes | None
) -> None:
    call = client.next_append()
    client.program.failed(call, OutcomeUnknownError())
    look = client.program.next_step().call
    assert (look.kind, look.key) == (Kind.GET, call.key)
    client.program.answered(look, value)
    assert client.fate_of(call) is Fate.NOT_EXECUTED
    assert [ending.fate for ending in client.ledger.endings[-2:]] == [
        Fate.DISPROVED,
        Fate.ACKNOWLEDGED,
    ]


def test_a_look_that_shows_it_leaves_it_open_when_it_was_executed(client: Client) -> None:
    call = client.next_append()
    client.program.failed(call, SessionExpiredError())
    assert call.argument is not None
    client.program.answered(client.program.next_step().call, b"another.1;" + call.argument)
    assert client.fate_of(call) is Fate.UNKNOWN


def test_a_look_that_fails_leaves_it_open(client: Client) -> None:
    call = client.next_append()
    client.program.failed(call, OutcomeUnknownError())
    client.program.failed(client.program.next_step().call, UnavailableError())
    assert client.fate_of(call) is Fate.UNKNOWN


def test_who_stops_before_the_look_leaves_it_open(client: Client) -> None:
    call = client.next_append()
    client.program.failed(call, OutcomeUnknownError())
    client.program.stop()
    assert client.fate_of(call) is Fate.UNKNOWN


def test_an_error_that_nobody_deserves_is_a_surprise(client: Client) -> None:
    call = client.next_append()
    client.program.failed(call, CommandError("ERR something"))
    assert client.ledger.surprises == ["Clerk-1: CommandError('ERR something')"]
