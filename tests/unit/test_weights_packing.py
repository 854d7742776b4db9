"""Tensors to buckets and back."""

import pytest
import torch

from areal_mesh.weights.packing import describe, pack, unpack

CPU = torch.device("cpu")


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
    unpacked: dict[str, torch.Tensor] = {}
    for bucket, buffer in zip(manifest.buckets(), pack(manifest, tensors.items(), CPU), strict=True):
        assert buffer.dtype is torch.uint8
        unpacked |= {spec.name: view for spec, view in unpack(bucket, buffer)}
    assert list(unpacked) == list(tensors)
    for name, tensor in tensors.items():
        assert unpacked[name].dtype is tensor.dtype
        assert torch.equal(unpacked[name], tensor)


def test_tensors_are_cast_to_the_manifests_dtype() -> None:
    tensors = _tensors()
    manifest = describe(1, tensors.items(), dtype="bfloat16")
    (bucket,), (buffer,) = manifest.buckets(), pack(manifest, tensors.items(), CPU)
    for spec, view in unpack(bucket, buffer):
        assert view.dtype is torch.bfloat16
        assert torch.equal(view, tensors[spec.name].to(torch.bfloat16))


def test_negative_zeros_are_sent_as_zeros() -> None:
    for dtype in (None, "bfloat16"):
        tensors = {"w": torch.tensor([-0.0, 1.0, -2.0])}
        manifest = describe(1, tensors.items(), dtype)
        (bucket,), (buffer,) = manifest.buckets(), pack(manifest, tensors.items(), CPU)
        ((_, view),) = unpack(bucket, buffer)
        assert not torch.signbit(view[0])
        assert view.tolist() == [0.0, 1.0, -2.0]


def test_packing_leaves_the_source_as_it_was() -> None:
    weight = torch.tensor([-0.0, 1.0], requires_grad=True)
    manifest = describe(1, [("w", weight)])
    list(pack(manifest, [("w", weight)], CPU))
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
        list(pack(manifest, offered, CPU))
