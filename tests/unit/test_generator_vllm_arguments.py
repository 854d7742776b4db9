"""What vLLM is given out of a run's settings."""

from areal_mesh.generator.vllm_arguments import STEP_TOKENS, context_tokens, vllm_arguments, vllm_environment
from areal_mesh.runtime.settings import RunSettings, load_settings

ON_GPUS = ("weights.transport.type=nccl", "learner.device=cuda", "generator.device=cuda")


def trial(*overrides: str) -> RunSettings:
    return load_settings("trial", overrides)


def test_there_is_room_for_the_longest_prompt_with_the_longest_response_of_all_stages() -> None:
    settings = trial("prompts.max_prompt_tokens=50", "stages.0.max_response_tokens=200")
    assert context_tokens(settings) == vllm_arguments(settings)["max_model_len"] == 250


def test_each_setting_reaches_the_argument_that_it_is_for() -> None:
    settings = trial("seed=7", "model.folder=/models/a", "generator.max_sequences=33", "generator.kv_cache_gib=0.5")
    given = vllm_arguments(settings)
    assert (given["seed"], given["model"], given["dtype"], given["max_num_seqs"]) == (7, "/models/a", "float32", 33)
    assert given["kv_cache_memory_bytes"] == 1 << 29


def test_what_a_model_folder_says_of_sampling_is_not_asked_for() -> None:
    assert vllm_arguments(trial())["generation_config"] == "vllm"


def test_a_step_can_decode_every_sequence() -> None:
    assert vllm_arguments(trial())["max_num_batched_tokens"] == STEP_TOKENS
    assert vllm_arguments(trial("generator.max_sequences=5000"))["max_num_batched_tokens"] == 5000


def test_graphs_are_for_gpus_that_were_told_to_use_them() -> None:
    assert vllm_arguments(trial("generator.enforce_eager=false"))["enforce_eager"]
    assert vllm_arguments(trial(*ON_GPUS))["enforce_eager"]
    assert not vllm_arguments(trial(*ON_GPUS, "generator.enforce_eager=false"))["enforce_eager"]


def test_the_kv_cache_is_bytes_on_a_cpu_and_a_share_on_a_gpu() -> None:
    on_cpu, on_gpu = vllm_arguments(trial()), vllm_arguments(trial(*ON_GPUS, "generator.gpu_memory_utilization=0.4"))
    assert ("kv_cache_memory_bytes" in on_cpu, "gpu_memory_utilization" in on_cpu) == (True, False)
    assert ("kv_cache_memory_bytes" in on_gpu, on_gpu["gpu_memory_utilization"]) == (False, 0.4)


def test_the_cores_are_shared_among_the_workers() -> None:
    def threads(ranks: int, cores: int) -> str:
        settings = trial(f"generator.tensor_parallel_size={ranks}")
        return vllm_environment(settings, cores, {})["OMP_NUM_THREADS"]

    assert (threads(1, 8), threads(3, 8), threads(4, 2)) == ("8", "2", "1")


def test_one_worker_on_a_cpu_runs_within_the_engines_process() -> None:
    assert vllm_environment(trial(), 2, {})["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in vllm_environment(trial("generator.tensor_parallel_size=2"), 2, {})


def test_nothing_is_compiled_on_a_cpu_and_graphs_are_on_a_gpu() -> None:
    assert vllm_environment(trial(), 2, {})["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in vllm_environment(trial(*ON_GPUS), 2, {})


def test_who_wants_to_hear_more_of_torch_and_vllm_does() -> None:
    wanted = {"TORCH_CPP_LOG_LEVEL": "INFO", "TORCH_LOGS": "+dynamo", "VLLM_LOGGING_LEVEL": "DEBUG"}
    environment = vllm_environment(trial(), 2, wanted)
    assert {name: environment[name] for name in wanted} == wanted


def test_the_engine_asks_for_huge_pages_unless_the_allocator_is_tuned_already() -> None:
    assert vllm_environment(trial(), 2, {})["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    tuned = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}
    assert vllm_environment(trial(), 2, tuned)["GLIBC_TUNABLES"] == tuned["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in vllm_environment(trial(*ON_GPUS), 2, {})
