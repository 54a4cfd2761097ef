"""What is written down of each call."""

import random

from quorate.checker import Kind, Operation
from quorate.cli.torture.ledger import CALLS_PER_KEY, SLOTS, Call, Ending, Fate, Ledger


def begin_write(ledger: Ledger, client: str = "A", *, sendings: tuple[int, ...] = (1,)) -> Call:
    """The next append or put; whatever else comes before it is written down as well."""
    while (call := ledger.begin(client, 0)).argument is None:
        call.sendings.append(0)
        ledger.end(call, Fate.UNKNOWN, 0)
    call.sendings += sendings
    return call


def operations_of(call: Call) -> list[Operation]:
    """What the history says of this call."""
    return [o for o in call.history.operations if o.argument == call.argument]


def times_of(call: Call) -> list[tuple[float, float | None]]:
    return [(o.called, o.returned) for o in operations_of(call)]


def new_ledger() -> Ledger:
    return Ledger(random.Random(1))


def test_each_sending_is_an_operation_and_only_the_answered_one_has_returned() -> None:
    ledger = new_ledger()
    call = begin_write(ledger, sendings=(10, 20, 30))
    ledger.end(call, Fate.ACKNOWLEDGED, 35)
    assert times_of(call) == [(10, None), (20, None), (30, 35)]
    assert ledger.resent == 2


def test_what_is_unknown_is_pending_for_ever() -> None:
    ledger = new_ledger()
    call = begin_write(ledger, sendings=(10, 20))
    ledger.end(call, Fate.UNKNOWN, 35)
    assert times_of(call) == [(10, None), (20, None)]


def test_what_was_not_executed_is_no_part_of_the_history() -> None:
    ledger = new_ledger()
    for fate in (Fate.NOT_EXECUTED, Fate.DISPROVED):
        call = begin_write(ledger, sendings=(10,))
        ledger.end(call, fate, 35)
        assert times_of(call) == []
        assert call.argument in call.history.refused


def test_of_several_sendings_only_the_last_was_answered() -> None:
    ledger = new_ledger()
    call = begin_write(ledger, sendings=(10, 20))
    ledger.end(call, Fate.NOT_EXECUTED, 35)
    assert times_of(call) == [(10, None)]
    assert call.argument not in call.history.refused


def test_what_was_never_sent_was_not_executed_whatever_the_client_was_told() -> None:
    ledger = new_ledger()
    call = begin_write(ledger, sendings=())
    ledger.end(call, Fate.UNKNOWN, 35)
    assert times_of(call) == []
    assert call.argument in call.history.refused
    assert ledger.endings[-1].fate is Fate.NOT_EXECUTED


def test_every_element_is_written_by_one_client_once() -> None:
    ledger = new_ledger()
    elements = [begin_write(ledger, client).argument for client in "ABAB"]
    assert len(set(elements)) == 4


def test_a_key_that_is_used_up_makes_room_for_the_next_and_keeps_its_history() -> None:
    ledger = new_ledger()
    ended = 0
    for number in range(4 * SLOTS * CALLS_PER_KEY):
        call = ledger.begin("A", number)
        call.sendings.append(number)
        result = b"value" if call.kind is Kind.GET else None
        ledger.end(call, Fate.ACKNOWLEDGED, number, result)
        ended += 1
    histories = ledger.histories
    assert len(histories) > 2 * SLOTS
    assert len({history.key for history in histories}) == len(histories)
    assert all(len(history.operations) <= CALLS_PER_KEY for history in histories)
    assert sum(len(history.operations) for history in histories) == ended
    read = next(o for h in histories for o in h.operations if o.kind is Kind.GET)
    assert read.result == b"value"


def test_registers_alone_are_put_and_deleted() -> None:
    ledger = new_ledger()
    kinds = {(c.history.is_register, c.kind) for c in (ledger.begin("A", 0) for _ in range(2000))}
    assert {kind for is_register, kind in kinds if not is_register} == {Kind.GET, Kind.APPEND}
    assert {kind for is_register, kind in kinds if is_register} == set(Kind)


def test_who_was_served_since_some_time_had_a_write_that_began_then_acknowledged() -> None:
    ledger = new_ledger()
    ledger.endings += [
        Ending("early-1", 20, 15, Kind.APPEND, Fate.ACKNOWLEDGED),
        Ending("AsyncClerk-1.4", 30, 20, Kind.PUT, Fate.ACKNOWLEDGED),
        Ending("redis-py-2", 40, 1, Kind.APPEND, Fate.UNKNOWN),
        Ending("redis-py-3", 40, 1, Kind.GET, Fate.ACKNOWLEDGED),
        Ending("Clerk-2", 50, 39, Kind.DELETE, Fate.ACKNOWLEDGED),
    ]
    assert ledger.writers_since(10) == {"AsyncClerk-1", "Clerk-2"}
    assert ledger.writers_since(11) == {"Clerk-2"}
    assert ledger.writers_since(60) == set()
