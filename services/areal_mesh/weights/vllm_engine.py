"""Our weight-transfer engine inside vLLM's worker: receives buckets and loads them layer by layer.

vLLM calls, in this order: `init_transfer_engine` for each group; then for each publish `start_weight_update`,
`update_weights`, `finish_weight_update`, while generation is paused. Layerwise reloading keeps the tensors that kernels
and CUDA graphs hold, and lays weights out anew where the platform wants that (oneDNN on CPUs).
"""

import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from areal_mesh.runtime.settings.weights import TransportSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.joining import PendingWire
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.table import build_transport
from areal_mesh.weights.vllm_worker import packed_layers

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.config.weight_transfer import WeightTransferConfig


@dataclass
class BroadcastInitInfo(WeightTransferInitInfo):  # type: ignore[misc]
    """One group to join, as plain values (it crosses two process boundaries)."""

    group_id: str
    endpoint: str
    world_size: int
    timeout_seconds: float
    first_rank: int
    """Rank of the engine's first worker; the others follow in vLLM's order."""
    transport: dict[str, Any]
    """The settings of the transport."""


@dataclass
class BroadcastUpdateInfo(WeightTransferUpdateInfo):  # type: ignore[misc]
    """The manifest of one publish, as plain values."""

    version: int
    tensors: list[tuple[str, str, list[int]]]
    """Name, dtype, shape of each, in the order of the broadcast."""
    bucket_bytes: int

    def manifest(self) -> WeightManifest:
        specs = (TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in self.tensors)
        return WeightManifest(self.version, tuple(specs), self.bucket_bytes)


@dataclass
class TransferState:
    """What the last publish did to this worker's model."""

    torn: bool = False
    """Weights are part old, part new: the model must not generate until a publish succeeds."""
    num_bytes: int = 0
    receive_seconds: float = 0.0
    load_seconds: float = 0.0
    """Loading one bucket and receiving the next run at the same time: the two add up to more than the whole."""


class BroadcastWeightTransferEngine(WeightTransferEngine[BroadcastInitInfo, BroadcastUpdateInfo]):  # type: ignore[misc]
    """Receives a publish from a `WeightSender`. Joins groups in the background and as often as it is told to."""

    init_info_cls = BroadcastInitInfo
    update_info_cls = BroadcastUpdateInfo
    supports_draft_weight_update = False

    def __init__(
        self,
        config: "WeightTransferConfig",
        vllm_config: "VllmConfig",
        device: torch.device,
        model: torch.nn.Module,
    ) -> None:
        super().__init__(config, vllm_config, device, model)
        self.state = TransferState()
        self._pending: PendingWire | None = None

    def init_transfer_engine(self, init_info: BroadcastInitInfo) -> None:
        """Leave the present group, if any, and start joining the new one; returns at once, so generation goes on."""
        self.shutdown()
        group = Group(init_info.group_id, init_info.endpoint, init_info.world_size, init_info.timeout_seconds)
        parallel = self.parallel_config
        rank = init_info.first_rank + parallel.data_parallel_index * parallel.world_size + parallel.rank
        settings = TypeAdapter[TransportSettings](TransportSettings).validate_python(init_info.transport)
        self._pending = PendingWire(build_transport(settings), group, rank)

    def start_weight_update(self) -> None:
        """Nothing is touched before the first bytes have come: see `receive_weights`."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive and load a whole publish. (The base class would synchronise an accelerator that a CPU lacks.)"""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def receive_weights(self, update_info: BroadcastUpdateInfo) -> None:
        """Receive every bucket and load it into the model.

        Raises TransferError; `state.torn` then says whether any weight was replaced. The group is left in that case.
        """
        if self._pending is None:
            raise TransferError("no broadcast group was joined; prepare one before a publish")
        try:
            self._receive(self._pending.wait(), update_info.manifest())
        except BaseException:
            self.shutdown()
            raise

    def finish_weight_update(self) -> None:
        """Nothing is left to do: `receive_weights` finalises within its own error handling."""

    def shutdown(self) -> None:
        """Leave the group."""
        if self._pending is not None:
            self._pending.close()
            self._pending = None

    def _receive(self, wire: Wire, manifest: WeightManifest) -> None:
        receiver, begin = BucketReceiver(wire, manifest), time.monotonic()
        wanted = {name for name, _ in self.model.named_parameters()}
        loaded = self._load(receiver)
        if missing := sorted(wanted - loaded):
            raise TransferError(f"manifest of version {manifest.version} leaves weights of the engine unset: {missing}")
        receiver.release()
        loading = time.monotonic() - begin - receiver.waited_seconds
        self.state = TransferState(False, manifest.num_bytes, receiver.seconds, loading)

    def _load(self, receiver: BucketReceiver) -> set[str]:
        """Load what comes in one call of vLLM's, which looks through the whole model at each; returns the names."""
        tensors = receiver.tensors()
        first = next(tensors, None)
        if first is None:
            return set()
        self.state.torn = True
        initialize_layerwise_reload(self.model)
        try:
            coming = ((name, view.to(self.device)) for name, view in chain([first], tensors))
            return set(self.model.load_weights(coming))
        finally:
            # Also after an error: it puts the unloaded layers' tensors back, so that a later publish can start.
            finalize_layerwise_reload(self.model, self.model_config)
            _share_packed_weights(self.model)


def _share_packed_weights(model: torch.nn.Module) -> None:
    """Give each kernel the packed copy of its weight that was made for another layer just now.

    vLLM 0.32 leaves them out: a language-model head tied to the embeddings loads nothing itself, so on a CPU its packed
    copy would stay that of the first version, and so would every logit.
    """
    packed: dict[str, Any] = {}
    for name, layer in packed_layers(model):
        first = packed.setdefault(name, layer)
        if first is not layer:
            layer.cpu_linear = first.cpu_linear
