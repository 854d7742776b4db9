"""A bounded cache of verdicts: the same answer to the same problem comes back many times in a group."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from areal_mesh.grading.verdict import Protocol, Verdict

Key: TypeAlias = tuple[str, str | None, tuple[str, ...], Protocol]
"""Extracted answer, its reading as adjacent boxes, golds, protocol."""


class VerdictCache:
    """The verdicts used last, bounded in entries and characters. Errors are never kept: they are retried."""

    def __init__(self, max_entries: int, max_characters: int = 32 << 20) -> None:
        if max_entries < 0:
            raise ValueError(f"max_entries is {max_entries}: give 0 to keep nothing, or more")
        self._max_entries = max_entries
        self._max_characters = max_characters
        self._entries: OrderedDict[Key, Verdict] = OrderedDict()
        self._characters = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Verdict | None:
        verdict = self._entries.get(key)
        if verdict is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return verdict

    def put(self, key: Key, verdict: Verdict) -> None:
        if verdict.status == "error" or self._max_entries == 0 or key in self._entries:
            return
        self._entries[key] = verdict
        self._characters += _size(key)
        while len(self._entries) > self._max_entries or self._characters > self._max_characters:
            oldest, _ = self._entries.popitem(last=False)
            self._characters -= _size(oldest)


def _size(key: Key) -> int:
    # The verdict repeats the answer in its extracted and normalised forms.
    return 3 * len(key[0]) + len(key[1] or "") + sum(map(len, key[2]))
