"""Keeps out of vLLM's log the warnings that follow, at every start or publish, from what was chosen here."""

import logging
import warnings
from collections.abc import Mapping

_EXPECTED: Mapping[str, tuple[str, ...]] = {
    # At every publish, of layers that no checkpoint holds (rotary tables, a tied head). A weight that is truly left
    # unset is an error of our transfer engine, which names it.
    "vllm.model_executor.model_loader.reload.layerwise": ("%s: Failed to load weights",),
    # The engine runs eagerly, its worker in the engine's own process, and is given token ids.
    "vllm.config.vllm": ("Enforce eager set", "Inductor compilation was disabled", "Model Runner V2 requires Triton"),
    "vllm.engine.arg_utils": ("The global random seed is set",),
    "vllm.renderers.base": ("Using None for EOS token id", "Using None for BOS token id"),
    "vllm.v1.engine.input_processor": ("Passing raw prompts to InputProcessor is deprecated",),
    # Triton has no backend for a CPU; the rest is of models with a recurrent state.
    "vllm.platforms.cpu": ("Triton is not installed", "Reset SSM cache type"),
    # Allocator and OpenMP threads are tuned by this project (malloc's thresholds, one thread a core, passive waits).
    "vllm.v1.worker.cpu_worker": ("%s is not found in LD_PRELOAD", "CPU backend doesn't allow to use"),
}


def keep_out() -> None:
    """Filters this process's loggers of vLLM. Idempotent."""
    # It looks every name of torch.distributed up.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.triton_utils\.dispatcher")
    for name in _EXPECTED:
        logging.getLogger(name).addFilter(_says_more)


def _says_more(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_EXPECTED.get(record.name, ()))
