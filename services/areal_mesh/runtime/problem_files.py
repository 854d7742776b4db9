"""A file of problems as people have it: JSON lines, or a JSON array, plain or compressed; read line by line.

What is wrong is named by its line, or by its entry in an array. An array is read whole, anything else as it goes.
"""

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from areal_mesh.runtime.problem_columns import OWN_NAMES, columns_of
from areal_mesh.runtime.problem_lines import LineError, parse_line
from areal_mesh.runtime.problems import Problem, parse_problem
from areal_mesh.runtime.settings.data import ColumnSettings, PromptSettings

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""Compressed files by what they begin with, whatever their names."""
_OTHERS = {
    b"PAR1": 'is Parquet; write it as JSON lines: `python -c "import pandas, sys; pandas.read_parquet(sys.argv[1])'
    ".to_json(sys.argv[2], orient='records', lines=True)\" FILE NEW.jsonl`",
    b"(\xb5/\xfd": "is compressed by zstd; unpack it with `zstd -d`, or use gzip, bzip2 or xz",
    b"PK\x03\x04": "is a zip archive; unpack it",
}
_BEGINNING = 8
_MARK = b"\xef\xbb\xbf"


class ProblemFileError(ValueError):
    """The file is of a kind that cannot be read; the message says what would do."""


@dataclass(frozen=True)
class ProblemFile:
    """Problems of one file."""

    path: Path
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    answers_needed: bool = True

    @cached_property
    def is_plain(self) -> bool:
        """Whether its lines can be found again by their offsets. Raises OSError."""
        with self.path.open("rb") as stream:
            return stream.read(_BEGINNING)[:2] not in {start[:2] for start in _OPENERS} and not self.is_array

    @cached_property
    def is_array(self) -> bool:
        """Whether it is one JSON array. Raises OSError, ProblemFileError."""
        with _damage_named(), self.opened() as stream:
            for line in stream:
                text = line.removeprefix(_MARK).strip()
                if text:
                    return text.startswith(b"[")
        return False

    @property
    def unit(self) -> str:
        """What its problems are called by: a line, or an entry of an array."""
        return "entry" if self.is_array else "line"

    def opened(self) -> BinaryIO:
        """The file, unpacked. Raises OSError, ProblemFileError."""
        with self.path.open("rb") as stream:
            start = stream.read(_BEGINNING)
        for beginning, what in _OTHERS.items():
            if start.startswith(beginning):
                raise ProblemFileError(what)
        for beginning, opener in _OPENERS.items():
            if start.startswith(beginning):
                unpacked: BinaryIO = opener(self.path, "rb")
                return unpacked
        return self.path.open("rb")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each line that is not blank with its number, from 1; an array's entries as lines.

        Raises:
            OSError: the file cannot be read, a compressed one that is damaged included.
            ProblemFileError: it is of another kind, or no whole array.
        """
        array = self.is_array
        with _damage_named(), self.opened() as stream:
            numbered = _entries(stream.read()) if array else enumerate(stream, start=1)
            yield from ((number, line) for number, line in numbered if line.strip())

    @property
    def found(self) -> ColumnSettings:
        """Which field is what, by the first line. Raises LineError, OSError, ProblemFileError."""
        if isinstance(self._found, LineError):
            raise self._found
        return self._found

    @cached_property
    def _found(self) -> ColumnSettings | LineError:
        for _, line in self.lines():
            try:
                return columns_of(parse_line(line), self.columns, answers_needed=self.answers_needed)
            except LineError as error:
                return error
        return OWN_NAMES

    def problem(self, line: bytes, ordinal: int) -> Problem:
        """The problem of a line. `ordinal`: from 1, the id of one that has none. Raises LineError."""
        columns = self._found
        if isinstance(columns, LineError):
            # The first line is at fault, which is told where it stands; the others are read as far as they go.
            columns = columns_of(parse_line(line), self.columns, answers_needed=self.answers_needed)
        return parse_problem(line, columns, ordinal, answers_needed=self.answers_needed)


@contextmanager
def _damage_named() -> Iterator[None]:
    """A compressed file that ends too early, or whose content is damaged, said so."""
    try:
        yield
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise ProblemFileError(f"is damaged: {error}; fetch it again") from error


def _entries(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The entries of a JSON array as the text writes them, each on one line, numbered from 1."""
    try:
        whole = text.removeprefix(_MARK).decode()
    except UnicodeDecodeError as error:
        raise ProblemFileError(f"is not UTF-8 at byte {error.start}") from error
    decoder = json.JSONDecoder()
    place = whole.index("[") + 1
    number = 0
    while True:
        place = _past_blanks(whole, place)
        if whole[place : place + 1] == "]":
            return
        try:
            _, end = decoder.raw_decode(whole, place)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ProblemFileError(f"is not JSON behind entry {number}: {error}") from error
        number += 1
        # Line feeds stand between the parts of an entry: within a text they are written as \n.
        yield number, whole[place:end].replace("\n", " ").replace("\r", " ").encode("utf-8", "surrogatepass")
        place = _past_blanks(whole, end)
        if whole[place : place + 1] == ",":
            place += 1
        elif whole[place : place + 1] != "]":
            raise ProblemFileError(f"is not JSON behind entry {number}: expected a comma or the end of the array")


def problem_files(settings: PromptSettings, *, answers_needed: bool = True) -> list[tuple[str, ProblemFile]]:
    """The files of a run's problems, each with the setting that names it."""
    named = [("prompts.file", settings.file, settings.columns)]
    named += [(f"prompts.also.{place}.file", also.file, also.columns) for place, also in enumerate(settings.also)]
    return [(key, ProblemFile(path, columns, answers_needed)) for key, path, columns in named]


def _past_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place
