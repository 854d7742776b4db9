"""Entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes before it builds a worker."""

import contextlib
import multiprocessing
import os

from areal_mesh.runtime.environment import tune_allocator
from areal_mesh.runtime.orphans import die_with_parent
from areal_mesh.weights.expected_warnings import keep_out

BACKEND = "areal_mesh"
"""Name under which vLLM's weight-transfer settings choose our engine."""
BOUND_VARIABLE = "AREAL_MESH_BOUND_ENGINE"
"""Set, it has vLLM's processes die with those that started them: whoever sets it keeps its starting thread alive."""


def register() -> None:
    """Make our weight-transfer engine known to vLLM in this process, and its log say no more than there is to say.

    Idempotent: vLLM may load plugins twice.
    """
    _bind_to_parent()
    # A publish allocates the weights several times over, buckets and layers, in a process that vLLM starts afresh.
    tune_allocator()
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    # ValueError is how the factory says that the name is registered already.
    with contextlib.suppress(ValueError):
        WeightTransferEngineFactory.register_engine(
            BACKEND, "areal_mesh.weights.vllm_engine", "BroadcastWeightTransferEngine"
        )
    keep_out()


def _bind_to_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and BOUND_VARIABLE in os.environ:
        die_with_parent(parent.pid)
