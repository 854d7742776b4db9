"""What `Generate` is asked and answers, as values and back. No I/O."""

from areal_mesh.generator.assembly import FINISH_REASONS
from areal_mesh.generator.values import Piece, Sampling
from areal_mesh.runtime.errors import aborted
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import generator_pb2, rollout_pb2


def sampling_of(request: generator_pb2.GenerateRequest, settings: RunSettings) -> Sampling:
    """How a request is sampled; what it leaves out is as the run samples."""
    return Sampling(
        responses=request.responses if request.HasField("responses") else 1,
        max_response_tokens=(
            request.max_response_tokens if request.HasField("max_response_tokens") else settings.longest_response
        ),
        temperature=request.temperature if request.HasField("temperature") else settings.algorithm.temperature,
        top_p=request.top_p if request.HasField("top_p") else settings.algorithm.top_p,
        seed=request.seed if request.HasField("seed") else None,
    )


def sampling_message(sampling: Sampling) -> rollout_pb2.Sampling:
    """The sampling as the first message tells it; no seed is 0."""
    return rollout_pb2.Sampling(
        responses=sampling.responses,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_response_tokens=sampling.max_response_tokens,
        seed=sampling.seed or 0,
    )


def tokens_message(piece: Piece, text: str) -> generator_pb2.GenerateResponse:
    """The next tokens of a response.

    Raises:
        MeshError: ABORTED, the engine gave the response up.
    """
    if piece.finish_reason and piece.finish_reason not in FINISH_REASONS:
        raise aborted(f"response {piece.response} ended by {piece.finish_reason!r}, not by stop or length")
    tokens = generator_pb2.GeneratedTokens(
        response=piece.response,
        token_ids=piece.token_ids.astype("<i4").tobytes(),
        log_probs=piece.log_probs.astype("<f4").tobytes(),
        text=text,
        finish_reason=FINISH_REASONS.get(piece.finish_reason, rollout_pb2.FINISH_REASON_UNSPECIFIED),
        version_spans=[
            rollout_pb2.VersionSpan(policy_version=span.version, start=span.start, end=span.end)
            for span in piece.version_spans
        ],
    )
    return generator_pb2.GenerateResponse(tokens=tokens)
