from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.kv.commands import (
    Append,
    Command,
    Delete,
    Failure,
    FailureCode,
    Put,
    PutMany,
    Reply,
    decode_reply,
    encode_command,
)
from quorate.kv.errors import MalformedError
from quorate.kv.queries import Count, Exists, Get, GetMany, Length
from quorate.kv.table import DEFAULT_MAX_VALUE_BYTES, SECTION_BYTES, Table


def run(table: Table, command: Command) -> Reply:
    return decode_reply(table.apply(encode_command(command)))


def restored(sections: Iterable[bytes]) -> Table:
    table = Table()
    for section in sections:
        table.restore(section)
    return table


def too_large(limit: int) -> Failure:
    return Failure(
        FailureCode.VALUE_TOO_LARGE, f"ERR string exceeds maximum allowed size ({limit} bytes)"
    )


def test_put_replaces_the_value() -> None:
    table = Table()
    assert run(table, Put(b"k", b"old")) is None
    assert run(table, Put(b"k", b"new")) is None
    assert table.query(Get(b"k")) == b"new"


def test_append_answers_the_new_length() -> None:
    table = Table()
    run(table, Put(b"k", b"ab"))
    assert run(table, Append(b"k", b"cde")) == 5
    assert table.query(Get(b"k")) == b"abcde"


def test_append_to_a_missing_key_acts_like_put() -> None:
    table = Table()
    assert run(table, Append(b"k", b"ab")) == 2
    assert run(table, Append(b"empty", b"")) == 0
    assert table.query(GetMany((b"k", b"empty"), 99)) == (b"ab", b"")


def test_put_after_append_replaces_the_value() -> None:
    table = Table()
    run(table, Append(b"k", b"ab"))
    run(table, Put(b"k", b"c"))
    assert run(table, Append(b"k", b"d")) == 2
    assert table.query(Get(b"k")) == b"cd"


def test_delete_answers_how_many_keys_it_removed() -> None:
    table = Table()
    run(table, PutMany(((b"a", b"1"), (b"b", b""), (b"c", b"3"))))
    assert run(table, Delete((b"a", b"b", b"a", b"missing"))) == 2
    assert table.query(GetMany((b"a", b"b", b"c"), 99)) == (None, None, b"3")


def test_the_last_of_several_values_for_one_key_stays() -> None:
    table = Table()
    assert run(table, PutMany(((b"k", b"1"), (b"k", b"2")))) is None
    assert table.query(Get(b"k")) == b"2"


def test_a_missing_key_reads_as_none_and_has_no_length() -> None:
    table = Table()
    assert table.query(Get(b"k")) is None
    assert table.query(Length(b"k")) == 0
    assert table.query(Exists((b"k",))) == 0
    assert table.query(Count()) == 0


def test_exists_counts_a_repeated_key_repeatedly() -> None:
    table = Table()
    run(table, Put(b"k", b""))
    assert table.query(Exists((b"k", b"k", b"missing"))) == 2


def test_a_value_that_was_read_does_not_change_when_the_key_grows() -> None:
    table = Table()
    run(table, Append(b"k", b"ab"))
    before = table.query(Get(b"k"))
    run(table, Append(b"k", b"c"))
    assert before == b"ab"


def test_the_default_limit_on_a_value_is_one_mebibyte() -> None:
    table = Table()
    largest = bytes(DEFAULT_MAX_VALUE_BYTES)
    assert run(table, Put(b"k", largest)) is None
    assert run(table, Append(b"k", b"x")) == too_large(1048576)
    assert run(table, Put(b"k", largest + b"x")) == too_large(1048576)
    assert table.query(Get(b"k")) == largest


def test_a_value_may_grow_to_the_limit_and_no_further() -> None:
    table = Table(max_value_bytes=4)
    assert run(table, Append(b"k", b"ab")) == 2
    assert run(table, Append(b"k", b"cd")) == 4
    assert run(table, Append(b"k", b"")) == 4
    assert run(table, Append(b"k", b"e")) == too_large(4)
    assert table.query(Get(b"k")) == b"abcd"


def test_an_append_that_fails_does_not_create_the_key() -> None:
    table = Table(max_value_bytes=4)
    assert run(table, Append(b"k", b"abcde")) == too_large(4)
    assert table.query(Count()) == 0


def test_put_many_changes_nothing_if_one_value_is_too_large() -> None:
    table = Table(max_value_bytes=4)
    run(table, Put(b"a", b"old"))
    assert run(table, PutMany(((b"a", b"new"), (b"b", b"abcde")))) == too_large(4)
    assert table.query(GetMany((b"a", b"b"), 99)) == (b"old", None)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 20, b"\x92\x09\x01"])
def test_bytes_that_are_no_command_are_answered_and_change_nothing(data: bytes) -> None:
    table = Table()
    run(table, Put(b"k", b"v"))
    before = table.digest()
    reply = decode_reply(table.apply(data))
    assert reply == Failure(FailureCode.MALFORMED, "ERR malformed command")
    assert table.digest() == before


def test_equal_contents_give_equal_digests_whatever_their_history() -> None:
    straight, winding = Table(), Table()
    run(straight, PutMany(((b"a", b"1"), (b"b", b"23"))))
    for command in (
        Put(b"b", b"2"),
        Append(b"b", b"3"),
        Put(b"gone", b"x"),
        Put(b"a", b"1"),
        Delete((b"gone",)),
    ):
        run(winding, command)
    assert straight.digest() == winding.digest()


def test_different_contents_give_different_digests() -> None:
    digests = {Table().digest(), Table(max_value_bytes=4).digest()}
    for pairs in ([(b"a", b"1")], [(b"a", b"2")], [(b"a1", b"")], [(b"a", b"1"), (b"b", b"")]):
        table = Table()
        run(table, PutMany(tuple(pairs)))
        digests.add(table.digest())
    assert len(digests) == 6


def test_the_limit_is_part_of_the_snapshot() -> None:
    small = Table(max_value_bytes=4)
    assert run(restored(small.snapshot()), Put(b"k", b"abcde")) == too_large(4)


def test_bytes_that_are_no_section_are_refused_and_change_nothing() -> None:
    table = Table()
    run(table, Put(b"k", b"v"))
    before = table.digest()
    (section,) = table.snapshot()
    for length in range(len(section)):
        with pytest.raises(MalformedError):
            table.restore(section[:length])
    assert table.digest() == before


def test_a_section_is_as_large_as_said_but_for_its_last_value() -> None:
    table = Table()
    for number in range(3_000):
        run(table, Put(b"key-%d" % number, bytes(100)))
    run(table, Put(b"large", bytes(500_000)))
    run(table, Put(b"behind", b"it"))
    sections = list(table.snapshot())
    *full, large, last = map(len, sections)
    assert len(full) > 3
    assert all(0.95 * SECTION_BYTES < size < 1.05 * SECTION_BYTES for size in full)
    assert 500_000 < large < 500_000 + 1.05 * SECTION_BYTES
    assert last < 50
    assert restored(sections).digest() == table.digest()


def test_the_snapshot_of_an_empty_table_is_one_small_section() -> None:
    (section,) = Table().snapshot()
    assert len(section) < 10


MAX_BYTES = 6
keys = st.sampled_from([b"a", b"b", b"c"])
values = st.binary(max_size=MAX_BYTES + 1)
commands = st.one_of(
    st.builds(Put, keys, values),
    st.builds(Append, keys, st.binary(max_size=3)),
    st.builds(Delete, st.lists(keys, max_size=4).map(tuple)),
    st.builds(PutMany, st.lists(st.tuples(keys, values), max_size=3).map(tuple)),
)


def run_model(model: dict[bytes, bytes], command: Command) -> Reply:
    """The table's dumb twin: tries the command on a copy, then looks for values too large."""
    after = dict(model)
    reply: Reply = None
    match command:
        case Put(key=key, value=value):
            after[key] = value
        case Append(key=key, arg=arg):
            after[key] = model.get(key, b"") + arg
            reply = len(after[key])
        case Delete(keys=doomed):
            after = {key: value for key, value in model.items() if key not in doomed}
            reply = len(model) - len(after)
        case PutMany(pairs=pairs):
            if any(len(value) > MAX_BYTES for _, value in pairs):
                return too_large(MAX_BYTES)
            for key, value in pairs:
                after[key] = value
    if any(len(value) > MAX_BYTES for value in after.values()):
        return too_large(MAX_BYTES)
    model.clear()
    model.update(after)
    return reply


@settings(max_examples=200)
@given(st.lists(st.tuples(commands, st.booleans()), max_size=30))
def test_the_table_does_what_a_plain_dict_does(steps: list[tuple[Command, bool]]) -> None:
    table = Table(max_value_bytes=MAX_BYTES)
    model: dict[bytes, bytes] = {}
    asked = (b"a", b"b", b"missing", b"c", b"a")
    for command, restart in steps:
        if restart:
            digest = table.digest()
            table = restored(table.snapshot())
            assert table.digest() == digest
        assert run(table, command) == run_model(model, command)
        assert table.query(GetMany(asked, 1 << 20)) == tuple(model.get(key) for key in asked)
        assert table.query(Exists(asked)) == sum(key in model for key in asked)
        assert table.query(Count()) == len(model)
        assert [table.query(Length(key)) for key in asked] == [
            len(model.get(key, b"")) for key in asked
        ]


def test_too_many_bytes_together_are_not_given_out() -> None:
    table = Table()
    run(table, Put(b"k", b"1234"))
    run(table, Append(b"k", b"5"))
    assert table.query(GetMany((b"k", b"none", b"k"), 10)) == (b"12345", None, b"12345")
    assert table.query(GetMany((b"k", b"none", b"k"), 9)) is None
