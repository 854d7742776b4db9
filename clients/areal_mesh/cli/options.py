"""Options that several commands have, and how a command is added to the parser."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from areal_mesh.cli.option_types import address

DEFAULT_CONTROLLER = "127.0.0.1:7400"
CONTROLLER_VARIABLE = "AREAL_MESH_CONTROLLER"
RUN_ID_VARIABLE = "AREAL_MESH_RUN_ID"
SERVICE_ID_VARIABLE = "AREAL_MESH_SERVICE_ID"
CERTIFICATES_VARIABLE = "AREAL_MESH_CERTIFICATES"
TOKEN_VARIABLE = "AREAL_MESH_TOKEN"
TOKEN_FILE_VARIABLE = "AREAL_MESH_TOKEN_FILE"

SubCommands = Any  # argparse gives the type no public name
Command = Callable[[argparse.Namespace], int | None]


def add_command(commands: SubCommands, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Adds a command; its namespace has `run` as such."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def source_argument(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """A preset or file, and settings on top."""
    text = "name of a preset, or path of a TOML or JSON file"
    nargs: dict[str, str] = {"nargs": "?", "default": ""} if optional else {}
    parser.add_argument("source", metavar="PRESET|FILE", help=text, **nargs)  # type: ignore[arg-type]
    overrides_option(parser)


def overrides_option(parser: argparse.ArgumentParser) -> None:
    """`--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="a setting on top, such as learner.learning_rate=1e-6; may be repeated",
    )


def controller_option(parser: argparse.ArgumentParser) -> None:
    """`--controller`, and what proves to it who asks."""
    parser.add_argument(
        "--controller",
        default=os.environ.get(CONTROLLER_VARIABLE) or None,
        type=address,
        metavar="ADDR",
        help=f"host:port of the run's controller (${CONTROLLER_VARIABLE}, else of the run that goes on under runs/)",
    )
    credential_options(parser)


def credential_options(parser: argparse.ArgumentParser) -> None:
    """`--certificates` and `--token-file`."""
    parser.add_argument(
        "--certificates",
        default=os.environ.get(CERTIFICATES_VARIABLE, ""),
        metavar="FOLDER",
        help=f"for a run over TLS: folder with ca.pem and client.pem (${CERTIFICATES_VARIABLE}, else plain text)",
    )
    # No option takes the token itself: the command lines of a machine are everybody's to read.
    parser.add_argument(
        "--token-file",
        default=os.environ.get(TOKEN_FILE_VARIABLE, ""),
        metavar="FILE",
        help=f"file that holds your token (${TOKEN_FILE_VARIABLE}; ${TOKEN_VARIABLE} holds the token itself)",
    )
