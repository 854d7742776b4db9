"""Ranks of the learner: rank 0 leads and serves the RPCs, the others repeat every collective that it begins.

With one rank no process is started and nothing of `torch.distributed` is used.
"""

import enum
import json
import math
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.checkpoints.copying import CheckpointCopies
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.checkpoints.manifest import Manifest
from areal_mesh.learner.model.parallel import Parallel, from_process_group, single
from areal_mesh.learner.places import Place, meet, place_from_torchrun, places_of_host
from areal_mesh.learner.rank_processes import start_followers
from areal_mesh.learner.rank_watch import RankWatch
from areal_mesh.learner.step_result import StepResult
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import LearnerSettings, RunSettings
from areal_mesh.weights.transports.store import StoreMeeting

# Followers wait for the next command this long, and every collective for its peers, as long as all are alive: a rank
# that is not is told by `RankWatch` within seconds.
_COMMAND_SECONDS = 7200.0
_STORE_SECONDS = 15.0
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

    def __init__(
        self,
        settings: RunSettings,
        parallel: Parallel,
        followers: list[subprocess.Popen[bytes]],
        place: Place | None = None,
        meeting: StoreMeeting | None = None,
    ) -> None:
        """`followers`: those of this host. `meeting`: the store, where it is this process that serves it."""
        self._followers = followers
        self._parallel = parallel
        self._meeting = meeting
        self._lost = ""
        self._watch: RankWatch | None = None
        if place is not None:
            others, lost_seconds = range(1, place.world_size), settings.learner.lost_rank_seconds
            self._watch = RankWatch(place.connect(_STORE_SECONDS), 0, others, lost_seconds, self._lose)
            self._watch.start()
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
            if self._parallel.world_size > 1:
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

    @property
    def copies_failed(self) -> int:
        """Checkpoints that did not reach the second place."""
        return self._store.copies_failed

    def wait_for_checkpoint(self) -> None:
        """Until the last checkpoint is durable."""
        self._store.wait()

    def stop(self) -> None:
        """Finishes writing and ends the other ranks."""
        if self._watch is not None:
            self._watch.stop()
        self._command(Command.STOP)
        self._store.close()
        for follower in self._followers:
            follower.wait(timeout=30)
        if self._parallel.world_size > 1:
            dist.destroy_process_group()

    def check_followers(self) -> None:
        """Raises RuntimeError when another rank is lost: every collective from then on would hang."""
        if self._lost:
            raise RuntimeError(self._lost)
        ended = [rank for rank, follower in enumerate(self._followers, start=1) if follower.poll() is not None]
        if ended:
            raise RuntimeError(f"learner ranks {ended} have ended; their last lines say why")

    def kill_followers(self) -> None:
        """Ends the other ranks, whatever they wait for."""
        for follower in self._followers:
            follower.kill()

    def _lose(self, cause: str) -> None:
        self._lost = cause

    def _command(self, command: Command, *arguments: Any) -> None:
        if self._parallel.world_size > 1:
            dist.broadcast_object_list([(command, arguments)], 0)


def start_ranks(settings: RunSettings) -> RankLeader:
    """Start this host's other ranks, if any, meet all and lead them.

    Raises RuntimeError when the ranks do not meet, RanksNotPlaced where the settings do not say how they could.
    """
    place = place_from_torchrun()
    if place is None and settings.learner.ranks == 1:
        return RankLeader(settings, single(settings.learner.device), [])
    meeting, followers = None, list[subprocess.Popen[bytes]]()
    if place is None:
        meeting = _open_meeting(settings.learner)
        place, *others = places_of_host(settings.learner, 0, meeting.address)
        followers = start_followers(settings, others)
    elif not place.served:
        meeting = StoreMeeting(place.store.host, place.store.port, guarded=False)
    return RankLeader(settings, join(settings, place), followers, place, meeting)


def _open_meeting(settings: LearnerSettings) -> StoreMeeting:
    """The store, on an address that the other hosts reach; on one host on loopback, at a port that is free."""
    if settings.hosts == 1:
        return StoreMeeting("127.0.0.1")
    address = places_of_host(settings, 0)[0].store
    # Ranks of other hosts come without a call that could give them a token.
    return StoreMeeting(address.host, address.port, guarded=False)


def join(settings: RunSettings, place: Place) -> Parallel:
    """Meet the other ranks. Raises RuntimeError when they do not come in time."""
    learner = settings.learner
    meet(place, "cpu:gloo,cuda:nccl" if learner.device == "cuda" else "gloo", _COMMAND_SECONDS)
    replicas = place.hosts if learner.sharding == "hybrid" else 1
    return from_process_group(learner.device, place.local_rank, replicas)


def _checkpoint_store(settings: RunSettings, trainer: Trainer) -> CheckpointStore:
    folder, section = settings.run_directory / "checkpoints", settings.learner
    copies = None
    if section.checkpoint_copies is not None:
        copies = CheckpointCopies(section.checkpoint_copies.rstrip("/"), section.checkpoint_copies_kept)
    return CheckpointStore(folder, section.checkpoints_kept, trainer, copies)


def follow(settings: RunSettings, place: Place) -> None:
    """Ranks other than 0: repeats what the leader commands until it says stop. Ends the process without the leader."""
    parallel = join(settings, place)
    watch = RankWatch(place.connect(_STORE_SECONDS), place.rank, [0], settings.learner.lost_rank_seconds, _end)
    watch.start()
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
                watch.stop()
                store.close()
                dist.destroy_process_group()
                return


def _end(cause: str) -> None:
    """Ends a rank that would else wait for hours in a collective."""
    print(f"learner rank: {cause}", file=sys.stderr, flush=True)
    os._exit(1)
