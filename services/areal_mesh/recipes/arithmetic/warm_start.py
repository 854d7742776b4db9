"""Supervised warm start: a policy that knows how to work a sum out, but samples a right answer a third of the time.

The solutions it learns from come in three phases: right and terse, right with checks, and, in the last, with steps that
are wrong at random and whose error is carried on. The policy so learns the facts first and then, as a habit, to
overshoot: the right result of a step stays the likeliest one, which is what reinforcement learning has to sharpen.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from areal_mesh.optimizers.muon import Muon
from areal_mesh.recipes.arithmetic.choices import ModelShape, Phase, Progress, WarmStartSettings
from areal_mesh.recipes.arithmetic.model import build_model
from areal_mesh.recipes.arithmetic.problems import Problem, SolutionStyle, generate_problems, worked_solution
from areal_mesh.recipes.arithmetic.tokenizer import build_tokenizer

IGNORED_LABEL = -100
"""Label of prompt and padding positions: the default that `cross_entropy` leaves out."""
BUCKET_BATCHES = 8
"""Batches that are drawn together and cut by length, so that little of a batch is padding."""

Example = tuple[list[int], list[int]]
"""Prompt token ids and response token ids, the end token included."""


def train(
    seed: int, shape: ModelShape, settings: WarmStartSettings, on_progress: Callable[[Progress], None]
) -> tuple[Qwen2ForCausalLM, Qwen2Tokenizer]:
    """Make and train a model: bit-identical for the same seed, sizes, settings, torch build and kind of processor."""
    with _deterministic(settings.threads):
        tokenizer = build_tokenizer()
        model = build_model(tokenizer, shape, seed)
        optimizers = _optimizers(model, settings)
        schedulers = [torch.optim.lr_scheduler.LambdaLR(each, _learning_rate_factor(settings)) for each in optimizers]
        model.train()
        for step, batch in enumerate(_batches(tokenizer, settings, seed)):
            ids, labels = batch
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED_LABEL)
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
            for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
                optimizer.step()
                scheduler.step()
            on_progress(Progress(step + 1, settings.steps, loss.item()))
        model.eval()
    return model, tokenizer


def _optimizers(model: Qwen2ForCausalLM, settings: WarmStartSettings) -> list[torch.optim.Optimizer]:
    named: list[tuple[str, torch.nn.Parameter]] = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [
        Muon(matrices, lr=settings.matrix_learning_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=settings.other_learning_rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def _learning_rate_factor(settings: WarmStartSettings) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return min(1.0, (step + 1) / settings.warm_up_steps) * (1.0 - step / settings.steps)

    return factor


def _batches(tokenizer: Qwen2Tokenizer, settings: WarmStartSettings, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One batch of (ids, labels), both int64 [batch, tokens], a step; labels hide prompt and padding."""
    problems = generate_problems(seed)
    generator = random.Random(f"warm start {seed}")
    produced = 0
    while produced < settings.steps:
        style = _style_at(produced / settings.steps, settings.phases)
        examples = [
            _encode(tokenizer, next(problems), style, generator) for _ in range(settings.batch_size * BUCKET_BATCHES)
        ]
        examples.sort(key=lambda example: len(example[0]) + len(example[1]))
        starts = list(range(0, len(examples), settings.batch_size))
        generator.shuffle(starts)
        for start in starts[: settings.steps - produced]:
            yield _pad(examples[start : start + settings.batch_size], int(tokenizer.pad_token_id))
            produced += 1


def _style_at(fraction: float, phases: tuple[Phase, ...]) -> SolutionStyle:
    for phase in phases[:-1]:
        if fraction < phase.share:
            return phase.style
        fraction -= phase.share
    return phases[-1].style


def _encode(tokenizer: Qwen2Tokenizer, problem: Problem, style: SolutionStyle, generator: random.Random) -> Example:
    conversation = [{"role": "user", "content": problem.text}]
    prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    response = worked_solution(problem, generator, style) + str(tokenizer.eos_token)
    return list(tokenizer(prompt)["input_ids"]), list(tokenizer(response)["input_ids"])


def _pad(examples: list[Example], pad_token_id: int) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) + len(response) for prompt, response in examples)
    ids = torch.full((len(examples), width), pad_token_id)
    labels = torch.full((len(examples), width), IGNORED_LABEL)
    for row, (prompt, response) in enumerate(examples):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        labels[row, len(prompt) : end] = torch.tensor(response)
    return ids, labels


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Run with deterministic algorithms on so many CPU threads, and put the process's settings back afterwards."""
    before: tuple[Any, int] = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
