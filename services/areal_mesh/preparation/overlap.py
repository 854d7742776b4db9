"""Decontamination: how much of a problem stands in an evaluation set, by n-grams of words. Pure.

The overlap of two problems is the share of the n-grams of the shorter one that the other has too. Set phrases (`where m
and n are relatively prime positive integers`) are shared by many problems and are a small share of each.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NGRAM = 8
SHARE = 0.5
_WORD = re.compile(r"\\?[a-z]+|\d+|[^\s\w{}$]")
_SPACING = re.compile(r"\\[,;:! ]|\\(?:left|right|displaystyle|textstyle|,|quad|qquad)(?![a-z])")


def words(text: str) -> list[str]:
    """Words, numbers and signs, without case, spacing, braces and dollars."""
    return _WORD.findall(_SPACING.sub(" ", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")).lower())


def fingerprint(text: str) -> bytes:
    """The same for texts that differ in case, spacing and dressing alone; 16 bytes."""
    return hashlib.blake2b(" ".join(words(text)).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Overlap:
    """The evaluation problem that a problem shares most with."""

    evaluation: str
    """The set and the problem's id, `aime24/60`."""
    share: float


class EvaluationSets:
    """Problems that nothing may be trained on.

    Args:
        ngram: words of an n-gram; a shorter problem counts as one n-gram.
    """

    def __init__(self, ngram: int = NGRAM) -> None:
        self._ngram = ngram
        self._owners: dict[int, list[int]] = {}
        self._names: list[str] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        """Problems in them."""
        return len(self._names)

    def add(self, name: str, problem: str) -> None:
        """Takes in one, which is called `name` in the report."""
        grams = set(self._grams(problem))
        number = len(self._names)
        self._names.append(name)
        self._sizes.append(max(1, len(grams)))
        for gram in grams:
            self._owners.setdefault(gram, []).append(number)

    def overlap(self, problem: str) -> Overlap | None:
        """The largest; None where nothing is shared."""
        grams = set(self._grams(problem))
        shared = Counter(owner for gram in grams for owner in self._owners.get(gram, ()))
        if not shared:
            return None
        shares = {owner: count / min(len(grams), self._sizes[owner]) for owner, count in shared.items()}
        owner = max(shares, key=lambda number: (shares[number], -number))
        return Overlap(self._names[owner], shares[owner])

    def _grams(self, text: str) -> Iterator[int]:
        found = words(text)
        for start in range(max(1, len(found) - self._ngram + 1)):
            yield hash(tuple(found[start : start + self._ngram]))


def sets_of(named: Iterable[tuple[str, str]], ngram: int = NGRAM) -> EvaluationSets:
    """Evaluation sets of names and problems."""
    sets = EvaluationSets(ngram)
    for name, problem in named:
        sets.add(name, problem)
    return sets
