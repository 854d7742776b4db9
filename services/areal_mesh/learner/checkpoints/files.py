"""Checkpoints of a trainer: sharded, asynchronous, atomic, the last few kept.

    <folder>/version-00000012/    manifest.json, and the tensors as torch.distributed.checkpoint writes them
    <folder>/.version-...         being written, or left by a crash; never read

Every rank writes its shards aside, the files are fsynced, rank 0 adds the manifest and renames. A folder without a
whole manifest, or whose files are not those that it says, is passed over. Ranks may be more or fewer when it is loaded.
A disk without room for one is no failure: `fault` says so, and the next `save` tries again.
"""

import logging
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from areal_mesh.learner.checkpoints.copying import BackgroundCopies, CheckpointCopies
from areal_mesh.learner.checkpoints.manifest import (
    Manifest,
    folders,
    path_of,
    read_manifest,
    seal,
    version_of,
    whole_versions,
)
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.durable import finish_removals, remove_folder, remove_leftovers, replace_folder

_LOG = logging.getLogger(__name__)
# torch's own writer does not say why it failed; a disk with less is full.
_NO_BYTES = 1 << 16


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; the message names its folder and, for each rank, the cause."""


class CheckpointDiskFull(CheckpointError):
    """The disk has no room for a checkpoint; nothing of it is left, and a later one may fit."""


class CheckpointStore:
    """Writes and reads one learner's checkpoints. Every method is called on all ranks alike."""

    def __init__(self, folder: Path, keep_last: int, trainer: Trainer, copies: CheckpointCopies | None = None) -> None:
        """Raises ValueError if `keep_last` is below 1."""
        if keep_last < 1:
            raise ValueError(f"keep_last is {keep_last}: keep at least 1 checkpoint")
        self._folder = folder
        self._keep_last = keep_last
        self._trainer = trainer
        self._parallel = trainer.parallel
        # A group of its own: the writer's collectives run beside those of training.
        self._group = dist.new_group(backend="gloo") if self._parallel.world_size > 1 else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._stager = DefaultStager(StagingOptions(False, False, False, False))
        self._pending: Future[None] | None = None
        self._fault = ""
        self._bytes = 0
        self._copies = BackgroundCopies(copies) if copies is not None and self._parallel.rank == 0 else None
        # One process is what was asked for.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")

    def save(self, step: int, stage: str) -> None:
        """Snapshot the trainer and write it in the background; training may go on at once.

        Waits for the previous write first, and raises what it raised.
        """
        self.wait()
        trainer = self._trainer
        tensors = trainer.state_tensors(with_reference=trainer.reference_version > 0)
        self._bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        staged = self._stager.stage(tensors)
        assert isinstance(staged, dict)
        manifest = Manifest(
            policy_version=trainer.policy_version,
            step=step,
            stage=stage,
            optimizer_updates=trainer.optimizer.updates,
            reference_version=trainer.reference_version,
            model_folder=str(trainer.model_folder),
            world_size=self._parallel.world_size,
            lora=trainer.lora.model_dump() if trainer.lora is not None else None,
        )
        self._pending = self._writer.submit(self._write, staged, manifest)

    def wait(self) -> None:
        """Until the last `save` is durable on disk, or the disk had no room; raises what its writer raised else."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
                self._fault = ""
            except CheckpointDiskFull as error:
                self._fault = str(error)
                _LOG.warning("%s", error)

    @property
    def copies_failed(self) -> int:
        """Checkpoints that were not copied to the second place though they should have been."""
        return self._copies.failed if self._copies is not None else 0

    @property
    def missing(self) -> bool:
        """Whether the last `save` found no room."""
        pending = self._pending
        failed = pending.exception() if pending is not None and pending.done() else None
        return bool(self._fault) or isinstance(failed, CheckpointDiskFull)

    @property
    def fault(self) -> str:
        """Why the last checkpoint is missing, for a person; empty if it is not, or if the disk has room for one now."""
        if not self.missing or shutil.disk_usage(self._folder).free > self._bytes:
            return ""
        return f"{self._folder}: no room for a checkpoint of {self._bytes} bytes; free space there"

    def close(self) -> None:
        """Finish writing and stop the writer's thread; raises what the last write raised."""
        try:
            self.wait()
        finally:
            if self._copies is not None:
                self._copies.close()
            self._writer.shutdown()
            self._stager.close()

    def load_latest(self) -> Manifest | None:
        """Bring the trainer, fresh from its settings, to the newest whole checkpoint; None if there is none.

        One that does not verify, be it one bit, is passed over for the one before, and the log says so. The replay log
        still holds the batches since that one.

        Raises CheckpointError if it is of another model or unreadable in spite of its hashes: that folder has to be
        moved away by hand, for going back further is not for a program to decide.
        """
        version = torch.tensor(self._latest() if self._parallel.rank == 0 else -1)
        if self._parallel.world_size > 1:
            dist.broadcast(version, 0, group=self._group)
        if version.item() < 0:
            return None
        folder = self._path(int(version.item()))
        manifest = read_manifest(folder)
        trainer = self._trainer
        live = trainer.state_tensors(with_reference=manifest.reference_version > 0)
        tensors: dict[str, Tensor] = {name: torch.empty_like(tensor) for name, tensor in live.items()}
        try:
            load(tensors, checkpoint_id=folder, process_group=self._group, no_dist=self._group is None)
        except CheckpointException as error:
            raise CheckpointError(f"cannot read checkpoint {folder}, move it away to go without: {error}") from error
        trainer.load_state(tensors, manifest.policy_version, manifest.optimizer_updates, manifest.reference_version)
        return manifest

    def _latest(self) -> int:
        return next(whole_versions(self._folder, contents=True), -1)

    def _path(self, version: int) -> Path:
        return path_of(self._folder, version)

    def _write(self, tensors: dict[str, Tensor], manifest: Manifest) -> None:
        target = self._path(manifest.policy_version)
        aside = target.with_name(f".{target.name}.partial")
        if self._parallel.rank == 0:
            # The other ranks write nothing before rank 0 has planned the write, so that this cannot hit their files.
            remove_leftovers(aside)
        try:
            save(tensors, checkpoint_id=aside, process_group=self._group, no_dist=self._group is None)
        except CheckpointException as error:
            # torch's is a BaseException, which would end the service past every handler.
            raise self._failure(aside, target, error) from error
        failure: OSError | None = None
        if self._parallel.rank == 0:
            try:
                seal(aside, manifest)
                replace_folder(aside, target)
                if self._copies is not None:
                    self._copies.begin(target)
                self._prune()
            except OSError as error:
                failure = error
        if self._group is not None:
            # Whatever became of it: the other ranks wait here.
            dist.barrier(self._group)
        if failure is not None:
            raise self._failure(aside, target, failure) from failure

    def _failure(self, aside: Path, target: Path, error: CheckpointException | OSError) -> CheckpointError:
        """What a failed write means; one for want of room gives back what it took."""
        causes = [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
        told = any(isinstance(cause, OSError) and is_full(cause) for cause in causes)
        if not told and shutil.disk_usage(self._folder).free > _NO_BYTES:
            return CheckpointError(f"cannot write checkpoint {target}: {error}")
        if self._parallel.rank == 0:
            remove_leftovers(aside)
        return CheckpointDiskFull(f"no room for checkpoint {target} of {self._bytes} bytes; free space there")

    def _prune(self) -> None:
        finish_removals(self._folder)
        whole = list(whole_versions(self._folder))
        if len(whole) <= self._keep_last:
            return
        copied = self._copies.copied if self._copies is not None else None
        for folder in folders(self._folder):
            if version_of(folder) < whole[self._keep_last - 1] and folder != copied:
                remove_folder(folder)
