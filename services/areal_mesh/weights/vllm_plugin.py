"""Entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes before it builds a worker."""

import contextlib
import logging
import multiprocessing
import os

from areal_mesh.runtime.orphans import die_with_parent

BACKEND = "areal_mesh"
"""Name under which vLLM's weight-transfer settings choose our engine."""
BOUND_VARIABLE = "AREAL_MESH_BOUND_ENGINE"
"""Set, it has vLLM's processes die with those that started them: whoever sets it keeps its starting thread alive."""


def register() -> None:
    """Make our weight-transfer engine known to vLLM in this process. Idempotent: vLLM may load plugins twice."""
    _bind_to_parent()
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    # ValueError is how the factory says that the name is registered already.
    with contextlib.suppress(ValueError):
        WeightTransferEngineFactory.register_engine(
            BACKEND, "areal_mesh.weights.vllm_engine", "BroadcastWeightTransferEngine"
        )
    logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").addFilter(_says_more_than_unloaded)


def _bind_to_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and BOUND_VARIABLE in os.environ:
        die_with_parent(parent.pid)


def _says_more_than_unloaded(record: logging.LogRecord) -> bool:
    # vLLM warns at every publish of layers that no checkpoint holds (rotary tables, a tied head). A weight that is
    # truly left unset is an error of our transfer engine, which names it.
    return record.msg != "%s: Failed to load weights"
