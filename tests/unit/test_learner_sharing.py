"""Responses to one prompt share its rows: the same log-probabilities and gradients, with less to go over."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from areal_mesh.learner.batches import micro_batch
from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.micro_batch import MicroBatch, MicroBatchBuilder
from areal_mesh.learner.batches.sharing import Sharing, share_prompts
from areal_mesh.learner.model.policy import PolicyModel, load_policy
from tests.unit.learner_support import VOCABULARY, build, figure, make_batch, write_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PolicyModel:
    folder = write_model(tmp_path_factory.mktemp("model"))
    return load_policy(folder, getattr(torch, request.param), 0.8, activation_checkpointing=False)


def grouped(seed: int, prompts: tuple[int, ...] = (9, 4, 1), responses: int = 4) -> TrainingBatch:
    """A batch whose groups have one prompt each, of these lengths."""
    batch = make_batch(seed, sequences=len(prompts) * responses)
    generator = torch.Generator().manual_seed(seed)
    asked = [torch.randint(0, VOCABULARY, (length,), generator=generator) for length in prompts]
    answers = [
        torch.randint(0, VOCABULARY, (length,), generator=generator) for length in batch.response_lengths.tolist()
    ]
    lengths = torch.tensor(prompts).repeat_interleave(responses)
    return replace(
        batch,
        token_ids=torch.cat([torch.cat([asked[index // responses], answer]) for index, answer in enumerate(answers)]),
        sequence_lengths=lengths + batch.response_lengths,
        prompt_lengths=lengths,
        group_index=torch.arange(len(answers)) // responses,
    )


def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    def each_its_own(sequences: tuple[Tensor, ...], prompt_lengths: list[int]) -> Sharing:
        own = torch.arange(sum(sequence.numel() for sequence in sequences))
        return Sharing(own, own)

    monkeypatch.setattr(micro_batch, "share_prompts", each_its_own)


def passed(policy: PolicyModel, data: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities, and the gradients of their squares' sum."""
    policy.zero_grad()
    log_probs = policy(data)
    log_probs.square().sum().backward()
    return log_probs.detach(), {
        name: weight.grad.clone() for name, weight in policy.named_weights() if weight.grad is not None
    }


def test_sharing_changes_neither_log_probabilities_nor_gradients(
    policy: PolicyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = grouped(0)
    shared = MicroBatchBuilder(batch, 0, CPU, torch.float32).build(range(len(batch)))
    assert shared.shared_tokens == 3 * (9 + 4 + 1)
    unshared(monkeypatch)
    plain = MicroBatchBuilder(batch, 0, CPU, torch.float32).build(range(len(batch)))
    assert plain.shared_tokens == 0
    assert plain.token_ids.numel() == shared.token_ids.numel() + shared.shared_tokens
    (found, gradients), (expected, plain_gradients) = passed(policy, shared), passed(policy, plain)
    exact = next(iter(plain_gradients.values())).dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5 if exact else 2e-2, atol=1e-5 if exact else 2e-2)
    for name, gradient in gradients.items():
        scale = plain_gradients[name].float().abs().max().clamp(min=1e-6)
        off = (gradient.float() - plain_gradients[name].float()).abs().max() / scale
        assert off < (1e-5 if exact else 3e-2), name


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=12), st.integers(1, 4), st.booleans()
)
@settings(deadline=None, max_examples=60)
def test_every_token_has_the_row_of_what_it_says_after_the_same(
    responses: list[tuple[int, int]], prompt_length: int, one_length: bool
) -> None:
    """Rows hold each sequence whole, a prompt's once, and nothing of one prompt in another."""
    prompts = [torch.full((prompt_length if one_length else prompt_length + kind,), kind) for kind in range(4)]
    sequences = [torch.cat([prompts[kind], torch.arange(length) + 10]) for kind, length in responses]
    sharing = share_prompts(sequences, [prompts[kind].numel() for kind, _ in responses])
    tokens = torch.cat(sequences)
    assert torch.equal(tokens[sharing.kept][sharing.rows], tokens)
    assert torch.equal(sharing.rows[sharing.kept], torch.arange(sharing.kept.numel()))
    asked = {kind for kind, _ in responses}
    assert sharing.kept.numel() == sum(prompts[kind].numel() for kind in asked) + sum(length for _, length in responses)


def test_a_step_says_how_many_tokens_it_had_from_another_response(tmp_path: Path) -> None:
    trainer = build(write_model(tmp_path), "algorithm.minibatches=1", "learner.max_tokens_per_micro_batch=4096")
    assert figure(trainer.step(grouped(1)), "shared_prompt_tokens") == 3 * (9 + 4 + 1)
