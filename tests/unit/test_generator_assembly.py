"""A group out of completions and verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from areal_mesh.generator.assembly import UnusableCompletion, build_group, check_completions, verify_items
from areal_mesh.generator.values import Completion, VersionSpan
from areal_mesh.runtime.groups import decode_float32, decode_int32, oldest_policy_version, payload_crc32c
from areal_mesh.v1 import common_pb2, controller_pb2, rollout_pb2


def completion(
    tokens: list[int], spans: list[tuple[int, int, int]] | None = None, finish_reason: str = "stop"
) -> Completion:
    return Completion(
        token_ids=np.asarray(tokens, dtype=np.int32),
        log_probs=np.asarray([-0.5 * token for token in tokens], dtype=np.float32),
        version_spans=tuple(VersionSpan(*span) for span in (spans if spans is not None else [(3, 0, len(tokens))])),
        finish_reason=finish_reason,
    )


def unsound(log_prob: float) -> Completion:
    """A completion with a log-probability that is no number."""
    return replace(completion([1, 2]), log_probs=np.asarray([-0.5, log_prob], dtype=np.float32))


LEASE = controller_pb2.Lease(
    group_id="g1",
    sequence=7,
    prompt=rollout_pb2.Prompt(prompt_id="p1", problem="1+1", gold_answers=["2", "two"]),
    sampling=rollout_pb2.Sampling(responses=2, temperature=0.5, max_response_tokens=16),
    stage=common_pb2.Stage(index=1, name="16", max_response_tokens=16),
)


def test_a_group_holds_its_responses_one_after_the_other() -> None:
    completions = [completion([1, 2, 3], [(4, 0, 1), (5, 1, 3)]), completion([9], finish_reason="length")]
    verdicts = [
        rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_CORRECT, reward=5),
        rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_INCORRECT, reward=-5),
    ]
    group = build_group(LEASE, [11, 12], completions, verdicts)
    assert list(decode_int32(group.prompt_token_ids)) == [11, 12]
    assert list(decode_int32(group.response_token_ids)) == [1, 2, 3, 9]
    assert list(decode_float32(group.behaviour_log_probs)) == [-0.5, -1, -1.5, -4.5]
    assert [response.length for response in group.responses] == [3, 1]
    assert [response.finish_reason for response in group.responses] == [
        rollout_pb2.FINISH_REASON_STOP,
        rollout_pb2.FINISH_REASON_LENGTH,
    ]
    assert [response.verdict.reward for response in group.responses] == [5, -5]
    assert group.crc32c == payload_crc32c(group)
    assert oldest_policy_version(group) == 3
    assert (group.group_id, group.prompt_id, group.sequence, group.temperature) == ("g1", "p1", 7, 0.5)
    assert group.stage == LEASE.stage


def test_the_verifier_is_told_length_limit_and_finish_reason() -> None:
    items = verify_items(LEASE, [completion([1, 2], finish_reason="length")], ["two"])
    assert list(items[0].gold_answers) == ["2", "two"]
    assert (items[0].response, items[0].response_tokens, items[0].max_response_tokens) == ("two", 2, 16)
    assert items[0].finish_reason == rollout_pb2.FINISH_REASON_LENGTH
    assert (items[0].problem, items[0].group) == ("1+1", "g1")


@pytest.mark.parametrize(
    ("completions", "why"),
    [
        ([completion([1])], "1 responses, 2 were asked for"),
        ([completion([1]), completion([1], finish_reason="abort")], "response 1 ended by 'abort'"),
        ([completion([]), completion([1])], "response 0 has 0 tokens"),
        ([completion([1]), completion([1], [(-1, 0, 1)])], "never published"),
        ([completion([1]), completion([1, 2], [(3, 0, 1)])], "end at 1, it has 2 tokens"),
        ([completion([1]), completion([1, 2], [(3, 1, 2)])], "leave out token 0"),
        ([completion([1]), completion([1, 2], [])], "end at 0"),
        ([completion([1]), unsound(math.nan)], "response 1 .* weights of version 3 are NaN or infinite"),
        ([unsound(-math.inf), completion([1])], "response 0 .* weights of version 3 are NaN or infinite"),
    ],
)
def test_a_completion_that_cannot_be_trained_on_is_refused(completions: list[Completion], why: str) -> None:
    with pytest.raises(UnusableCompletion, match=why):
        check_completions(completions, 2)
