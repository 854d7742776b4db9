"""Why groups ended with nothing to train on: counted by reason, and how many ended so in a row. Pure.

Reasons that differ in numbers alone (a prompt's tokens, a version, a group's id) are one.
"""

import re
from collections import Counter
from collections.abc import MutableMapping

from areal_mesh.controller.records import GroupCounts, GroupState

_NUMBERS = re.compile(r"\d+")
_LONGEST = 160
_MOST_KINDS = 64
"""Reasons told apart; what comes later is OTHER."""
OTHER = "for other reasons"
REASONLESS = "no reason was given"
FRUITLESS = (GroupState.FILTERED, GroupState.FAILED)
WITHOUT_TRAINING = (GroupState.STALE, *FRUITLESS)


def kind_of(state: GroupState, reason: str) -> str:
    """A reason as it is counted: its end and its first line, numbers left out."""
    first_line = next((line.strip() for line in reason.splitlines() if line.strip()), REASONLESS)
    return f"{state.value}: {_NUMBERS.sub('N', first_line)[:_LONGEST]}"


def count_reason(counts: MutableMapping[str, int], state: GroupState, reason: str, groups: int) -> str:
    """Adds `groups`, which may be negative, to those that ended for a reason; returns the kind they count as."""
    kind = kind_of(state, reason)
    if kind not in counts and (groups < 0 or len(counts) >= _MOST_KINDS):
        kind = f"{state.value}: {OTHER}"
    counts[kind] = counts.get(kind, 0) + groups
    if counts[kind] <= 0:
        del counts[kind]
    return kind


class FruitlessRow:
    """The groups that ended filtered or failed since one was last stored, by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._latest: dict[str, str] = {}

    def ended(self, state: GroupState, reason: str) -> None:
        """Counts a group that ended as filtered or failed."""
        self._latest[count_reason(self._counts, state, reason, 1)] = reason

    def stored(self) -> None:
        """Breaks the row: a group was stored."""
        self._counts.clear()
        self._latest.clear()

    @property
    def length(self) -> int:
        """Groups in the row."""
        return self._counts.total()

    def commonest(self) -> tuple[str, int]:
        """The commonest reason, in the words of the last group that ended for it, and its count."""
        (kind, count), *_ = self._counts.most_common(1) or [(REASONLESS, 0)]
        words = self._latest.get(kind, "").splitlines() or [REASONLESS]
        return words[0], count


def hopeless(row: FruitlessRow, most: int, counts: GroupCounts) -> str:
    """Why nothing will ever be trained on, as far as the groups so far tell; empty while that is open.

    Args:
        most: groups that may end so in a row; 0 for as many as it takes.
    """
    # One outage ends all that is in flight, which in a large mesh may be more than the bound.
    if not most or row.length < max(most, 2 * counts.running):
        return ""
    reason, count = row.commonest()
    return (
        f"{row.length} groups in a row ended filtered or failed, and none was stored; {count} of them: "
        f"{reason}. Mend that and start the run again, with --fresh where its settings or prompts change "
        f"(controller.fruitless_groups = {most} sets the bound)"
    )
