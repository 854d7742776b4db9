"""Answers beside the run over real gRPC: token by token, bound to a version, bounded, and never in the ledger."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli.generate import GenerateOptions, generate
from areal_mesh.cli.targets import Target
from areal_mesh.client import GeneratorClient, GeneratorUnreachable, RequestRefused, Started, Tokens
from areal_mesh.v1 import common_pb2
from tests.integration.generator_contracts import DEADLINE
from tests.integration.generator_mesh import Mesh, mesh_of, run_mesh


async def asked(address: str, problem: str | None = None, **options: Any) -> list[Started | Tokens]:
    async with GeneratorClient.connect(address, timeout=DEADLINE) as client:
        return [event async for event in client.generate(problem, **options)]


def answer_metrics(mesh: Mesh) -> dict[str, float]:
    return {name: value for name, value in mesh.service.report().metrics.items() if name.startswith("answer")}


@asynccontextmanager
async def generator(folder: Path, published: bool = True, **section: Any) -> AsyncIterator[Mesh]:
    """A generator that holds version 3 and leases nothing, for nothing is planned."""
    async with mesh_of(folder, **section) as mesh, asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(mesh.service.run(mesh.context.draining))
        if published:
            await mesh.publish(3)
        try:
            yield mesh
        finally:
            mesh.context.draining.set()


async def test_a_prompt_is_answered_token_by_token_with_versions_and_log_probabilities(tmp_path: Path) -> None:
    async with generator(tmp_path) as mesh:
        started, *tokens = await asked(mesh.address, "47", responses=2, seed=5, temperature=0.5, max_response_tokens=9)
        assert isinstance(started, Started)
        assert started.prompt_token_ids == (ord("4"), ord("7"))
        assert (started.policy_version, started.responses, started.max_response_tokens) == (3, 2, 9)
        assert all(isinstance(event, Tokens) and len(event.token_ids) == 1 for event in tokens)
        second = [event for event in tokens if isinstance(event, Tokens) and event.response == 1]
        assert "".join(event.text for event in second) == "4747"
        assert [event.token_ids[0] for event in second] == [52, 55, 52, 55, 0]
        assert {event.log_probs for event in second} == {(-0.25,)}
        assert [event.finish_reason for event in second] == ["", "", "", "", "stop"]
        assert second[-1].version_spans == ((3, 0, 5),)
        problem, sampling = mesh.engine.sampled[-1]
        assert (problem, sampling.seed, sampling.temperature) == ("47", 5, 0.5)


async def test_what_is_left_out_is_as_the_run_samples(tmp_path: Path) -> None:
    async with generator(tmp_path) as mesh:
        await asked(mesh.address, text="ab")
        await asked(mesh.address, prompt_token_ids=[97, 98])
        (one, sampling), two = mesh.engine.sampled[-2:]
        assert one == two[0] == "ab"
        assert (sampling.responses, sampling.max_response_tokens, sampling.seed) == (1, 32, None)
        assert (sampling.temperature, sampling.top_p) == (0.6, 1.0)


async def test_nothing_of_an_answer_enters_the_runs_books(tmp_path: Path) -> None:
    async def work(mesh: Mesh) -> None:
        await asked(mesh.address, "1", tag="evaluation", policy_version=3)
        await asked(mesh.address, "2")
        mesh.controller.plan("4")
        await mesh.ended("4")

    mesh = await run_mesh(tmp_path, work)
    assert list(mesh.controller.ends) == list(mesh.replay.groups) == ["group-4"]
    assert len(mesh.verifier.batches) == 1
    metrics = mesh.service.report().metrics
    assert (metrics["answer_tokens/evaluation"], metrics["answer_tokens/untagged"]) == (2, 2)
    assert metrics["tokens_generated"] == 5, "those of the group alone"


async def test_no_answer_before_weights_came_nor_while_the_generator_drains(tmp_path: Path) -> None:
    async with generator(tmp_path, published=False) as mesh:
        with pytest.raises(GeneratorUnreachable, match="no weights"):
            await asked(mesh.address, "1")
        await mesh.publish(3)
        assert await asked(mesh.address, "1")
        mesh.context.draining.set()
        with pytest.raises(GeneratorUnreachable, match="drains"):
            await asked(mesh.address, "1")


async def test_a_request_for_a_version_gets_that_version_or_an_error(tmp_path: Path) -> None:
    async with generator(tmp_path) as mesh:
        with pytest.raises(RequestRefused, match="policy_version: 2 is asked for, 3 is held"):
            await asked(mesh.address, "1", policy_version=2)
        mesh.engine.stream_gate = gate = asyncio.Semaphore(1)
        async with GeneratorClient.connect(mesh.address) as bound, GeneratorClient.connect(mesh.address) as free:
            events = bound.generate("123", policy_version=3)
            others = free.generate("456")
            assert isinstance(await anext(events), Started)
            assert isinstance(await anext(events), Tokens)
            assert isinstance(await anext(others), Started)
            # The publish waits for neither.
            await mesh.publish(4)
            for _ in range(20):
                gate.release()
            with pytest.raises(RequestRefused, match="3 was replaced by 4 before the last token"):
                async for _ in events:
                    pass
            rest = [event async for event in others]
            assert isinstance(rest[-1], Tokens)
            assert rest[-1].finish_reason == "stop"


async def test_so_many_are_answered_at_once_and_a_caller_that_leaves_makes_room(tmp_path: Path) -> None:
    async with generator(tmp_path, answers_at_once=1) as mesh:
        mesh.engine.stream_gate = gate = asyncio.Semaphore(0)
        async with GeneratorClient.connect(mesh.address) as client:
            events = client.generate("123")
            await anext(events)
            assert answer_metrics(mesh)["answers_running"] == 1
            with pytest.raises(GeneratorUnreachable, match="1 requests are answered already"):
                await asked(mesh.address, "1")
            await events.aclose()
            await mesh.engine.changes.until(lambda: mesh.engine.streams_ended == 1)
        for _ in range(20):
            gate.release()
        assert await asked(mesh.address, "1")


async def test_a_run_may_answer_nobody(tmp_path: Path) -> None:
    async with generator(tmp_path, answers_at_once=0) as mesh:
        with pytest.raises(RequestRefused, match=r"generator\.answers_at_once = 0"):
            await asked(mesh.address, "1")


async def test_a_response_may_come_whole_with_its_version_and_reason(tmp_path: Path) -> None:
    async with generator(tmp_path) as mesh:
        _, *tokens = await asked(mesh.address, "47", responses=2, whole=True, policy_version=3, tag="evaluation")
        told = [(event.response, event.text, event.finish_reason) for event in tokens if isinstance(event, Tokens)]
        assert told == [(0, "47", "stop"), (1, "4747", "stop")]
        assert all(isinstance(event, Tokens) and event.version_spans[0][0] == 3 for event in tokens)
        assert mesh.service.report().metrics["answer_tokens/evaluation"] == 8
        mesh.engine.gate = asyncio.Event()
        async with GeneratorClient.connect(mesh.address) as client:
            events = client.generate("1", whole=True, policy_version=3)
            assert isinstance(await anext(events), Started)
            waiting = asyncio.ensure_future(anext(events))
            await mesh.engine.changes.until(lambda: mesh.engine.sampled[-1][0] == "1")
            await mesh.publish(4)
            mesh.engine.gate.set()
            with pytest.raises(RequestRefused, match="3 was replaced by 4"):
                await waiting


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({}, "prompt: one of problem, text and prompt_token_ids has to be set"),
    "too long a problem": ({"problem": "1" * 9}, "problem: prompt too long: 9 tokens"),
    "no room": ({"text": "1" * 40}, "text: 40 tokens; 1 to 39 leave room for a response"),
    "token outside": ({"prompt_token_ids": [5, 600]}, "token 600 is outside the model's vocabulary of 512"),
    "negative token": ({"prompt_token_ids": [-1]}, "token -1 is outside"),
    "responses": ({"problem": "1", "responses": 0}, "responses: 0 is out of range"),
    "temperature": ({"problem": "1", "temperature": float("nan")}, "temperature: nan is not a finite number"),
    "top_p": ({"problem": "1", "top_p": 0.0}, "top_p: 0.0 is out of range"),
    "tag": ({"problem": "1", "tag": "A B"}, "tag: 'A B' does not match"),
}


@pytest.mark.parametrize("given", BAD_REQUESTS)
async def test_what_cannot_be_answered_is_refused_by_its_field(tmp_path: Path, given: str) -> None:
    request, says = BAD_REQUESTS[given]
    async with generator(tmp_path) as mesh:
        (tmp_path / "config.json").write_text('{"vocab_size": 512}')
        with pytest.raises(RequestRefused) as refused:
            await asked(mesh.address, **request)
        assert says in str(refused.value)
        assert answer_metrics(mesh) == {"answers_running": 0}


async def test_the_command_prints_answers_as_text_tokens_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with generator(tmp_path) as mesh:
        asking = (Target("127.0.0.1:1"), mesh.address)
        capsys.readouterr()  # what the generator said at its start
        await asyncio.to_thread(generate, *asking, GenerateOptions("47", responses=2))
        shown = capsys.readouterr()
        assert shown.out == "47\n4747\n"
        assert "[2 prompt tokens, version 3, temperature 0.6, at most 32 tokens]" in shown.err
        assert "[response 1: 5 tokens, ended by stop; version 3 tokens 0 to 4; mean log-probability -0.2500]" in (
            shown.err
        )
        await asyncio.to_thread(generate, *asking, GenerateOptions("4", tokens=True))
        assert capsys.readouterr().out == "     52   -0.2500 '4'\n      0   -0.2500 ''\n"
        await asyncio.to_thread(generate, *asking, GenerateOptions("4", written=True, as_json=True))
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["event"] for line in lines] == ["started", "tokens", "tokens"]
        assert lines[-1] | {"text": None} == {
            "event": "tokens",
            "response": 0,
            "token_ids": [0],
            "log_probs": [-0.25],
            "text": None,
            "finish_reason": "stop",
            "version_spans": [[3, 0, 2]],
        }


async def test_the_command_finds_the_generator_by_the_runs_controller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with generator(tmp_path) as mesh:
        mesh.controller.addresses[common_pb2.ROLE_GENERATOR] = mesh.address
        controller = Target(f"127.0.0.1:{mesh.controller_server.port}")
        capsys.readouterr()  # what the generator said at its start
        await asyncio.to_thread(generate, controller, "", GenerateOptions("8"))
        assert capsys.readouterr().out == "8\n"


async def test_the_example_of_the_documents_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "generator.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    async with generator(tmp_path) as mesh:
        mesh.controller.addresses[common_pb2.ROLE_GENERATOR] = mesh.address
        example = example.replace("127.0.0.1:7400", f"127.0.0.1:{mesh.controller_server.port}")
        example = example.replace("What is 12 + 34?", "46")
        command = await asyncio.create_subprocess_exec(sys.executable, "-c", example, stdout=asyncio.subprocess.PIPE)
        output, _ = await command.communicate()
    assert output == b"0 4 (-0.25,) ()\n0 6 (-0.25,) ()\n0  (-0.25,) ((3, 0, 3),)\n"
