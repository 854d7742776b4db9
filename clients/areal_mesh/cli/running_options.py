"""The options of the commands that run a mesh or a part of it: `up`, `prepare`, `serve`."""

import argparse
import os

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.option_types import address_or_nothing
from areal_mesh.cli.options import (
    CONTROLLER_VARIABLE,
    RUN_ID_VARIABLE,
    SubCommands,
    add_command,
    overrides_option,
    source_argument,
)
from areal_mesh.runtime.roles import SERVICE_ROLES


def _up(options: argparse.Namespace) -> int:
    if options.simulate:
        from areal_mesh.cli.simulate_preset import simulate_preset

        return simulate_preset(options.source, options.overrides)
    from areal_mesh.cli.launcher import launch
    from areal_mesh.runtime.output import lasting_output

    with lasting_output():
        if not (options.source or options.begun_from):
            raise CommandFailed("up: name a preset or a file of settings, or a run to begin from with --from")
        return launch(options.source, options.overrides, options.fresh, options.begun_from)


def _prepare(options: argparse.Namespace) -> None:
    from areal_mesh.cli.preparing import prepare

    prepare(options.source, options.overrides)


def _serve(options: argparse.Namespace) -> int:
    from areal_mesh.cli.serving import serve_role
    from areal_mesh.runtime.output import lasting_output

    with lasting_output():
        if options.role == "learner" and (options.node_rank or int(os.environ.get("RANK", "0"))):
            from areal_mesh.cli.serving_ranks import serve_ranks

            return serve_ranks(options.config, options.overrides, options.node_rank)
        return serve_role(
            options.role, options.config, options.overrides, options.service_id, options.controller, options.run_id
        )


def add_running(commands: SubCommands) -> None:
    """Adds `up`, `prepare` and `serve`."""
    up = add_command(
        commands, "up", _up, "Run a mesh on this machine to its end; started again, it goes on with the same run."
    )
    source_argument(up, optional=True)
    up.add_argument("--fresh", action="store_true", help="delete the run directory first")
    up.add_argument(
        "--from",
        default="",
        dest="begun_from",
        metavar="RUN[:STEP]",
        help="begin a run of its own with the weights of another's checkpoint, under its settings",
    )
    up.add_argument("--simulate", action="store_true", help="go through the schedule with simulated members, no model")
    source_argument(
        add_command(
            commands, "prepare", _prepare, "Make the model and the prompts of a preset that has a recipe for them."
        )
    )
    _add_serve(commands)


def _add_serve(commands: SubCommands) -> None:
    serve = add_command(commands, "serve", _serve, "Run one service until its run is over, or until SIGTERM drains it.")
    serve.add_argument("role", choices=SERVICE_ROLES)
    serve.add_argument("--config", required=True, metavar="PRESET|FILE", help="settings of the run")
    serve.add_argument("--service-id", default="", metavar="ID", help="name in the mesh, kept over restarts (ROLE-0)")
    serve.add_argument(
        "--controller",
        default=os.environ.get(CONTROLLER_VARIABLE) or "",
        type=address_or_nothing,
        metavar="ADDR",
        help=f"host:port of the controller (${CONTROLLER_VARIABLE}, else where the settings say)",
    )
    serve.add_argument(
        "--run-id",
        default=os.environ.get(RUN_ID_VARIABLE, ""),
        metavar="ID",
        help=f"the same for all services of a run; the controller refuses those with another (${RUN_ID_VARIABLE})",
    )
    serve.add_argument(
        "--node-rank",
        type=int,
        default=0,
        metavar="N",
        help="of a learner on several hosts (learner.hosts): the number of this one; 0 leads and serves",
    )
    overrides_option(serve)
