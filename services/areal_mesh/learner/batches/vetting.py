"""Which groups of a drawn batch cannot be trained on: each looked at by itself, so that one spoils no other."""

from collections.abc import Sequence

from areal_mesh.learner.batches.batch import validate
from areal_mesh.learner.batches.decoding import decode_batch
from areal_mesh.v1 import rollout_pb2


def unusable_groups(groups: Sequence[rollout_pb2.Group], vocabulary_size: int, policy_version: int) -> dict[str, str]:
    """Ids of groups that a policy of this vocabulary and version cannot train on, each with the reason.

    The replay buffer refuses such groups; they stand in logs of before, or where it could not see the model.
    """
    reasons = {}
    for group in groups:
        try:
            validate(decode_batch([group]), vocabulary_size, policy_version)
        except (ValueError, RuntimeError) as error:  # torch says RuntimeError where lengths make no tensor
            reasons[group.group_id] = str(error)
    return reasons
