"""Which settings of a run may be others when it goes on, and which make it another run. Pure.

Three kinds, by key. What only says where and how fast things run may change whenever the run is started. What the
learner reads changes what an update makes, so it may change where a checkpoint covers every committed step: steps that
are taken again would else give other weights than those that were published. All else decides what the rollouts in the
log are (the model, the prompts, the algorithm, the seed), and belongs to a run of its own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_AT_ANY_START = (
    *("plaintext_beyond_loopback", "controller", "generator", "verifier", "replay", "weights", "sinks"),
    *("evaluation", "security", "learner.hosts", "learner.rendezvous", "learner.lost_rank_seconds"),
    *("learner.listen", "learner.advertise", "learner.cores", "learner.niceness", "learner.gpus"),
    *("learner.metrics_port", "learner.drain_seconds", "learner.threads", "learner.checkpoint_every"),
    *("learner.checkpoints_kept", "learner.checkpoint_copies", "learner.checkpoint_copies_kept"),
    *("learner.export_every", "learner.draw_seconds", "learner.mismatch_alarm", "learner.mismatch_stop"),
)
_AT_A_CHECKPOINT = (
    *("learner.learning_rate", "learner.warmup_share", "learner.end_rate_share", "learner.weight_decay"),
    *("learner.gradient_clip", "learner.loss_scale", "learner.ranks", "learner.sharding", "stages"),
)
_OF_A_STAGE_BEGUN = ("max_steps", "min_steps", "rules", "ends_by")
"""What of the stage that the run is in may still change."""


@dataclass(frozen=True)
class SettingChange:
    """A setting that is another now."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: there {json.dumps(self.before)}, here {json.dumps(self.now)}"


def changes_between(before: Any, now: Any, path: str = "") -> Iterator[SettingChange]:
    """Each key in which two settings differ, nested keys by their path; lists of different lengths by their tails."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from changes_between(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and (path == "stages" or len(before) == len(now)):
        for position in range(max(len(before), len(now))):
            there, here = (listed[position] if position < len(listed) else None for listed in (before, now))
            yield from changes_between(there, here, f"{path}.{position}")
    elif before != now:
        yield SettingChange(path, before, now)


def refusal(change: SettingChange, stage: int, steps: int, covered: int) -> str:
    """Why the run cannot go on with this change; empty where it can.

    Args:
        stage: the stage that the run is in, from 0; -1 before its first step.
        steps: committed steps.
        covered: step of the newest checkpoint; 0 where there is none.
    """
    if _under(change.key, _AT_ANY_START):
        return ""
    if not _under(change.key, _AT_A_CHECKPOINT):
        return "its rollouts would be another run's"
    if fault := _stage_refusal(change.key, stage):
        return fault
    if covered < steps:
        return (
            f"the newest checkpoint is of step {covered} and {steps} are committed: go on without the change until the "
            "next one, or drain the run (Ctrl-C), which makes one"
        )
    return ""


def _stage_refusal(key: str, stage: int) -> str:
    section, _, rest = key.partition(".")
    if section != "stages" or stage < 0:
        return ""
    position, _, name = rest.partition(".")
    if int(position) < stage:
        return "that stage is over"
    if int(position) == stage and name.partition(".")[0] not in _OF_A_STAGE_BEGUN:
        return f"the run is in that stage; {', '.join(_OF_A_STAGE_BEGUN)} may still change"
    return ""


def _under(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
