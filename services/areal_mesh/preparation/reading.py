"""Rows of a file of problems: JSON lines, a JSON array or object, or Parquet; compressed or not.

JSON lines are read one at a time, and a line longer than any problem is passed over without being held.
"""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from areal_mesh.runtime.problem_lines import LineError, Number, parse_line

LONGEST_LINE = 4 << 20
"""Bytes of a line; a problem with all its solutions has some thousand."""
_NUL = b"\0"


class FileFault(ValueError):
    """A file that cannot be read as a whole; says what would do."""


@dataclass(frozen=True)
class Row:
    """A line of a file, or an element of it, counted from 1."""

    number: int
    value: Any
    """A mapping, or a list of messages; None with a fault."""
    fault: str = ""
    mended: tuple[str, ...] = ()


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a file, by what its name ends in and its first character says.

    Raises:
        FileFault: it cannot be read, is damaged, or needs a package that is not installed.
    """
    kind = next((suffix for suffix in reversed(file.suffixes) if suffix not in _OPENERS), "")
    if kind == ".parquet":
        yield from _parquet(file)
        return
    try:
        with opened(file) as stream:
            start = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith(b"[") or kind == ".json":
            yield from _document(file)
            return
        with opened(file) as stream:
            yield from _lines(stream)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise FileFault(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def opened(file: Path) -> IO[bytes]:
    """The file's bytes, decompressed by what its name ends in. Raises FileFault, OSError."""
    opener = _OPENERS.get(file.suffix)
    if opener is None:
        return file.open("rb")
    stream: IO[bytes] = opener(file)
    return stream


def _zstandard(file: Path) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise FileFault(f"{file}: needs the package zstandard; install it, or decompress the file") from error
    # Its own reader has no lines.
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file.open("rb"), read_across_frames=True))


_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}


def _lines(stream: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            length = len(line) + _passed_over(stream)
            yield Row(number, None, f"is {length:,} bytes long, over {LONGEST_LINE:,}: no problem is")
            continue
        raw = line.replace(_NUL, b"")
        if not raw.strip():
            continue
        mended = ("NUL taken out",) if len(raw) < len(line) else ()
        try:
            yield Row(number, parse_line(raw), mended=mended)
        except LineError as error:
            yield Row(number, None, str(error))


def _passed_over(stream: IO[bytes]) -> int:
    """Bytes of the rest of a line."""
    length = 0
    while piece := stream.readline(LONGEST_LINE):
        length += len(piece)
        if piece.endswith(b"\n"):
            break
    return length


def _document(file: Path) -> Iterator[Row]:
    with opened(file) as stream:
        raw = stream.read()
    try:
        value = json.loads(
            raw.removeprefix(b"\xef\xbb\xbf").replace(_NUL, b"").decode(),
            parse_float=Number,
            parse_int=Number,
            parse_constant=Number,
        )
    except UnicodeDecodeError as error:
        raise FileFault(f"{file}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFault(f"{file}: is not JSON: {error}; JSON lines end in .jsonl") from error
    if isinstance(value, dict):
        # By id, or with the rows under one key, such as `data`.
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        if len(lists) == 1 and len(value) <= 3:
            value = lists[0]
        elif value and all(isinstance(inner, dict) for inner in value.values()):
            value = [{"id": key, **inner} for key, inner in value.items()]
        else:
            value = [value]
    if not isinstance(value, list):
        raise FileFault(f"{file}: holds no rows; expected a JSON array of objects, or JSON lines in a .jsonl")
    yield from (Row(number, row) for number, row in enumerate(value, start=1))


def _parquet(file: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FileFault(f"{file}: needs the package pyarrow; install it, or give the set as JSON lines") from error
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1024):
            for value in batch.to_pylist():
                number += 1
                yield Row(number, as_written(value))
    except (OSError, pyarrow.ArrowException) as error:
        raise FileFault(f"{file}: cannot be read: {error}") from error


def as_written(value: Any) -> Any:
    """A value with its numbers as texts, as they are read from JSON."""
    if isinstance(value, dict):
        return {key: as_written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_written(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(json.dumps(value))
    return value
