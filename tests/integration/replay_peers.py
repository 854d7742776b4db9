"""What a replay service needs of a run without a controller: its standing, and seals of leases."""

from pathlib import Path
from typing import Any

from areal_mesh.runtime.lease_seal import LeaseTerms, lease_seal
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import controller_pb2, replay_pb2, rollout_pb2

KEY = b"k" * 32
LEARNER: dict[str, Any] = {"service_id": "learner-0", "incarnation": "one"}


def replay_settings(folder: Path, **replay: int) -> RunSettings:
    (folder / "config.json").write_text('{"vocab_size": 1000}')
    return RunSettings.model_validate(
        {
            "name": "mesh",
            "directory": folder / "runs",
            "stages": [{"name": "16K", "max_response_tokens": 16384, "max_steps": 1000}],
            "model": {"folder": folder},
            "prompts": {"file": folder / "prompts.jsonl"},
            "replay": replay,
        }
    )


def standing(policy_version: int = 1000, batch_groups: int = 1, max_staleness: int = 1) -> controller_pb2.RunStanding:
    return controller_pb2.RunStanding(
        policy_version=policy_version,
        batch_groups=batch_groups,
        max_staleness=max_staleness,
        learner_id=LEARNER["service_id"],
        learner_incarnation=LEARNER["incarnation"],
        lease_key=KEY,
    )


def heard(said: controller_pb2.RunStanding | None = None) -> HeardStanding:
    listener = HeardStanding()
    listener.hear(said or standing())
    return listener


def leased(group: rollout_pb2.Group) -> replay_pb2.AppendGroupRequest:
    """The group with the seal of a lease that is just like it."""
    terms = LeaseTerms(
        group_id=group.group_id,
        sequence=group.sequence,
        prompt_id=group.prompt_id,
        stage=group.stage.index,
        max_response_tokens=group.stage.max_response_tokens,
        responses=len(group.responses),
        temperature=group.temperature,
    )
    return replay_pb2.AppendGroupRequest(group=group, lease_seal=lease_seal(KEY, terms))
