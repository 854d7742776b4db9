"""What the contracts say of a publish, to and from plain values: manifest, group, digests.

Decoding raises INVALID_ARGUMENT that names the field.
"""

from collections.abc import Iterable, Mapping

from areal_mesh.runtime.durations import from_duration, to_duration
from areal_mesh.runtime.errors import invalid_argument
from areal_mesh.v1 import weights_pb2
from areal_mesh.weights.group import SENDER_RANK, Group
from areal_mesh.weights.manifest import TensorSpec, WeightManifest


def encode_manifest(manifest: WeightManifest) -> weights_pb2.WeightManifest:
    """The message of a manifest."""
    message = weights_pb2.WeightManifest(policy_version=manifest.version, bucket_bytes=manifest.bucket_bytes)
    for tensor in manifest.tensors:
        message.tensors.add(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)
    return message


def decode_manifest(message: weights_pb2.WeightManifest) -> WeightManifest:
    """The manifest of a request."""
    if message.policy_version < 0:
        raise invalid_argument("manifest.policy_version", f"{message.policy_version} is no published version; from 0")
    if not message.tensors:
        raise invalid_argument("manifest.tensors", "no tensor is named; a publish carries at least one")
    try:
        tensors = tuple(TensorSpec(spec.name, spec.dtype, tuple(spec.shape)) for spec in message.tensors)
        return WeightManifest(message.policy_version, tensors, message.bucket_bytes)
    except ValueError as error:
        raise invalid_argument("manifest.tensors", str(error)) from error


def encode_group(group: Group, rank: int = SENDER_RANK) -> weights_pb2.TransferGroup:
    """The message of a group, for the member whose first rank is `rank`."""
    return weights_pb2.TransferGroup(
        group_id=group.group_id,
        endpoint=group.endpoint,
        world_size=group.world_size,
        rank=rank,
        timeout=to_duration(group.timeout_seconds),
    )


def decode_group(message: weights_pb2.TransferGroup) -> Group:
    """The group of a request to a member that receives."""
    if not message.group_id:
        raise invalid_argument("group.group_id", "is empty; every group has a name of its own")
    if not message.endpoint:
        raise invalid_argument("group.endpoint", "is empty; say where the members meet")
    if not SENDER_RANK < message.rank < message.world_size:
        raise invalid_argument("group.rank", f"{message.rank} is not from 1 to {message.world_size - 1}")
    try:
        return Group(message.group_id, message.endpoint, message.world_size, from_duration(message.timeout))
    except ValueError as error:
        raise invalid_argument("group", str(error)) from error


def encode_digests(digests: Mapping[str, str]) -> list[weights_pb2.TensorDigest]:
    """The messages of digests by tensor name, in the order of the names."""
    return [weights_pb2.TensorDigest(name=name, digest=digest) for name, digest in sorted(digests.items())]


def decode_digests(messages: Iterable[weights_pb2.TensorDigest]) -> dict[str, str]:
    """Digests by tensor name."""
    return {message.name: message.digest for message in messages}
