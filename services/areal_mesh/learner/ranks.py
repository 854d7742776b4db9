"""Ranks of the learner: rank 0 leads and serves the RPCs, the others repeat every collective that it begins.

With one rank no process is started and nothing of `torch.distributed` is used.
"""

import enum
import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.checkpoints.manifest import Manifest
from areal_mesh.learner.model.parallel import Parallel, initialise
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings

# Followers wait for the next command this long, and every collective for its peers. A leader without work says so.
_COMMAND_SECONDS = 7200.0
_TOKENIZER_BYTES = 32 << 20  # with the config; the largest vocabularies take some 20 MB


class Command(enum.Enum):
    """What the leader asks of all ranks."""

    WAIT = enum.auto()
    STEP = enum.auto()
    RESTART = enum.auto()
    GATHER = enum.auto()
    CHECKPOINT = enum.auto()
    EXPORT = enum.auto()
    STOP = enum.auto()


class RankLeader:
    """Rank 0: each method is one command to all ranks. Called on one thread."""

    def __init__(self, settings: RunSettings, parallel: Parallel, followers: list[subprocess.Popen[bytes]]) -> None:
        self._followers = followers
        self._parallel = parallel
        self._trainer = Trainer(settings, parallel)
        self._store = _checkpoint_store(settings, self._trainer)
        self.restored: Manifest | None = self._store.load_latest()
        self.dtype = self._trainer.compute_dtype
        self.model_config: dict[str, Any] = json.loads(
            (settings.model.folder / "config.json").read_text(encoding="utf-8")
        )

    @property
    def policy_version(self) -> int:
        """Committed optimizer batches."""
        return self._trainer.policy_version

    @property
    def vocabulary_size(self) -> int:
        """Token ids of the model are under this."""
        return self._trainer.vocabulary_size

    def step(self, batch: TrainingBatch, stage: int = 0) -> StepResult:
        """Learns from one batch of a stage on all ranks; commits a policy version."""
        self._command(Command.STEP, stage)
        return self._trainer.step(self._parallel.broadcast_batch(batch), stage)

    def keep_followers(self) -> None:
        """Nothing, on all ranks: those that wait for a command would else take a long silence for the leader's end."""
        self._command(Command.WAIT)

    def restart(self, optimizer: bool, reference: bool) -> None:
        """See `Trainer.restart`."""
        self._command(Command.RESTART, optimizer, reference)
        self._trainer.restart(optimizer=optimizer, reference=reference)

    def tensor_specs(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Name, dtype and whole shape of each published tensor, in the order of `named_tensors`."""
        return self._trainer.tensor_specs()

    def named_tensors(self) -> Generator[tuple[str, Tensor], None, None]:
        """Weights to publish, whole. The other ranks gather along: close it, and what is left is gathered too."""
        self._command(Command.GATHER)
        tensors = self._trainer.named_tensors()
        try:
            # Not `yield from`: closing this must not close what the other ranks still gather.
            for named in tensors:  # noqa: UP028
                yield named
        finally:
            if self._followers:
                for _ in tensors:
                    pass

    def save_checkpoint(self, step: int, stage: str) -> None:
        """Begins a checkpoint; the previous one is durable when this returns."""
        self._command(Command.CHECKPOINT, step, stage)
        self._store.save(step, stage)

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder."""
        self._command(Command.EXPORT, str(folder))
        self._trainer.save_hf(str(folder))

    @property
    def export_bytes(self) -> int:
        """Room that an export takes at most: its weights, its config and its tokenizer."""
        weights = sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in self.tensor_specs())
        return weights + _TOKENIZER_BYTES

    @property
    def checkpoint_missing(self) -> bool:
        """Whether the last checkpoint found no room on the disk."""
        return self._store.missing

    @property
    def checkpoint_fault(self) -> str:
        """Why there is none, for a person; empty while there is room for one."""
        return self._store.fault

    def wait_for_checkpoint(self) -> None:
        """Until the last checkpoint is durable."""
        self._store.wait()

    def stop(self) -> None:
        """Finishes writing and ends the other ranks."""
        self._command(Command.STOP)
        self._store.close()
        for follower in self._followers:
            follower.wait(timeout=30)
        if self._followers:
            dist.destroy_process_group()

    def check_followers(self) -> None:
        """Raises RuntimeError when another rank has ended: every collective from then on would hang."""
        ended = [rank for rank, follower in enumerate(self._followers, start=1) if follower.poll() is not None]
        if ended:
            raise RuntimeError(f"learner ranks {ended} have ended; their last lines say why")

    def kill_followers(self) -> None:
        """Ends the other ranks, whatever they wait for."""
        for follower in self._followers:
            follower.kill()

    def _command(self, command: Command, *arguments: Any) -> None:
        if self._parallel.world_size > 1:
            dist.broadcast_object_list([(command, arguments)], 0)


def start_ranks(settings: RunSettings) -> RankLeader:
    """Starts the other ranks, if any, and leads them. Raises RuntimeError when the group does not form."""
    followers = []
    if settings.learner.ranks > 1:
        environment = _rendezvous(settings.learner.ranks)
        config = settings.run_directory / "learner-ranks.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(settings.model_dump_json(indent=2), encoding="utf-8")
        for rank in range(1, settings.learner.ranks):
            command = [sys.executable, "-m", "areal_mesh.learner.follow", str(config), str(os.getpid())]
            mine = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            followers.append(subprocess.Popen(command, env=os.environ | mine))
        os.environ.update(environment | {"RANK": "0", "LOCAL_RANK": "0"})
    parallel = initialise(settings.learner.device, timeout_seconds=_COMMAND_SECONDS)
    return RankLeader(settings, parallel, followers)


def _rendezvous(world_size: int) -> dict[str, str]:
    """torchrun's environment for ranks on this host, on a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}


def _checkpoint_store(settings: RunSettings, trainer: Trainer) -> CheckpointStore:
    folder = settings.run_directory / "checkpoints"
    return CheckpointStore(folder, settings.learner.checkpoints_kept, trainer)


def follow(settings: RunSettings) -> None:
    """Ranks other than 0: repeats what the leader commands until it says stop."""
    parallel = initialise(settings.learner.device, timeout_seconds=_COMMAND_SECONDS)
    trainer = Trainer(settings, parallel)
    store = _checkpoint_store(settings, trainer)
    store.load_latest()
    while True:
        received: list[Any] = [None]
        dist.broadcast_object_list(received, 0)
        command, arguments = received[0]
        match command:
            case Command.WAIT:
                pass
            case Command.STEP:
                trainer.step(parallel.broadcast_batch(None), *arguments)
            case Command.RESTART:
                trainer.restart(*arguments)
            case Command.GATHER:
                for _ in trainer.named_tensors():
                    pass
            case Command.CHECKPOINT:
                store.save(*arguments)
            case Command.EXPORT:
                trainer.save_hf(*arguments)
            case Command.STOP:
                store.close()
                dist.destroy_process_group()
                return
