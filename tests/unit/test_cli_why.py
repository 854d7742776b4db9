"""`status --why`: the chain of waits, and where it ends."""

from areal_mesh.cli.why import chain_ends, why
from areal_mesh.client.status import RunStatus, run_status_of
from areal_mesh.runtime.metrics.members import OPEN_CALL_PREFIX
from areal_mesh.v1 import common_pb2, status_pb2

SERVING = common_pb2.SERVICE_STATE_SERVING
BATCH = 16


def run_of(*services: status_pb2.ServiceStatus, waiting_groups: int = 0) -> RunStatus:
    message = status_pb2.RunStatus(
        run_name="run",
        state=status_pb2.RUN_STATE_RUNNING,
        stage=common_pb2.Stage(index=0, name="8K", max_response_tokens=8),
        replay=status_pb2.ReplayStatus(waiting_groups=waiting_groups),
        services=services,
    )
    return run_status_of(message)


def member(
    role: str, silent: float, state: common_pb2.ServiceState.ValueType = SERVING, **calls: float
) -> status_pb2.ServiceStatus:
    """A member; `calls`: ages of open calls, by `Service__Method`."""
    metrics = {OPEN_CALL_PREFIX + name.replace("__", "/"): age for name, age in calls.items()}
    number = common_pb2.Role.Value(f"ROLE_{role.upper()}")
    found = status_pb2.ServiceStatus(role=number, service_id=f"{role}-0", state=state, metrics=metrics)
    found.since_progress.FromMilliseconds(int(silent * 1e3))
    found.since_heartbeat.FromMilliseconds(int(silent * 1e3))
    return found


def test_a_verifier_that_hangs_is_found_behind_generator_replay_buffer_and_learner() -> None:
    run = run_of(
        member("learner", 50, ReplayService__DrawBatch=49),
        member("replay", 45),
        member("generator", 44, VerifierService__Verify=40),
        member("verifier", 41),
    )
    assert [end.split(" ")[0] for end in chain_ends(run, BATCH)] == ["verifier-0"]
    lines = list(why(run, BATCH))
    assert "learner-0 (serving): no progress for 50.0 s; waits for the replay for 49.0 s: DrawBatch" in lines
    stored = "waits for the generator for 45.0 s: groups: 0 of a batch's 16 are stored"
    assert f"replay-0 (serving): no progress for 45.0 s; {stored}" in lines
    assert "generator-0 (serving): no progress for 44.0 s; waits for the verifier for 40.0 s: Verify" in lines
    assert lines[-1] == "the others wait for: verifier-0 (serving, no progress for 41.0 s)"


def test_a_learner_that_computes_is_waited_for_by_those_who_ask_for_leases() -> None:
    run = run_of(
        member("learner", 300),
        member("replay", 20),
        member("generator", 20, state=common_pb2.SERVICE_STATE_PENDING_WEIGHTS),
        member("verifier", 20),
        waiting_groups=BATCH,
    )
    assert list(why(run, BATCH))[-1] == "the others wait for: learner-0 (serving, no progress for 300.0 s)"


def test_who_is_not_there_or_lost_is_named() -> None:
    run = run_of(
        member("learner", 50, ReplayService__DrawBatch=49),
        member("replay", 45),
        member("generator", 44, state=common_pb2.SERVICE_STATE_LOST),
    )
    lines = list(why(run, BATCH))
    assert "no verifier is a member" in lines
    assert "no generator is a member" in lines
    assert "generator-0 is lost: not heard for 44.0 s" in lines
    assert lines[-1].startswith("the others wait for: generator, verifier, generator-0 (lost")


def test_a_paused_run_says_that_it_is_paused_and_blames_nobody() -> None:
    run = run_of(member("learner", 9))
    message = status_pb2.RunStatus(run_name="run", state=status_pb2.RUN_STATE_PAUSED)
    lines = list(why(run_status_of(message), BATCH))
    assert lines[0] == "the run is paused: nothing starts until `areal-mesh resume`"
    assert not any(line.startswith("the others wait") for line in lines)
    assert run.services
