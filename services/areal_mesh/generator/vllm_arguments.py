"""The run's settings as vLLM takes them: arguments and environment. Pure; importable without torch or vLLM."""

from collections.abc import Mapping
from typing import Any

from areal_mesh.runtime.settings import RunSettings

STEP_TOKENS = 4096
"""Tokens of one step of the engine, prefill included: a longer step holds up every sequence that is decoded. vLLM's own
number differs by device and release, and with it the memory of a step."""
BLOCK_TOKENS_ON_CPU = 32
"""KV-cache block. vLLM's CPU default of 128 is longer than a short prompt, so that a group would share no prefix."""

_QUIET_ON_CPU = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TORCH_LOGS": "-torch._library.triton",
    "PYTHONWARNINGS": "ignore::FutureWarning:vllm.triton_utils.dispatcher",
}
"""Keeps out what libraries say at every start: that memory is taken from the node of the worker's cores, that there is
no Triton, that a name which vLLM looks up is deprecated."""
_HUGE_PAGES_ON_CPU = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Weights lie in huge pages where the kernel has some: a publish, which copies and packs all of them, is some
5 % shorter. glibc reads it when a process begins, so it must stand here before vLLM starts its own."""


def context_tokens(settings: RunSettings) -> int:
    """Tokens of prompt and response together: the longest prompt with the longest response of all stages."""
    return settings.prompts.max_prompt_tokens + settings.longest_response


def vllm_arguments(settings: RunSettings) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs`, its config objects aside."""
    section = settings.generator
    arguments: dict[str, Any] = {
        "model": str(settings.model.folder),
        "skip_tokenizer_init": True,
        # What the folder's generation_config.json says of sampling is nobody's choice here.
        "generation_config": "vllm",
        "dtype": settings.model.dtype,
        "max_model_len": context_tokens(settings),
        "max_num_seqs": section.max_sequences,
        # vLLM refuses a step that cannot decode every sequence.
        "max_num_batched_tokens": max(STEP_TOKENS, section.max_sequences),
        "tensor_parallel_size": section.tensor_parallel_size,
        "data_parallel_size": section.data_parallel_size,
        "seed": settings.seed,
        # The behaviour policy is what was sampled from: after temperature and top_p.
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        # On a CPU a compiled graph would keep the packed weights of the first version.
        "enforce_eager": section.device == "cpu" or section.enforce_eager,
        "worker_extension_cls": "areal_mesh.weights.vllm_worker.WeightProof",
    }
    if section.device == "cpu":
        return arguments | {
            "kv_cache_memory_bytes": int(section.kv_cache_gib * 2**30),
            "block_size": BLOCK_TOKENS_ON_CPU,
        }
    return arguments | {"gpu_memory_utilization": section.gpu_memory_utilization}


def vllm_environment(settings: RunSettings, cores: int, inherited: Mapping[str, str]) -> dict[str, str]:
    """What vLLM reads from the environment; set before it is first imported.

    Args:
        cores: those of the calling process, which its workers share.
        inherited: the environment so far; what it says of logs and of the allocator stays.
    """
    section = settings.generator
    common = {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": inherited.get("VLLM_LOGGING_LEVEL", "WARNING"),
    }
    if section.device == "cuda":
        return common
    # One worker runs inside the engine's own process: a process less to start, a message less a step.
    within = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if section.tensor_parallel_size == 1 else {}
    threads = {"OMP_NUM_THREADS": str(max(1, cores // section.transfer_ranks)), "OMP_WAIT_POLICY": "passive"}
    # vLLM's sampler goes through torch.compile, which wants a C++ compiler and a path without spaces, for functions
    # that take no time on a CPU.
    uncompiled = {"TORCHDYNAMO_DISABLE": "1"}
    preferred = {name: inherited.get(name, value) for name, value in (_QUIET_ON_CPU | _HUGE_PAGES_ON_CPU).items()}
    return common | within | threads | uncompiled | preferred
