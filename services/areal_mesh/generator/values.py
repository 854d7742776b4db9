"""What is asked of the engine and what it answers, as plain values. Importable without torch or vLLM."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Sampling:
    """How a group of responses is drawn."""

    responses: int
    """To the one prompt."""
    max_response_tokens: int
    """Response limit, end-of-sequence token included."""
    temperature: float
    top_p: float
    seed: int | None = None
    """Of this group alone. Costs a random generator a sequence: leave it None when nothing is to be repeated."""


@dataclass(frozen=True)
class VersionSpan:
    """Output tokens [start, end) were produced by policy version `version`."""

    version: int
    start: int
    end: int


@dataclass(frozen=True)
class Completion:
    """One response."""

    token_ids: npt.NDArray[np.int32]
    """Shape [T]; the end-of-sequence token included where there is one, because it is trained on."""
    log_probs: npt.NDArray[np.float32]
    """Shape [T]: log-probability of each token under the distribution it was drawn from (temperature, top_p)."""
    version_spans: tuple[VersionSpan, ...]
    """Cover [0, T) in order, stamped by the engine."""
    finish_reason: str
    """stop, length or abort, as the engine says."""


@dataclass(frozen=True)
class Piece:
    """The next tokens of one response of several."""

    response: int
    """Which, from 0."""
    token_ids: npt.NDArray[np.int32]
    """Shape [T], as `Completion`'s; may be empty."""
    log_probs: npt.NDArray[np.float32]
    """Shape [T]."""
    version_spans: tuple[VersionSpan, ...]
    """Of the whole response, with its last piece; before that empty."""
    finish_reason: str
    """With the last piece; before that empty."""


@dataclass(frozen=True)
class PublishReport:
    """Seconds of one publish, by phase."""

    pause_seconds: float
    """Until no request was running."""
    transfer_seconds: float
    """First byte received to last weight loaded."""
    resume_seconds: float
    """Until requests were scheduled again."""
    num_bytes: int
    receive_seconds: float
    """Of the transfer: bytes on the wire. The slowest worker's."""
    load_seconds: float
    """Of the transfer: laying the weights out, which runs beside receiving. The slowest worker's."""


@dataclass(frozen=True)
class EngineStats:
    """The engine at this moment."""

    running_requests: int
    waiting_requests: int
    kv_cache_use: float
    """Share of the KV-cache's blocks in use, 0 to 1; the fullest replica's."""
    tokens_generated: int
    """Since the start."""
    policy_version: int
    paused: bool
    open_responses: int = 0
    """Given to the engine and not ended: running, waiting, or on their way."""
    preemptions: int = 0
    """Responses whose KV-cache blocks were taken for others, to be computed again; since the start."""
