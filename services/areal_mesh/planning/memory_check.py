"""Whether a run's settings fit GPUs of a size, stage by stage, before anything starts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from areal_mesh.planning.memory import GeneratorMemory, LearnerMemory, generator_memory, learner_memory
from areal_mesh.planning.shapes import ModelShape
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.advantages import WithKlReward

_MIB, _GB = 2**20, 1e9
_FEWER_TRAINED = "train adapters alone (learner.lora), "


@dataclass(frozen=True)
class StageMemory:
    """What a stage needs of a GPU of each kind."""

    name: str
    rank: LearnerMemory
    engine: GeneratorMemory
    longest: int
    """Tokens of the longest prompt with the longest response."""

    @property
    def sequences(self) -> int:
        """Responses of full length that the KV cache of an engine holds at once."""
        return self.engine.sequences(self.longest)


def stage_memories(settings: RunSettings, shape: ModelShape, memory: float) -> list[StageMemory]:
    """What each stage needs of GPUs with `memory` bytes."""
    bucket = settings.weights.transport.bucket_mib * _MIB
    engine = settings.generator
    generator = generator_memory(shape, engine.tensor_parallel_size, memory, engine.gpu_memory_utilization, bucket)
    advantage = settings.algorithm.advantage
    rewarded = isinstance(advantage, WithKlReward) and advantage.kl_coefficient > 0
    reference = rewarded or settings.algorithm.kl_loss is not None
    found = []
    for number, stage in enumerate(settings.stages):
        longest = settings.prompts.max_prompt_tokens + stage.max_response_tokens
        # A sequence is never cut: one that is longer than the micro-batch makes one by itself.
        tokens = max(longest, settings.in_stage(number).learner.max_tokens_per_micro_batch)
        section = settings.learner
        learner = learner_memory(
            shape, section.ranks, tokens, reference, bucket, section.lora, muon=section.muon is not None
        )
        found.append(StageMemory(stage.name, learner, generator, longest))
    return found


def memory_faults(
    settings: RunSettings, memories: list[StageMemory], nodes: int, gpus: int, memory: float
) -> Iterator[str]:
    """Why the run does not fit on `nodes` nodes of `gpus` GPUs with `memory` bytes each, a line each."""
    generation, training = settings.generator.gpu_count, settings.learner.ranks
    shared = _shared_gpus(settings)
    if generation + training - shared > nodes * gpus:
        yield (
            f"{generation} GPUs to generate (generator.services = {settings.generator.services}, "
            f"generator.data_parallel_size = {settings.generator.data_parallel_size}, generator.tensor_parallel_size = "
            f"{settings.generator.tensor_parallel_size}) and learner.ranks = {training} are more than "
            f"the {nodes * gpus} there are; lower one of them"
        )
    if settings.generator.tensor_parallel_size > gpus:
        yield (
            f"generator.tensor_parallel_size = {settings.generator.tensor_parallel_size}: an engine's GPUs lie in one "
            f"node, which has {gpus}; lower it"
        )
    for stage in memories:
        if stage.rank.total > memory:
            yield (
                f"stage {stage.name}: a rank of the learner needs {stage.rank.total / _GB:.1f} GB of "
                f"{memory / _GB:.0f}; raise learner.ranks, {_FEWER_TRAINED if settings.learner.lora is None else ''}"
                "or lower learner.max_tokens_per_micro_batch or the limits"
            )
        engine = memory * settings.generator.gpu_memory_utilization
        if shared and engine + stage.rank.total > memory:
            yield (
                f"stage {stage.name}: learner and engine share a GPU, and need {stage.rank.total / _GB:.1f} and "
                f"{engine / _GB:.1f} GB of {memory / _GB:.0f}; lower generator.gpu_memory_utilization or "
                "learner.max_tokens_per_micro_batch"
            )
        if stage.sequences < 1:
            yield (
                f"stage {stage.name}: {max(0.0, stage.engine.kv_cache) / _GB:.1f} GB of KV cache do not hold one "
                f"response of {stage.longest:,} tokens; raise generator.tensor_parallel_size, or lower the limits"
            )


def memory_remarks(settings: RunSettings, memories: list[StageMemory]) -> Iterator[str]:
    """What fits and will be slower than it might, a line each."""
    for stage in memories:
        if 0 < stage.sequences < settings.generator.max_sequences / 4:
            yield (
                f"stage {stage.name}: the KV cache holds {stage.sequences} responses of full length at once, of "
                f"generator.max_sequences = {settings.generator.max_sequences}; longer ones are computed anew then"
            )


def _shared_gpus(settings: RunSettings) -> int:
    """GPUs that a generator and a rank of the learner are both given."""
    return len(set(settings.generator.gpus or ()) & set(settings.learner.gpus or ()))
