"""What is on a disk after something else has written there: a node's data, and what people edit.

Two kinds of damage: bytes that were changed as they lie there, and records that were changed and
sealed again with their right checksums, since what is in a record would else never be looked at.
The first kind has to be found out, or to have harmed nothing. Of the second it can only be asked
that nothing but a typed error comes of it.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import google_crc32c
from tests.fuzz.choices import Choices
from tests.storage.small_log import (
    LOG,
    SEGMENT_SIZE,
    SEGMENTS,
    STATES,
    disk_with,
    recovered,
    reopen,
    writes_before,
)

from quorate.cli.config_file import load_config_file
from quorate.cli.errors import CommandFailure
from quorate.codec.batch import OpenSession, Operation, Submission, encode_batch
from quorate.codec.errors import DecodeError
from quorate.kv.commands import Put, encode_command
from quorate.kv.errors import MalformedError
from quorate.kv.table import Table
from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable
from quorate.runtime.cluster_file import FILE_NAME as CLUSTER_FILE
from quorate.runtime.cluster_file import ClusterFile, LocalClusterError
from quorate.storage.disk import Disk
from quorate.storage.errors import CorruptionError, UnsupportedFormatError
from quorate.storage.frames import encode_frame, frame_offset, scan_frames
from quorate.storage.identity import FILE_NAME, Identity, load_identity, save_identity
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.segments import segment_name
from quorate.storage.snapshot_file import SnapshotWriter, check_snapshot, read_sections

MEMBERS = tuple(Member(NodeId(node), f"peer:{node}", f"client:{node}") for node in (1, 2, 3))
IDENTITY = Identity(
    cluster_id="cluster",
    node=NodeId(1),
    data_id="data",
    members=MEMBERS,
    boot=3,
    peer_data_ids={NodeId(2): "other"},
)


def file_of(disk: Disk, name: str) -> bytes:
    """All bytes of a file."""
    return disk.open(name).read_all()


def disk_of(name: str, data: bytes) -> MemoryDisk:
    """A disk with one file."""
    disk = MemoryDisk()
    disk.create(name).write_at(0, data)
    return disk


def resealed(data: bytes, choices: Choices) -> bytes:
    """A file of frames of which one holds something else, all with the right checksums."""
    frames = scan_frames(data).frames
    changed = choices.below(len(frames))
    file = bytearray()
    for number, frame in enumerate(frames):
        contents = choices.edited(frame.contents) if number == changed else frame.contents
        file += bytes(frame_offset(len(file)) - len(file))
        file += encode_frame(contents, sequence=frame.sequence, offset=len(file))
    return bytes(file)


# ---------------------------------------------------------------------- the log


def log(data: bytes) -> None:
    """A changed log is refused at a place that exists, or says a prefix of what was written.

    Of the writes before the first changed byte none is missing.
    """
    choices = Choices(data)
    number = choices.pick(SEGMENTS)
    changed = choices.edited(LOG[number])
    files = {**LOG, number: changed}
    first = next(
        (at for at, (old, new) in enumerate(zip(LOG[number], changed, strict=False)) if old != new),
        min(len(changed), len(LOG[number])),
    )
    try:
        found = recovered(files)
    except CorruptionError as error:
        check_place(error, {segment_name(each): file for each, file in files.items()})
    except UnsupportedFormatError:
        raise AssertionError("a checksum has let something through") from None
    else:
        assert found in STATES[writes_before(number, first) :]
        # Behind a segment that others follow nothing may be missing.
        assert number == SEGMENTS[-1] or found == STATES[-1]


def sealed_log(data: bytes) -> None:
    """A log with a record that is none, or that contradicts the others, is refused or read."""
    choices = Choices(data)
    number = choices.pick(SEGMENTS)
    changed = resealed(LOG[number], choices).ljust(SEGMENT_SIZE, b"\0")
    files = {**LOG, number: changed}
    try:
        reopen(disk_with(files))
    except CorruptionError as error:
        check_place(error, {segment_name(each): file for each, file in files.items()})
    except UnsupportedFormatError:
        pass


def check_place(error: CorruptionError, files: dict[str, bytes]) -> None:
    """What is said to be damaged is there."""
    assert 0 <= error.offset <= len(files[error.file]), error


# ---------------------------------------------------------------------- a snapshot


def written_snapshot() -> bytes:
    """The file of a small one."""
    state = ReplicatedState(Table(), SessionTable(SessionLimits()))
    writes = tuple(encode_command(Put(b"key-%d" % number, b"value" * 20)) for number in range(3))
    operations: tuple[Operation, ...] = (OpenSession(), Submission(1, 0, 1, writes))
    for index, operation in enumerate(operations, start=1):
        batch = encode_batch((operation,))
        state.apply(Entry(index, 1, index * 10, EntryKind.DATA, batch))
    disk = MemoryDisk()
    metadata = SnapshotMetadata(2, 1, 20, Configuration(MEMBERS))
    writer = SnapshotWriter(disk.create("snapshot"), metadata)
    writer.write(tuple(filter(None, state.snapshot())), is_last=True)
    return file_of(disk, "snapshot")


SNAPSHOT = written_snapshot()


def snapshot(data: bytes) -> None:
    """A snapshot of which any byte has changed is refused at a place that exists."""
    changed = Choices(data).edited(SNAPSHOT)
    try:
        check_snapshot(disk_of("snapshot", changed).open("snapshot"), "snapshot")
    except CorruptionError as error:
        check_place(error, {"snapshot": changed})
    else:
        assert changed == SNAPSHOT


def sealed_snapshot(data: bytes) -> None:
    """One that says something else is refused, or restored as far as that makes sense."""
    file = disk_of("snapshot", resealed(SNAPSHOT, Choices(data))).open("snapshot")
    state = ReplicatedState(Table(), SessionTable(SessionLimits()))
    try:
        for section in read_sections(file, "snapshot"):
            state.restore(section)
    except (CorruptionError, UnsupportedFormatError, DecodeError, MalformedError):
        pass


def section(data: bytes) -> None:
    """A section of a snapshot, as it comes from another server, is refused or restored."""
    choices = Choices(data)
    valid = next(read_sections(disk_of("snapshot", SNAPSHOT).open("snapshot"), "snapshot"))
    state = ReplicatedState(Table(), SessionTable(SessionLimits()))
    try:
        state.restore(choices.edited(valid))
    except (DecodeError, MalformedError):
        return
    if state.is_restored:
        list(state.snapshot())


# ---------------------------------------------------------------------- small files


def written_identity() -> bytes:
    disk = MemoryDisk()
    save_identity(disk, IDENTITY)
    return file_of(disk, FILE_NAME)


IDENTITY_FILE = written_identity()


def identity(data: bytes) -> None:
    """Whose directory it is: as it was written, or refused; also if the checksum is right."""
    choices = Choices(data)
    is_sealed = choices.below(2) == 1
    changed = choices.edited(IDENTITY_FILE)
    if is_sealed:
        value = choices.edited(IDENTITY_FILE[IDENTITY_FILE.index(b'"identity":') + 11 : -1])
        changed = b'{"checksum":"%08x","identity":%b}' % (google_crc32c.value(value), value)
    try:
        found = load_identity(disk_of(FILE_NAME, changed))
    except (CorruptionError, UnsupportedFormatError):
        return
    assert is_sealed or found == IDENTITY


CLUSTER = b"""\
{"cluster_id": "local", "initialized": true, "members": [
  {"id": 1, "client": "127.0.0.1:7001", "peer": "127.0.0.1:8001"},
  {"id": 2, "client": "[::1]:7002", "peer": "[::1]:8002"}]}
"""
CONFIGURATION = b"""\
id = 1
data_dir = "node-1"
client = "127.0.0.1:7001"
members = ["1=10.0.0.1:8001,10.0.0.1:7001"]
command_timeout_s = 3.5
max_raft_state = "64MiB"
"""


def cluster_file(data: bytes) -> None:
    """The description of a local cluster: understood, or one line says that it is not."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / CLUSTER_FILE).write_bytes(data)
        with contextlib.suppress(LocalClusterError):
            ClusterFile.load(Path(directory))


def config_file(data: bytes) -> None:
    """The configuration file of a node, likewise."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(CommandFailure):
            load_config_file(Path(file.name))
