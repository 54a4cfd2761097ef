import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.errors import DecodeError
from quorate.codec.snapshot import (
    SnapshotEnd,
    SnapshotHeader,
    decode_snapshot_end,
    decode_snapshot_header,
    encode_snapshot_record,
)
from quorate.raft.configuration import Configuration, Member
from quorate.raft.snapshot import SnapshotMetadata

numbers = st.integers(0, 2**63 - 1)
members = st.builds(
    Member, id=numbers, peer_address=st.text(max_size=9), client_address=st.text(max_size=9)
)
headers = st.builds(
    SnapshotHeader,
    format_version=numbers,
    metadata=st.builds(
        SnapshotMetadata,
        index=numbers,
        term=numbers,
        time_ms=numbers,
        configuration=st.builds(Configuration, voters=st.lists(members, max_size=5).map(tuple)),
    ),
)
ends = st.builds(SnapshotEnd, sections=numbers, checksum=numbers)


@given(headers)
def test_a_header_survives_the_round_trip(header: SnapshotHeader) -> None:
    assert decode_snapshot_header(encode_snapshot_record(header)) == header


@given(ends)
def test_an_end_survives_the_round_trip(end: SnapshotEnd) -> None:
    assert decode_snapshot_end(encode_snapshot_record(end)) == end


@given(headers, ends)
def test_one_is_never_taken_for_the_other(header: SnapshotHeader, end: SnapshotEnd) -> None:
    with pytest.raises(DecodeError, match="not the header of a snapshot"):
        decode_snapshot_header(encode_snapshot_record(end))
    with pytest.raises(DecodeError, match="not the end of a snapshot"):
        decode_snapshot_end(encode_snapshot_record(header))


@given(headers, st.data())
def test_a_header_that_is_cut_short_is_a_decode_error(
    header: SnapshotHeader, data: st.DataObject
) -> None:
    encoded = encode_snapshot_record(header)
    with pytest.raises(DecodeError):
        decode_snapshot_header(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    for decode in (decode_snapshot_header, decode_snapshot_end):
        with contextlib.suppress(DecodeError):
            decode(data)
