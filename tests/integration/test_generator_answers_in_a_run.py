"""Evaluation traffic in a run that trains: tagged, bound to a version, in no book, and nothing waits for it."""

import sqlite3
from contextlib import aclosing
from pathlib import Path

from areal_mesh.client import GeneratorClient, MeshClient, RequestRefused, Started, Tokens
from tests.integration.live_mesh import live_mesh, live_settings

ASKED = 24


async def evaluate(client: GeneratorClient, problem: str) -> int:
    """An answer of one version whole; returns the version. One that a publish overtakes is asked for again."""
    while True:
        async with aclosing(client.generate(problem)) as first:
            started = await anext(first)
        assert isinstance(started, Started)
        try:
            bound = client.generate(problem, tag="evaluation", policy_version=started.policy_version)
            *_, last = [event async for event in bound]
        except RequestRefused as overtaken:
            if "was replaced by" in str(overtaken) or "is held" in str(overtaken):
                continue
            raise
        assert isinstance(last, Tokens)
        assert [version for version, _, _ in last.version_spans] == [started.policy_version]
        return started.policy_version


async def test_evaluation_goes_on_beside_training_and_stands_in_no_book(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    async with live_mesh(settings) as mesh:
        before = (await mesh.until_step(2)).step
        engine = mesh.services["generator"]._engine
        async with MeshClient.connect(mesh.addresses["controller"]) as controller:
            (address,) = await controller.generators()
        async with GeneratorClient.connect(address) as client:
            versions = [await evaluate(client, f"eval {number}"[:8]) for number in range(ASKED)]
        assert versions == sorted(versions)
        status = await mesh.until_step(before + 3)
        metrics = mesh.services["generator"].report().metrics
        assert metrics["answer_tokens/evaluation"] > ASKED
        assert metrics["tokens_generated"] < engine.tokens - ASKED
        groups = status.groups
        assert groups.leased == groups.trained + groups.stale + groups.filtered + groups.failed + groups.open
    with sqlite3.connect(settings.run_directory / "ledger.db") as ledger:
        prompts = {prompt for (prompt,) in ledger.execute("SELECT DISTINCT prompt_id FROM groups")}
    assert not any(prompt.startswith("eval") for prompt in prompts)
