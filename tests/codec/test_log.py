import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.errors import DecodeError
from quorate.codec.log import (
    LogRecord,
    SegmentHeader,
    StartRecord,
    WriteRecord,
    decode_record,
    encode_record,
)
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.snapshot import LogStart

numbers = st.integers(0, 2**63 - 1)
entries = st.builds(
    Entry,
    index=numbers,
    term=numbers,
    time_ms=numbers,
    kind=st.sampled_from(EntryKind),
    data=st.binary(max_size=40),
)
starts = st.builds(LogStart, index=numbers, term=numbers)
writes = st.builds(
    WriteRecord,
    term=numbers,
    voted_for=st.none() | numbers,
    entries=st.lists(entries, max_size=5).map(tuple),
)
records = st.one_of(
    st.builds(
        SegmentHeader,
        format_version=numbers,
        term=numbers,
        voted_for=st.none() | numbers,
        start=starts,
        last_index=numbers,
    ),
    writes,
    st.builds(StartRecord, start=starts, last_index=numbers, write=writes),
)


@given(records)
def test_a_record_survives_the_round_trip(record: LogRecord) -> None:
    encoded = encode_record(record)
    for data in (encoded, memoryview(encoded)):
        received = decode_record(data)
        assert received == record
        assert type(received) is type(record)


@given(records, st.data())
def test_a_record_that_is_cut_short_is_a_decode_error(
    record: LogRecord, data: st.DataObject
) -> None:
    encoded = encode_record(record)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError, match="not a log record"):
        decode_record(encoded[:length])


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_record(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x94\x02\x01\xc0\x90\x00",  # something behind the record
        b"\x94\x63\x01\xc0\x90",  # an unknown type
        b"\x94\x02\x01\xc0\xdd\xff\xff\xff\xff",  # four thousand million entries
        b"\x94\x02\x01\xc0\x91\x95\x01\x01\x01\x63\xc4\x00",  # an unknown kind of entry
        b"\x94\x02\x01\xc0\x91\x95\x01\x01\x01\x01\xc6\xff\xff\xff\xff",  # an entry of 4 GiB
    ],
)
def test_what_is_no_record_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a log record"):
        decode_record(data)


def test_no_entry_takes_more_than_its_data_and_the_bytes_that_limits_count_for_its_header() -> None:
    largest = 2**64 - 1
    data = bytes(100_000)
    entry = Entry(largest, largest, largest, EntryKind.DATA, data)
    without = len(encode_record(WriteRecord(1, None, ())))
    assert len(encode_record(WriteRecord(1, None, (entry,)))) - without <= (
        ENTRY_HEADER_BYTES + len(data)
    )
