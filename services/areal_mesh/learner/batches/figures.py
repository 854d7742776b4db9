"""Figures of a drawn batch, as its groups say them: reward, lengths, staleness."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from areal_mesh.runtime.groups import oldest_policy_version
from areal_mesh.v1 import rollout_pb2


def batch_figures(groups: Sequence[rollout_pb2.Group], policy_version: int) -> dict[str, float]:
    """Metrics by name over all responses of a batch drawn at `policy_version`.

    `reward` (`reward_NAME` is one of several terms of it), `correct` and `truncated` (shares), `response_length` (mean,
    tokens), `response_tokens`; over groups `equal_rewards` (share of those whose rewards are all equal),
    `staleness_mean` and `staleness_max`.
    """
    responses = [response for group in groups for response in group.responses]
    lengths = [response.length for response in responses]
    ages = [policy_version - oldest_policy_version(group) for group in groups]
    return {
        "reward": fmean(response.verdict.reward for response in responses),
        "correct": fmean(response.verdict.status == rollout_pb2.VERDICT_STATUS_CORRECT for response in responses),
        "truncated": fmean(response.finish_reason == rollout_pb2.FINISH_REASON_LENGTH for response in responses),
        "response_length": fmean(lengths),
        "response_tokens": float(sum(lengths)),
        "responses": float(len(responses)),
        "equal_rewards": fmean(len({response.verdict.reward for response in group.responses}) == 1 for group in groups),
        "staleness_mean": fmean(ages),
        "staleness_max": float(max(ages)),
        **_terms(responses),
    }


def _terms(responses: Sequence[rollout_pb2.ResponseInfo]) -> dict[str, float]:
    """Mean of each term of the reward, over the responses that have it."""
    values: dict[str, list[float]] = {}
    for response in responses:
        for term in response.verdict.terms:
            values.setdefault(f"reward_{term.name}", []).append(term.value)
    return {name: fmean(given) for name, given in values.items()}


def staleness_histogram(groups: Sequence[rollout_pb2.Group], policy_version: int) -> dict[int, int]:
    """Groups of the batch by staleness: the drawing version less the oldest version in the group."""
    return dict(Counter(policy_version - oldest_policy_version(group) for group in groups))
