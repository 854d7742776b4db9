"""One file of problems, found again by offset. Only the offset and the checksum of each line are kept in memory."""

import hashlib
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from areal_mesh.runtime.problem_columns import said_of
from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.problems import Problem


class PromptFileError(ValueError):
    """A prompt file that cannot be used: says the file, the line and what would do."""


class IndexedFile:
    """The problems of one file, by position.

    What is not plain lines, an array or a compressed file, is laid out as lines in a file without a name.

    Args:
        key: the setting that names the file.
        limit: the first so many of it; 0 for all.
        spool: folder for what has to be laid out.

    Raises:
        PromptFileError: the file is missing or empty, or a line is bad.
    """

    def __init__(self, source: ProblemFile, key: str, limit: int, spool: Path | None) -> None:
        self.path = source.path
        self._source = source
        self._checksums = array("I")
        self._digest = hashlib.sha256()
        try:
            self._file: BinaryIO = source.path.open("rb") if source.is_plain else _temporary(spool)
            self._offsets = array("Q", self._index(limit))
        except OSError as error:
            raise PromptFileError(f"{self.path}: cannot be read: {error.strerror or error}; set {key}") from error
        except ProblemFileError as error:
            raise PromptFileError(f"{self.path}: {error}") from error
        if not self._offsets:
            raise PromptFileError(f"{self.path}: has no problems; expected one JSON object a line")

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def said(self) -> str:
        """Which fields were taken for what; empty where they have their own names."""
        return said_of(self._source.found)

    @property
    def digest(self) -> str:
        """SHA-256 of the lines that are used, in hexadecimal."""
        return self._digest.hexdigest()

    def _index(self, limit: int) -> Iterator[int]:
        numbered = self._plain_lines() if self._source.is_plain else self._laid_out()
        for found, (number, offset, line) in enumerate(numbered, start=1):
            self._problem(line, found, f"{self._source.unit} {number}")
            self._digest.update(line)
            self._checksums.append(zlib.crc32(line))
            yield offset
            if found == limit:
                return

    def _plain_lines(self) -> Iterator[tuple[int, int, bytes]]:
        offset = 0
        for number, line in enumerate(self._file, start=1):
            if line.strip():
                yield number, offset, line
            offset += len(line)

    def _laid_out(self) -> Iterator[tuple[int, int, bytes]]:
        offset = 0
        for number, line in self._source.lines():
            ended = line if line.endswith(b"\n") else line + b"\n"
            self._file.write(ended)
            yield number, offset, ended
            offset += len(ended)

    def at(self, position: int) -> Problem:
        """The problem at a position, from 0. Raises PromptFileError: the file was changed since it was opened."""
        offset = self._offsets[position]
        self._file.seek(offset)
        line = self._file.readline()
        if zlib.crc32(line) != self._checksums[position]:
            raise PromptFileError(
                f"{self.path}, byte {offset}: was changed while the run went on; put the file back as it was, or give "
                "the run another name"
            )
        return self._problem(line, position + 1, f"byte {offset}")

    def _problem(self, line: bytes, ordinal: int, where: str) -> Problem:
        try:
            return self._source.problem(line, ordinal)
        except LineError as error:
            raise PromptFileError(f"{self.path}, {where}: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _temporary(folder: Path | None) -> BinaryIO:
    file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed with the IndexedFile
    return file
