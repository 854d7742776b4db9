"""The commands and their options; what each does lies in a module of its own, imported when it is called.

Parsed with argparse, so that `status` answers within a second on a machine whose cores are all at work: a parser that
brings a validation library along would take as long to import as all the rest.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from areal_mesh.cli.afterwards import add_afterwards, add_completion
from areal_mesh.cli.deploying import add_deploying
from areal_mesh.cli.evaluating import add_evaluating
from areal_mesh.cli.failures import EXIT_FAILED, CommandFailed
from areal_mesh.cli.keeping import add_keeping
from areal_mesh.cli.looking import add_looking
from areal_mesh.cli.option_types import interval
from areal_mesh.cli.options import SubCommands, add_command, controller_option, overrides_option
from areal_mesh.cli.parsing import Parser, ShowVersion
from areal_mesh.cli.planning_options import add_planning, cluster_options
from areal_mesh.cli.printing import make_output_safe
from areal_mesh.cli.running_options import add_running
from areal_mesh.cli.security_options import add_security_commands
from areal_mesh.cli.simulate_options import add_simulate_options, plan_of
from areal_mesh.cli.trying import add_trying
from areal_mesh.cli.verifying import add_verifying
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.output import silence

_EXIT_INTERRUPTED = 130


def _status(options: argparse.Namespace) -> None:
    from areal_mesh.cli.status import show_status, show_why
    from areal_mesh.cli.targets import target_of

    if options.why:
        show_why(target_of(options))
        return
    show_status(target_of(options), options.as_json, options.watch, options.interval)


def _stop(options: argparse.Namespace) -> None:
    from areal_mesh.cli.control import stop_run
    from areal_mesh.cli.targets import target_of

    stop_run(target_of(options), options.reason)


def _pause(options: argparse.Namespace) -> None:
    from areal_mesh.cli.control import pause_run
    from areal_mesh.cli.targets import target_of

    pause_run(target_of(options))


def _resume(options: argparse.Namespace) -> None:
    from areal_mesh.cli.control import resume_run
    from areal_mesh.cli.targets import target_of

    resume_run(target_of(options))


def _stage_next(options: argparse.Namespace) -> None:
    from areal_mesh.cli.control import next_stage
    from areal_mesh.cli.targets import target_of

    next_stage(target_of(options))


def _config_show(options: argparse.Namespace) -> None:
    from areal_mesh.cli.config import show
    from areal_mesh.cli.targets import target_of

    show(options.source, lambda: target_of(options), options.overrides)


def _config_check(options: argparse.Namespace) -> None:
    from areal_mesh.cli.config import check, cluster_of

    check(options.sources, options.overrides, cluster_of(options.nodes, options.gpus, options.memory))


def _config_reference(options: argparse.Namespace) -> None:
    from areal_mesh.cli.settings_page import settings_page

    print(settings_page(), end="")


def _simulate(options: argparse.Namespace) -> None:
    from areal_mesh.cli.simulate import simulate

    simulate(plan_of(options), options.as_json, options.progress)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command; each sub-command's namespace has its function as `run`."""
    parser = Parser(
        prog="areal-mesh",
        description="Asynchronous reinforcement learning for reasoning language models as a mesh of gRPC services.",
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_running(commands)
    add_afterwards(commands)
    _add_steering(commands)
    _add_settings(commands)
    add_verifying(commands)
    text = "Load the real controller and replay buffer with simulated generators and a simulated learner."
    add_simulate_options(add_command(commands, "simulate", _simulate, text))
    add_trying(commands)
    add_deploying(commands)
    add_looking(commands)
    add_planning(commands)
    add_evaluating(commands)
    add_security_commands(commands)
    add_keeping(commands)
    add_completion(commands, build_parser)
    return parser


def _add_steering(commands: SubCommands) -> None:
    status = add_command(commands, "status", _status, "What a run does now.")
    controller_option(status)
    status.add_argument("--json", action="store_true", dest="as_json", help="one JSON object; one a line with --watch")
    status.add_argument("--why", action="store_true", help="say instead what each service waits for, and on whom")
    status.add_argument("--watch", action="store_true", help="go on showing it until the run ends")
    status.add_argument("--interval", type=interval, default=1.0, metavar="SECONDS", help="between two views (1)")
    stop = add_command(commands, "stop", _stop, "End a run after the step in progress; every service drains.")
    controller_option(stop)
    stop.add_argument("--reason", default="areal-mesh stop", help="kept with the run")
    controller_option(add_command(commands, "pause", _pause, "Lease nothing new; what runs goes on."))
    controller_option(add_command(commands, "resume", _resume, "End a pause."))
    stage = commands.add_parser("stage", help="The schedule of context stages.").add_subparsers(required=True)
    controller_option(add_command(stage, "next", _stage_next, "Go on to the next context stage now."))


def _add_settings(commands: SubCommands) -> None:
    config = commands.add_parser("config", help="Settings: show them resolved, check them.").add_subparsers(
        required=True
    )
    show = add_command(
        config, "show", _config_show, "Print resolved settings as JSON: of a preset or file, or of a run."
    )
    show.add_argument("source", nargs="?", default="", metavar="PRESET|FILE", help="left out: ask the controller")
    controller_option(show)
    overrides_option(show)
    check = add_command(
        config, "check", _config_check, "Resolve settings, check them, say what this machine cannot run."
    )
    check.add_argument("sources", nargs="+", metavar="PRESET|FILE")
    overrides_option(check)
    text = "Print every setting with its type, its default and what it does, as Markdown."
    add_command(config, "reference", _config_reference, text)
    cluster_options(check)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `areal-mesh` command."""
    from areal_mesh.runtime.environment import prepare_process

    make_output_safe()
    options = build_parser().parse_args(arguments)
    prepare_process()
    try:
        exit_code = options.run(options) or 0
        # What cannot be written has to be known while it can still be said.
        sys.stdout.flush()
        sys.exit(exit_code)
    except CommandFailed as failure:
        _fail(str(failure), failure.exit_code)
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may be flushed into the closed pipe at exit.
        silence(sys.stdout)
    except OSError as error:
        if not is_full(error):
            raise
        if error.filename is None:
            silence(sys.stdout)
        what = error.filename or "the output of this command"
        _fail(f"{what}: {error.strerror}; free some space, and try again", EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


def _fail(text: str, exit_code: int) -> None:
    # The last line of a service, repeated, names the command already, and the service with it.
    with contextlib.suppress(OSError):  # nobody may be left to read it; the exit code says it too
        print(text if text.startswith("areal-mesh ") else f"areal-mesh: {text}", file=sys.stderr, flush=True)
    sys.exit(exit_code)
