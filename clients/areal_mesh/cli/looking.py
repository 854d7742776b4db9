"""The options of the commands that show what a run did: `rollouts`, `view`."""

import argparse
from argparse import ArgumentTypeError

from areal_mesh.cli.option_types import address_or_nothing, positive
from areal_mesh.cli.options import SubCommands, add_command, credential_options

_ORDERS = ("newest", "oldest", "longest", "shortest", "best", "worst")


def _rollouts(options: argparse.Namespace) -> None:
    from areal_mesh.cli.rollouts import show_rollouts
    from areal_mesh.rollouts.values import RolloutQuery

    query = RolloutQuery(
        verdict="incorrect" if options.wrong else None,
        step=options.step,
        source=options.source,
        rule=options.rule,
        text=options.grep,
        order=options.order,
    )
    show_rollouts(options.run_source, query, options.count, options.explain, options.as_json)


def _view(options: argparse.Namespace) -> None:
    from areal_mesh.cli.targets import target_of
    from areal_mesh.cli.viewing import view

    view(options.runs, target_of(options), options.host, options.port, options.until_over)


def add_looking(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    text = "Print a run's rollouts: problem, response, reference, verdict, rule, reward, length, versions."
    rollouts = add_command(commands, "rollouts", _rollouts, text)
    rollouts.add_argument(
        "run_source", nargs="?", default="", metavar="RUN", help="run directory, preset or file; the newest in runs/"
    )
    rollouts.add_argument("--wrong", action="store_true", help="those judged incorrect")
    rollouts.add_argument("--step", type=int, metavar="N", help="those that step N trained on")
    rollouts.add_argument("--source", metavar="S", help="those whose problem is of source S")
    rollouts.add_argument("--rule", metavar="R", help="those that the grading rule R decided")
    rollouts.add_argument("--grep", default="", metavar="TEXT", help="those in whose response or problem TEXT stands")
    rollouts.add_argument("--order", choices=_ORDERS, default="newest", help="which come first (newest)")
    rollouts.add_argument("--count", type=positive, default=10, metavar="N", help="so many (10)")
    rollouts.add_argument("--explain", default="", metavar="ID", help="one in full, and why it was judged so")
    rollouts.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line")
    text = "Serve a page that shows runs, while they go on or after: curves, mesh, times of a step, rollouts."
    view = add_command(commands, "view", _view, text)
    view.add_argument(
        "runs", nargs="*", metavar="RUN", help="run directories, presets or files; left out, those in runs/"
    )
    view.add_argument(
        "--controller",
        type=address_or_nothing,
        default="",
        metavar="ADDR",
        help="host:port of a running run's controller; left out, where the settings of each run say",
    )
    credential_options(view)
    view.add_argument(
        "--port", type=_port, default=7420, metavar="N", help="on loopback; 0 for any that is free (7420)"
    )
    view.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDR",
        help="another address to listen on, for a container whose port is published on loopback (127.0.0.1)",
    )
    view.add_argument("--until-over", action="store_true", help="leave when the run of --controller is over")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ArgumentTypeError("0 to 65535")
    return number
