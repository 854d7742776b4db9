"""Totals over all that is behind the run: written with what they count, so that neither a start nor a status adds up
a million groups.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from areal_mesh.controller.reasons import WITHOUT_TRAINING, count_reason
from areal_mesh.controller.records import GroupRow, GroupState, StepRow

ENDS = (GroupState.TRAINED, GroupState.STALE, GroupState.FILTERED, GroupState.FAILED)


@dataclass(frozen=True)
class GroupTotals:
    """Groups that ended, by end, and the response tokens of all of them."""

    ended: Mapping[GroupState, int] = field(default_factory=dict)
    tokens: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Of those that ended with nothing to train on, by reason, see `reasons.kind_of`."""

    @property
    def groups(self) -> int:
        """All that ended."""
        return sum(self.ended.values())

    def after(self, changes: Iterable[tuple[GroupRow | None, GroupRow]]) -> Self:
        """The totals once groups went from the first row to the second; None: the group is new.

        Itself where no group ended and no ended one changed.
        """
        ends = [(before, row) for before, row in changes if not row.state.is_open]
        if not ends:
            return self
        ended, reasons, tokens = dict(self.ended), dict(self.reasons), self.tokens
        for before, row in ends:
            if before is not None and not before.state.is_open:
                ended[before.state] -= 1
                tokens -= before.tokens
                if before.state in WITHOUT_TRAINING:
                    count_reason(reasons, before.state, before.reason, -1)
            ended[row.state] = ended.get(row.state, 0) + 1
            tokens += row.tokens
            if row.state in WITHOUT_TRAINING:
                count_reason(reasons, row.state, row.reason, 1)
        return type(self)(ended, tokens, reasons)

    def to_json(self) -> str:
        """As the ledger keeps it."""
        ended = {state.value: count for state, count in self.ended.items()}
        return json.dumps({"ended": ended, "tokens": self.tokens, "reasons": dict(self.reasons)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        value = json.loads(text)
        ended = {GroupState(state): count for state, count in value["ended"].items()}
        return cls(ended, value["tokens"], value.get("reasons", {}))


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
