"""The prompts of a run: problems out of one file or several, in an order that a sequence number fixes.

Sequence n names the same problem in every life of the run, so a restart continues where the ledger ends, and a file
that is another one by then is found by its digest. Each epoch is a permutation computed from the seed, never stored.
"""

import hashlib
from pathlib import Path

import structlog

from areal_mesh.controller.indexed_file import IndexedFile, PromptFileError
from areal_mesh.controller.mixing import mixture
from areal_mesh.runtime.problem_files import problem_files
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import PromptSettings, RunSettings

_LOG = structlog.get_logger("controller")
_ROUNDS = 4


class PromptFile:
    """The problems of a run by sequence number.

    Args:
        settings: name the files, and say how many of their problems are used, and whether epochs have orders of their
            own.
        seed: of the epochs' orders.
        answers_needed: whether a problem without a reference answer is an error.
        spool: folder for what has to be unpacked.

    Raises:
        PromptFileError: a file is missing or empty, or a line is bad.
    """

    def __init__(
        self, settings: PromptSettings, seed: int, *, answers_needed: bool = True, spool: Path | None = None
    ) -> None:
        self._seed = seed
        self._shuffle = settings.shuffle
        self.fault: PromptFileError | None = None
        """Why the files cannot be used any more; None as long as they can."""
        self.files = [
            IndexedFile(source, key, settings.count, spool)
            for key, source in problem_files(settings, answers_needed=answers_needed)
        ]
        self._mixture = mixture([1.0, *(also.weight for also in settings.also)])

    def __len__(self) -> int:
        """Problems of all files."""
        return sum(len(file) for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of the lines that are used, in hexadecimal; of several files, of their digests."""
        if len(self.files) == 1:
            return self.files[0].digest
        return hashlib.sha256("".join(file.digest for file in self.files).encode()).hexdigest()

    def at(self, sequence: int) -> Problem:
        """The problem of a sequence number, from 0.

        Raises:
            PromptFileError: the file was changed since it was opened; it stays so in `fault`.
        """
        index, rank = self._mixture.of(sequence)
        file = self.files[index]
        epoch, position = divmod(rank, len(file))
        if self._shuffle:
            key = f"{self._seed}/{epoch}" if index == 0 else f"{self._seed}/{index}/{epoch}"
            position = permuted(position, len(file), key)
        try:
            return file.at(position)
        except PromptFileError as error:
            self.fault = error
            raise

    def close(self) -> None:
        """Closes the files."""
        for file in self.files:
            file.close()


def open_prompts(settings: RunSettings, spool: Path) -> PromptFile:
    """The prompts of a run; says in the log what was taken for what in them. Raises PromptFileError."""
    answers_needed = not settings.verifier.reward_alone
    prompts = PromptFile(settings.prompts, settings.seed, answers_needed=answers_needed, spool=spool)
    for file in prompts.files:
        if file.said:
            _LOG.info("fields of the prompt file", file=str(file.path), fields=file.said)
    return prompts


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
