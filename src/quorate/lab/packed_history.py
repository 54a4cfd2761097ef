"""A history in few bytes, for another process.

Values grow by short appends and are read again and again, so written out in full those of one test
amount to hundreds of megabytes. Here a value that a read gave is said by what it has in common with
the one before it of its key.
"""

from collections.abc import Iterable

import msgspec

from quorate.checker import Kind, Operation


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """One operation; of a value read only what follows the first `shared` bytes of the last one."""

    client: str
    kind: Kind
    key: bytes
    argument: bytes | None
    result: bytes | int | None
    shared: int
    called: int | float
    returned: int | float | None


_decoder = msgspec.msgpack.Decoder(list[_Packed])


def pack(history: Iterable[Operation]) -> bytes:
    """The operations, in their order, as bytes."""
    last_read: dict[bytes, bytes] = {}
    packed = []
    for operation in history:
        result, shared = operation.result, 0
        if isinstance(result, bytes):
            value, before = result, last_read.get(operation.key, b"")
            last_read[operation.key] = value
            if value.startswith(before) or before.startswith(value):
                shared = min(len(value), len(before))
                result = value[shared:]
        packed.append(
            _Packed(
                operation.client,
                operation.kind,
                operation.key,
                operation.argument,
                result,
                shared,
                operation.called,
                operation.returned,
            )
        )
    return msgspec.msgpack.encode(packed)


def unpack(data: bytes) -> list[Operation]:
    """The operations that `pack` was given."""
    last_read: dict[bytes, bytes] = {}
    history = []
    for packed in _decoder.decode(data):
        result = packed.result
        if isinstance(result, bytes):
            result = last_read.get(packed.key, b"")[: packed.shared] + result
            last_read[packed.key] = result
        history.append(
            Operation(
                client=packed.client,
                kind=packed.kind,
                key=packed.key,
                argument=packed.argument,
                result=result,
                called=packed.called,
                returned=packed.returned,
            )
        )
    return history
