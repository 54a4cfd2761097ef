"""A small log, damaged in every place.

Whatever happens to it, recovery gives a prefix of what was written or refuses, and never an entry
that was not written.
"""

import itertools
import random
from collections.abc import Iterator

import pytest
from tests.storage.small_log import (
    FRAMES,
    LAST_FRAME,
    LOG,
    SEGMENT_SIZE,
    SEGMENTS,
    STATES,
    WRITES,
    disk_with,
    recovered,
    reopen,
    state_at,
)

from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.errors import CorruptionError
from quorate.storage.frames import Frame
from quorate.storage.recovery import recover_log
from quorate.storage.segments import segment_name


def refused(files: dict[int, bytes]) -> tuple[str, int]:
    """Where the damage is said to be."""
    with pytest.raises(CorruptionError) as info:
        recover_log(disk_with(files))
    return info.value.file, info.value.offset


def cuts(number: int) -> Iterator[int]:
    """Every size that the segment can be cut to, and a few in the zeros behind its frames."""
    end = FRAMES[number][-1].end
    yield from range(end)
    yield from range(end, SEGMENT_SIZE, 37)


def flipped(number: int, at: int, byte: int) -> dict[int, bytes]:
    data = LOG[number]
    return {**LOG, number: data[:at] + bytes([byte]) + data[at + 1 :]}


def test_the_whole_log_is_what_was_written() -> None:
    assert recovered(LOG) == STATES[-1]


@pytest.mark.parametrize("number", SEGMENTS)
def test_a_log_cut_at_any_byte_gives_the_longest_valid_prefix(number: int) -> None:
    for size in cuts(number):
        files = {before: LOG[before] for before in SEGMENTS if before < number}
        files[number] = LOG[number][:size]
        if number == 1 and size < FRAMES[1][0].end:
            # The first header is durable before the directory counts as initialised.
            assert refused(files) == (segment_name(1), 0)
        else:
            assert recovered(files) == state_at(number, size)


@pytest.mark.parametrize("number", [1, 2])
def test_a_segment_cut_inside_while_later_ones_exist_is_corruption(number: int) -> None:
    for size in cuts(number):
        files = {**LOG, number: LOG[number][:size]}
        if size >= FRAMES[number][-1].end:
            assert recovered(files) == STATES[-1]
        else:
            lost = next(frame for frame in FRAMES[number] if frame.end > size)
            assert refused(files) == (segment_name(number), lost.offset)


def test_a_tail_torn_after_a_cut_header_was_removed_is_no_corruption() -> None:
    """The file without a whole header must be gone before the segment before it grows."""
    begun = {1: LOG[1][: FRAMES[1][3].end].ljust(SEGMENT_SIZE, b"\0"), 2: LOG[2][:20]}
    for seed in range(20):
        disk = disk_with(begun)
        log, state = reopen(disk)
        assert state == STATES[3]
        log.append(WRITES[3])
        disk.crash(random.Random(seed))
        again = reopen(disk)[1]
        assert again in STATES[3:5]


def test_a_cut_header_does_not_excuse_a_torn_tail_before_it() -> None:
    """The segment before was durable when the header was written."""
    last = FRAMES[2][-1]
    files = {**LOG, 2: LOG[2][: last.end - 1], 3: LOG[3][:20]}
    assert refused(files) == (segment_name(2), last.offset)


@pytest.mark.parametrize("change", ["all bits", "lowest bit", "highest bit", "zero"])
@pytest.mark.parametrize("number", SEGMENTS)
def test_every_changed_byte_inside_a_frame_is_located_corruption(number: int, change: str) -> None:
    for frame in FRAMES[number]:
        for at in range(frame.offset, frame.end):
            old = LOG[number][at]
            new = {
                "all bits": old ^ 0xFF,
                "lowest bit": old ^ 1,
                "highest bit": old ^ 0x80,
                "zero": 0,
            }[change]
            if new != old:
                place = refused(flipped(number, at, new))
                assert place == (segment_name(number), frame.offset)


@pytest.mark.parametrize("number", SEGMENTS)
def test_a_changed_byte_behind_the_frames_never_gives_a_wrong_entry(number: int) -> None:
    for at in range(FRAMES[number][-1].end, SEGMENT_SIZE, 3):
        try:
            state = recovered(flipped(number, at, 0xFF))
        except CorruptionError as error:
            assert error.file == segment_name(number)  # noqa: PT017 - either outcome is right
        else:
            assert state == STATES[-1]


def sectors_of(frame: Frame) -> list[range]:
    sectors = range(frame.offset // SECTOR_SIZE, (frame.end - 1) // SECTOR_SIZE + 1)
    return [
        range(max(frame.offset, at * SECTOR_SIZE), min(frame.end, (at + 1) * SECTOR_SIZE))
        for at in sectors
    ]


def test_the_last_frame_may_have_lost_any_of_its_sectors() -> None:
    sectors = sectors_of(LAST_FRAME)
    assert len(sectors) >= 3
    outcomes = []
    for count in range(1, len(sectors) + 1):
        for lost in itertools.combinations(sectors, count):
            data = bytearray(LOG[3])
            for sector in lost:
                data[sector.start : sector.stop] = bytes(len(sector))
            whole = data == LOG[3]
            outcomes.append(whole)
            assert recovered({**LOG, 3: bytes(data)}) == STATES[-1 if whole else -2]
    assert outcomes.count(True) == 1  # the sector of zeros


def test_a_lost_sector_in_an_earlier_frame_is_corruption() -> None:
    for number in SEGMENTS:
        for frame in FRAMES[number]:
            if frame is not LAST_FRAME:
                for sector in sectors_of(frame):
                    data = bytearray(LOG[number])
                    data[sector.start : sector.stop] = bytes(len(sector))
                    place = refused({**LOG, number: bytes(data)})
                    assert place == (segment_name(number), frame.offset)
