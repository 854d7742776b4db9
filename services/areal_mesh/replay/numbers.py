"""The buffers of a group and their extremes, each read once: a message gives a copy of its bytes whenever it is asked.

What every number of a buffer has to keep, its extremes keep; so no number becomes a Python object.
"""

from dataclasses import dataclass

import numpy as np

from areal_mesh.v1 import rollout_pb2


@dataclass(frozen=True, slots=True)
class GroupBuffers:
    """Little-endian int32 token ids of prompt and responses, and float32 log-probabilities."""

    prompt_token_ids: bytes
    response_token_ids: bytes
    behaviour_log_probs: bytes

    @classmethod
    def of(cls, group: rollout_pb2.Group) -> "GroupBuffers":
        """Those of a message."""
        return cls(group.prompt_token_ids, group.response_token_ids, group.behaviour_log_probs)


@dataclass(frozen=True, slots=True)
class GroupNumbers:
    """Extremes of a group's buffers. A negative token id counts as its two's complement, which is over any other."""

    largest_prompt_token: int
    largest_response_token: int
    lowest_log_prob: float
    """NaN where any log-probability is; `highest_log_prob` too."""
    highest_log_prob: float

    @classmethod
    def of(cls, buffers: GroupBuffers) -> "GroupNumbers":
        """Those of buffers that hold one number at least, and whole ones."""
        log_probs = np.frombuffer(buffers.behaviour_log_probs, dtype="<f4")
        return cls(
            int(np.frombuffer(buffers.prompt_token_ids, dtype="<u4").max()),
            int(np.frombuffer(buffers.response_token_ids, dtype="<u4").max()),
            float(log_probs.min()),
            float(log_probs.max()),
        )
