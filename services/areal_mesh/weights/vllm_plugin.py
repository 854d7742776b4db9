"""Entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes before it builds a worker."""

import contextlib
import logging

BACKEND = "areal_mesh"
"""Name under which vLLM's weight-transfer settings choose our engine."""


def register() -> None:
    """Make our weight-transfer engine known to vLLM in this process. Idempotent: vLLM may load plugins twice."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    # ValueError is how the factory says that the name is registered already.
    with contextlib.suppress(ValueError):
        WeightTransferEngineFactory.register_engine(
            BACKEND, "areal_mesh.weights.vllm_engine", "BroadcastWeightTransferEngine"
        )
    logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").addFilter(_says_more_than_unloaded)


def _says_more_than_unloaded(record: logging.LogRecord) -> bool:
    # vLLM warns at every publish of layers that no checkpoint holds (rotary tables, a tied head). A weight that is
    # truly left unset is an error of our transfer engine, which names it.
    return record.msg != "%s: Failed to load weights"
