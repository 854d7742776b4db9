"""Ranks, devices and sharding: one learner over one or many processes, which have met already (`learner/places`).

With one rank nothing of `torch.distributed` is used. With several, weights, gradients and optimizer states are sharded
by FSDP2: over all of them, or over those of each host while the hosts hold the same (hybrid sharding: weights are
gathered within a host, gradients alone cross the network). Reductions over tokens are sums, so that the ranks together
compute what one rank alone would. Gloo serves CPUs, NCCL GPUs; the code is the same.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from areal_mesh.learner.batches.batch import DTYPES, FIELDS, TrainingBatch
from areal_mesh.learner.model.policy import PolicyModel


@dataclass(frozen=True)
class Parallel:
    """This process among the learner's ranks. Every method that communicates is called by all ranks or by none."""

    rank: int
    world_size: int
    device: torch.device
    mesh: DeviceMesh | None
    """Over all ranks: one dimension of shards, or replicas of shards; None for a single rank."""

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over ranks."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def maximum(self, values: Tensor) -> Tensor:
        """Elementwise maximum over ranks."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, operation: Any) -> Tensor:
        if self.world_size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values, operation)
        return values

    def broadcast_batch(self, batch: TrainingBatch | None) -> TrainingBatch:
        """Rank 0's batch on every rank. Raises ValueError if rank 0 brings none."""
        if self.rank == 0 and batch is None:
            raise ValueError("rank 0 has no batch to broadcast: only the other ranks pass None")
        if self.world_size == 1:
            assert batch is not None
            return batch
        sizes = torch.zeros(len(FIELDS), dtype=torch.int64, device=self.device)
        if batch is not None and self.rank == 0:
            sizes = torch.tensor([getattr(batch, name).numel() for name in FIELDS], device=self.device)
        dist.broadcast(sizes, 0)
        received = {}
        for name, size in zip(FIELDS, sizes.tolist(), strict=True):
            if batch is not None and self.rank == 0:
                tensor = getattr(batch, name).to(self.device)
            else:
                tensor = torch.empty(size, dtype=DTYPES[name], device=self.device)
            dist.broadcast(tensor, 0)
            received[name] = tensor.cpu()
        return TrainingBatch(**received)

    def barrier(self) -> None:
        """Wait for every rank, at most as long as the process group's timeout."""
        if self.world_size > 1:
            dist.barrier()

    def settle(self) -> None:
        """Wait until this rank's device has done what it was asked to; a CPU has."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def shard(self, policy: PolicyModel, compute_dtype: torch.dtype) -> None:
        """Shard the model over the ranks in place, each decoder layer a unit; with one rank move it to the device."""
        if self.mesh is None:
            policy.to(self.device)
            return
        precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
        for module in (*policy.decoder_layers, policy):
            # Resharded after forward, the root too: otherwise a pass without backward would leave gathered weights
            # behind that the next optimizer step does not reach.
            sharded = fully_shard(module, mesh=self.mesh, mp_policy=precision, reshard_after_forward=True)
            assert isinstance(sharded, FSDPModule)
            # The loss is already divided by the global token count: gradients are summed, not averaged.
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)


def single(device: str) -> Parallel:
    """One rank on `device` ("cpu" or "cuda")."""
    return Parallel(0, 1, torch.device(device), None)


def from_process_group(device: str, local_rank: int = 0, replicas: int = 1) -> Parallel:
    """The ranks of the default process group, which the caller has initialised.

    Args:
        local_rank: number of this rank's GPU.
        replicas: groups of ranks, in their order, that each hold the whole model in shards: hybrid sharding; 1: full.
    """
    local = torch.device(device)
    if device == "cuda":
        local = torch.device("cuda", local_rank)
        torch.cuda.set_device(local)
    world_size = dist.get_world_size()
    if replicas == 1:
        mesh = init_device_mesh(device, (world_size,))
    else:
        mesh = init_device_mesh(device, (replicas, world_size // replicas), mesh_dim_names=("replicate", "shard"))
    return Parallel(dist.get_rank(), world_size, local, mesh)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor, gathered from all ranks; a plain one as it is. Carries no gradient."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def assign(target: Tensor, source: Tensor) -> None:
    """Copy into a live tensor, sharding a whole source where the target is sharded. Raises ValueError on shapes."""
    if target.shape != source.shape:
        raise ValueError(f"shape {list(source.shape)} does not fit {list(target.shape)}: is it another model's state?")
    if isinstance(target, DTensor) and not isinstance(source, DTensor):
        source = distribute_tensor(source.to(target.device), target.device_mesh, target.placements)
    target.copy_(source)
