"""A group out of its parts: completions as the engine gave them, verdicts as the verifier gave them. No I/O."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from areal_mesh.generator.filters.inputs import GradedGroup
from areal_mesh.generator.values import Completion
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import controller_pb2, rollout_pb2, verifier_pb2

FINISH_REASONS = {"stop": rollout_pb2.FINISH_REASON_STOP, "length": rollout_pb2.FINISH_REASON_LENGTH}
"""Reasons of the contract by those of the engine; any other means that the response is not whole."""


class UnusableCompletion(ValueError):
    """The engine's answer cannot be trained on: aborted, empty, or with tokens whose version is unknown."""


def check_completions(completions: Sequence[Completion], responses: int) -> None:
    """Checks what the engine gave for a group of `responses`.

    Invariants of a usable group: as many completions as asked for; each ended by stop or length and has a token; a
    log-probability for each token, a finite number; version spans that cover the tokens in order, each of a published
    version.

    Raises:
        UnusableCompletion: one of them does not hold.
    """
    if len(completions) != responses:
        raise UnusableCompletion(f"the engine gave {len(completions)} responses, {responses} were asked for")
    for index, completion in enumerate(completions):
        if completion.finish_reason not in FINISH_REASONS:
            raise UnusableCompletion(f"response {index} ended by {completion.finish_reason!r}, not by stop or length")
        length = len(completion.token_ids)
        if length == 0 or len(completion.log_probs) != length:
            raise UnusableCompletion(
                f"response {index} has {length} tokens and {len(completion.log_probs)} log-probabilities"
            )
        _check_spans(index, completion, length)
        if not np.isfinite(completion.log_probs).all():
            raise UnusableCompletion(
                f"response {index} has log-probabilities that are no numbers: weights of version "
                f"{completion.version_spans[-1].version} are NaN or infinite, or overflow in the model's dtype"
            )


def _check_spans(index: int, completion: Completion, length: int) -> None:
    end = 0
    for span in completion.version_spans:
        if span.version < 0:
            raise UnusableCompletion(f"response {index} has tokens of weights that the learner never published")
        if span.start != end or span.end <= span.start:
            raise UnusableCompletion(f"response {index}: its version spans leave out token {end} or are empty")
        end = span.end
    if end != length:
        raise UnusableCompletion(f"response {index}: its version spans end at {end}, it has {length} tokens")


def verify_items(
    lease: controller_pb2.Lease, completions: Sequence[Completion], texts: Sequence[str]
) -> list[verifier_pb2.VerifyItem]:
    """What the verifier is asked, in the order of the responses."""
    return [
        verifier_pb2.VerifyItem(
            response=text,
            gold_answers=lease.prompt.gold_answers,
            response_tokens=len(completion.token_ids),
            max_response_tokens=lease.sampling.max_response_tokens,
            finish_reason=FINISH_REASONS[completion.finish_reason],
            problem=lease.prompt.problem,
            source=lease.prompt.source,
            group=lease.group_id,
        )
        for completion, text in zip(completions, texts, strict=True)
    ]


def graded_group(completions: Sequence[Completion], verdicts: Sequence[rollout_pb2.Verdict]) -> GradedGroup:
    """The group as filters see it."""
    return GradedGroup(
        correct=tuple(verdict.status == rollout_pb2.VERDICT_STATUS_CORRECT for verdict in verdicts),
        truncated=tuple(completion.finish_reason == "length" for completion in completions),
    )


def build_group(
    lease: controller_pb2.Lease,
    prompt_token_ids: Sequence[int],
    completions: Sequence[Completion],
    verdicts: Sequence[rollout_pb2.Verdict],
) -> rollout_pb2.Group:
    """The group as the replay buffer stores it, with its crc32c. Completions are those of `check_completions`."""
    token_ids = np.concatenate([completion.token_ids for completion in completions])
    log_probs = np.concatenate([completion.log_probs for completion in completions])
    group = rollout_pb2.Group(
        group_id=lease.group_id,
        prompt_id=lease.prompt.prompt_id,
        stage=lease.stage,
        prompt_token_ids=encode_int32(list(prompt_token_ids)),
        response_token_ids=encode_int32(_array("i", token_ids, np.int32)),
        behaviour_log_probs=encode_float32(_array("f", log_probs, np.float32)),
        responses=[
            rollout_pb2.ResponseInfo(
                length=len(completion.token_ids),
                finish_reason=FINISH_REASONS[completion.finish_reason],
                version_spans=[
                    rollout_pb2.VersionSpan(policy_version=span.version, start=span.start, end=span.end)
                    for span in completion.version_spans
                ],
                verdict=verdict,
            )
            for completion, verdict in zip(completions, verdicts, strict=True)
        ],
        sequence=lease.sequence,
        temperature=lease.sampling.temperature,
        problem=lease.prompt.problem,
        gold_answers=lease.prompt.gold_answers,
        source=lease.prompt.source,
    )
    group.crc32c = payload_crc32c(group)
    return group


def _array(code: str, values: Any, dtype: type) -> "array[Any]":
    """A numpy vector as an array, without a Python object for each token."""
    return array(code, values.astype(dtype, copy=False).tobytes())
