"""A request to vLLM and its answers as this package's values. vLLM is imported when a request is made."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from areal_mesh.generator.values import Completion, Piece, Sampling, VersionSpan


def sampling_params(sampling: Sampling, room: int, end_token_ids: Sequence[int], in_pieces: bool) -> Any:
    """vLLM's `SamplingParams`: all that is not said here is off, whatever the model's folder says.

    Args:
        room: tokens that the context leaves for a response.
        in_pieces: tokens come as they are sampled; else once, when the last response has ended.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        n=sampling.responses,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=min(sampling.max_response_tokens, room),
        seed=sampling.seed,
        stop_token_ids=list(end_token_ids),
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA if in_pieces else RequestOutputKind.FINAL_ONLY,
    )


def completion_of(output: Any) -> Completion:
    """A whole response out of vLLM's `CompletionOutput`."""
    return Completion(
        token_ids=np.asarray(output.token_ids, dtype=np.int32),
        log_probs=np.asarray(output.logprobs.logprobs, dtype=np.float32),
        version_spans=_spans(output),
        finish_reason=str(output.finish_reason),
    )


def piece_of(output: Any) -> Piece:
    """The next tokens of a response out of vLLM's `CompletionOutput`; spans and finish reason come with the last."""
    return Piece(
        response=output.index,
        token_ids=np.asarray(output.token_ids, dtype=np.int32),
        log_probs=np.asarray(output.logprobs.logprobs, dtype=np.float32),
        version_spans=_spans(output),
        finish_reason="" if output.finish_reason is None else str(output.finish_reason),
    )


def _spans(output: Any) -> tuple[VersionSpan, ...]:
    return tuple(VersionSpan(int(span.version), span.start, span.end) for span in output.weight_versions or ())
