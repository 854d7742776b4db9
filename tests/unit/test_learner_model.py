"""Packed forward passes and chunked log-probabilities against the plain way of computing them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.layout import build_layout
from areal_mesh.learner.batches.micro_batch import MicroBatchBuilder
from areal_mesh.learner.model import log_probabilities
from areal_mesh.learner.model.log_probabilities import Head, token_log_probs
from areal_mesh.learner.model.policy import PolicyModel, UnusableModel, load_policy
from areal_mesh.learner.model.precision import MasterWeights
from tests.unit.learner_support import VOCABULARY, make_batch, write_model

CPU = torch.device("cpu")


def plain_log_probs(model: Any, batch: TrainingBatch, temperature: float) -> Tensor:
    """One sequence at a time through the library's own attention and a whole softmax."""
    found, start = [], 0
    for length, prompt in zip(batch.sequence_lengths.tolist(), batch.prompt_lengths.tolist(), strict=True):
        tokens = batch.token_ids[start : start + length]
        logits = model(tokens[None]).logits[0].float() / temperature
        every = logits.log_softmax(-1)[:-1].gather(1, tokens[1:, None])[:, 0]
        found.append(every[prompt - 1 :])
        start += length
    return torch.cat(found)


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize(("architecture", "tied"), [("qwen2", True), ("qwen2", False), ("llama", True)])
def test_a_packed_pass_equals_one_pass_a_sequence(tmp_path: Path, architecture: str, tied: bool) -> None:
    folder = write_model(tmp_path, architecture, tied)
    batch = make_batch(1)
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    expected = plain_log_probs(plain, batch, 0.6)
    policy = load_policy(folder, torch.float32, 0.6, activation_checkpointing=False)
    data = MicroBatchBuilder(batch, 0, CPU, torch.float32).build(range(len(batch)))
    assert data.token_ids.numel() == batch.token_ids.numel(), "packed rows hold no padding"
    log_probs = policy(data)
    torch.testing.assert_close(log_probs, expected, rtol=1e-4, atol=1e-5)
    seed = torch.randn(expected.numel(), generator=torch.Generator().manual_seed(0))
    (log_probs * seed).sum().backward()
    (expected * seed).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(gradients(policy.causal_lm), gradients(plain), rtol=1e-3, atol=1e-4)


def test_recomputing_activations_changes_no_gradient(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    data = MicroBatchBuilder(make_batch(2), 0, CPU, torch.float32).build(range(12))
    found = []
    for recompute in (False, True):
        policy = load_policy(folder, torch.float32, 1.0, activation_checkpointing=recompute)
        policy(data).sum().backward()
        found.append(gradients(policy))
    torch.testing.assert_close(found[0], found[1])


def test_the_order_of_responses_in_a_micro_batch_does_not_matter(tmp_path: Path) -> None:
    policy = load_policy(write_model(tmp_path), torch.float32, 1.0, activation_checkpointing=False)
    batch = make_batch(3, sequences=5)
    builder = MicroBatchBuilder(batch, 0, CPU, torch.float32)
    together = torch.split(policy(builder.build([4, 2, 0, 3, 1])), batch.response_lengths[[4, 2, 0, 3, 1]].tolist())
    for position, index in enumerate([4, 2, 0, 3, 1]):
        torch.testing.assert_close(together[position], policy(builder.build([index])), rtol=1e-4, atol=1e-5)


def test_an_empty_micro_batch_gives_no_log_probs_but_joins_the_backward_pass(tmp_path: Path) -> None:
    policy = load_policy(write_model(tmp_path), torch.float32, 1.0, activation_checkpointing=False)
    log_probs = policy(MicroBatchBuilder(make_batch(0), 0, CPU, torch.float32).build([]))
    assert log_probs.shape == (0,)
    log_probs.sum().backward()
    assert all(not gradient.any() for gradient in gradients(policy).values())


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_a_layout_places_every_token_once_and_pads_little(lengths: list[int]) -> None:
    layout = build_layout(lengths, CPU, torch.float32).rectangles
    assert layout is not None
    tokens = torch.arange(sum(lengths))
    assert torch.equal(tokens[layout.gathering.rows][layout.gathering.slots], tokens)
    assert len(set(layout.gathering.slots.tolist())) == sum(lengths)
    assert layout.gathering.copies.numel() == 0
    assert sum(count * width for count, width in layout.shapes) <= 1.3 * sum(lengths)
    assert sum(count for count, _ in layout.shapes) == len(lengths)


def plain_head(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return (hidden @ weight.T / temperature).log_softmax(-1).gather(1, targets[:, None])[:, 0]


@given(st.integers(0, 40), st.integers(1, 45), st.sampled_from([0.6, 1.0]))
@settings(deadline=None, max_examples=30)
def test_chunked_log_probs_and_gradients_equal_the_whole_softmax(tokens: int, chunk: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 8, generator=generator)
    targets = torch.randint(0, VOCABULARY, (tokens,), generator=generator)
    seed = torch.randn(tokens, generator=generator)
    weight = torch.randn(VOCABULARY, 8, generator=generator)
    found = []
    for whole in (False, True):
        leaves = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        if whole:
            log_probs = plain_head(*leaves, targets, temperature)
        else:
            log_probs = token_log_probs(leaves[0], Head(leaves[1]), targets, temperature, chunk * VOCABULARY)
        (log_probs * seed).sum().backward()  # type: ignore[no-untyped-call]
        found.append((log_probs.detach(), leaves[0].grad, leaves[1].grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [16, 1000])
def test_in_bfloat16_the_heads_gradient_is_that_of_float32(chunk: int) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden, weight = (torch.randn(rows, 32, generator=generator).bfloat16() for rows in (976, 300))
    targets, seed = torch.randint(0, 300, (976,), generator=generator), torch.randn(976, generator=generator)
    master = torch.nn.Parameter(weight.float())
    leaves = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    log_probs = token_log_probs(leaves[0], Head(leaves[1], master), targets, 0.6, chunk * 300)
    (log_probs * seed).sum().backward()  # type: ignore[no-untyped-call]
    whole = hidden.double().requires_grad_(), weight.double().requires_grad_()
    (plain_head(*whole, targets, 0.6) * seed).sum().backward()  # type: ignore[no-untyped-call]
    assert leaves[1].grad is None, "the master has it"
    assert master.grad is not None
    assert whole[1].grad is not None
    assert leaves[0].grad is not None
    assert whole[0].grad is not None
    assert float((master.grad - whole[1].grad).norm() / whole[1].grad.norm()) < 1e-5
    assert float((leaves[0].grad - whole[0].grad).norm() / whole[0].grad.norm()) < 4e-3, "rounded once, to bfloat16"


@pytest.mark.parametrize("tied", [True, False])
def test_masters_of_a_bfloat16_model_get_the_gradient_of_head_and_embedding(tmp_path: Path, tied: bool) -> None:
    folder = write_model(tmp_path, tied=tied)
    data = MicroBatchBuilder(make_batch(2), 0, CPU, torch.float32).build(range(12))
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        policy = load_policy(folder, dtype, 1.0, activation_checkpointing=False)
        masters = MasterWeights(policy)
        for _ in range(2):
            policy(data).sum().backward()
        found.append({name: master.grad for name, master in masters.named.items()})
    assert found[0].keys() == found[1].keys()
    for name, exact in found[0].items():
        rounded = found[1][name]
        assert exact is not None
        assert rounded is not None
        assert rounded.dtype == torch.float32
        assert float((rounded - exact).norm() / exact.norm()) < 0.05, name


@pytest.mark.parametrize("with_gradient", [True, False])
def test_the_logits_of_a_long_response_never_exist_whole(with_gradient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    compute = log_probabilities._logits

    def counted(hidden: Tensor, *rest: Any) -> Tensor:
        seen.append(hidden.shape[0])
        return compute(hidden, *rest)

    monkeypatch.setattr(log_probabilities, "_logits", counted)
    weight, hidden = torch.randn(VOCABULARY, 4, requires_grad=True), torch.randn(100, 4, requires_grad=True)
    with torch.set_grad_enabled(with_gradient):
        log_probs = token_log_probs(hidden, Head(weight), torch.zeros(100, dtype=torch.int64), 1.0, 10 * VOCABULARY)
    assert seen == [10] * 10
    if with_gradient:
        log_probs.sum().backward()  # type: ignore[no-untyped-call]
        assert seen == [10] * 20, "the backward pass computes each chunk again"


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_response_of_24000_tokens_over_a_whole_vocabulary_takes_under_two_gigabytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.long_response", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["tokens"] == 24_000
    assert figures["finite"]
    assert 0 < figures["gigabytes_over_the_model"] < 2.0


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json.*model_folder"):
        load_policy(tmp_path, torch.float32, 1.0, activation_checkpointing=False)


def test_a_tied_head_is_published_once(tmp_path: Path) -> None:
    policy: PolicyModel = load_policy(write_model(tmp_path), torch.float32, 1.0, activation_checkpointing=False)
    names = [name for name, _ in policy.named_weights()]
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_with_a_weight_that_is_not_finite_is_refused_by_name(tmp_path: Path, value: float) -> None:
    folder = write_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight[3] = value
    model.save_pretrained(folder)
    with pytest.raises(
        UnusableModel, match=r"model: the weight model\.norm\.weight holds NaN or infinity as float32; copy it anew"
    ):
        load_policy(folder, torch.float32, 1.0, False)
