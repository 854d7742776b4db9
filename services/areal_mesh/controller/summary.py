"""The summary of a run, from what its ledger holds. Pure: rows in, a JSON object out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from areal_mesh.controller.records import GroupCounts, PublishRow, StageEntry, StepRow
from areal_mesh.runtime.curves import first_and_last, mean
from areal_mesh.runtime.settings import StageSettings

IDLE = "idle_seconds_"
"""What the learner's metrics of waiting begin with; the cause follows."""
Interval = tuple[float, float]
"""Start and end, unix seconds."""


@dataclass(frozen=True)
class RunFacts:
    """What a summary is made from."""

    name: str
    config: Mapping[str, Any]
    plans: Sequence[StageSettings]
    prepared_seconds: float
    """Time that making the model and the prompts took, before the controller's first life."""
    lives: Sequence[Interval]
    stages: Sequence[StageEntry]
    steps: Sequence[StepRow]
    publishes: Sequence[PublishRow]
    counts: GroupCounts
    generating: Iterable[Interval]
    """By their starts; as many as groups were stored, and read once."""
    end_reasons: Mapping[str, int]
    """Groups that ended with nothing to train on, by reason."""
    group_tokens: Mapping[str, float]
    """Mean response tokens of the groups that ended, by end."""
    reason_tokens: Mapping[str, float]
    """The same by the reasons of `end_reasons`."""
    generated_tokens: int
    finished: bool
    starts: Mapping[str, int]
    """Lives of each service."""


def summarise(facts: RunFacts) -> dict[str, Any]:
    """The run at a glance. Seconds, tokens, groups; curves have one value a step."""
    steps = facts.steps
    # The clock may have been set between two lives of the controller, and a group leased in one stored in the other.
    generating = common(joined(facts.generating), facts.lives)
    return {
        "run": facts.name,
        "finished": facts.finished,
        "wall_seconds": facts.prepared_seconds + total(facts.lives),
        "setup_seconds": _setup_seconds(facts),
        "steps": len(steps),
        "policy_version": steps[-1].policy_version if steps else 0,
        "tokens_generated": facts.generated_tokens,
        "tokens_trained": sum(step.tokens for step in steps),
        "overlap_seconds": overlap(generating, _updating(steps)),
        "generating_seconds": total(generating),
        "updating_seconds": total(union(_updating(steps))),
        "idle_seconds": _idle(steps),
        "steps_without_update": sum(step.metrics.get("optimizer_updates") == 0 for step in steps),
        "equal_rewards": _mean_of(steps, "equal_rewards"),
        **_publishing(facts.publishes),
        "staleness": _staleness(steps),
        "mismatch_kl": _mean_of(steps, "mismatch_kl"),
        "groups": _groups(facts.counts),
        "group_tokens": dict(facts.group_tokens),
        "end_reasons": dict(facts.end_reasons),
        "reason_tokens": dict(facts.reason_tokens),
        "reward_curve": [step.metrics.get("reward") for step in steps],
        "length_curve": [step.metrics.get("response_length") for step in steps],
        "stages": [_stage(plan, index, facts) for index, plan in enumerate(facts.plans)],
        "service_starts": dict(facts.starts),
        "config": dict(facts.config),
    }


def _idle(steps: Sequence[StepRow]) -> dict[str, float]:
    """Seconds in which the learner did not train, by what it waited for, the longest first."""
    causes = {name for step in steps for name in step.metrics if name.startswith(IDLE)}
    spent = {name.removeprefix(IDLE): sum(step.metrics.get(name, 0.0) for step in steps) for name in causes}
    return dict(sorted(spent.items(), key=lambda cause: -cause[1]))


def _publishing(publishes: Sequence[PublishRow]) -> dict[str, Any]:
    """The publishes of a run, and the seconds that they took in all."""
    return {
        "weight_updates": len(publishes),
        "versions_published": len({publish.policy_version for publish in publishes}),
        "checksums": _checksums(publishes),
        "pause_seconds": sum(publish.pause for publish in publishes),
        "transfer_seconds": sum(publish.transfer for publish in publishes),
        "resume_seconds": sum(publish.resume for publish in publishes),
    }


def _groups(counts: GroupCounts) -> dict[str, int]:
    return {
        "trained": counts.trained,
        "stale": counts.stale,
        "filtered": counts.filtered,
        "failed": counts.failed,
        "open": counts.open,
        "leased": counts.leased,
    }


def _stage(plan: StageSettings, index: int, facts: RunFacts) -> dict[str, Any]:
    steps = [step for step in facts.steps if step.stage == index]
    entered = next((entry for entry in facts.stages if entry.stage == index), None)
    return {
        "name": plan.name,
        "max_response_tokens": plan.max_response_tokens,
        "steps": len(steps),
        "first_step": None if entered is None else entered.first_step,
        "entered_because": None if entered is None else entered.reason,
        "reward": _ends_of(steps, "reward"),
        "response_length": _ends_of(steps, "response_length"),
        "truncated": _ends_of(steps, "truncated"),
    }


def _ends_of(steps: Sequence[StepRow], metric: str) -> dict[str, float | None]:
    return first_and_last([step.metrics.get(metric) for step in steps])


def _mean_of(steps: Iterable[StepRow], metric: str) -> float | None:
    """Mean over the steps that have the metric."""
    return mean([step.metrics.get(metric) for step in steps])


def _staleness(steps: Iterable[StepRow]) -> dict[str, float]:
    """Over trained groups, at the version of their draw."""
    histogram = staleness_histogram(steps)
    groups = sum(histogram.values())
    mean = sum(age * count for age, count in histogram.items()) / groups if groups else 0.0
    return {"mean": mean, "max": max(histogram, default=0)}


def staleness_histogram(steps: Iterable[StepRow]) -> dict[int, int]:
    """Trained groups by staleness, over all steps."""
    histogram: dict[int, int] = {}
    for step in steps:
        for age, count in step.staleness.items():
            histogram[age] = histogram.get(age, 0) + count
    return dict(sorted(histogram.items()))


def _checksums(publishes: Iterable[PublishRow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for publish in publishes:
        counts[publish.checksums] = counts.get(publish.checksums, 0) + 1
    return counts


def _setup_seconds(facts: RunFacts) -> float:
    """Time to prepare, and time in which the controller lived before generators held the start weights."""
    ready = facts.publishes[0].finished_at if facts.publishes else float("inf")
    waited = total([(start, min(end, ready)) for start, end in facts.lives if start < ready])
    return facts.prepared_seconds + waited


def _updating(steps: Iterable[StepRow]) -> list[Interval]:
    """When the learner updated, as its `update_started` and `update_finished` metrics say."""
    return [
        (step.metrics["update_started"], step.metrics["update_finished"])
        for step in steps
        if "update_started" in step.metrics and "update_finished" in step.metrics
    ]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time as intervals that do not overlap, in order; empty ones are left out."""
    return joined(sorted(intervals))


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of intervals that come in the order of their starts; only the result is kept in memory."""
    merged: list[Interval] = []
    for start, end in intervals:
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def total(intervals: Iterable[Interval]) -> float:
    """Sum of lengths, seconds."""
    return sum(end - start for start, end in intervals)


def common(first: Iterable[Interval], second: Iterable[Interval]) -> list[Interval]:
    """The time that lies in both."""
    left, right = union(first), union(second)
    both: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            both.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return both


def overlap(first: Iterable[Interval], second: Iterable[Interval]) -> float:
    """Seconds that lie in both."""
    return total(common(first, second))
