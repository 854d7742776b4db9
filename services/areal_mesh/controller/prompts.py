"""The prompt file: JSONL of problems, read by byte offset, in an order that a sequence number fixes.

Sequence n names the same problem in every life of the run, so a restart continues where the ledger ends, and a file
that is another one by then is found by its digest. Only the offset and the checksum of each line are kept in memory,
twelve bytes a line; each epoch is a permutation computed from the seed, never stored.
"""

import hashlib
import zlib
from array import array
from collections.abc import Iterator
from typing import BinaryIO

from areal_mesh.runtime.problem_lines import LineError, Problem, parse_problem
from areal_mesh.runtime.settings import PromptSettings

_ROUNDS = 4


class PromptFileError(ValueError):
    """A prompt file that cannot be used: says the file, the line and what would do."""


class PromptFile:
    """The problems of a run by sequence number.

    Args:
        settings: name the JSONL file, one object a line: `id`, `problem`, `answer` (a string, a number or a list of
            them), `source`; how many of its problems are used, and whether each epoch has an order of its own.
        seed: of the epochs' orders.

    Raises:
        PromptFileError: the file is missing or empty, or a line is bad.
    """

    def __init__(self, settings: PromptSettings, seed: int) -> None:
        self._path = path = settings.file
        self._seed = seed
        self._shuffle = settings.shuffle
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise PromptFileError(f"{path}: cannot be read: {error.strerror}; set prompts.file") from error
        self.fault: PromptFileError | None = None
        """Why the file cannot be used any more; None as long as it can."""
        self._checksums = array("I")
        self._digest = hashlib.sha256()
        self._offsets = array("Q", self._index(settings.count))
        if not self._offsets:
            raise PromptFileError(f"{path}: has no problems; expected one JSON object a line")

    def __len__(self) -> int:
        """Problems in an epoch."""
        return len(self._offsets)

    @property
    def digest(self) -> str:
        """SHA-256 of the lines that are used, in hexadecimal."""
        return self._digest.hexdigest()

    def _index(self, limit: int) -> Iterator[int]:
        offset = found = 0
        for number, line in enumerate(self._file, start=1):
            if line.strip():
                _problem(line, f"{self._path}, line {number}")
                self._digest.update(line)
                self._checksums.append(zlib.crc32(line))
                yield offset
                found += 1
                if found == limit:
                    return
            offset += len(line)

    def at(self, sequence: int) -> Problem:
        """The problem of a sequence number, from 0.

        Raises:
            PromptFileError: the file was changed since it was opened; it stays so in `fault`.
        """
        epoch, position = divmod(sequence, len(self._offsets))
        if self._shuffle:
            position = permuted(position, len(self._offsets), f"{self._seed}/{epoch}")
        offset = self._offsets[position]
        self._file.seek(offset)
        line = self._file.readline()
        if zlib.crc32(line) != self._checksums[position]:
            self.fault = PromptFileError(
                f"{self._path}, byte {offset}: was changed while the run went on; put the file back as it was, or give "
                "the run another name"
            )
            raise self.fault
        return _problem(line, f"{self._path}, byte {offset}")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _problem(line: bytes, where: str) -> Problem:
    try:
        return parse_problem(line)
    except LineError as error:
        raise PromptFileError(f"{where}: {error}") from error


def permuted(position: int, size: int, key: str) -> int:
    """Image of `position` under a permutation of range(size) that `key` fixes, in constant memory.

    A balanced Feistel network over the next even number of bits; values outside the range walk on until they are
    inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for round_number in range(_ROUNDS):
            digest = hashlib.blake2b(f"{key}/{round_number}/{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        position = left << half | right
        if position < size:
            return position


def group_seed(run_seed: int, sequence: int) -> int:
    """Sampling seed of a group: 62 bits, so that seed + i stays within what engines take."""
    digest = hashlib.blake2b(f"{run_seed}/group/{sequence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2
