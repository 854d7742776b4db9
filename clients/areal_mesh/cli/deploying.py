"""The options of the commands about machines and those who supervise them: `doctor`, `health`, `deploy`."""

import argparse

from areal_mesh.cli.option_types import address, address_or_nothing, count
from areal_mesh.cli.options import SubCommands, add_command, credential_options, source_argument
from areal_mesh.runtime.roles import SERVICE_ROLES


def _doctor(options: argparse.Namespace) -> None:
    from areal_mesh.cli.doctor import examine
    from areal_mesh.cli.targets import target_of

    join = target_of(options) if options.controller else None
    examine(options.source, options.overrides, options.as_json, options.role, join)


def _health(options: argparse.Namespace) -> int:
    from areal_mesh.cli.health import health
    from areal_mesh.cli.targets import target_of

    return health(target_of(options), options.timeout)


def _render(options: argparse.Namespace) -> None:
    from areal_mesh.cli.render import render

    render(options.kind, options.source, options.overrides, options.nodes, options.gpus_per_node)


def _plan(options: argparse.Namespace) -> None:
    from areal_mesh.cli.render import plan

    plan(options.source, options.overrides, options.nodes, options.gpus_per_node)


def add_deploying(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    doctor = add_command(commands, "doctor", _doctor, "Say what this machine can run of a preset, and what would help.")
    source_argument(doctor)
    doctor.add_argument("--role", choices=SERVICE_ROLES, default="", help="the one service that is to run here; all")
    doctor.add_argument(
        "--join",
        type=address_or_nothing,
        default="",
        dest="controller",
        metavar="ADDR",
        help="look whether this node fits the run of that controller",
    )
    credential_options(doctor)
    doctor.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a finding")
    text = "Ask a service by the standard health service; the exit code is 0 where it serves, 1 where it does not."
    health = add_command(commands, "health", _health, text)
    health.add_argument("controller", type=address, metavar="ADDR", help="host:port of the service")
    credential_options(health)
    health.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="longest wait for its answer (5)")
    deploy = commands.add_parser("deploy", help="Several nodes: what runs where.").add_subparsers(required=True)
    text = "Print a line a service: its node from 0, role, name, and GPUs, or - for none."
    _sized(add_command(deploy, "plan", _plan, text))
    text = "Print what deploy files differ in by their numbers: a kustomization, or the command that submits a job."
    rendering = add_command(deploy, "render", _render, text)
    rendering.add_argument("kind", choices=("kubernetes", "slurm"))
    _sized(rendering)


def _sized(parser: argparse.ArgumentParser) -> None:
    source_argument(parser)
    parser.add_argument("--nodes", type=count, default=1, metavar="N", help="machines (1)")
    parser.add_argument("--gpus-per-node", type=count, default=8, metavar="N", help="of each (8)")
