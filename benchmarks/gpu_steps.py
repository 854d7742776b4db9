"""Training steps of the learner's own Trainer on made-up rollouts: model FLOPs over the device's, memory, phases."""

import math
import statistics
from functools import cached_property
from pathlib import Path

import torch
from rich.table import Table
from transformers import AutoModelForCausalLM, Qwen2Config

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.planning.shapes import ModelShape
from areal_mesh.runtime.settings import load_settings
from benchmarks.gpu_measuring import Deadline, Report, Rollouts, Scale, take_rounds

PRESET = "qwen2.5-1.5b-1gpu"
"""Its algorithm, GRPO by the decoupled loss, is what the steps are taken by."""
MINIBATCHES, RESPONSES = 2, 8
_UPDATE_PASSES = 3
"""Of an update, in forward passes: backward takes two. What is computed again for want of memory is no work."""


class UselessStep(RuntimeError):
    """A step that did not train as one does, so that its seconds say nothing."""


class Training:
    """The trainer, made when it is first asked for, and the steps that it takes."""

    def __init__(self, scale: Scale, folder: Path) -> None:
        """folder: that the model is written to."""
        self._scale = scale
        self._folder = folder

    @cached_property
    def trainer(self) -> Trainer:
        """On random weights, which cost as much as any."""
        scale = self._scale
        write_model(scale, self._folder)
        settings = {
            "model.folder": self._folder,
            "model.dtype": scale.dtype,
            "algorithm.responses": RESPONSES,
            "algorithm.minibatches": MINIBATCHES,
            "learner.device": scale.device,
            "learner.threads": 1,
            "learner.max_tokens_per_micro_batch": scale.micro_batch_tokens,
        }
        return Trainer(load_settings(PRESET, [f"{key}={value}" for key, value in settings.items()]))

    def measure(self, rollouts: Rollouts, deadline: Deadline, report: Report) -> None:
        """A table and figures of the median step."""
        trainer, scale = self.trainer, self._scale
        batch = make_batch(rollouts, scale)
        if scale.is_real:
            torch.cuda.reset_peak_memory_stats()
        name = f"steps {rollouts.name}"
        steps = take_rounds(name, lambda: useful(trainer.step(batch)), scale.rounds, deadline, report)
        figures = self._figures(steps, rollouts, batch, report)
        report.figures |= {f"steps_{rollouts.name}_{key}": value for key, value in figures.items()}
        passes = int(steps[0].figures["micro_batches"])
        title = f"{len(batch)} responses of {rollouts.response_tokens} tokens, {MINIBATCHES} updates, {passes} passes"
        report.console.print(_table(f"{title}; median of {len(steps)} steps", figures, rollouts.aim))

    def _figures(
        self, steps: list[StepResult], rollouts: Rollouts, batch: TrainingBatch, report: Report
    ) -> dict[str, float]:
        """By name, as the table has them."""
        scale = self._scale
        seconds = statistics.median(step.seconds["total"] for step in steps)
        flops = step_flops(scale.shape, scale.prompt_tokens, rollouts.response_tokens, len(batch))
        figures = {
            "seconds": seconds,
            "tokens_per_second": batch.token_ids.numel() / seconds,
            "tflops": flops / seconds / 1e12,
        }
        for which, rate in (("nominal", report.nominal), ("measured", report.measured)):
            if rate is not None:
                figures[f"mfu_of_{which}"] = flops / seconds / rate
        if scale.is_real:
            figures["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        for phase in steps[0].seconds:
            if phase != "total":
                figures[f"{phase}_seconds"] = statistics.median(step.seconds[phase] for step in steps)
        return figures


def write_model(scale: Scale, folder: Path) -> None:
    """Random weights of the shape, as a Hugging Face folder."""
    shape = scale.shape
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32768,
        tie_word_embeddings=shape.tied,
        dtype=scale.dtype,
    )
    torch.manual_seed(0)
    with scale.torch_device:  # a CPU would draw them for minutes
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)


def make_batch(rollouts: Rollouts, scale: Scale) -> TrainingBatch:
    """Responses of uniform tokens, which is what their behaviour log-probabilities say; every other one is right."""
    count = rollouts.groups * RESPONSES
    length = scale.prompt_tokens + rollouts.response_tokens
    response_tokens = count * rollouts.response_tokens
    chance = torch.Generator().manual_seed(0)
    return TrainingBatch(
        token_ids=torch.randint(0, scale.shape.vocabulary, (count * length,), generator=chance),
        sequence_lengths=torch.full((count,), length),
        prompt_lengths=torch.full((count,), scale.prompt_tokens),
        behaviour_log_probs=torch.full((response_tokens,), -math.log(scale.shape.vocabulary)),
        token_versions=torch.zeros(response_tokens, dtype=torch.int64),
        rewards=torch.tensor([5.0, -5.0] * (count // 2), dtype=torch.float64),
        group_index=torch.arange(count) // RESPONSES,
        response_limits=torch.full((count,), rollouts.response_tokens),
        truncated=torch.zeros(count, dtype=torch.bool),
    )


def useful(result: StepResult) -> StepResult:
    """The step, if each of its minibatches moved the weights; else UselessStep is raised."""
    updates, rejected = result.figures["optimizer_updates"], result.figures["rejected_minibatches"]
    if updates != MINIBATCHES or rejected or not math.isfinite(result.figures["loss"]):
        raise UselessStep(f"{updates:.0f} of {MINIBATCHES} updates, {rejected:.0f} rejected, {result.figures['loss']=}")
    return result


def step_flops(shape: ModelShape, prompt: int, response: int, count: int) -> float:
    """Model FLOPs of a step: three forward passes an update, and the proximal one of all minibatches but the first.

    A token sees half of its sequence on average. The head is multiplied with the tokens that predict a response alone.
    """
    total = prompt + response
    forward = total * shape.forward_flops(total / 2) - 2.0 * shape.vocabulary * shape.hidden * prompt
    proximal = (MINIBATCHES - 1) / MINIBATCHES
    return count * forward * (_UPDATE_PASSES + proximal)


def _table(title: str, figures: dict[str, float], aim: float) -> Table:
    table = Table("figure", "seen", title=title, min_width=60)
    for key, value in figures.items():
        said = f"{value:.1%} (aim: {aim:.0%})" if key.startswith("mfu") else f"{value:,.4g}"
        table.add_row(key.replace("_", " "), said)
    return table
