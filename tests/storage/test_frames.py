"""Frames: what is written is read, and every kind of bad frame is judged as the header says."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.frames import (
    HEADER_SIZE,
    CleanEnd,
    Damage,
    Frame,
    Scan,
    TornTail,
    encode_frame,
    frame_offset,
    read_frame,
    scan_frames,
)
from quorate.storage.memory_disk import MemoryDisk

FILE_SIZE = 8192

contents_lists = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 1500).map(bytes),
        st.builds(bytes.ljust, st.binary(max_size=600), st.integers(0, 1500), st.just(b"\0")),
        st.builds(bytes.rjust, st.binary(max_size=600), st.integers(0, 1500), st.just(b"\0")),
    ),
    min_size=1,
    max_size=5,
)


def file_of(*contents: bytes, size: int = FILE_SIZE) -> bytes:
    """A file with these frames, numbered from 1, and zeros up to its size."""
    data = bytearray()
    for sequence, content in enumerate(contents, start=1):
        offset = frame_offset(len(data))
        data.extend(bytes(offset - len(data)))
        data.extend(encode_frame(content, sequence=sequence, offset=offset))
    return bytes(data.ljust(size, b"\0"))


def contents_of(found: Scan) -> list[bytes]:
    return [frame.contents for frame in found.frames]


def sectors_of(frame: Frame) -> list[range]:
    """The bytes of the frame, sector by sector of the file."""
    first, last = frame.offset // SECTOR_SIZE, (frame.end - 1) // SECTOR_SIZE
    return [
        range(max(frame.offset, sector * SECTOR_SIZE), min(frame.end, (sector + 1) * SECTOR_SIZE))
        for sector in range(first, last + 1)
    ]


def blank(data: bytes, *parts: range) -> bytes:
    """The data with zeros in place of these bytes."""
    changed = bytearray(data)
    for part in parts:
        changed[part.start : part.stop] = bytes(len(part))
    return bytes(changed)


def flip(data: bytes, at: int, mask: int = 0xFF) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@given(contents_lists)
def test_what_is_written_is_read(contents: list[bytes]) -> None:
    found = scan_frames(file_of(*contents))
    assert contents_of(found) == contents
    assert [frame.sequence for frame in found.frames] == list(range(1, len(contents) + 1))
    assert isinstance(found.tail, CleanEnd)


@given(contents_lists)
def test_a_header_never_straddles_a_sector(contents: list[bytes]) -> None:
    for frame in scan_frames(file_of(*contents)).frames:
        assert frame.offset // SECTOR_SIZE == (frame.offset + HEADER_SIZE - 1) // SECTOR_SIZE


@pytest.mark.parametrize("data", [b"", b"\0", bytes(511), bytes(5000)])
def test_nothing_and_zeros_are_a_clean_end(data: bytes) -> None:
    assert scan_frames(data) == Scan((), CleanEnd(0))


def test_a_file_may_end_right_behind_its_last_frame() -> None:
    data = file_of(b"one", b"two", size=0)
    assert scan_frames(data).tail == CleanEnd(len(data))


def test_the_first_frame_may_have_any_number() -> None:
    data = encode_frame(b"x", sequence=77, offset=0)
    assert scan_frames(data).frames == (Frame(0, 77, b"x"),)


def test_a_frame_that_does_not_count_on_is_damage() -> None:
    first = encode_frame(b"x", sequence=77, offset=0)
    data = first + encode_frame(b"y", sequence=79, offset=len(first))
    assert scan_frames(data) == Scan(
        (Frame(0, 77, b"x"),), Damage(len(first), "this is frame 79 where 78 should be")
    )


@given(contents_lists, st.data())
def test_a_file_cut_anywhere_gives_the_longest_valid_prefix(
    contents: list[bytes], data: st.DataObject
) -> None:
    whole = file_of(*contents, size=0)
    size = data.draw(st.integers(0, len(whole)))
    expected = tuple(frame for frame in scan_frames(whole).frames if frame.end <= size)
    found = scan_frames(whole[:size])
    assert found.frames == expected
    assert not isinstance(found.tail, Damage)


@given(contents_lists, st.data())
def test_a_last_frame_that_lost_any_of_its_sectors_is_torn(
    contents: list[bytes], data: st.DataObject
) -> None:
    """The rule must hold for whatever subset of the sectors reached the disk, in any order."""
    whole = file_of(*contents)
    frames = scan_frames(whole).frames
    last = frames[-1]
    sectors = sectors_of(last)
    lost = data.draw(st.sets(st.sampled_from(sectors), min_size=1))
    torn = blank(whole, *lost)
    found = scan_frames(torn)
    if torn == whole:  # those sectors held zeros anyway
        assert found.frames == frames
    else:
        assert found.frames == frames[:-1]
        lost_all = not any(torn[last.offset : last.end])
        assert found.tail == (CleanEnd(last.offset) if lost_all else TornTail(last.offset))


@given(contents_lists, st.integers(1, 255), st.data())
def test_a_changed_byte_in_any_frame_is_damage_where_the_frame_begins(
    contents: list[bytes], mask: int, data: st.DataObject
) -> None:
    whole = file_of(*contents)
    frames = scan_frames(whole).frames
    number = data.draw(st.integers(0, len(frames) - 1))
    frame = frames[number]
    at = data.draw(st.integers(frame.offset, frame.end - 1))
    changed = flip(whole, at, mask)
    sector = next(sector for sector in sectors_of(frame) if at in sector)
    # The one thing that looks like a sector that was never written: the only byte that was not
    # zero in a sector of the last frame became zero. See docs/wal.md.
    assume(number < len(frames) - 1 or any(changed[at] for at in sector) or not whole[at])
    found = scan_frames(changed)
    assert found.frames == frames[:number]
    assert isinstance(found.tail, Damage)
    assert found.tail.offset == frame.offset


@given(contents_lists, st.data())
def test_a_sector_lost_from_any_frame_but_the_last_is_damage(
    contents: list[bytes], data: st.DataObject
) -> None:
    whole = file_of(*contents, b"last")
    frames = scan_frames(whole).frames
    number = data.draw(st.integers(0, len(frames) - 2))
    # From the sector's beginning or the frame's to the frame's end in it: what follows stays.
    changed = blank(whole, data.draw(st.sampled_from(sectors_of(frames[number]))))
    assume(changed != whole)
    found = scan_frames(changed)
    assert found.frames == frames[:number]
    assert isinstance(found.tail, Damage)
    assert found.tail.offset == frames[number].offset


@given(contents_lists, st.integers(1, 255), st.data())
def test_a_changed_byte_behind_the_last_frame_never_costs_a_frame(
    contents: list[bytes], mask: int, data: st.DataObject
) -> None:
    whole = file_of(*contents)
    frames = scan_frames(whole).frames
    at = data.draw(st.integers(frames[-1].end, len(whole) - 1))
    assert scan_frames(flip(whole, at, mask)).frames == frames


def test_every_sector_of_a_value_of_zeros_may_be_lost_but_no_byte_may_change() -> None:
    """Zeros in the contents look like lost sectors; the header says how many there are."""
    data = file_of(b"first", b"\1" + bytes(3000) + b"\1")
    frames = scan_frames(data).frames
    for at in range(frames[1].offset, frames[1].end):
        found = scan_frames(flip(data, at))
        assert found.frames == frames[:1]
        assert isinstance(found.tail, Damage)
    for lost in sectors_of(frames[1])[1:-1]:
        assert scan_frames(blank(data, lost)).frames == frames  # there was nothing in it to lose


def test_a_length_that_reaches_beyond_the_file_is_damage_not_a_torn_tail() -> None:
    data = file_of(b"first", b"second")
    last = scan_frames(data).frames[-1]
    for at in range(last.offset + 4, last.offset + 8):
        assert scan_frames(flip(data, at)).tail == Damage(
            last.offset, "the header of a frame does not match its checksum"
        )


def test_a_lost_header_before_a_valid_frame_is_damage() -> None:
    data = file_of(b"first".ljust(600, b"x"), b"second".ljust(600, b"x"), b"third")
    frames = scan_frames(data).frames
    header_sector = sectors_of(frames[1])[0]
    assert scan_frames(blank(data, header_sector)) == Scan(
        frames[:1],
        Damage(
            frames[1].offset,
            f"zeros, but there is a frame behind them at byte {frames[2].offset}",
        ),
    )


def test_the_image_of_an_older_frame_inside_a_torn_one_does_not_make_it_damage() -> None:
    """Somebody may store a copy of a log as a value."""
    image = encode_frame(b"x", sequence=1, offset=0)
    data = file_of(b"first", b"y" * 600 + image)
    last = scan_frames(data).frames[-1]
    assert scan_frames(blank(data, sectors_of(last)[0])).tail == TornTail(last.offset)


def test_contents_that_look_like_a_header_do_not_make_a_torn_frame_damage() -> None:
    for ending in (b"QFRM", b"QFRM" * 20):
        data = file_of(b"first", b"y" * 600 + ending, size=0)
        last = scan_frames(data).frames[-1]
        assert scan_frames(blank(data, sectors_of(last)[0])).tail == TornTail(last.offset)


def test_bytes_in_the_gap_before_a_sector_are_damage() -> None:
    first = b"x" * (SECTOR_SIZE - HEADER_SIZE - 10)
    data = file_of(first, b"second")
    frames = scan_frames(data).frames
    assert frames[0].end == SECTOR_SIZE - 10
    assert frames[1].offset == SECTOR_SIZE
    assert scan_frames(flip(data, SECTOR_SIZE - 3)).tail == Damage(
        frames[0].end, "the bytes between two frames are not zero"
    )


def test_every_pair_of_changed_bits_in_a_small_frame_is_damage() -> None:
    data = encode_frame(b"abcd", sequence=1, offset=0)
    for one, two in itertools.combinations(range(len(data) * 8), 2):
        changed = flip(flip(data, one // 8, 1 << one % 8), two // 8, 1 << two % 8)
        found = scan_frames(changed)
        assert not found.frames
        assert isinstance(found.tail, Damage)


# Frame by frame, from a file in which none can be torn.


def frames_read(data: bytes) -> tuple[list[Frame], Damage]:
    """All frames of a file, and what stops the reading at last."""
    file = MemoryDisk().create("a")
    file.write_at(0, data)
    frames: list[Frame] = []
    end = 0
    while True:
        found = read_frame(file, end, len(frames) + 1)
        if isinstance(found, Damage):
            return frames, found
        frames.append(found)
        end = found.end


@given(contents_lists)
def test_frames_are_read_one_by_one_as_all_at_once(contents: list[bytes]) -> None:
    data = file_of(*contents)
    assert tuple(frames_read(data)[0]) == scan_frames(data).frames
    data = file_of(*contents, size=0)
    assert tuple(frames_read(data)[0]) == scan_frames(data).frames


@given(contents_lists, st.integers(1, 255), st.data())
def test_a_changed_byte_is_damage_also_where_frames_are_read_one_by_one(
    contents: list[bytes], mask: int, data: st.DataObject
) -> None:
    file = file_of(*contents, size=0)
    at = data.draw(st.integers(0, len(file) - 1))
    frames, damage = frames_read(flip(file, at, mask))
    assert contents[: len(frames)] == [frame.contents for frame in frames]
    assert len(frames) < len(contents)
    assert damage.offset <= at


@given(contents_lists, st.data())
def test_a_cut_frame_is_damage_where_none_can_be_torn(
    contents: list[bytes], data: st.DataObject
) -> None:
    file = file_of(*contents, size=0)
    size = data.draw(st.integers(0, len(file) - 1))
    frames, _ = frames_read(file[:size])
    assert tuple(frames) == scan_frames(file[:size]).frames


def test_what_damage_is_where_none_can_be_torn() -> None:
    file = file_of(b"a" * 460, b"b")
    first = HEADER_SIZE + 460
    assert frames_read(flip(file, first))[1].reason == "the bytes between two frames are not zero"
    assert "the header" in frames_read(flip(file, 3))[1].reason
    assert "a frame does not match its checksum" in frames_read(flip(file, 40))[1].reason
    assert frames_read(file[:300])[1].reason == "the file ends inside a frame"
    twice = encode_frame(b"a", sequence=1, offset=0)
    assert "this is frame 1 where 2 should be" in frames_read(twice * 2)[1].reason
