"""What goes into the engine and what comes out of it, as plain values. Importable without torch or vLLM."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from areal_mesh.runtime.settings.weights import GlooSettings, TransportSettings

BLOCK_TOKENS_ON_CPU = 32
"""KV-cache block. vLLM's CPU default of 128 is longer than a short prompt, so that a group would share no prefix."""


@dataclass(frozen=True)
class EngineSettings:
    """One engine. Sizes are per data-parallel replica."""

    model_folder: Path
    """A Hugging Face folder: config.json and safetensors."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    end_token_ids: tuple[int, ...] = ()
    """Tokens that end a response; without any each is cut off at its limit."""
    device: Literal["cpu", "cuda"] = "cpu"
    max_model_len: int = 4096
    """Tokens of prompt and response together."""
    max_num_seqs: int = 128
    """Sequences decoded at once; more wait."""
    max_num_batched_tokens: int = 4096
    """Tokens of one step, prefill included."""
    kv_cache_gib: float = 1.0
    """Memory of the KV-cache. On GPUs 0 leaves it to vLLM."""
    cpu_threads: int = 1
    """OpenMP threads of a worker on a CPU. Cores are those of the calling process: pin it before it starts."""
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    seed: int = 0
    transport: TransportSettings = field(default_factory=GlooSettings)
    gpu_memory_utilization: float = 0.9
    cuda_graphs: bool = True
    """On GPUs. CPUs always run eagerly: a compiled graph would keep the packed weights of the first version."""
    call_timeout_seconds: float = 60.0
    """Deadline of every call into the engine except generation and the transfer."""

    def __post_init__(self) -> None:
        if self.device == "cpu" and self.data_parallel_size > 1:
            raise ValueError(
                f"engine.data_parallel_size is {self.data_parallel_size}; on CPUs start more generators instead"
            )
        if self.device == "cpu" and self.kv_cache_gib <= 0:
            raise ValueError(f"engine.kv_cache_gib is {self.kv_cache_gib}; on a CPU it must be above 0")

    @property
    def world_size(self) -> int:
        """Workers, each a member of the broadcast group."""
        return self.tensor_parallel_size * self.data_parallel_size

    def environment(self) -> dict[str, str]:
        """What vLLM reads from the environment; set before it is first imported."""
        common = {
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        }
        if self.device == "cuda":
            return common
        # One worker runs inside the engine's own process: a process less to start, a message less a step.
        within = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if self.tensor_parallel_size == 1 else {}
        threads = {"OMP_NUM_THREADS": str(self.cpu_threads), "OMP_WAIT_POLICY": "passive"}
        # vLLM's sampler goes through torch.compile, which wants a C++ compiler and a path without spaces, for functions
        # that take no time on a CPU.
        uncompiled = {"TORCHDYNAMO_DISABLE": "1"}
        # What libraries say at every start: that memory is taken from the node of the worker's cores, that there is no
        # Triton, that a name which vLLM looks up is deprecated.
        said = {
            "TORCH_CPP_LOG_LEVEL": "ERROR",
            "TORCH_LOGS": "-torch._library.triton",
            "PYTHONWARNINGS": "ignore::FutureWarning:vllm.triton_utils.dispatcher",
        }
        quiet = {name: os.environ.get(name, value) for name, value in said.items()}
        return common | within | threads | uncompiled | quiet

    def engine_arguments(self) -> dict[str, Any]:
        """Arguments of vLLM's `AsyncEngineArgs`, its config objects aside."""
        arguments: dict[str, Any] = {
            "model": str(self.model_folder),
            "skip_tokenizer_init": True,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": max(self.max_num_batched_tokens, self.max_num_seqs),
            "tensor_parallel_size": self.tensor_parallel_size,
            "data_parallel_size": self.data_parallel_size,
            "seed": self.seed,
            # The behaviour policy is what was sampled from: after temperature and top_p.
            "logprobs_mode": "processed_logprobs",
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "enforce_eager": self.device == "cpu" or not self.cuda_graphs,
            "worker_extension_cls": "areal_mesh.weights.vllm_worker.WeightProof",
        }
        if self.kv_cache_gib > 0:
            arguments["kv_cache_memory_bytes"] = int(self.kv_cache_gib * 2**30)
        if self.device == "cpu":
            arguments["block_size"] = BLOCK_TOKENS_ON_CPU
        else:
            arguments["gpu_memory_utilization"] = self.gpu_memory_utilization
        return arguments

    def check_folder(self) -> None:
        """Raises FileNotFoundError when the folder is no model's."""
        if not (self.model_folder / "config.json").is_file():
            raise FileNotFoundError(
                f"engine.model_folder {self.model_folder} holds no config.json; name a model's folder"
            )


@dataclass(frozen=True)
class Sampling:
    """How a group of responses is drawn."""

    n: int = 1
    """Responses to the one prompt."""
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    """Response limit, end-of-sequence token included."""
    seed: int | None = None
    """Of this group alone. Costs a random generator a sequence: leave it None when nothing is to be repeated."""


@dataclass(frozen=True)
class VersionSpan:
    """Output tokens [start, end) were produced by policy version `version`."""

    version: int
    start: int
    end: int


@dataclass(frozen=True)
class Completion:
    """One response."""

    token_ids: npt.NDArray[np.int32]
    """Shape [T]; the end-of-sequence token included where there is one, because it is trained on."""
    log_probs: npt.NDArray[np.float32]
    """Shape [T]: log-probability of each token under the distribution it was drawn from (temperature, top_p)."""
    version_spans: tuple[VersionSpan, ...]
    """Cover [0, T) in order, stamped by the engine."""
    finish_reason: str
    """stop, length or abort, as the engine says."""


@dataclass(frozen=True)
class PublishReport:
    """Seconds of one publish, by phase."""

    pause_seconds: float
    """Until no request was running."""
    transfer_seconds: float
    """First byte received to last weight loaded."""
    resume_seconds: float
    """Until requests were scheduled again."""
    num_bytes: int
    receive_seconds: float
    """Of the transfer: bytes on the wire. The slowest worker's."""
    load_seconds: float
    """Of the transfer: laying the weights out, which runs beside receiving. The slowest worker's."""


@dataclass(frozen=True)
class EngineStats:
    """The engine at this moment."""

    running_requests: int
    waiting_requests: int
    kv_cache_use: float
    """Share of the KV-cache's blocks in use, 0 to 1; the fullest replica's."""
    tokens_generated: int
    """Since the start."""
    policy_version: int
    paused: bool
