"""What the engine says of its weights when a call into vLLM fails in a publish; vLLM's client is scripted.

That vLLM itself behaves as scripted is what test_generator_engine.py shows.
"""

import gc
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.generator.engine import Engine, WeightUpdateFailed
from areal_mesh.generator.engine_process import EngineDied, EngineProcess
from areal_mesh.generator.values import EngineStats
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import TensorSpec, WeightManifest
from tests.integration.engine_run import engine_run

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")

PUBLISH = ["pause", "start", "update", "finish", "resume", "state"]


class Client:
    """Records what is called; raises what `failures` says, once each; the worker's weights are `torn` or whole."""

    output_handler = None
    errored = False

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.torn = False

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if failure := self.failures.pop(name, None):
            raise failure

    def get_num_unfinished_requests(self) -> int:
        return 0

    async def pause_generation(self, **_: Any) -> None:
        await self._called("pause")

    async def start_weight_update(self) -> None:
        await self._called("start")

    async def update_weights(self, _: Any) -> None:
        await self._called("update")

    async def finish_weight_update(self, **_: Any) -> None:
        await self._called("finish")

    async def resume_generation(self) -> None:
        await self._called("resume")

    async def collective_rpc(self, _: str) -> list[dict[str, Any]]:
        await self._called("state")
        return [{"torn": self.torn, "num_bytes": 16, "receive_seconds": 0.1, "load_seconds": 0.1}]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def engine(client: Client, tmp_path: Path) -> Engine:
    process = EngineProcess(client, _Idle())  # type: ignore[arg-type]
    return Engine(process, engine_run(tmp_path), [2], 3)


class _Idle:
    def stats(self, version: int, paused: bool, open_responses: int) -> EngineStats:
        return EngineStats(0, 0, 0.0, 0, version, paused, open_responses)


def _held(engine: Engine) -> tuple[int, bool]:
    """Version, and whether generation is frozen."""
    stats = engine.stats()
    return stats.policy_version, stats.paused


async def _publish(engine: Engine, version: int = 4) -> None:
    engine._group = Group(f"publish-{version}", "tcp://127.0.0.1:1234", 2, 1.0)
    await engine.transfer(WeightManifest(version, (TensorSpec("w", "float32", (2, 2)),)))


@pytest.mark.parametrize("call", ["pause", "start"])
async def test_former_weights_go_on_where_nothing_was_touched(engine: Engine, client: Client, call: str) -> None:
    client.failures = {call: TimeoutError("late")}
    with pytest.raises(WeightUpdateFailed, match="the former weights are kept") as raised:
        await _publish(engine)
    assert raised.value.intact
    assert client.calls == [*PUBLISH[: PUBLISH.index(call) + 1], "state", "resume"]
    assert _held(engine) == (3, False)


async def test_a_refused_update_is_judged_by_what_the_worker_says(engine: Engine, client: Client) -> None:
    client.failures = {"update": RuntimeError("the learner left")}
    client.torn = True
    with pytest.raises(WeightUpdateFailed, match=r"torn.*the learner left") as raised:
        await _publish(engine)
    assert not raised.value.intact
    assert client.calls[-1] == "state"


@pytest.mark.parametrize("call", ["finish", "resume", "state"])
async def test_any_failure_after_the_new_weights_came_counts_as_torn(engine: Engine, client: Client, call: str) -> None:
    client.failures = {call: RuntimeError("no answer")}
    with pytest.raises(WeightUpdateFailed, match=r"torn.*no answer") as raised:
        await _publish(engine)
    assert not raised.value.intact
    assert client.calls == PUBLISH[: PUBLISH.index(call) + 1]
    assert engine.stats().paused


async def test_an_update_that_timed_out_may_have_come_and_counts_as_torn(engine: Engine, client: Client) -> None:
    client.failures = {"update": TimeoutError("late")}
    with pytest.raises(WeightUpdateFailed, match="torn") as raised:
        await _publish(engine)
    assert not raised.value.intact
    assert "resume" not in client.calls


@pytest.mark.parametrize("call", ["state", "resume"])
async def test_an_unknown_state_counts_as_torn(engine: Engine, client: Client, call: str) -> None:
    client.failures = {"pause": TimeoutError("late"), call: TimeoutError("later")}
    with pytest.raises(WeightUpdateFailed, match=r"torn.*then, asking what it holds") as raised:
        await _publish(engine)
    assert not raised.value.intact
    assert _held(engine) == (3, True)


async def test_torn_weights_stay_torn_until_a_publish_succeeds(engine: Engine, client: Client) -> None:
    for failures in ({"finish": RuntimeError("lost")}, {"start": RuntimeError("already active")}):
        client.failures = dict(failures)
        with pytest.raises(WeightUpdateFailed) as raised:
            await _publish(engine)
        assert not raised.value.intact
    await engine.resume()
    assert "resume" not in client.calls
    await _publish(engine, 5)
    assert client.calls[-6:] == PUBLISH
    assert _held(engine) == (5, False)


async def test_a_dead_engine_is_no_failed_update(engine: Engine, client: Client) -> None:
    client.errored = True
    client.failures = {"finish": TimeoutError("dead")}
    with pytest.raises(EngineDied):
        await _publish(engine)


class FinalisedClient(Client):
    """Shuts down once more when it is finalised, as vLLM's does, which fails at the interpreter's end."""

    def shutdown(self, timeout: float | None = None) -> None:
        self.calls.append("shutdown")

    def __del__(self) -> None:
        self.shutdown()


def test_a_client_that_is_kept_beyond_its_shutdown_is_not_shut_down_again() -> None:
    client = FinalisedClient()
    calls = client.calls
    process = EngineProcess(client, _Idle())  # type: ignore[arg-type]
    process.shutdown()
    process.shutdown()
    assert calls == ["shutdown"]
    del client  # the last reference, as the frames of a kept error hold it
    gc.collect()
    assert calls == ["shutdown"]
