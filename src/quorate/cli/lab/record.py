"""The record of what was run: one JSON object a line. With it an interrupted run goes on.

An outcome counts only for the code that it was found with, so each line has a checksum of that.
"""

from pathlib import Path
from typing import Self

import google_crc32c
import msgspec

import quorate
from quorate.cli.lab.job import Job
from quorate.lab.runner import Outcome


class _Line(msgspec.Struct, frozen=True):
    code: str
    job: Job
    outcome: Outcome


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


def code_checksum() -> str:
    """A checksum of all modules of this package."""
    package = Path(quorate.__file__).parent
    checksum = 0
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix().encode()
        checksum = google_crc32c.extend(checksum, name + b"\0" + path.read_bytes())
    return f"{checksum:08x}"


class Record:
    """A file of outcomes, which each new one is added to at once.

    Args:
        path: of the file; what it holds of the present code counts as done.

    Attributes:
        done: the outcome of each job that needs no run any more.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.done: dict[Job, Outcome] = {}
        self._code = code_checksum()
        if path.exists():
            self._read(path)
        self._file = path.open("ab")

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):  # an interruption cut it off
                _cut_off(path, len(line))
                return
            try:
                entry = _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path} is no record of `quorate lab`: {error}") from error
            if entry.code == self._code:
                self.done[entry.job] = entry.outcome

    def add(self, job: Job, outcome: Outcome) -> None:
        """Adds what became of a job."""
        self._file.write(_encoder.encode(_Line(self._code, job, outcome)) + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _cut_off(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - length)
