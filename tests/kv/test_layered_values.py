"""The two layers beside a dumb twin: one dict, and a copy of it from when the walk began."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.kv.layered_values import MERGED_PER_CHANGE, LayeredValues, Value

KEYS = [b"%d" % number for number in range(2 * MERGED_PER_CHANGE)]


def test_what_is_walked_stays_and_what_is_read_changes() -> None:
    base: dict[bytes, Value] = {b"a": b"1", b"b": b"2"}
    layered = LayeredValues(base)
    layered[b"a"] = b"3"
    layered[b"c"] = b"4"
    assert layered.pop(b"b", None) == b"2"
    assert base == {b"a": b"1", b"b": b"2"}
    assert [layered.get(key) for key in (b"a", b"b", b"c")] == [b"3", None, b"4"]


def test_after_the_walk_a_few_changes_at_a_time_are_merged() -> None:
    base: dict[bytes, Value] = {b"a": b"1", b"b": b"2"}
    layered = LayeredValues(base)
    layered.update(((b"a", b"3"), (b"c", b"4")))
    layered.pop(b"b", None)
    layered.thaw()
    assert not layered.merge(2)
    assert layered.merge(2)
    assert base == {b"a": b"3", b"c": b"4"}


def test_with_each_later_change_a_few_are_merged() -> None:
    base: dict[bytes, Value] = dict.fromkeys(KEYS, b"old")
    layered = LayeredValues(base)
    layered.update((key, b"new") for key in KEYS)
    layered.thaw()
    before = layered.change_count
    layered[b"another"] = b"new"
    assert layered.change_count == before - MERGED_PER_CHANGE
    layered.pop(b"another", None)
    assert layered.change_count == 0
    assert base == dict.fromkeys(KEYS, b"new")


def test_nothing_is_merged_during_the_walk() -> None:
    layered = LayeredValues({})
    with pytest.raises(AssertionError):
        layered.merge(1)


def test_only_what_nobody_walks_to_may_grow_in_place() -> None:
    layered = LayeredValues({b"a": bytearray(b"1"), b"b": bytearray(b"2")})
    layered[b"b"] = bytearray(b"3")
    assert [layered.may_grow(key) for key in (b"a", b"b")] == [False, True]
    layered.thaw()
    assert [layered.may_grow(key) for key in (b"a", b"b")] == [True, True]


keys = st.sampled_from(KEYS)
values = st.binary(max_size=1)
steps = st.one_of(
    st.tuples(st.just("set"), keys, values),
    st.tuples(st.just("pop"), keys, st.none()),
    st.tuples(st.just("thaw"), st.none(), st.none()),
    st.tuples(st.just("merge"), st.integers(0, 3), st.none()),
)


@settings(max_examples=300)
@given(before=st.dictionaries(keys, values), steps=st.lists(steps, max_size=40))
def test_two_layers_do_what_one_dict_does(
    before: dict[bytes, bytes], steps: list[tuple[str, object, object]]
) -> None:
    twin = dict(before)
    walked: dict[bytes, Value] = {**before}
    layered = LayeredValues(walked)
    for what, argument, value in steps:
        if what == "set":
            assert isinstance(argument, bytes)
            assert isinstance(value, bytes)
            layered[argument] = twin[argument] = value
        elif what == "pop":
            assert isinstance(argument, bytes)
            assert layered.pop(argument, None) == twin.pop(argument, None)
        elif what == "thaw":
            layered.thaw()
        elif not layered.is_frozen:
            assert isinstance(argument, int)
            if layered.merge(argument):
                assert walked == twin
        if layered.is_frozen:
            assert walked == before
        assert {key: layered.get(key) for key in layered} == twin
        assert len(layered) == len(twin)
        assert [key in layered for key in KEYS] == [key in twin for key in KEYS]
        assert [layered.get(key, b"none") for key in KEYS] == [
            twin.get(key, b"none") for key in KEYS
        ]
