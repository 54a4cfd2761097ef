"""The write-ahead log: each write of Raft as one frame, durable after one sync.

The caller appends a write and then syncs it, in a thread if it likes, one call at a time; at most
one frame is ever not synced, on which the torn-tail rule of `frames` rests. The first error of
the disk ends the log's life: nothing is retried, every later call raises that error again, and
what the next life finds on the disk is what counts.

A write may move the beginning of the log. Once it is synced, segments that hold nothing but what
lies before it, or what was overwritten, can be removed: the header of each later segment repeats
whatever else they say.
"""

from quorate.codec.log import SegmentHeader, StartRecord, WriteRecord, encode_record
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart
from quorate.storage.disk import Disk, File
from quorate.storage.errors import DiskFullError, IdentityError, StorageError
from quorate.storage.frames import encode_frame
from quorate.storage.recovery import RecoveredLog, recover_log
from quorate.storage.replay import LogContents
from quorate.storage.segments import (
    DEFAULT_SEGMENT_SIZE,
    FORMAT_VERSION,
    FRESH,
    SPARE,
    Segment,
    begin_segment,
    preallocate,
    remove_unfinished,
    segment_name,
    segment_numbers,
    size_for,
)

_BEGINNING = LogStart(index=0, term=0)


class WriteAheadLog:
    """An open log. `create` makes one on the disk, `open` makes a recovered one ready to grow."""

    def __init__(
        self, disk: Disk, log: RecoveredLog, active: Segment, *, segment_size: int
    ) -> None:
        self._disk = disk
        self._segment_size = segment_size
        self._active = active
        self._spare: File | None = None
        self._sequence = log.last_frame.sequence + 1
        self._term = log.contents.term
        self._voted_for = log.contents.voted_for
        self._live = log.live
        self._has_unsynced = False
        self._failure: StorageError | None = None
        # Segments before the first of these are dead, as far as the disk knows; those before the
        # second are gone.
        self._first_live_segment = self._live.first_segment or active.number
        self._first_segment = 1

    @classmethod
    def create(cls, disk: Disk, *, segment_size: int = DEFAULT_SEGMENT_SIZE) -> None:
        """Make an empty log, durably.

        What an attempt that a crash interrupted left behind is taken over.

        Raises:
            IdentityError: the directory holds a log that is not empty.
        """
        remove_unfinished(disk)
        if segment_numbers(disk):
            if recover_log(disk).contents != LogContents(0, None, _BEGINNING):
                raise IdentityError(
                    f"{disk.location('')} holds the log of a node: it is not initialised over. "
                    "Give the new node an empty directory"
                )
            disk.sync_directory()
            return
        header = SegmentHeader(FORMAT_VERSION, 0, None, _BEGINNING, _BEGINNING.index)
        file = preallocate(disk, FRESH, segment_size)
        begin_segment(disk, FRESH, file, number=1, header=header, sequence=1).close()

    @classmethod
    def open(
        cls, disk: Disk, log: RecoveredLog, *, segment_size: int = DEFAULT_SEGMENT_SIZE
    ) -> "WriteAheadLog":
        """Make a log that `recover_log` read ready for the next write.

        After that all that it says is durable, also what the last life of the process wrote and
        did not live to sync. It may leave dead segments, see `needs_cleaning`.

        Args:
            disk: the directory.
            log: what was read from it; its bookkeeping now belongs to this object.
            segment_size: bytes of each new segment.
        """
        return cls(disk, log, _mend(disk, log), segment_size=segment_size)

    @property
    def raft_state_bytes(self) -> int:
        """Bytes of the newest term and vote and all live entries; see `state_size`."""
        return self._live.raft_state_bytes

    def append(self, write: LogWrite) -> None:
        """Write one frame; it is durable after the next `sync`.

        Begins a new segment, and syncs that, if the frame does not fit into this one.
        """
        self._raise_failure()
        assert not self._has_unsynced, "at most one frame is unsynced"
        assert write.term >= self._term, "the term never goes back"
        record = self._record_of(write)
        contents = encode_record(record)
        self._has_unsynced = True
        try:
            if not self._active.has_room_for(len(contents)):
                self._begin_next_segment(len(contents))
            self._active.append(contents, self._sequence)
        except StorageError as error:
            self._failure = error
            raise
        self._sequence += 1
        self._term = write.term
        self._voted_for = write.voted_for
        if isinstance(record, StartRecord):
            self._live.move_start(record)
            self._live.record(record.write, None, segment=self._active.number)
        else:
            self._live.record(record, len(contents), segment=self._active.number)

    def sync(self) -> None:
        """Make the appended frame durable."""
        self._raise_failure()
        try:
            self._active.sync()
        except StorageError as error:
            self._failure = error
            raise
        self._has_unsynced = False
        self._first_live_segment = self._live.first_segment or self._active.number

    @property
    def needs_next_segment(self) -> bool:
        """Whether `prepare_next_segment` has something to do."""
        return self._spare is None and self._active.is_half_full

    def prepare_next_segment(self) -> DiskFullError | None:
        """Preallocate a segment ahead of time, so that no write has to wait for it.

        Optional. One thread at a time may do this while another one appends and syncs.

        Returns:
            Why there is no spare segment now, for a warning in the caller's log: the node can go
            on until it needs the segment. None if all is well.
        """
        self._raise_failure()
        if self._spare is None:
            try:
                self._spare = preallocate(self._disk, SPARE, self._segment_size)
            except DiskFullError as error:
                return error
            except StorageError as error:
                self._failure = error
                raise
        return None

    @property
    def needs_cleaning(self) -> bool:
        """Whether `remove_dead_segments` has something to do."""
        return self._first_segment < self._first_live_segment

    def remove_dead_segments(self) -> None:
        """Remove the segments that hold nothing alive, as of the last sync.

        Like `prepare_next_segment`, and with it, this belongs to one thread at a time while
        another one appends and syncs.
        """
        self._raise_failure()
        first_live = self._first_live_segment
        try:
            for number in segment_numbers(self._disk):
                if number < first_live:
                    self._disk.remove(segment_name(number))
        except StorageError as error:
            self._failure = error
            raise
        self._first_segment = first_live

    def close(self) -> None:
        """Let the files go, without a sync."""
        self._active.close()
        if self._spare is not None:
            self._spare.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _record_of(self, write: LogWrite) -> WriteRecord | StartRecord:
        """The record of a write, which must be one that can follow."""
        record = WriteRecord(write.term, write.voted_for, write.entries)
        start, last_index = self._live.start, self._live.last_index
        if write.start is not None:
            assert write.start.index > start.index or write.start == start, "it never goes back"
            assert write.start.term <= write.term, "it is of no later term"
            start, last_index = write.start, self._live.last_index_behind(write.start)
        if write.entries:
            assert start.index < write.entries[0].index <= last_index + 1, "the log has no gap"
        return record if write.start is None else StartRecord(start, last_index, record)

    def _begin_next_segment(self, length: int) -> None:
        """Go on in a new segment with room for a frame with contents of `length` bytes."""
        header = SegmentHeader(
            FORMAT_VERSION,
            self._term,
            self._voted_for,
            self._live.start,
            self._live.last_index,
        )
        size = max(self._segment_size, size_for(header, length))
        spare = self._spare
        if spare is not None and spare.size >= size:
            name, file = SPARE, spare
        else:
            name, file = FRESH, preallocate(self._disk, FRESH, size)
        number = self._active.number + 1
        segment = begin_segment(
            self._disk, name, file, number=number, header=header, sequence=self._sequence
        )
        if file is spare:
            # Only now is the name SPARE free for a thread that prepares the next one.
            self._spare = None
        self._sequence += 1
        self._active.close()
        self._active = segment


def _mend(disk: Disk, log: RecoveredLog) -> Segment:
    """Make what was recovered the durable content of the disk, and nothing but that."""
    remove_unfinished(disk)
    if log.headless_segment is not None:
        disk.remove(segment_name(log.headless_segment))
    file = disk.open(segment_name(log.last_segment))
    if log.torn_at is not None:
        # The cut is durable before anything is appended, and the file is not extended again: the
        # torn bytes cannot come back. The next frame goes to a new segment.
        file.truncate(log.torn_at)
    # The last frame may never have been synced: the process died before it could, or the sync
    # failed, after which Linux takes the pages for clean. So it is written once more.
    frame = log.last_frame
    file.write_at(
        frame.offset, encode_frame(frame.contents, sequence=frame.sequence, offset=frame.offset)
    )
    file.sync()
    disk.sync_directory()
    return Segment(log.last_segment, file, frame.end)
