import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.wire.peer_frame import FrameError, FrameKind, FrameReader, encode_frame

Frames = list[tuple[FrameKind, bytes]]


def read_all(reader: FrameReader, data: bytes) -> Frames:
    reader.feed(data)
    frames = []
    while frame := reader.next_frame(1000):
        frames.append(frame)
    return frames


@given(
    st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=50)), max_size=6),
    st.integers(1, 70),
)
def test_frames_are_what_was_sent_however_they_arrive(sent: Frames, size: int) -> None:
    data = b"".join(encode_frame(kind, body) for kind, body in sent)
    assert read_all(FrameReader(), data) == sent

    reader = FrameReader()
    received: Frames = []
    for i in range(0, len(data), size):
        received += read_all(reader, data[i : i + size])
    assert received == sent
    assert reader.pending_bytes == 0


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    frame = encode_frame(FrameKind.MESSAGE, b"the body of a message")
    for place in range(len(frame)):
        for bit in range(8):
            changed = bytearray(frame)
            changed[place] ^= 1 << bit
            reader = FrameReader()
            reader.feed(bytes(changed))
            try:
                # A longer length waits for the rest; it never gives out a wrong frame.
                assert reader.next_frame(1000) is None
            except FrameError:
                continue
            assert changed[:4] > frame[:4]


def test_the_longest_frame_passes_and_a_longer_one_is_refused_by_its_header() -> None:
    longest = encode_frame(FrameKind.MESSAGE, bytes(1000))
    assert read_all(FrameReader(), longest) == [(FrameKind.MESSAGE, bytes(1000))]
    longer = encode_frame(FrameKind.MESSAGE, bytes(1001))
    with pytest.raises(FrameError, match="frame of 1001 bytes, the limit is 1000"):
        read_all(FrameReader(), longer[:9])


def test_an_unknown_kind_is_refused() -> None:
    frame = bytearray(encode_frame(FrameKind.MESSAGE, b""))
    frame[8] = 99
    with pytest.raises(FrameError, match="frame of an unknown kind, 99"):
        read_all(FrameReader(), bytes(frame))


def test_a_large_frame_in_small_pieces() -> None:
    body = bytes(range(256)) * 16384
    data = encode_frame(FrameKind.MESSAGE, body)
    reader = FrameReader()
    for i in range(0, len(data) - 1000, 1000):
        reader.feed(data[i : i + 1000])
        assert reader.next_frame(len(body)) is None
    reader.feed(data[i + 1000 :])
    assert reader.next_frame(len(body)) == (FrameKind.MESSAGE, body)


@given(st.binary(max_size=100))
def test_garbage_gives_frames_or_an_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        read_all(FrameReader(), data)
