"""What storage raises when the environment fails it; each text says what the operator can do.

None of these is ever retried: the node stops before it acknowledges anything that depends on the
failed operation.
"""


class StorageError(Exception):
    """The data directory cannot be used, or cannot be used any longer."""


class CorruptionError(StorageError):
    """What the disk holds is not what was written to it.

    Attributes:
        file: the damaged file.
        offset: where in the file the damage was found, in bytes.
        reason: what is wrong there.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{file} is damaged at byte {offset}: {reason}. Writes that this node acknowledged may "
            "be lost here, so it must not take part with this data. Put the file back as it was, "
            "or start the node on an empty directory with `quorate serve --join` and let it in "
            "again with `quorate member rejoin`"
        )
        self.file = file
        self.offset = offset
        self.reason = reason


class UnsupportedFormatError(StorageError):
    """A file was written in a format that this version of Quorate does not know."""

    def __init__(self, file: str, *, found: int, supported: int) -> None:
        super().__init__(
            f"{file} has format version {found}, this version of Quorate knows version "
            f"{supported}: start the node with the version of Quorate that wrote it"
        )


class DiskFullError(StorageError):
    """There is no space left for a file to grow (ENOSPC or a quota)."""

    def __init__(self, file: str, action: str) -> None:
        super().__init__(
            f"no space left to {action} {file}: free some space and start the node again, it "
            "recovers by itself"
        )


class DiskFailedError(StorageError):
    """The disk refused an operation (EIO, a failed fsync).

    After a failed fsync nobody knows what is on the disk, and a second one may wrongly report
    success, so a sync is never retried.
    """

    def __init__(self, file: str, action: str, cause: str) -> None:
        super().__init__(
            f"the disk failed to {action} {file}: {cause}. Check the disk, then start the node "
            "again; if its data is lost, on an empty directory with `quorate serve --join`, and "
            "let it in again with `quorate member rejoin`"
        )


class IdentityError(StorageError):
    """The directory, or a peer's directory, is not the one that it should be."""


class RecoveryError(StorageError):
    """No new cluster can be made from this data; nothing was changed. The text says why."""


class DirectoryInUseError(StorageError):
    """Another process has the data directory open."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"the data directory {directory} is in use by another process: stop that process, or "
            "give this node a directory of its own"
        )


class DirectoryAccessError(StorageError):
    """The data directory does not exist, is no directory, or must not be read or written."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(
            f"cannot use {path}: {cause}. The data directory must exist and belong to the user "
            "that runs the node"
        )
