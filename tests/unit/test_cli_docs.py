"""What `docs/cli.md` says of the command is what the command takes."""

import re
from pathlib import Path

import pytest

from areal_mesh.cli.main import build_parser
from areal_mesh.runtime.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = sorted(set(re.findall(r"`areal-mesh ([^`]+)`", PAGE.read_text())))


def test_every_command_is_described() -> None:
    described = {command.split()[0] for command in COMMANDS}
    assert described == {
        "up",
        "prepare",
        "serve",
        "status",
        "generate",
        "data",
        "pause",
        "resume",
        "stage",
        "stop",
        "config",
        "completion",
        "doctor",
        "export",
        "report",
        "simulate",
        "verify",
    }


@pytest.mark.parametrize("command", [command for command in COMMANDS if " " in command])
def test_a_described_command_parses_and_its_presets_resolve(command: str) -> None:
    options = build_parser().parse_args(command.split())
    named = [getattr(options, name, "") for name in ("source", "config")] + getattr(options, "sources", [])
    for source in named:
        if source and "/" not in source:
            load_settings(source)
