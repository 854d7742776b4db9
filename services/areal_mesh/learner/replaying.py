"""A learner fed with recorded batches and nothing else: weights are a function of the log.

It is the learner of the run, with as many ranks and threads, in a directory of its own, so that no file of the run is
written. On a CPU it ends at the run's weights to the bit.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from areal_mesh.learner.checkpoints.exporting import export_version
from areal_mesh.learner.checkpoints.manifest import MANIFEST, path_of
from areal_mesh.learner.ranks import start_ranks
from areal_mesh.learner.taking_steps import StepPlan, take_step
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import rollout_pb2


@dataclass(frozen=True)
class RecordedStep:
    """A step of the run. `groups` reads its batch when it is called."""

    plan: StepPlan
    stage: str
    groups: Callable[[], Sequence[rollout_pb2.Group]]


@dataclass(frozen=True)
class Comparison:
    """Two sets of tensors, compared bit for bit."""

    tensors: int
    values: int
    differing: tuple[str, ...]
    """A line for each tensor that differs, or that one of them lacks."""


def replay(
    settings: RunSettings,
    scratch: Path,
    start: Path | None,
    steps: Iterable[RecordedStep],
    said: Callable[[int], None],
) -> Path:
    """Takes the steps in their order; returns the checkpoint written at their end, in `scratch`.

    Args:
        settings: the run's.
        scratch: an empty folder.
        start: checkpoint from which to begin; None: the start model.
        said: called with the number of each step that was taken.

    Raises ValueError where the steps do not follow on the start, or there is none; what a step raises.
    """
    mine = settings.model_copy(update={"directory": scratch, "name": "replay"})
    checkpoints = mine.run_directory / "checkpoints"
    checkpoints.mkdir(parents=True)
    if start is not None:
        (checkpoints / start.name).symlink_to(start.resolve(), target_is_directory=True)
    leader = start_ranks(mine)
    try:
        last = None
        for step in steps:
            if step.plan.step != leader.policy_version + 1:
                raise ValueError(f"step {step.plan.step} does not follow on version {leader.policy_version}")
            take_step(leader, step.plan, step.groups(), settings.algorithm.shuffle_rewards)
            said(step.plan.step)
            last = step
        if last is None:
            raise ValueError("there is no step to take")
        leader.save_checkpoint(last.plan.step, last.stage)
        leader.stop()
    except BaseException:
        leader.kill_followers()
        raise
    return path_of(checkpoints, last.plan.step)


def compare(replayed: Path, other: Path, settings: RunSettings, scratch: Path) -> Comparison:
    """Compares a replay's checkpoint with a checkpoint of the run, all of it, or with an exported folder, its weights.

    Raises OSError where one of them cannot be read.
    """
    if (other / MANIFEST).is_file():
        return _compare(_checkpoint_tensors(replayed), _checkpoint_tensors(other))
    model, target = settings.model, scratch / "export"
    export_version(replayed.parent, int(replayed.name.rpartition("-")[2]), model.folder, model.dtype, target)
    return _compare(_exported_tensors(target), _exported_tensors(other))


def _checkpoint_tensors(folder: Path) -> dict[str, Tensor]:
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    tensors: dict[str, Tensor] = {
        name: torch.empty(found.size, dtype=found.properties.dtype)
        for name, found in stored.items()
        if isinstance(found, TensorStorageMetadata)
    }
    load(tensors, checkpoint_id=folder, no_dist=True)
    return tensors


def _exported_tensors(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder}: neither a checkpoint ({MANIFEST}) nor exported weights (*.safetensors)")
    tensors: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 not a dict
    return tensors


def _compare(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> Comparison:
    values = sum(tensor.numel() for tensor in theirs.values())
    return Comparison(len(theirs), values, tuple(_differences(mine, theirs)))


def _differences(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> Iterator[str]:
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs:
            yield f"{name}: the {'replay' if name not in mine else 'other'} has none"
            continue
        one, other = mine[name], theirs[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{name}: {one.dtype} {list(one.shape)}, and there {other.dtype} {list(other.shape)}"
        elif not torch.equal(_bits(one), _bits(other)):
            different = (_bits(one) != _bits(other)).view(-1, one.element_size()).any(dim=1)
            furthest = (one.double() - other.double()).abs().max()
            yield f"{name}: {int(different.sum())} of {one.numel()} values differ, by {furthest:.3g} at most"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
