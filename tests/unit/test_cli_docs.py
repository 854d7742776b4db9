"""What `docs/cli.md` says of the command is what the command takes."""

import argparse
import re
from pathlib import Path

import pytest

from areal_mesh.cli.main import build_parser
from areal_mesh.runtime.settings import load_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "cli.md"
SHELL = re.compile(r"^```sh\n(.+?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(set(re.findall(r"`areal-mesh ([^`]+)`", PAGE.read_text())))


def test_every_command_is_described() -> None:
    described = {command.split()[0] for command in COMMANDS}
    [commands] = [
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    assert described == set(commands)


@pytest.mark.parametrize("command", [command for command in COMMANDS if " " in command])
def test_a_described_command_parses_and_its_presets_resolve(command: str) -> None:
    options = build_parser().parse_args(command.split())
    named = [getattr(options, name, "") for name in ("source", "config")] + getattr(options, "sources", [])
    for source in named:
        if source and "/" not in source:
            load_settings(source)


def shell_commands(page: str) -> list[str]:
    """Lines of a page's shell blocks, without comments and redirections."""
    blocks = SHELL.findall((DOCS / page).read_text())
    return [re.split(r" [#>]", line)[0].strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", shell_commands("security.md"))
def test_a_line_of_the_security_page_parses(line: str) -> None:
    program, *words = line.split()
    assert program == "areal-mesh"
    build_parser().parse_args(words)
