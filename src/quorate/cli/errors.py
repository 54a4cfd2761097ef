"""How a command fails: one line on standard error, and an exit status (docs/cli.md lists them)."""

import enum


class ExitStatus(enum.IntEnum):
    """What the command's exit status says."""

    FAILED = 1
    """The environment, or the answer is no: `get` of a missing key."""
    USAGE = 2
    """The command line, the environment variables or the configuration file are wrong."""
    NOT_EXECUTED = 3
    """The operation was not executed and never will be."""
    OUTCOME_UNKNOWN = 4
    """The write may have been executed, once."""
    UNAVAILABLE = 5
    """No server could answer the read in time."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""


class CommandFailure(Exception):  # noqa: N818 - it is how a command ends, not what went wrong
    """The command has failed; the text says what is wrong and what to do.

    Args:
        message: one line.
        status: the exit status.
    """

    def __init__(self, message: str, status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(message)
        self.status = status
