"""LoRA in the learner: what is trained, what is published, the KL reference, checkpoints, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from areal_mesh.learner.batches.micro_batch import MicroBatch, MicroBatchBuilder
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model import merging
from areal_mesh.learner.model.adapters import add_adapters, is_adapter
from areal_mesh.learner.model.parallel import whole
from areal_mesh.learner.model.policy import PolicyModel, UnusableModel, load_policy
from areal_mesh.learner.model.precision import MasterWeights
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import SettingsError
from areal_mesh.runtime.settings.lora import LoraSettings
from tests.unit.learner_support import build, make_batch, settings_for, weights, write_model

pytest.importorskip("peft", reason="needs PEFT: install the learner extra")

LORA = ("learner.lora.rank=4", "learner.lora.alpha=8")
REFERENCE = "algorithm.advantage.kl_coefficient=0.01"
NO_REFERENCE = "algorithm.advantage.kl_coefficient=0"
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tied=request.param)


def trained(folder: Path, *overrides: str, steps: int = 2) -> Trainer:
    trainer = build(folder, *LORA, *overrides)
    train(trainer, steps)
    return trainer


def train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step(make_batch(trainer.policy_version, version=trainer.policy_version))


def data(dtype: torch.dtype = torch.float32) -> MicroBatch:
    return MicroBatchBuilder(make_batch(5), 0, CPU, dtype).build(range(12))


@torch.no_grad()
def log_probs(policy: PolicyModel) -> Tensor:
    found: Tensor = policy(data())
    return found


def assert_same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def with_weights(folder: Path, published: dict[str, Tensor]) -> PolicyModel:
    """The plain model with the weights that were published."""
    policy = load_policy(folder, torch.float32, 1.0, activation_checkpointing=False)
    with torch.no_grad():
        for name, weight in policy.named_weights():
            weight.copy_(published[name])
    return policy


def test_what_is_published_computes_what_the_learner_does(folder: Path) -> None:
    trainer = trained(folder)
    start = load_policy(folder, torch.float32, 1.0, activation_checkpointing=False)
    live = log_probs(trainer._policy)
    assert float((live - log_probs(start)).abs().max()) > 0.05, "the adapters have moved the policy"
    torch.testing.assert_close(log_probs(with_weights(folder, weights(trainer))), live, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_rounded_once_when_it_is_published(folder: Path) -> None:
    trainer = trained(folder, "model.dtype=bfloat16")
    named = dict(trainer._policy.named_weights())
    published = weights(trainer)
    assert {tensor.dtype for tensor in published.values()} == {torch.bfloat16}
    layer = "model.layers.1.mlp.up_proj"
    base, down, up = (
        named[f"{layer}.{part}.weight"].detach().double() for part in ("base_layer", "lora_A.default", "lora_B.default")
    )
    exact = base + 2.0 * up @ down
    assert float((published[f"{layer}.weight"].double() - exact).abs().max()) <= float(exact.abs().max()) * 2**-8


def test_names_and_shapes_are_those_of_the_model_and_merging_goes_tensor_by_tensor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(folder, *LORA)
    plain = build(folder)
    assert trainer.tensor_specs() == plain.tensor_specs()
    merged = dict(trainer.named_tensors())
    # The adapters add nothing yet.
    assert all(torch.equal(merged[name], tensor) for name, tensor in plain.named_tensors())
    made: list[Tensor] = []

    def counted(tensor: Tensor) -> Tensor:
        made.append(tensor)
        return whole(tensor)

    monkeypatch.setattr(merging, "whole", counted)
    tensors = trainer.named_tensors()
    for _ in range(2):
        next(tensors)
    assert len(made) == 1 + 3, "an embedding, and a layer with both of its matrices"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_adapters_alone_are_trained_and_have_optimizer_states(folder: Path, dtype: str) -> None:
    trainer = trained(folder, f"model.dtype={dtype}", REFERENCE)
    state = trainer.state_tensors(with_reference=False)
    kept = [name for name in state if name != "rng"]
    assert kept
    assert all(is_adapter(name) for name in kept)
    assert {state[name].dtype for name in kept} == {torch.float32}
    start = dict(load_policy(folder, trainer.compute_dtype, 1.0, False).named_weights())
    for name, weight in trainer._policy.named_weights():
        if is_adapter(name):
            assert weight.requires_grad
        else:
            assert torch.equal(weight, start[name.replace(".base_layer.", ".")]), name
            assert not weight.requires_grad
            assert weight.grad is None


def test_gradients_are_those_of_the_merged_weights_by_the_chain_rule(folder: Path) -> None:
    policy = trained(folder)._policy
    named = dict(policy.named_weights())
    masters = MasterWeights(policy)
    policy(data()).sum().backward()
    plain = with_weights(folder, dict(merging.published_weights(named.items(), 2.0, torch.float32)))
    plain(data()).sum().backward()
    layers = [name.removesuffix(".lora_A.default.weight") for name in masters.named if ".lora_A." in name]
    assert len(layers) == 14, "seven in each of two decoder layers"
    gradients = dict(plain.named_weights())
    for layer in layers:
        down, up = (named[f"{layer}.lora_{part}.default.weight"] for part in "AB")
        of_layer = gradients[f"{layer}.weight"].grad
        assert of_layer is not None
        torch.testing.assert_close(up.grad, 2.0 * of_layer @ down.detach().T, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(down.grad, 2.0 * up.detach().T @ of_layer, rtol=1e-3, atol=1e-4)


def test_the_reference_is_the_policys_own_model_with_its_adapters_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def counted(path: Path, *rest: object) -> PolicyModel:
        loaded.append(path)
        return load_policy(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("areal_mesh.learner.trainer.load_policy", counted)
    trainer = trained(folder, REFERENCE)
    assert len(loaded) == 1, "no second model"
    reference = trainer._reference
    assert reference is not None
    start = load_policy(folder, torch.float32, 1.0, activation_checkpointing=False)
    live = log_probs(trainer._policy)
    with torch.no_grad():
        assert torch.equal(reference(data()), log_probs(start))
    assert torch.equal(log_probs(trainer._policy), live), "and the adapters are on again"


def test_a_reference_that_was_taken_later_is_the_policy_of_then(folder: Path) -> None:
    trainer = trained(folder, REFERENCE)
    then = log_probs(trainer._policy)
    trainer.restart(optimizer=False, reference=True)
    assert trainer.reference_version == 2
    train(trainer, 1)
    now, kept = log_probs(trainer._policy), weights(trainer)
    assert trainer._reference is not None
    with torch.no_grad():
        assert torch.equal(trainer._reference(data()), then)
    assert not torch.equal(now, then)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trainer.named_tensors())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("reference", [REFERENCE, NO_REFERENCE], ids=["reference", "no reference"])
def test_a_resumed_run_goes_on_bit_by_bit(folder: Path, tmp_path: Path, dtype: str, reference: str) -> None:
    overrides = (f"model.dtype={dtype}", reference, "learner.warmup_share=0.01")
    unbroken, first, resumed = (trained(folder, *overrides, steps=0) for _ in range(3))
    for trainer in (unbroken, first):
        train(trainer, 1)
        trainer.restart(optimizer=True, reference=True)
        train(trainer, 1)
    stores = [CheckpointStore(tmp_path, 1, trainer) for trainer in (first, resumed)]
    stores[0].save(step=2, stage="8k")
    stores[0].close()
    manifest = stores[1].load_latest()
    stores[1].close()
    assert manifest is not None
    assert manifest.lora == {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": None}
    for trainer in (unbroken, resumed):
        train(trainer, 2)
    assert_same(resumed.state_tensors(True), unbroken.state_tensors(True))
    assert_same(weights(resumed), weights(unbroken))


def test_layers_that_were_not_named_get_no_adapter(folder: Path) -> None:
    trainer = build(folder, *LORA, 'learner.lora.target_modules=["q_proj", "mlp.down_proj"]')
    adapted = {name.split(".lora_A")[0] for name, _ in trainer._policy.trained_weights() if ".lora_A." in name}
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj", "down_proj"}
    assert len(adapted) == 4


def test_a_layer_that_the_model_lacks_is_named_with_those_that_it_has(folder: Path) -> None:
    policy = load_policy(folder, torch.float32, 1.0, activation_checkpointing=False)
    lacking = LoraSettings(target_modules=["q_proj", "c_attn"])
    with pytest.raises(UnusableModel, match=r"has no linear layer 'c_attn' for learner\.lora.*down_proj, .*v_proj"):
        add_adapters(policy.causal_lm, lacking, torch.float32)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("learner.lora.dropout=0.1", r"learner\.lora\.dropout.*ratio is not that of two policies.*set it to 0"),
        ('learner.lora.target_modules=["lm_head"]', r"learner\.lora\.target_modules.*lm_head: the head is fused"),
        ('learner.lora.target_modules=["embed_tokens"]', r"embed_tokens: an embedding is a table"),
        ("learner.lora.target_modules=[]", r"learner\.lora\.target_modules"),
        ("learner.lora.rank=0", r"learner\.lora\.rank"),
        ("stages.0.learner={lora={rank=4}}", r"learner"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(folder: Path, setting: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s){says}"):
        settings_for(folder, *LORA, setting)
