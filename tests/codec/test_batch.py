import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Operation,
    OperationResult,
    Refusal,
    RefusedSession,
    Submission,
    SubmissionOutcomes,
    decode_batch,
    decode_results,
    encode_batch,
    encode_results,
    operation_bytes,
)
from quorate.codec.errors import DecodeError

numbers = st.integers(0, 2**63 - 1)
commands = st.lists(st.binary(max_size=40), max_size=6).map(tuple)
operations = st.one_of(
    st.builds(
        Submission,
        session=numbers,
        acked=numbers,
        first_seq=numbers,
        commands=commands,
        owner=numbers,
    ),
    st.builds(OpenSession, owner=numbers, incarnation=numbers),
)
outcomes = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(Refusal)), max_size=6)
results = st.one_of(
    st.builds(OpenedSession, session=numbers),
    st.builds(RefusedSession, reason=st.sampled_from(Refusal)),
    st.builds(SubmissionOutcomes, outcomes=outcomes.map(tuple)),
)


@given(st.lists(operations, max_size=6).map(tuple))
def test_a_batch_survives_the_round_trip(batch: tuple[Operation, ...]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


@given(st.lists(results, max_size=6).map(tuple))
def test_results_survive_the_round_trip(batch: tuple[OperationResult, ...]) -> None:
    assert decode_results(encode_results(batch)) == batch


def test_a_refusal_is_still_a_refusal_after_the_round_trip() -> None:
    sent = (SubmissionOutcomes((Refusal.STALE, b"")), RefusedSession(Refusal.SUPERSEDED))
    first, second = decode_results(encode_results(sent))
    assert isinstance(first, SubmissionOutcomes)
    assert isinstance(first.outcomes[0], Refusal)
    assert isinstance(second, RefusedSession)
    assert second.reason is Refusal.SUPERSEDED


def test_equal_batches_are_equal_bytes() -> None:
    # Followers compare and store the bytes, never the values.
    first = (Submission(1, 2, 3, (b"a", b"b")), OpenSession(1, 2))
    second = (Submission(1, 2, 3, (b"a", b"b")), OpenSession(owner=1, incarnation=2))
    assert encode_batch(first) == encode_batch(second)


@given(
    st.integers(1, 2**31),
    st.lists(st.binary(max_size=300), max_size=6).map(tuple),
)
def test_an_operation_takes_no_more_bytes_than_it_is_counted_for(
    number: int, commands: tuple[bytes, ...]
) -> None:
    for operation in (
        Submission(number, number, number, commands, owner=number),
        OpenSession(owner=number, incarnation=number),
    ):
        encoded = len(encode_batch((operation,)))
        assert encoded <= operation_bytes(operation) <= encoded + 32 + 4 * len(commands)


@given(st.lists(operations, min_size=1, max_size=3).map(tuple), st.data())
def test_a_batch_that_is_cut_short_is_a_decode_error(
    batch: tuple[Operation, ...], data: st.DataObject
) -> None:
    encoded = encode_batch(batch)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError, match="not a batch of operations"):
        decode_batch(encoded[:length])


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    for decode in (decode_batch, decode_results):
        with contextlib.suppress(DecodeError):
            decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90\x90",  # something behind the batch
        b"\xdd\xff\xff\xff\xff",  # four thousand million operations
        b"\x91\x95\x01\x01\x01\x01\xdd\xff\xff\xff\xff",  # as many commands
        b"\x91\x95\x01\x01\x01\x01\x91\xc6\xff\xff\xff\xff",  # one of 4 GiB
        b"\x91\x93\x63\x01\x01",  # an unknown operation
        b"\x91\x95\x01\x01\x01\x01\x91\xa1x",  # text for bytes
        b"\x91" * 100_000,
    ],
)
def test_what_is_no_batch_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a batch of operations"):
        decode_batch(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x92\x02\x63", b"\x91\x92\x03\x91\x63"])
def test_what_is_no_result_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not the results of a batch"):
        decode_results(data)


@pytest.mark.parametrize("operation", [Submission(1, 0, 1, ()), OpenSession()])
@pytest.mark.parametrize("depth", [0, 500, 5000])
def test_surplus_elements_are_refused_however_deep_they_are(
    operation: Operation, depth: int
) -> None:
    """1. A server forwards a batch with something behind the operation's last field, nested
    nearly as deep as the stack allows. 2. The leader can read that, and proposes it. 3. Whoever
    applies it stands a few frames deeper, cannot read it, and stops, at every start.
    """
    encoded = encode_batch((operation,))
    fields = encoded[1] & 0x0F
    surplus = b"\x91" * depth + b"\xc0"
    with pytest.raises(DecodeError):
        decode_batch(b"\x91" + bytes([0x90 + fields + 1]) + encoded[2:] + surplus)
