"""A table that goes on while its snapshot is fetched, beside a dict copied when that began."""

import gc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quorate.kv.commands import (
    Append,
    Command,
    Delete,
    Put,
    PutMany,
    Reply,
    decode_reply,
    encode_command,
)
from quorate.kv.queries import Count, Exists, Get, GetMany, Length
from quorate.kv.table import FREED_PER_STEP, MERGED_PER_CALL, SECTION_BYTES, Table


def run(table: Table, command: Command) -> Reply:
    return decode_reply(table.apply(encode_command(command)))


def restored(sections: list[bytes]) -> Table:
    table = Table()
    for section in sections:
        table.restore(section)
    return table


def filled(keys: int, value: bytes = b"old") -> Table:
    table = Table()
    run(table, PutMany(tuple((b"key-%d" % number, value) for number in range(keys))))
    return table


def test_what_changes_while_sections_are_fetched_is_not_in_them() -> None:
    table = filled(5, bytes(SECTION_BYTES))
    run(table, Append(b"key-4", b"!"))
    before = table.digest()
    walk = table.snapshot()
    sections = [next(walk)]
    run(table, Put(b"key-0", b"new"))
    run(table, Put(b"key-2", b"new"))
    run(table, Append(b"key-3", b"new"))
    run(table, Append(b"key-4", b"new"))
    run(table, Delete((b"key-1",)))
    run(table, Put(b"another", b"new"))
    sections += walk
    assert len(sections) == 5
    assert restored(sections).digest() == before
    large = bytes(SECTION_BYTES)
    asked = (*(b"key-%d" % number for number in range(5)), b"another")
    expected = (b"new", None, b"new", large + b"new", large + b"!new", b"new")
    assert table.query(GetMany(asked, 1 << 20)) == expected
    assert table.query(Count()) == 5


def test_what_changes_before_the_first_section_is_fetched_is_not_in_it() -> None:
    table = filled(3)
    before = table.digest()
    walk = table.snapshot()
    run(table, Delete((b"key-0", b"key-1", b"key-2")))
    assert restored(list(walk)).digest() == before


def test_the_changes_during_a_snapshot_are_merged_a_few_at_a_time_behind_empty_sections() -> None:
    table = filled(2 * MERGED_PER_CALL)
    walk = table.snapshot()
    run(table, PutMany(tuple((b"key-%d" % n, b"new") for n in range(2 * MERGED_PER_CALL))))
    run(table, Put(b"another", b"new"))
    sections = list(walk)
    assert sections[-2:] == [b"", b""]
    assert b"" not in sections[:-2]
    assert table.digest() == restored(list(table.snapshot())).digest()


def test_one_snapshot_is_taken_at_a_time() -> None:
    table = filled(1)
    walk = table.snapshot()
    with pytest.raises(AssertionError, match="under way"):
        table.snapshot()
    assert restored(list(walk)).digest() == table.digest()
    table.snapshot()


@pytest.mark.parametrize("fetched", [0, 1])
def test_a_snapshot_that_is_dropped_is_over(fetched: int) -> None:
    table = filled(5, bytes(SECTION_BYTES))
    walk = table.snapshot()
    for _ in range(fetched):
        next(walk)
    run(table, Put(b"key-3", b"new"))
    del walk
    run(table, Delete((b"key-2",)))
    assert restored(list(table.snapshot())).digest() == table.digest()
    assert table.query(Count()) == 4


def test_a_table_that_was_emptied_during_a_dropped_snapshot_can_be_walked_again() -> None:
    table = filled(100)
    walk = table.snapshot()
    run(table, Delete(tuple(b"key-%d" % number for number in range(100))))
    del walk
    assert restored(list(table.snapshot())).digest() == Table().digest()


def test_after_a_dropped_snapshot_commands_go_on_and_so_does_the_next_one() -> None:
    table = filled(100)
    walk = table.snapshot()
    run(table, PutMany(tuple((b"key-%d" % number, b"new") for number in range(60))))
    del walk
    for number in range(50, 55):
        run(table, Put(b"key-%d" % number, b"newer"))
    copy = restored(list(table.snapshot()))
    expected = {b"key-%d" % n: b"newer" if 50 <= n < 55 else b"new" for n in range(60)}
    assert {key: copy.query(Get(key)) for key in expected} == expected


def test_a_snapshot_holds_no_second_copy_of_the_table() -> None:
    """No object for each key: the only ones that there are more of are a generator's."""
    table = filled(10_000)
    gc.collect()
    before = len(gc.get_objects())
    walk = table.snapshot()
    next(walk)
    assert len(gc.get_objects()) < before + 20


MAX_BYTES = 4 * SECTION_BYTES // 5
KEYS = [b"key-%d" % number for number in range(12)]
keys = st.sampled_from(KEYS)
lengths = st.sampled_from([0, 1, 10_000, 30_000])
values = st.builds(lambda byte, length: bytes([byte]) * length, st.integers(0, 255), lengths)


class Life(RuleBasedStateMachine):
    """One table, by commands, sections and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(MAX_BYTES)
        self.twin: dict[bytes, bytes] = {}
        self.walk: Iterator[bytes] | None = None
        self.sections: list[bytes] = []
        self.walked: dict[bytes, bytes] = {}

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        run(self.table, Put(key, value))
        self.twin[key] = value

    @rule(key=keys, value=values)
    def append(self, key: bytes, value: bytes) -> None:
        after = self.twin.get(key, b"") + value
        reply = run(self.table, Append(key, value))
        if len(after) <= MAX_BYTES:
            assert reply == len(after)
            self.twin[key] = after

    @rule(doomed=st.sets(keys, max_size=3))
    def delete(self, doomed: set[bytes]) -> None:
        reply = run(self.table, Delete(tuple(sorted(doomed))))
        assert reply == len(doomed & self.twin.keys())
        self.twin = {key: value for key, value in self.twin.items() if key not in doomed}

    @rule(first=st.integers(0, 30), count=st.integers(1, 40))
    def put_many(self, first: int, count: int) -> None:
        """More than are merged with one command."""
        pairs = [(b"small-%d" % number, b"%d" % first) for number in range(first, first + count)]
        run(self.table, PutMany(tuple(pairs)))
        self.twin.update(pairs)

    @rule(first=st.integers(0, 30), count=st.integers(1, 40))
    def delete_many(self, first: int, count: int) -> None:
        doomed = tuple(b"small-%d" % number for number in range(first, first + count))
        run(self.table, Delete(doomed))
        self.twin = {key: value for key, value in self.twin.items() if key not in doomed}

    @rule()
    def delete_everything(self) -> None:
        run(self.table, Delete(tuple(self.twin)))
        self.twin = {}

    @precondition(lambda self: self.walk is None)
    @rule()
    def begin(self) -> None:
        self.walk = self.table.snapshot()
        self.walked = dict(self.twin)
        self.sections = []

    @precondition(lambda self: self.walk is not None)
    @rule()
    def fetch(self) -> None:
        assert self.walk is not None
        section = next(self.walk, None)
        if section is not None:
            self.sections.append(section)
            return
        self.walk = None
        copy = restored([section for section in self.sections if section])
        assert {key: copy.query(Get(key)) for key in self.walked} == self.walked
        assert copy.query(Count()) == len(self.walked)

    @precondition(lambda self: self.walk is not None)
    @rule()
    def drop(self) -> None:
        self.walk = None

    @precondition(lambda self: self.walk is None)
    @rule()
    def restart(self) -> None:
        digest = self.table.digest()
        self.table = restored([section for section in self.table.snapshot() if section])
        assert self.table.digest() == digest

    @invariant()
    def reads_are_those_of_the_twin(self) -> None:
        asked = (*KEYS, *(b"small-%d" % number for number in range(0, 70, 3)))
        expected = tuple(self.twin.get(key) for key in asked)
        assert self.table.query(GetMany(asked, 1 << 30)) == expected
        assert self.table.query(Exists(asked)) == sum(key in self.twin for key in asked)
        assert self.table.query(Count()) == len(self.twin)
        assert self.table.query(Length(KEYS[0])) == len(self.twin.get(KEYS[0], b""))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40)


def test_a_table_that_is_not_needed_any_more_goes_a_little_at_a_time() -> None:
    table = filled(3 * FREED_PER_STEP)
    sections = table.snapshot()
    next(sections)
    for number in range(2 * MERGED_PER_CALL):
        run(table, Put(b"later-%d" % number, b"v"))
    counts = [run_count(table)] + [run_count(table) for _ in table.dismantle()]
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) == FREED_PER_STEP


def run_count(table: Table) -> int:
    count = table.query(Count())
    assert isinstance(count, int)
    return count
