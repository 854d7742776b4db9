"""`areal-mesh log replay`: a fresh learner fed with the log of a run; ends at the run's weights, or says where not."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import LEDGER_FILE
from areal_mesh.cli.log import log_of
from areal_mesh.controller.ledger import LedgerError
from areal_mesh.controller.recorded_orders import RecordedOrders, read_orders
from areal_mesh.replay.inspection.reading import NotInLog, ReplayLog
from areal_mesh.runtime.environment import pin_to_cores, show_gpus
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings

_CHECKPOINT = "version-"


@dataclass(frozen=True)
class ReplayPlan:
    """What is taken again. `first` and `last` are steps; `other` is compared with, `to` exported to."""

    run: Path
    settings: RunSettings
    log: ReplayLog
    orders: RecordedOrders
    first: int
    last: int
    other: Path | None
    to: Path | None

    @property
    def start(self) -> Path | None:
        """The checkpoint to begin from; None for the start model."""
        return None if self.first == 1 else self.run / "checkpoints" / f"{_CHECKPOINT}{self.first - 1:08d}"


def replay_log(source: str, start: int | None, until: int | None, compare: str, to: str) -> int:
    """Feeds a fresh learner; compares what it ends at; returns the exit code.

    Args:
        start: version of a checkpoint to begin from; None: from the start model, with step 1.
        until: the last step; None: that of what is compared with, else the last committed one.
        compare: a checkpoint's or export's folder; empty: the run's newest checkpoint, where it has one.
        to: folder to export the weights to; empty: none.

    Raises:
        CommandFailed: the log lacks a step, a file cannot be read, or `to` is there already.
    """
    if to and Path(to).exists():
        raise CommandFailed(f"{to}: is there already; name another folder")
    run, log = log_of(source)
    try:
        settings = load_settings(run / SETTINGS_FILE)
        orders = read_orders(run / LEDGER_FILE, settings.stages)
    except (SettingsError, LedgerError) as error:
        raise CommandFailed(str(error)) from error
    other = Path(compare) if compare else _newest_checkpoint(run)
    last = until or (_version_of(other) if other is not None else None) or orders.committed
    plan = ReplayPlan(run, settings, log, orders, (start or 0) + 1, last, other, Path(to) if to else None)
    _check_steps(plan)
    _take_the_learners_cores(settings)
    scratch = Path(tempfile.mkdtemp(prefix="areal-mesh-replay-"))
    try:
        return _replay(plan, scratch)
    except (NotInLog, OSError, ValueError) as error:
        raise CommandFailed(str(error)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _newest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint folder of the run; the replay says if it cannot be read."""
    found = [path for path in (run / "checkpoints").glob(f"{_CHECKPOINT}*") if (path / "manifest.json").is_file()]
    return max(found, key=_version_of, default=None)


def _version_of(folder: Path) -> int:
    """The version in the name of a checkpoint or export; 0 where it has none."""
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _check_steps(plan: ReplayPlan) -> None:
    log, orders = plan.log, plan.orders
    if plan.last > orders.committed:
        raise CommandFailed(f"step {plan.last} is not committed: the run has taken {orders.committed}")
    whole = set(log.contents.whole_steps())
    lacking = [step for step in range(plan.first, plan.last + 1) if step not in whole]
    if lacking:
        raise CommandFailed(
            f"{log.directory}: step {lacking[0]} cannot be read; {log.steps_line()}. What a checkpoint covers is "
            "deleted, unless replay.keep_released is set: begin from a checkpoint with --from VERSION"
        )


def _take_the_learners_cores(settings: RunSettings) -> None:
    """As the run's learner has them: another number of threads adds floats in another order."""
    show_gpus(settings.learner.gpus)
    pin_to_cores(settings.learner.cores)
    if settings.learner.cores is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(len(settings.learner.cores)))


def _replay(plan: ReplayPlan, scratch: Path) -> int:
    # torch takes seconds to import: what can be refused before is.
    from areal_mesh.learner.checkpoints.exporting import export_version
    from areal_mesh.learner.replaying import RecordedStep, replay
    from areal_mesh.learner.taking_steps import StepPlan

    def recorded() -> Iterator[RecordedStep]:
        for step in range(plan.first, plan.last + 1):
            order = plan.orders.order(step)
            taken = StepPlan(step, order.stage, order.restarts.optimizer, order.restarts.reference)
            yield RecordedStep(taken, plan.orders.stage_name(step), partial(plan.log.batch, step))

    def said(step: int) -> None:
        print(f"step {step} of {plan.last}", file=sys.stderr)

    begun = time.monotonic()
    checkpoint = replay(plan.settings, scratch, plan.start, recorded(), said)
    seconds = time.monotonic() - begun
    print(f"steps {plan.first} to {plan.last} of {plan.log.directory} taken again in {seconds:.1f} s")
    if plan.to is not None:
        model = plan.settings.model
        export_version(checkpoint.parent, plan.last, model.folder, model.dtype, plan.to)
        print(f"{plan.to}: the weights, a model folder, {model.dtype}")
    return 0 if plan.other is None else _compare(plan, checkpoint, plan.other, scratch)


def _compare(plan: ReplayPlan, checkpoint: Path, other: Path, scratch: Path) -> int:
    from areal_mesh.learner.replaying import compare

    found = compare(checkpoint, other, plan.settings, scratch)
    for line in found.differing:
        print(line)
    if found.differing:
        print(f"{other}: {len(found.differing)} of {found.tensors} tensors differ from the replay's")
        return 1
    print(f"{other}: {found.tensors} tensors, {found.values} values: equal to the replay's bit for bit")
    return 0
