"""What members claim, held against what the run knows. Pure; a check raises INVALID_ARGUMENT that names the field."""

from collections.abc import Mapping, Sequence

from areal_mesh.controller.records import GroupRow, GroupState
from areal_mesh.runtime.errors import invalid_argument
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.settings import GeneratorSettings, RunSettings
from areal_mesh.v1 import common_pb2, controller_pb2


def check_version(claimed: int, newest: int) -> None:
    """Checks a policy version that a member says it holds: none is newer than the learner can have made."""
    if claimed > newest:
        raise invalid_argument("policy_version", f"{claimed} was never made in this run; {newest} is the newest")


def newest_version(role: common_pb2.Role.ValueType, committed: int) -> int:
    """The newest version that a member can hold; the learner's commit may be on its way."""
    return committed + (role == common_pb2.ROLE_LEARNER)


def check_transfer_ranks(request: controller_pb2.RegisterRequest, generator: GeneratorSettings) -> None:
    """Checks the ranks that a member adds to a broadcast: a generator those of the settings, others none."""
    is_generator = request.role == common_pb2.ROLE_GENERATOR
    ranks = generator.transfer_ranks if is_generator else 0
    if request.transfer_ranks != ranks:
        raise invalid_argument(
            "transfer_ranks",
            f"{request.transfer_ranks}; a {role_name(request.role)} of this run adds {ranks} to a broadcast",
        )


def check_tokens(request: controller_pb2.EndLeaseRequest, row: GroupRow, settings: RunSettings) -> None:
    """Checks the response tokens of a group: as many as its lease allows."""
    limit = settings.algorithm.responses * settings.stages[row.stage].max_response_tokens
    if request.response_tokens > limit:
        raise invalid_argument("response_tokens", f"{request.response_tokens}; {row.group_id} has {limit} at most")


def check_stored(request: controller_pb2.EndLeaseRequest, row: GroupRow, version: int, settings: RunSettings) -> None:
    """Checks the figures of a stored group: what its lease and the committed `version` allow."""
    check_tokens(request, row, settings)
    if not 0 <= request.oldest_policy_version <= version:
        raise invalid_argument(
            "oldest_policy_version", f"{request.oldest_policy_version} is none of the run's, 0 to {version}"
        )


def check_batch(request: controller_pb2.CommitStepRequest, settings: RunSettings) -> None:
    """Checks the batch of a step: as many groups as the run's, each once, with figures that so many can have."""
    groups, algorithm = len(request.group_ids), settings.algorithm
    if groups != algorithm.batch_groups:
        raise invalid_argument("group_ids", f"{groups} groups; a batch of this run has {algorithm.batch_groups}")
    if len(set(request.group_ids)) != groups:
        raise invalid_argument("group_ids", "names a group twice")
    if sum(request.staleness.values()) > groups:
        raise invalid_argument("staleness", f"counts more than the {groups} groups of the batch")
    tokens = request.metrics.get("response_tokens", 0.0)
    limit = groups * algorithm.responses * settings.longest_response
    most = algorithm.responses * settings.longest_response
    if max(request.group_tokens, default=0) > most:
        raise invalid_argument("group_tokens", f"{max(request.group_tokens)}; a group has {most} at most")
    if not 0 <= tokens <= limit:
        raise invalid_argument("metrics['response_tokens']", f"{tokens}; the batch has 0 to {limit}")


def too_old(rows: Sequence[GroupRow], version: int, max_staleness: int) -> tuple[list[str], list[str]]:
    """Ids of the groups that can have been too old at a version, and of those that cannot.

    A generator that is given a lease holds at least the version published then.
    """
    old: dict[bool, list[str]] = {True: [], False: []}
    for row in rows:
        oldest = row.lease_version if row.oldest_version is None else row.oldest_version
        old[oldest < version - max_staleness].append(row.group_id)
    return old[True], old[False]


def untrainable(rows: Mapping[str, GroupRow | None], step: int) -> dict[str, str]:
    """Those groups of a step's batch that could not be committed, each with the reason. `rows` by id."""
    found = {}
    for group_id, row in rows.items():
        if row is None:
            found[group_id] = "never leased in this run"
        elif row.state is GroupState.TRAINED and row.step != step:
            found[group_id] = f"trained on in step {row.step}"
    return found
