"""The padded step that the learner's packed one is measured against: rectangles, whole logits, a plain AdamW."""

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.losses.inputs import LossInputs
from areal_mesh.learner.losses.table import build_loss
from areal_mesh.runtime.settings import RunSettings


class PaddedStep:
    """Trains on batches of `batch`'s shape: minibatches in the batch's order, each padded to its longest sequence."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._model = AutoModelForCausalLM.from_pretrained(settings.model.folder, attn_implementation="sdpa").eval()
        self._loss = build_loss(settings.algorithm.loss)
        learner = settings.learner
        self._adam = torch.optim.AdamW(
            self._model.parameters(),
            lr=learner.learning_rate,
            betas=(learner.beta1, learner.beta2),
            eps=learner.epsilon,
            weight_decay=learner.weight_decay,
            foreach=True,
        )

    def step(self, batch: TrainingBatch, advantages: Tensor) -> None:
        """One update a minibatch. advantages: float32 [n]."""
        count = self._settings.algorithm.minibatches
        order = torch.randperm(len(batch)).chunk(count)
        sequences = torch.split(batch.token_ids, batch.sequence_lengths.tolist())
        behaviour = torch.split(batch.behaviour_log_probs, batch.response_lengths.tolist())
        for members in order:
            chosen = members.tolist()
            ids = nn.utils.rnn.pad_sequence([sequences[index] for index in chosen], batch_first=True)
            lengths, prompts = batch.sequence_lengths[members], batch.prompt_lengths[members]
            places = torch.arange(ids.shape[1])
            mask = (places < lengths[:, None]).long()
            logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            logits = logits / self._settings.algorithm.temperature
            log_probs = torch.log_softmax(logits.float(), -1).gather(-1, ids[:, 1:, None])[..., 0]
            responses = (mask.bool() & (places >= prompts[:, None]))[:, 1:]
            tokens = int(responses.sum())
            outputs = self._loss(
                LossInputs(
                    log_probs=log_probs[responses],
                    behaviour_log_probs=torch.cat([behaviour[index] for index in chosen]),
                    proximal_log_probs=log_probs[responses].detach(),
                    reference_log_probs=None,
                    advantages=advantages[members].repeat_interleave(lengths - prompts),
                    token_weights=torch.full((tokens,), 1.0 / tokens),
                    response_lengths=lengths - prompts,
                )
            )
            self._adam.zero_grad()
            outputs.loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.learner.gradient_clip)
            self._adam.step()
