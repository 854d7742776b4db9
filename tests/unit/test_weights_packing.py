"""Tensors to buckets and back."""

from collections.abc import Iterator

import pytest
import torch

from areal_mesh.weights.packing import describe
from areal_mesh.weights.snapshot import Snapshot


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(3, 5, generator=generator),
        "b": torch.randn(7, generator=generator).to(torch.bfloat16),
        "c": torch.randn(4, 4, generator=generator).T,
    }


def test_what_is_unpacked_is_what_was_packed() -> None:
    tensors = _tensors()
    manifest = describe(1, tensors.items())
    snapshot = Snapshot.of(manifest, tensors.items())
    assert [(buffer.dtype, buffer.numel()) for buffer in snapshot.buckets()] == [
        (torch.uint8, bucket.num_bytes) for bucket in manifest.buckets()
    ]
    unpacked = dict(snapshot.named_tensors())
    assert list(unpacked) == list(tensors)
    for name, tensor in tensors.items():
        assert unpacked[name].dtype is tensor.dtype
        assert torch.equal(unpacked[name], tensor)


def test_tensors_are_cast_to_the_manifests_dtype() -> None:
    tensors = _tensors()
    manifest = describe(1, tensors.items(), dtype="bfloat16")
    for name, view in Snapshot.of(manifest, tensors.items()).named_tensors():
        assert view.dtype is torch.bfloat16
        assert torch.equal(view, tensors[name].to(torch.bfloat16))


def test_negative_zeros_are_sent_as_zeros() -> None:
    for dtype in (None, "bfloat16"):
        tensors = {"w": torch.tensor([-0.0, 1.0, -2.0])}
        manifest = describe(1, tensors.items(), dtype)
        ((_, view),) = Snapshot.of(manifest, tensors.items()).named_tensors()
        assert not torch.signbit(view[0])
        assert view.tolist() == [0.0, 1.0, -2.0]


def test_packing_leaves_the_source_as_it_was() -> None:
    weight = torch.tensor([-0.0, 1.0], requires_grad=True)
    manifest = describe(1, [("w", weight)])
    Snapshot.of(manifest, [("w", weight)])
    assert torch.signbit(weight.detach()[0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "wants 'c' .*got nothing"),
        (["b", "a", "c"], "wants 'a' .*got 'b'"),
        (["a", "b", "c", "d"], "'d' is not in the manifest"),
    ],
)
def test_tensors_that_are_not_the_manifests_are_named(names: list[str], message: str) -> None:
    tensors = _tensors()
    manifest = describe(1, tensors.items())
    offered = [(name, tensors.get(name, torch.zeros(1))) for name in names]
    with pytest.raises(ValueError, match=message):
        Snapshot.of(manifest, offered)


def test_a_snapshot_holds_what_it_was_filled_with_and_digests_it_once() -> None:
    tensors = _tensors()
    snapshot = Snapshot.of(describe(1, tensors.items()), tensors.items())
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["a"].zero_()
    assert all(torch.equal(view, kept[name]) for name, view in snapshot.named_tensors())
    computed: list[int] = []

    def compute(named: Iterator[tuple[str, torch.Tensor]]) -> dict[str, str]:
        computed.append(1)
        return {name: str(tensor.sum().item()) for name, tensor in named}

    first = snapshot.digests(compute)
    assert snapshot.digests(compute) == first
    assert len(computed) == 1
    snapshot.fill(describe(2, tensors.items()), tensors.items())
    assert snapshot.digests(compute) != first
