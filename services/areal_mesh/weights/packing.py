"""Buckets of bytes from tensors, and tensors from buckets."""

from collections.abc import Iterable, Iterator

import torch

from areal_mesh.weights.manifest import Bucket, TensorSpec, WeightManifest


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of a `TensorSpec`."""
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name!r} is not the name of a torch dtype")
    return dtype


def describe(
    version: int, named_tensors: Iterable[tuple[str, torch.Tensor]], dtype: str | None = None
) -> WeightManifest:
    """The manifest of `named_tensors`, sent as `dtype` (torch's name) or, when None, as they are."""
    specs = (
        TensorSpec(name, dtype or str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in named_tensors
    )
    return WeightManifest(version, tuple(specs))


def pack(
    manifest: WeightManifest, named_tensors: Iterable[tuple[str, torch.Tensor]], device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield one uint8 buffer on `device` a bucket, filled from `named_tensors` (same names, same order).

    The buffer is filled anew for the next bucket: use it before asking for that. (Fresh memory for each would cost a
    page fault for each page, as much as the copy.)

    A tensor of another dtype is cast. Negative zeros are sent as zeros: a kernel's packed copy of a weight can only be
    read back by arithmetic, which does not keep the sign of a zero, and digests of both ends must agree.

    Raises ValueError when names, order or shapes differ from the manifest's.
    """
    source, buckets = iter(named_tensors), manifest.buckets()
    longest = max((bucket.num_bytes for bucket in buckets), default=0)
    memory = torch.empty(longest, dtype=torch.uint8, device=device)
    for bucket in buckets:
        buffer = memory[: bucket.num_bytes]
        for spec, view in unpack(bucket, buffer):
            name, tensor = next(source, ("nothing", None))
            if name != spec.name or tensor is None or tuple(tensor.shape) != spec.shape:
                found = "nothing" if tensor is None else f"{name!r} {tuple(tensor.shape)}"
                raise ValueError(
                    f"manifest of version {manifest.version} wants {spec.name!r} {spec.shape}, got {found}"
                )
            _copy_without_negative_zero(tensor.detach(), view)
        yield buffer
    extra = next(source, None)
    if extra is not None:
        raise ValueError(f"tensor {extra[0]!r} is not in the manifest of version {manifest.version}")


def unpack(bucket: Bucket, buffer: torch.Tensor) -> Iterator[tuple[TensorSpec, torch.Tensor]]:
    """Yield each tensor of the bucket as a view into `buffer`, which it keeps alive."""
    for slot in bucket.slots:
        raw = buffer[slot.offset : slot.offset + slot.tensor.num_bytes]
        yield slot.tensor, raw.view(torch_dtype(slot.tensor.dtype)).view(slot.tensor.shape)


def _copy_without_negative_zero(source: torch.Tensor, target: torch.Tensor) -> None:
    if source.dtype == target.dtype and source.device == target.device:
        torch.add(source, 0.0, out=target)
        return
    target.copy_(source)
    target.add_(0.0)
