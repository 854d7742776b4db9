"""Entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes before it builds a worker."""

BACKEND = "areal_mesh"
"""Name under which vLLM's weight-transfer settings choose our engine."""


def register() -> None:
    """Make our weight-transfer engine known to vLLM in this process. Idempotent: vLLM may load plugins twice."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if BACKEND not in WeightTransferEngineFactory.list_engines():
        WeightTransferEngineFactory.register_engine(
            BACKEND, "areal_mesh.weights.vllm_engine", "BroadcastWeightTransferEngine"
        )
