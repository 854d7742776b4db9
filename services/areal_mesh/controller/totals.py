"""Totals over all that is behind the run: written with what they count, so that neither a start nor a status adds up
a million groups.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from areal_mesh.controller.reasons import WITHOUT_TRAINING, count_reason
from areal_mesh.controller.records import GroupRow, GroupState, StepRow

ENDS = (GroupState.TRAINED, GroupState.STALE, GroupState.FILTERED, GroupState.FAILED)


@dataclass(frozen=True)
class Lengths:
    """Response tokens of `groups` groups; those of which nobody said how many they have are left out."""

    groups: int = 0
    tokens: int = 0

    def plus(self, tokens: int, sign: int = 1) -> Self:
        """With a group of so many tokens more, or less."""
        return type(self)(self.groups + sign * (tokens > 0), self.tokens + sign * tokens)

    def and_those(self, others: Self) -> Self:
        """With those of other groups."""
        return type(self)(self.groups + others.groups, self.tokens + others.tokens)

    @property
    def mean(self) -> float | None:
        """Tokens a group; None where nobody said any."""
        return self.tokens / self.groups if self.groups > 0 else None


@dataclass(frozen=True)
class GroupTotals:
    """Groups that ended, and their response tokens, by end."""

    ended: Mapping[GroupState, int] = field(default_factory=dict)
    lengths: Mapping[GroupState, Lengths] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Of those that ended with nothing to train on, by reason, see `reasons.kind_of`."""
    reason_lengths: Mapping[str, Lengths] = field(default_factory=dict)
    """By the same reasons."""

    @property
    def groups(self) -> int:
        """All that ended."""
        return sum(self.ended.values())

    @property
    def tokens(self) -> int:
        """Of all that ended."""
        return sum(lengths.tokens for lengths in self.lengths.values())

    @property
    def group_tokens(self) -> dict[str, float]:
        """Mean response tokens of a group by how it ended: a bias in what is trained on shows here."""
        return {state.value: mean for state in ENDS if (mean := self.lengths.get(state, Lengths()).mean) is not None}

    @property
    def reason_tokens(self) -> dict[str, float]:
        """Mean response tokens of a group by the reason for which it was not trained on: whom a filter leaves out."""
        means = {kind: lengths.mean for kind, lengths in self.reason_lengths.items()}
        return {kind: mean for kind, mean in means.items() if mean is not None}

    def after(self, changes: Iterable[tuple[GroupRow | None, GroupRow]]) -> Self:
        """The totals once groups went from the first row to the second; None: the group is new.

        Itself where no group ended and no ended one changed.

        Args:
            changes: of groups that end, or had ended; those that stay open count nothing.
        """
        ends = list(changes)
        if not ends:
            return self
        totals = type(self)(dict(self.ended), dict(self.lengths), dict(self.reasons), dict(self.reason_lengths))
        for before, row in ends:
            if before is not None and not before.state.is_open:
                totals._count(before, -1)
            totals._count(row, 1)
        return totals

    def _count(self, row: GroupRow, sign: int) -> None:
        """Adds a group that ended, or takes it away; for totals that are still being made."""
        ended: Any = self.ended
        ended[row.state] = ended.get(row.state, 0) + sign
        lengths: Any = self.lengths
        lengths[row.state] = lengths.get(row.state, Lengths()).plus(row.tokens, sign)
        if row.state in WITHOUT_TRAINING:
            reasons: Any = self.reasons
            kind = count_reason(reasons, row.state, row.reason, sign)
            by_reason: Any = self.reason_lengths
            by_reason[kind] = by_reason.get(kind, Lengths()).plus(row.tokens, sign)

    @classmethod
    def added_up(cls, counts: Iterable[tuple[GroupState, str, int, Lengths]]) -> Self:
        """From groups by state and reason: how many there are, and their lengths. Open ones are passed over."""
        ended: dict[GroupState, int] = {}
        lengths: dict[GroupState, Lengths] = {}
        reasons: dict[str, int] = {}
        by_reason: dict[str, Lengths] = {}
        for state, reason, groups, of_these in counts:
            if state not in ENDS:
                continue
            ended[state] = ended.get(state, 0) + groups
            lengths[state] = lengths.get(state, Lengths()).and_those(of_these)
            if state in WITHOUT_TRAINING:
                kind = count_reason(reasons, state, reason, groups)
                by_reason[kind] = by_reason.get(kind, Lengths()).and_those(of_these)
        return cls(ended, lengths, reasons, by_reason)

    def to_json(self) -> str:
        """As the ledger keeps it."""
        ended = {state.value: count for state, count in self.ended.items()}
        lengths = {state.value: [of.groups, of.tokens] for state, of in self.lengths.items()}
        by_reason = {kind: [of.groups, of.tokens] for kind, of in self.reason_lengths.items()}
        reasons = {"reasons": dict(self.reasons), "reason_lengths": by_reason}
        return json.dumps({"ended": ended, "lengths": lengths, **reasons})

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """The inverse of `to_json`; None: a version wrote it that kept no lengths."""
        value = json.loads(text)
        if "lengths" not in value:
            return None
        ended = {GroupState(state): count for state, count in value["ended"].items()}
        lengths = {GroupState(state): Lengths(*counts) for state, counts in value["lengths"].items()}
        by_reason = {kind: Lengths(*counts) for kind, counts in value.get("reason_lengths", {}).items()}
        return cls(ended, lengths, value.get("reasons", {}), by_reason)


@dataclass(frozen=True)
class StepTotals:
    """Committed steps. `step`: the last one; `tokens`: trained on; `staleness`: trained groups by staleness."""

    step: int = 0
    tokens: int = 0
    staleness: Mapping[int, int] = field(default_factory=dict)
    mismatch_kl: float = 0.0
    """Of the last step that measured it: one whose responses all began under an older version does not."""
    without_update: int = 0
    """Steps that made a version and moved no weight."""

    def after(self, row: StepRow) -> Self:
        """The totals once a further step is committed."""
        staleness = dict(self.staleness)
        for age, groups in row.staleness.items():
            staleness[age] = staleness.get(age, 0) + groups
        mismatch = row.metrics.get("mismatch_kl", self.mismatch_kl)
        without_update = self.without_update + (row.metrics.get("optimizer_updates") == 0)
        return type(self)(row.step, self.tokens + row.tokens, staleness, mismatch, without_update)

    def to_json(self) -> str:
        """As the ledger keeps it."""
        staleness = {str(age): groups for age, groups in self.staleness.items()}
        return json.dumps([self.step, self.tokens, staleness, self.mismatch_kl, self.without_update])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        step, tokens, staleness, *others = json.loads(text)
        return cls(step, tokens, {int(age): groups for age, groups in staleness.items()}, *others)
