"""Buckets of bytes from tensors, and tensors from buckets."""

from collections.abc import Iterable, Iterator

import torch

from areal_mesh.weights.manifest import BUCKET_BYTES, Bucket, TensorSpec, WeightManifest


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of a `TensorSpec`."""
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name!r} is not the name of a torch dtype")
    return dtype


def describe(
    version: int,
    named_tensors: Iterable[tuple[str, torch.Tensor]],
    dtype: str | None = None,
    bucket_bytes: int = BUCKET_BYTES,
) -> WeightManifest:
    """The manifest of `named_tensors`, sent as `dtype` (torch's name) or, when None, as they are."""
    specs = (
        TensorSpec(name, dtype or str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in named_tensors
    )
    return WeightManifest(version, tuple(specs), bucket_bytes)


def pack_into(
    manifest: WeightManifest, named_tensors: Iterable[tuple[str, torch.Tensor]], buffers: Iterable[torch.Tensor]
) -> None:
    """Fill one uint8 buffer a bucket, in host memory, from `named_tensors` (same names, same order).

    A tensor of another dtype is cast. Negative zeros are sent as zeros: a kernel's packed copy of a weight can only be
    read back by arithmetic, which does not keep the sign of a zero, and digests of both ends must agree.

    Raises ValueError when names, order or shapes differ from the manifest's.
    """
    source = iter(named_tensors)
    for bucket, buffer in zip(manifest.buckets(), buffers, strict=True):
        for spec, view in unpack(bucket, buffer):
            name, tensor = next(source, ("nothing", None))
            if name != spec.name or tensor is None or tuple(tensor.shape) != spec.shape:
                found = "nothing" if tensor is None else f"{name!r} {tuple(tensor.shape)}"
                raise ValueError(
                    f"manifest of version {manifest.version} wants {spec.name!r} {spec.shape}, got {found}"
                )
            _copy_without_negative_zero(tensor.detach(), view)
    extra = next(source, None)
    if extra is not None:
        raise ValueError(f"tensor {extra[0]!r} is not in the manifest of version {manifest.version}")
    if torch.cuda.is_available():
        # Copies from a device to pinned memory are still under way.
        torch.cuda.synchronize()


def unpack(bucket: Bucket, buffer: torch.Tensor) -> Iterator[tuple[TensorSpec, torch.Tensor]]:
    """Yield each tensor of the bucket as a view into `buffer`, which it keeps alive."""
    for slot in bucket.slots:
        raw = buffer[slot.offset : slot.offset + slot.tensor.num_bytes]
        yield slot.tensor, raw.view(torch_dtype(slot.tensor.dtype)).view(slot.tensor.shape)


def _copy_without_negative_zero(source: torch.Tensor, target: torch.Tensor) -> None:
    if source.device != target.device:
        target.copy_(source.to(target.dtype) + 0.0, non_blocking=True)
    elif source.dtype == target.dtype:
        torch.add(source, 0.0, out=target)
    else:
        target.copy_(source)
        target.add_(0.0)
