"""A group of the replay log for a program, as a JSON object, and for a person, as text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from areal_mesh.prompts.plain_tokenizer import PlainTokenizer
from areal_mesh.replay.inspection.contents import LoggedGroup
from areal_mesh.runtime.groups import decode_float32, decode_int32
from areal_mesh.runtime.text import printable
from areal_mesh.v1 import rollout_pb2

_NO_TEXT = "(no text: the model's tokenizer cannot be read here)"


def group_record(
    logged: LoggedGroup, group: rollout_pb2.Group, tokenizer: PlainTokenizer | None, with_tokens: bool
) -> Mapping[str, Any]:
    """A group as an object for JSON, with text where there is a tokenizer, and with token ids if they are asked for."""
    prompt = decode_int32(group.prompt_token_ids)
    record = {
        "group_id": group.group_id,
        "sequence": group.sequence,
        "prompt_id": group.prompt_id,
        "stage": group.stage.name,
        "max_response_tokens": group.stage.max_response_tokens,
        "temperature": group.temperature,
        "end": logged.end.value,
        "step": logged.step or None,
        "oldest_policy_version": logged.summary.oldest_policy_version,
        "segment": logged.location.segment,
        "byte": logged.location.offset,
        "bytes": logged.summary.size,
        "prompt_tokens": len(prompt),
        "responses": [
            _response(info, tokens, log_probs, tokenizer, with_tokens) for info, tokens, log_probs in _responses(group)
        ],
    }
    if tokenizer is not None:
        record["prompt"] = _text(prompt, tokenizer)
    if with_tokens:
        record["prompt_token_ids"] = list(prompt)
    return record


def _response(
    info: rollout_pb2.ResponseInfo,
    tokens: Sequence[int],
    log_probs: Sequence[float],
    tokenizer: PlainTokenizer | None,
    with_tokens: bool,
) -> Mapping[str, Any]:
    record: dict[str, Any] = {
        "tokens": info.length,
        "finish_reason": _finish_reason(info),
        "reward": info.verdict.reward,
        "verdict": _verdict(info),
        "rule": info.verdict.rule,
        "extracted": info.verdict.extracted,
        "versions": [[span.policy_version, span.start, span.end] for span in info.version_spans],
    }
    if tokenizer is not None:
        record["text"] = _text(tokens, tokenizer)
    if with_tokens:
        record |= {"token_ids": list(tokens), "log_probs": list(log_probs)}
    return record


def group_lines(logged: LoggedGroup, group: rollout_pb2.Group, tokenizer: PlainTokenizer | None) -> Iterator[str]:
    """A group for a person: what it is, its prompt, then each response with its reward, versions and finish reason."""
    end = f"{logged.end.value} in step {logged.step}" if logged.step else logged.end.value
    yield (
        f"group {group.group_id}: {end}; prompt {group.prompt_id}, stage {group.stage.name}, lease {group.sequence}, "
        f"temperature {group.temperature:g}"
    )
    prompt = decode_int32(group.prompt_token_ids)
    yield f"--- prompt: {len(prompt)} tokens"
    yield _text(prompt, tokenizer) if tokenizer is not None else _NO_TEXT
    for number, (info, tokens, _) in enumerate(_responses(group), start=1):
        spans = ", ".join(f"{span.policy_version} [{span.start}, {span.end})" for span in info.version_spans)
        extracted = f" ({info.verdict.extracted})" if info.verdict.extracted else ""
        yield (
            f"--- response {number}: reward {info.verdict.reward:g}, {_verdict(info)}{extracted}, "
            f"{info.length} tokens, {_finish_reason(info)}, versions {spans}"
        )
        yield _text(tokens, tokenizer) if tokenizer is not None else _NO_TEXT


def _responses(
    group: rollout_pb2.Group,
) -> Iterator[tuple[rollout_pb2.ResponseInfo, Sequence[int], Sequence[float]]]:
    """Each response with its tokens and their log-probabilities."""
    tokens, log_probs = decode_int32(group.response_token_ids), decode_float32(group.behaviour_log_probs)
    bounds = [0]
    for info in group.responses:
        bounds.append(bounds[-1] + info.length)
    for info, (start, end) in zip(group.responses, pairwise(bounds), strict=True):
        yield info, tokens[start:end], log_probs[start:end]


def _text(tokens: Sequence[int], tokenizer: PlainTokenizer) -> str:
    return printable(tokenizer.decode(tokens, skip_special_tokens=False))


def _finish_reason(info: rollout_pb2.ResponseInfo) -> str:
    return rollout_pb2.FinishReason.Name(info.finish_reason).removeprefix("FINISH_REASON_").lower()


def _verdict(info: rollout_pb2.ResponseInfo) -> str:
    return rollout_pb2.VerdictStatus.Name(info.verdict.status).removeprefix("VERDICT_STATUS_").lower()
