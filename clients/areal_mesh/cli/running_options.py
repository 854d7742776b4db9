"""The options of the commands that run a mesh or a part of it: `up`, `prepare`, `serve`."""

import argparse

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.options import SubCommands, add_command, source_argument
from areal_mesh.cli.serve_options import add_serve


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
    add_serve(commands)
