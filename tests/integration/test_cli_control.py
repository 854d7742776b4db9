"""The commands that ask and steer a run, against a real server whose servicers are simulated."""

import json

import pytest

from tests.integration.simulated_controller import SimulatedController
from tests.integration.tools import command


async def test_the_status_command_answers_for_people_and_as_json(address: str) -> None:
    code, text, _ = await command("status", "--controller", address)
    assert code == 0
    assert "generator-0" in text
    assert "7/110" in text
    assert "2/8" in text
    code, text, _ = await command("status", "--json", "--controller", address)
    assert (code, json.loads(text)["step_metrics"]["reward"]) == (0, 1.25)


async def test_watching_prints_a_line_a_step_and_one_object_a_status(address: str) -> None:
    _, text, _ = await command("status", "--watch", "--controller", address)
    steps = [line.split()[1].split("/")[0] for line in text.splitlines() if line.startswith("step")]
    assert steps == ["7", "8", "9", "10", "11"], "two statuses saw but one of the last three"
    _, text, _ = await command("status", "--watch", "--json", "--controller", address)
    objects = [json.loads(line) for line in text.splitlines()]
    assert [status["step"] for status in objects] == [7, 8, 11]
    assert [step["step"] for status in objects for step in status["new_steps"]] == [7, 8, 9, 10, 11]


async def test_the_control_commands_call_the_controller(
    address: str, simulated_controller: SimulatedController
) -> None:
    for arguments in (["pause"], ["resume"], ["stop", "--reason", "enough"], ["stage", "next"]):
        code, _, errors = await command(*arguments, "--controller", address)
        assert code == 0, errors
    assert simulated_controller.calls == ["pause", "resume", "stop: enough"]


async def test_a_command_without_a_controller_fails_in_one_line(free_address: str) -> None:
    code, output, errors = await command("status", "--controller", free_address)
    assert (code, output) == (1, "")
    assert errors.count("\n") == 1
    assert errors.startswith(f"areal-mesh: no controller answers at {free_address}")


@pytest.mark.parametrize("address", ["", "localhost", ":7400", "127.0.0.1:99999", "127.0.0.1:0", "http://host:1"])
async def test_an_address_that_is_none_is_named_with_what_would_do(address: str) -> None:
    for arguments in (["status"], ["stage", "next"], ["config", "show"]):
        code, output, errors = await command(*arguments, "--controller", address)
        assert (code, output) == (2, "")
        assert f"argument --controller: '{address}' " in errors.splitlines()[-1]
        assert "grpc" not in errors.lower()
