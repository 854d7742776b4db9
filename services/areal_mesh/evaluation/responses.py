"""Every response of an evaluation: one append-only file of JSON lines, each with a checksum of its own.

A line is written whole before the next begins, so a process that is killed leaves at most one in part, at the end; it
is cut when the file is opened again, and that response is the only one that is asked for anew. A line that was damaged
later is found by its checksum. Lines have the fields that `areal-mesh verify` reads.
"""

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from areal_mesh.evaluation.requests import SampleKey, SampleRequest

REFUSED = "refused"
"""Stands in the place of a finish reason where the model was not asked."""
_CHECKSUM = "crc32"


class DamagedFile(ValueError):
    """A line that is not as it was written: says which file and line, and what would do."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was generated."""

    key: SampleKey
    golds: tuple[str, ...]
    seed: int
    text: str
    tokens: int
    finish_reason: str
    """stop, length, or `REFUSED`."""
    note: str = ""
    """Why it was refused."""

    @classmethod
    def to(cls, request: SampleRequest, text: str, tokens: int, finish_reason: str, note: str = "") -> Self:
        """The response to a request."""
        return cls(request.key, request.golds, request.seed, text, tokens, finish_reason, note)


def encode(response: Response) -> bytes:
    """A response as its line, line feed included."""
    key = response.key
    record: dict[str, Any] = {
        "id": key.identifier,
        "checkpoint": key.checkpoint,
        "suite": key.suite,
        "problem_id": key.problem_id,
        "sample": key.number,
        "seed": response.seed,
        "source": key.suite,
        "answer": list(response.golds),
        "response": response.text,
        "tokens": response.tokens,
        "finish_reason": response.finish_reason,
        "note": response.note,
    }
    return json.dumps(record | {_CHECKSUM: _checksum(record)}).encode() + b"\n"


def _checksum(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record).encode())


def decode(line: bytes) -> Response:
    """The inverse of `encode`.

    Raises:
        ValueError: the line is not as it was written.
    """
    record = json.loads(line)
    if not isinstance(record, dict) or record.pop(_CHECKSUM, None) != _checksum(record):
        raise ValueError("its checksum does not agree")
    key = SampleKey(record["checkpoint"], record["suite"], record["problem_id"], record["sample"])
    return Response(
        key,
        tuple(record["answer"]),
        record["seed"],
        record["response"],
        record["tokens"],
        record["finish_reason"],
        record["note"],
    )


def read_responses(path: Path) -> Iterator[Response]:
    """The whole lines of a file, in order; none where there is no file.

    Raises:
        DamagedFile: a line that is not the last was changed since it was written.
        OSError: the file cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except (ValueError, KeyError) as error:
                raise DamagedFile(
                    f"{path}, line {number}: {error}; take the line out, and its response is generated again"
                ) from error


class ResponseFile:
    """The file, open to append; `known` are the samples that are in it.

    Raises:
        DamagedFile: see `read_responses`.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = {response.key for response in read_responses(path)}
        self._file = path.open("ab", buffering=0)
        _cut_part(path)

    def add(self, response: Response) -> bool:
        """Appends a response; False, and nothing is written, where its sample is there already.

        Raises:
            OSError: the line cannot be written whole; nothing of it is left.
        """
        if response.key in self.known:
            return False
        end = self._file.seek(0, os.SEEK_END)
        line = encode(response)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "the disk is full", str(self._file.name))
        except OSError:
            self._file.truncate(end)
            raise
        self.known.add(response.key)
        return True

    def close(self) -> None:
        """Makes the file durable, and closes it."""
        os.fsync(self._file.fileno())
        self._file.close()


def _cut_part(path: Path) -> None:
    """Cuts what a killed process wrote of its last line."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        tail = b""
        while start and b"\n" not in tail:
            start = max(0, start - (64 << 10))
            file.seek(start)
            tail = file.read(end - start)
        file.truncate(start + tail.rfind(b"\n") + 1)
