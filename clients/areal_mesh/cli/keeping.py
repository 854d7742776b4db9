"""The options of the commands that look after what runs keep: `runs`, `collect`, `log`, `checkpoint`."""

import argparse

from areal_mesh.cli.option_types import positive
from areal_mesh.cli.options import SubCommands, add_command, controller_option

_RUN = "PRESET|FILE|RUN_DIRECTORY"


def _runs(options: argparse.Namespace) -> None:
    from areal_mesh.cli.runs import list_runs

    list_runs(options.directory, options.as_json)


def _collect(options: argparse.Namespace) -> None:
    from areal_mesh.cli.collect import collect
    from areal_mesh.cli.targets import target_of

    collect(options.directory, options.into, target_of(options) if options.follow else None)


def _show(options: argparse.Namespace) -> None:
    from areal_mesh.cli.log import show

    show(options.source, options.group, options.step, options.as_json)


def _verify(options: argparse.Namespace) -> int:
    from areal_mesh.cli.log import verify

    return verify(options.source)


def _dump(options: argparse.Namespace) -> int:
    from areal_mesh.cli.log import dump

    return dump(options.source, options.step, options.text, options.tokens)


def _replay(options: argparse.Namespace) -> int:
    from areal_mesh.cli.log_replay import replay_log

    return replay_log(options.source, options.start, options.until, options.compare, options.to)


def _checkpoints(options: argparse.Namespace) -> int:
    from areal_mesh.cli.checkpoints import list_checkpoints

    return list_checkpoints(options.source, options.as_json, options.verify)


def _checkpoint_now(options: argparse.Namespace) -> None:
    from areal_mesh.cli.control import checkpoint_now
    from areal_mesh.cli.targets import target_of

    checkpoint_now(target_of(options))


def add_keeping(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    text = "The runs in a directory: state, steps, reward, size, when last written."
    runs = add_command(commands, "runs", _runs, text)
    runs.add_argument("directory", nargs="?", default="runs", metavar="DIRECTORY", help="where runs lie (runs)")
    runs.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a run")
    text = "Bring the files of runs that a person reads (metrics, summary, curves, logs) to another folder."
    collect = add_command(commands, "collect", _collect, text)
    collect.add_argument("directory", metavar="DIRECTORY", help="a run's directory, or one that holds runs")
    collect.add_argument("--into", required=True, metavar="FOLDER", help="where they go, to a folder a run")
    collect.add_argument(
        "--follow", action="store_true", help="again every two seconds, until the controller's run is over"
    )
    controller_option(collect)
    _add_log(commands.add_parser("log", help="The replay log of a run: read it, check it, replay it."))
    _add_checkpoint(commands.add_parser("checkpoint", help="Checkpoints of a run: list them, ask for one."))


def _add_log(parser: argparse.ArgumentParser) -> None:
    log = parser.add_subparsers(required=True)
    show = add_command(log, "show", _show, "Segments, groups and steps of the log; or one group as text; or one batch.")
    _run_option(show)
    what = show.add_mutually_exclusive_group()
    what.add_argument("--group", default="", metavar="ID", help="this group: prompt, responses, rewards, versions")
    what.add_argument("--step", type=positive, metavar="N", help="the groups of this step's batch, in order")
    what.add_argument("--json", action="store_true", dest="as_json", help="one JSON object")
    _run_option(
        add_command(log, "verify", _verify, "Check every checksum; name each damage by file and byte; change nothing.")
    )
    dump = add_command(log, "dump", _dump, "Print every group as a line of JSON.")
    _run_option(dump)
    dump.add_argument("--step", type=positive, metavar="N", help="the batch of this step alone, in its order")
    dump.add_argument("--text", action="store_true", help="with the text of prompt and responses")
    dump.add_argument("--tokens", action="store_true", help="with token ids and behaviour log-probabilities")
    replay = add_command(log, "replay", _replay, "Feed a fresh learner with the log, and compare what it ends at.")
    _run_option(replay)
    replay.add_argument("--from", type=positive, dest="start", metavar="VERSION", help="checkpoint to begin from")
    replay.add_argument("--until", type=positive, metavar="STEP", help="last step (that of what is compared with)")
    replay.add_argument(
        "--compare", default="", metavar="FOLDER", help="checkpoint or export (the run's newest checkpoint)"
    )
    replay.add_argument("--to", default="", metavar="FOLDER", help="write the weights there, a model folder")


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    checkpoint = parser.add_subparsers(required=True)
    listed = add_command(checkpoint, "list", _checkpoints, "The checkpoints of a run, and what is wrong with any.")
    _run_option(listed)
    listed.add_argument("--verify", action="store_true", help="read every file and hold it against its hash")
    listed.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a checkpoint")
    text = "Have the learner write a checkpoint after the step in progress."
    controller_option(add_command(checkpoint, "now", _checkpoint_now, text))


def _run_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, dest="source", metavar=_RUN, help="the run, such as runs/trial")
