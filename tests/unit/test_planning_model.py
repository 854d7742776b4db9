"""The parts of the plan's model: shapes, lengths, splits, memory, and a run that was measured."""

import dataclasses
import random
import re
from statistics import fmean

import pytest

from areal_mesh.planning.calibration import CALIBRATIONS, Constants
from areal_mesh.planning.hardware import HARDWARE
from areal_mesh.planning.layouts import best_split, published_layout, splits
from areal_mesh.planning.lengths import LENGTHS, ResponseLengths, with_mean
from areal_mesh.planning.measured import NothingMeasured, measured_constants, measured_lengths
from areal_mesh.planning.memory import generator_memory, learner_memory
from areal_mesh.planning.memory_check import memory_faults, memory_remarks, stage_memories
from areal_mesh.planning.shapes import MODELS, UnknownShape, shape_of
from areal_mesh.planning.step import step_time, training_seconds
from areal_mesh.planning.workload import Layout, Workload
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.settings.lora import LoraSettings

SMALL, LARGE = MODELS["DeepSeek-R1-Distill-Qwen-1.5B"], MODELS["DeepSeek-R1-Distill-Qwen-7B"]
H800 = HARDWARE["h800"]
ASYNC = CALIBRATIONS["areal-async"]
CONFIG = {
    "hidden_size": 1536,
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "intermediate_size": 8960,
    "vocab_size": 151936,
}


def workload(eta: int = 1, limit: int = 8192) -> Workload:
    lengths = LENGTHS["DeepSeek-R1-Distill-Qwen-1.5B"]
    return Workload(SMALL, lengths, limit, 64, 16, max_sequences=512, max_staleness=eta, extra_passes=1)


def test_shapes_have_the_parameters_that_the_models_have() -> None:
    assert SMALL.parameters == pytest.approx(1.777e9, rel=0.002)
    assert LARGE.parameters == pytest.approx(7.616e9, rel=0.002)
    assert MODELS["Qwen2.5-0.5B"].parameters == pytest.approx(0.494e9, rel=0.002)
    assert MODELS["smollm2-135m"].parameters == pytest.approx(134.5e6, rel=0.002)
    assert SMALL.kv_bytes == 28_672


def test_a_shape_is_read_from_a_configuration_and_one_without_it_is_refused() -> None:
    assert shape_of(CONFIG) == SMALL
    with pytest.raises(UnknownShape, match="intermediate_size"):
        shape_of({key: value for key, value in CONFIG.items() if key != "intermediate_size"})


@pytest.mark.parametrize("lengths", [ResponseLengths(6640, 1.0), ResponseLengths(300, 0.5), ResponseLengths(90, 0.0)])
def test_lengths_have_the_mean_of_what_is_drawn_from_them(lengths: ResponseLengths) -> None:
    chance = random.Random(0)
    drawn = [min(8192.0, lengths.median * pow(2.718281828, chance.gauss(0, lengths.spread))) for _ in range(40_000)]
    assert lengths.mean(8192) == pytest.approx(fmean(drawn), rel=0.02)
    assert lengths.mean_square(8192) == pytest.approx(fmean(length**2 for length in drawn), rel=0.05)
    assert lengths.over(4000) == pytest.approx(fmean(length > 4000 for length in drawn), abs=0.01)


def test_lengths_before_training_are_those_that_are_published() -> None:
    assert LENGTHS["DeepSeek-R1-Distill-Qwen-1.5B"].mean(8192) == pytest.approx(5750, rel=0.01)
    large = LENGTHS["DeepSeek-R1-Distill-Qwen-7B"]
    assert large.mean(16384) == pytest.approx(7850, rel=0.01)
    assert large.over(16384) == pytest.approx(0.123, abs=0.003)


def test_lengths_of_a_mean_have_it() -> None:
    assert with_mean(3000, 16384, 0.7).mean(16384) == pytest.approx(3000)
    with pytest.raises(ValueError, match="20000 tokens is not between 0 and the limit of 16384"):
        with_mean(20_000, 16_384, 0.7)


def test_areals_allocations_are_those_that_it_had() -> None:
    assert published_layout(8, 8, 1, overlaps=False) == Layout(8, 8, 2, time_shared=True)
    assert published_layout(32, 8, 1, overlaps=False) == Layout(16, 16)
    assert published_layout(128, 8, 4, overlaps=False) == Layout(64, 64, 4)
    assert published_layout(8, 8, 1, overlaps=True) == Layout(6, 2)
    assert published_layout(128, 8, 1, overlaps=True) == Layout(96, 32)
    assert published_layout(1, 8, 1, overlaps=True) == Layout(1, 1, 1, time_shared=True)
    assert published_layout(5, 8, 4, overlaps=True) == Layout(4, 1, 4)
    with pytest.raises(ValueError, match="2 GPUs are less than an engine's 4"):
        published_layout(2, 8, 4, overlaps=True)


def test_the_best_split_is_the_fastest_of_all_and_leaves_training_its_memory() -> None:
    found = best_split(workload(), 8, 1, H800, ASYNC, least_training=1)
    assert found is not None
    layout, time = found
    assert time.seconds == min(step_time(workload(), other, H800, ASYNC).seconds for other in splits(8, 1))
    assert 0 < layout.generation_gpus < 8
    constrained = best_split(workload(), 8, 1, H800, ASYNC, least_training=7)
    assert constrained is not None
    assert constrained[0].training_gpus == 7
    assert best_split(workload(), 8, 8, H800, ASYNC, 1) is None


def test_staleness_never_makes_a_step_longer_and_a_longer_limit_never_a_shorter_one() -> None:
    by_eta = [step_time(workload(eta), Layout(6, 2), H800, ASYNC).seconds for eta in (0, 1, 2, 4, 8)]
    assert by_eta == sorted(by_eta, reverse=True)
    by_limit = [step_time(workload(1, limit), Layout(6, 2), H800, ASYNC).seconds for limit in (4096, 8192, 16384)]
    assert by_limit == sorted(by_limit)


def test_what_is_the_longest_is_the_bottleneck() -> None:
    assert step_time(workload(8), Layout(6, 2), H800, ASYNC).bottleneck == "training"
    assert step_time(workload(8), Layout(1, 7), H800, ASYNC).bottleneck == "generation"
    assert step_time(workload(1), Layout(96, 32), H800, ASYNC).bottleneck == "staleness"


def test_constants_of_a_measured_run_give_its_times_back() -> None:
    true = dataclasses.replace(ASYNC, host_seconds=0.012, training_share=0.21)
    work, layout = workload(), Layout(1, 7)
    time = step_time(work, layout, H800, true)
    rate = work.sequences * work.lengths.mean(work.limit) / time.generation
    row = {
        "update_seconds": training_seconds(work, layout, H800, true),
        "generated_tokens_per_second": rate,
        "response_length": work.lengths.mean(work.limit),
    }
    found: Constants = measured_constants([row] * 3, work, layout, H800, ASYNC)
    assert found.training_share == pytest.approx(true.training_share, rel=1e-6)
    assert found.host_seconds == pytest.approx(true.host_seconds, rel=1e-6)
    assert measured_lengths([row] * 3, 8192, ResponseLengths(1, 1.0)).median == pytest.approx(6640, rel=0.01)
    with pytest.raises(NothingMeasured, match="measure a longer run"):
        measured_constants([row], work, layout, H800, ASYNC)


def test_a_rank_holds_sixteen_bytes_a_parameter_by_the_number_of_ranks_and_its_activations() -> None:
    few, many = (learner_memory(SMALL, ranks, 27_072, reference=True, bucket_bytes=0) for ranks in (2, 64))
    sharded = few.optimizer + few.parameters + few.gradients - (many.optimizer + many.parameters + many.gradients)
    assert sharded == pytest.approx(16 * SMALL.parameters * (1 / 2 - 1 / 64), rel=0.01)
    assert few.activations == many.activations
    assert 25e9 < few.total < 40e9, "about 30 GB a rank, as the learner's page has it"


def test_with_lora_a_rank_holds_two_bytes_a_parameter_and_what_is_trained_of_the_adapters() -> None:
    adapters = LoraSettings(rank=32)
    trained = LARGE.adapter_parameters(32, None)
    # Inputs and outputs together: q and o 7168, k and v 4096, gate, up and down 22528.
    assert trained == 28 * 32 * (2 * 7168 + 2 * 4096 + 3 * 22528)
    assert LARGE.adapter_parameters(16, ["q_proj", "self_attn.v_proj"]) == 28 * 16 * (7168 + 4096)
    one, two = (learner_memory(LARGE, ranks, 8192, reference=True, bucket_bytes=0, lora=adapters) for ranks in (1, 2))
    assert one.parameters == 2 * LARGE.parameters + 6 * trained
    assert one.optimizer == 8 * trained
    assert one.reference == 2 * trained, "no second model"
    assert two.parameters - 2 * LARGE.parameters / 2 < 6e9
    whole = learner_memory(LARGE, 1, 8192, reference=True, bucket_bytes=0)
    assert whole.activations == one.activations
    assert (one.total < 27e9, whole.total > 160e9) == (True, True)


def test_an_engine_has_for_its_cache_what_weights_leave() -> None:
    one, four = (generator_memory(LARGE, size, 80e9, 0.9, 0) for size in (1, 4))
    assert one.kv_cache == pytest.approx(72e9 - 15.2e9 - one.workspace, rel=0.01)
    assert four.kv_tokens > 4 * one.kv_tokens
    assert one.sequences(10_000) == int(one.kv_tokens / 10_000)


PUBLISHED = [
    "distill-1.5b-1node",
    "distill-1.5b-16node",
    "distill-7b-4node",
    "zero-7b-16node",
    "distill-7b-4node-async",
]


@pytest.mark.parametrize("preset", PUBLISHED)
def test_the_published_presets_fit_their_gpus_and_no_fewer(preset: str) -> None:
    settings = load_settings(preset)
    shape = MODELS[settings.model.folder.name]
    nodes = int(preset.split("node")[0].rsplit("-", 1)[1])
    memories = stage_memories(settings, shape, 80e9)
    assert list(memory_faults(settings, memories, nodes, 8, 80e9)) == []
    fewer = list(memory_faults(settings, memories, nodes, 7, 80e9))
    assert "are more than the" in fewer[0]


def test_what_does_not_fit_says_which_stage_and_what_would_do() -> None:
    settings = load_settings("distill-7b-4node", ["learner.ranks=1", "generator.tensor_parallel_size=1"])
    memories = stage_memories(settings, LARGE, 24e9)
    faults = list(memory_faults(settings, memories, 4, 8, 24e9))
    assert any(re.match("stage 24K: a rank of the learner needs .* raise learner.ranks", line) for line in faults)
    remarks = list(memory_remarks(settings, stage_memories(settings, LARGE, 40e9)))
    assert any("stage 24K: the KV cache holds " in line for line in remarks)


def test_engine_and_learner_on_one_gpu_have_to_fit_it_together() -> None:
    starters = {"qwen2.5-0.5b-1gpu": 24e9, "qwen2.5-1.5b-1gpu": 80e9, "distill-7b-lora-1gpu": 80e9}
    for preset, memory in starters.items():
        settings = load_settings(preset)
        shape = MODELS[settings.model.folder.name]
        memories = stage_memories(settings, shape, memory)
        assert list(memory_faults(settings, memories, 1, 1, memory)) == []
        crowded = load_settings(preset, ["generator.gpu_memory_utilization=0.8"])
        faults = list(memory_faults(crowded, memories, 1, 1, memory))
        assert all("share a GPU" in fault for fault in faults)
        assert len(faults) == len(settings.stages)


def test_a_model_of_7b_fits_one_gpu_with_lora_alone() -> None:
    settings = load_settings("distill-7b-lora-1gpu", ["learner.lora=none"])
    faults = list(memory_faults(settings, stage_memories(settings, LARGE, 80e9), 1, 1, 80e9))
    assert any("train adapters alone (learner.lora), or lower" in fault for fault in faults)
