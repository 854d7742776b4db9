"""Entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes before it builds a worker."""

import contextlib

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
