"""A batch of real rollouts for the learner's benchmark: a model's own answers to its prompts, graded."""

import json
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from areal_mesh.grading import answer_matches
from areal_mesh.learner.advantages.inputs import AdvantageInputs
from areal_mesh.learner.advantages.table import build_advantage
from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.runtime.settings import RunSettings


@dataclass(frozen=True)
class Rollout:
    """One response, as every side is given it."""

    prompt: list[int]
    response: list[int]
    log_probs: list[float]
    advantage: float


@torch.no_grad()
def sample(settings: RunSettings, groups: int, responses: int) -> tuple[TrainingBatch, list[Rollout]]:
    """`groups` prompts of the run's file, `responses` to each by its start model; advantages as the settings say."""
    tokenizer = AutoTokenizer.from_pretrained(settings.model.folder)
    model = AutoModelForCausalLM.from_pretrained(settings.model.folder)
    torch.manual_seed(settings.seed)
    limit, rollouts, rewards = settings.longest_response, [], []
    for line in settings.prompts.file.read_text(encoding="utf-8").splitlines()[:groups]:
        problem = json.loads(line)
        conversation = [{"role": "user", "content": problem["problem"]}]
        text = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(text, return_tensors="pt")["input_ids"]
        found = model.generate(
            prompt.repeat(responses, 1),
            do_sample=True,
            temperature=settings.algorithm.temperature,
            top_k=0,
            max_new_tokens=limit,
            pad_token_id=tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=True,
        )
        scores = model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
        for ids, log_probs in zip(found.sequences[:, prompt.shape[1] :].tolist(), scores.tolist(), strict=True):
            length = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
            answer = tokenizer.decode(ids[:length], skip_special_tokens=True)
            rewards.append(5.0 if answer_matches(answer, problem["answer"]).correct else -5.0)
            rollouts.append(Rollout(prompt[0].tolist(), ids[:length], log_probs[:length], 0.0))
    batch = _batch(rollouts, rewards, responses, limit)
    estimate = build_advantage(settings.algorithm.advantage)(
        AdvantageInputs(batch.rewards, batch.response_lengths, batch.group_index, batch.behaviour_log_probs, None)
    )
    firsts = (batch.response_lengths.cumsum(0) - batch.response_lengths).tolist()
    values = [float(estimate.advantages[first]) for first in firsts]
    return batch, [Rollout(*each, value) for each, value in zip(map(_given, rollouts), values, strict=True)]


def _given(rollout: Rollout) -> tuple[list[int], list[int], list[float]]:
    return rollout.prompt, rollout.response, rollout.log_probs


def _batch(rollouts: list[Rollout], rewards: list[float], responses: int, limit: int) -> TrainingBatch:
    lengths = torch.tensor([len(each.response) for each in rollouts])
    prompts = torch.tensor([len(each.prompt) for each in rollouts])
    tokens = [torch.tensor(each.prompt + each.response) for each in rollouts]
    return TrainingBatch(
        token_ids=torch.cat(tokens),
        sequence_lengths=prompts + lengths,
        prompt_lengths=prompts,
        behaviour_log_probs=torch.cat([torch.tensor(each.log_probs) for each in rollouts]),
        token_versions=torch.zeros(int(lengths.sum()), dtype=torch.int64),
        rewards=torch.tensor(rewards, dtype=torch.float64),
        group_index=torch.arange(len(rollouts)) // responses,
        response_limits=torch.full((len(rollouts),), limit),
        truncated=lengths == limit,
    )
