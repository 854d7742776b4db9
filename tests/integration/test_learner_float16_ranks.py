"""Float16 on two ranks, real processes over Gloo with FSDP2: they agree on what overflowed, and skip it together."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model.finite import NotFinite
from areal_mesh.learner.model.parallel import from_process_group
from areal_mesh.learner.model.scaling import DynamicScale
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings
from tests.unit.learner_support import make_batch, settings_for, write_model

RANKS = 2
POISONED = "model.layers.1.mlp.up_proj.weight"
# Three processes import torch and transformers; on a loaded machine that alone can take two minutes.
pytestmark = pytest.mark.timeout(400)


def scale_settings(folder: Path, *overrides: str) -> RunSettings:
    scale = ("learner.loss_scale.initial=1024", "learner.loss_scale.hysteresis=1", *overrides)
    return settings_for(folder, "model.dtype=float16", "algorithm.minibatches=1", *scale)


def take(trainer: Trainer) -> dict[str, Any]:
    """One step; its figures, and whether it moved a weight of this rank's shards."""
    before = {name: tensor.clone() for name, tensor in trainer.state_tensors(with_reference=False).items()}
    version = trainer.policy_version
    figures = trainer.step(trainer.parallel.broadcast_batch(make_batch(version, version=version))).figures
    after = trainer.state_tensors(with_reference=False)
    moved = [name for name in before if name.startswith("policy.") and not _equal(before[name], after[name])]
    names = ("loss_scale", "skipped_updates", "optimizer_updates", "loss", "grad_norm")
    return {name: figures.get(name) for name in names} | {"moved": len(moved)}


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one.to_local(), other.to_local())


def poisoned(trainer: Trainer, step: Any) -> Any:
    """A step in which rank 1 alone finds an infinity, in its own shard of one gradient."""
    unscale = DynamicScale.unscale

    def with_infinity(self: DynamicScale, parameters: Any, parallel: Any) -> None:
        if parallel.rank == 1:
            parameters[POISONED].grad.to_local().view(-1)[0] = float("inf")
        unscale(self, parameters, parallel)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DynamicScale, "unscale", with_infinity)
        return step(trainer)


def overflowing_loss(trainer: Trainer) -> dict[str, Any]:
    """A step in which the log-probabilities of rank 1 alone have gradients beyond float16."""
    policy: Any = trainer._policy

    def grown(_: Any, __: Any, log_probs: Tensor) -> Tensor:
        return log_probs.detach() + 1e8 * (log_probs - log_probs.detach())

    hook = policy.register_forward_hook(grown) if trainer.parallel.rank == 1 else None
    found = take(trainer)
    if hook is not None:
        hook.remove()
    return found


def refused(trainer: Trainer) -> str:
    with pytest.raises(NotFinite) as error:
        take(trainer)
    return str(error.value)


def bad_activation(trainer: Trainer) -> str:
    """A step in which one module of rank 1 alone gives NaN, which every rank has to notice."""
    module: Any = trainer._policy.causal_lm.get_submodule("model.layers.1.self_attn.o_proj")

    def spoil(_: Any, __: Any, output: Tensor) -> Tensor:
        return output + float("nan")

    hook = module.register_forward_hook(spoil) if trainer.parallel.rank == 1 else None
    found = refused(trainer)
    if hook is not None:
        hook.remove()
    return found


def rank_main(rank: int, rendezvous: str, folder: str, output: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    try:
        trainer = Trainer(scale_settings(Path(folder)), from_process_group("cpu"))
        steps = [take(trainer), poisoned(trainer, take), overflowing_loss(trainer)]
        store = CheckpointStore(Path(output) / "checkpoints", 2, trainer)
        store.save(step=3, stage="8k")
        store.close()
        steps.append(take(trainer))
        weights = {name: tensor.clone() for name, tensor in trainer.named_tensors()}
        least = Trainer(scale_settings(Path(folder), "learner.loss_scale.minimum=1024"), from_process_group("cpu"))
        errors = [poisoned(least, refused), bad_activation(least)]
        torch.save({"steps": steps, "weights": weights, "errors": errors}, os.path.join(output, f"rank{rank}.pt"))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def output(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left, which go through all of it, because their imports cost the most."""
    target = tmp_path_factory.mktemp("ranks")
    arguments = (str(target / "rendezvous"), str(folder), str(target))
    spawn(rank_main, arguments, nprocs=RANKS)  # type: ignore[no-untyped-call]
    return target


def left_by(output: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(output / f"rank{rank}.pt", weights_only=True)
    return found


def test_an_overflow_on_one_rank_alone_is_skipped_by_both(output: Path) -> None:
    one, other = (left_by(output, rank)["steps"] for rank in range(RANKS))
    assert [{**step, "moved": 0} for step in one] == [{**step, "moved": 0} for step in other]
    for steps in (one, other):
        good, shard, loss, again = steps
        assert [step["skipped_updates"] for step in steps] == [0, 1, 1, 0]
        assert [step["loss_scale"] for step in steps] == [1024, 512, 256, 256]
        assert (shard["moved"], loss["moved"]) == (0, 0)
        assert good["moved"] > 0
        assert again["moved"] > 0


def test_two_ranks_take_the_float16_step_that_one_rank_takes(folder: Path, output: Path) -> None:
    alone = Trainer(scale_settings(folder)).step(make_batch(0)).figures
    together = left_by(output, 0)["steps"][0]
    assert together["loss_scale"] == alone["loss_scale"]
    for name in ("loss", "grad_norm"):
        assert together[name] == pytest.approx(alone[name], rel=5e-3)


def test_a_checkpoint_of_two_ranks_resumes_on_one_with_its_scale(folder: Path, output: Path) -> None:
    resumed = Trainer(scale_settings(folder))
    store = CheckpointStore(output / "checkpoints", 2, resumed)
    store.load_latest()
    store.close()
    assert resumed.state_tensors(with_reference=False)["loss_scale"].tolist() == [256, 0, 0]
    result = resumed.step(make_batch(3, version=3))
    assert result.figures["loss_scale"] == left_by(output, 0)["steps"][-1]["loss_scale"]
    weights = left_by(output, 1)["weights"]
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    torch.testing.assert_close(dict(resumed.named_tensors()), weights, rtol=0, atol=2e-3)


def test_what_ends_a_run_is_named_on_every_rank_alike(output: Path) -> None:
    one, other = (left_by(output, rank)["errors"] for rank in range(RANKS))
    assert one == other
    gradient, activation = one
    assert gradient.startswith(f"the gradient of {POISONED} overflows float16 at learner.loss_scale.minimum = 1024")
    assert "first in the output of model.layers.1.self_attn.o_proj" in activation
