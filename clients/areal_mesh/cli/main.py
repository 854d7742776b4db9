"""The commands and their options; what each does lies in a module of its own."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from areal_mesh.cli.failures import CommandFailed

app = typer.Typer(
    help="Asynchronous reinforcement learning for reasoning language models as a mesh of gRPC services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stage_app = typer.Typer(help="The schedule of context stages.", no_args_is_help=True)
config_app = typer.Typer(help="Settings: show them resolved, check them.", no_args_is_help=True)
app.add_typer(stage_app, name="stage")
app.add_typer(config_app, name="config")


class ServedRole(StrEnum):
    """A service that `serve` can run."""

    CONTROLLER = "controller"
    GENERATOR = "generator"
    VERIFIER = "verifier"
    REPLAY = "replay"
    LEARNER = "learner"


Controller = Annotated[
    str, typer.Option("--controller", envvar="AREAL_MESH_CONTROLLER", help="host:port of the run's controller.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting on top: learner.learning_rate=1e-6.")
]
Source = Annotated[str, typer.Argument(metavar="PRESET|FILE", help="Name of a preset, or path of a TOML or JSON file.")]
_ADDRESS = "127.0.0.1:7400"


@app.command()
def up(
    source: Source,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the run directory first.")] = False,
) -> None:
    """Run a mesh on this machine to its end; started again, it goes on with the same run."""
    from areal_mesh.cli.launcher import launch

    raise typer.Exit(launch(source, overrides or [], fresh))


@app.command()
def prepare(source: Source, overrides: Overrides = None) -> None:
    """Make the model and the prompts of a preset, where it has a recipe for them."""
    from areal_mesh.cli.preparing import prepare_data
    from areal_mesh.cli.resolving import resolved

    prepare_data(resolved(source, overrides or []))


@app.command()
def serve(
    role: ServedRole,
    config: Annotated[str, typer.Option(metavar="PRESET|FILE", help="Settings of the run.")],
    service_id: Annotated[str, typer.Option(help="Name in the mesh, kept over restarts; default ROLE-0.")] = "",
    controller: Annotated[
        str,
        typer.Option(
            envvar="AREAL_MESH_CONTROLLER", help="host:port of the controller; default: where the settings say."
        ),
    ] = "",
    overrides: Overrides = None,
) -> None:
    """Run one service until its run is over, or until SIGTERM drains it."""
    from areal_mesh.cli.serving import serve_role

    raise typer.Exit(serve_role(role.value, config, overrides or [], service_id, controller))


@app.command()
def status(
    controller: Controller = _ADDRESS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object (a line each with --watch).")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until the run ends.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two views.")] = 1.0,
) -> None:
    """What a run does now."""
    from areal_mesh.cli.status import show_status

    show_status(controller, as_json, watch, interval)


@app.command()
def stop(
    controller: Controller = _ADDRESS,
    reason: Annotated[str, typer.Option(help="Kept with the run.")] = "areal-mesh stop",
) -> None:
    """End a run after the step in progress; every service drains."""
    from areal_mesh.cli.control import stop_run

    stop_run(controller, reason)


@app.command()
def pause(controller: Controller = _ADDRESS) -> None:
    """Lease nothing new; what runs goes on."""
    from areal_mesh.cli.control import pause_run

    pause_run(controller)


@app.command()
def resume(controller: Controller = _ADDRESS) -> None:
    """End a pause."""
    from areal_mesh.cli.control import resume_run

    resume_run(controller)


@stage_app.command("next")
def stage_next(controller: Controller = _ADDRESS) -> None:
    """Go on to the next context stage now."""
    from areal_mesh.cli.control import next_stage

    next_stage(controller)


@config_app.command("show")
def config_show(
    source: Annotated[str, typer.Argument(metavar="[PRESET|FILE]", help="Left out: ask the controller.")] = "",
    controller: Controller = _ADDRESS,
    overrides: Overrides = None,
) -> None:
    """Print resolved settings as JSON: those of a preset or file, or of the run behind a controller."""
    from areal_mesh.cli.config import show

    show(source, controller, overrides or [])


@config_app.command("check")
def config_check(
    sources: Annotated[list[str], typer.Argument(metavar="PRESET|FILE...")], overrides: Overrides = None
) -> None:
    """Resolve settings, check them, and say what of them this machine cannot run."""
    from areal_mesh.cli.config import check

    check(sources, overrides or [])


@app.command()
def report(
    source: Annotated[str, typer.Argument(metavar="PRESET|FILE|RUN_DIRECTORY", help="Whose run to report on.")],
) -> None:
    """Print the table of a run from its directory, and write its plots and TensorBoard events anew."""
    from areal_mesh.cli.report import report_on

    report_on(source)


def main() -> None:
    """Entry point of the `areal-mesh` command."""
    from areal_mesh.runtime.environment import prepare_process

    prepare_process()
    try:
        app()
    except CommandFailed as failure:
        print(f"areal-mesh: {failure}", file=sys.stderr, flush=True)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
