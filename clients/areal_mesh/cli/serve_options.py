"""The options of `areal-mesh serve`."""

import argparse
import os

from areal_mesh.cli.option_types import address_or_nothing
from areal_mesh.cli.options import (
    CONTROLLER_VARIABLE,
    RUN_ID_VARIABLE,
    SERVICE_ID_VARIABLE,
    SubCommands,
    add_command,
    overrides_option,
)
from areal_mesh.runtime.roles import SERVICE_ROLES


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


def add_serve(commands: SubCommands) -> None:
    """Adds it to the command's parser."""
    serve = add_command(commands, "serve", _serve, "Run one service until its run is over, or until SIGTERM drains it.")
    serve.add_argument("role", choices=SERVICE_ROLES)
    serve.add_argument("--config", required=True, metavar="PRESET|FILE", help="settings of the run")
    serve.add_argument(
        "--service-id",
        default=os.environ.get(SERVICE_ID_VARIABLE) or "",
        metavar="ID",
        help=f"name in the mesh, kept over restarts; {{host}}: of this machine (${SERVICE_ID_VARIABLE}, else ROLE-0)",
    )
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
