"""The options of the commands that look at what a run leaves, `report` and `export`; and of `completion`."""

import argparse
from collections.abc import Callable

from areal_mesh.cli.options import SubCommands, add_command


def _report(options: argparse.Namespace) -> None:
    if len(options.sources) > 1 or options.picture:
        from areal_mesh.cli.comparing import compare_runs

        compare_runs(options.sources, options.picture)
        return
    from areal_mesh.cli.report import report_on

    report_on(options.sources[0])


def _export(options: argparse.Namespace) -> None:
    from areal_mesh.cli.export import export

    export(options.source, options.version, options.to, options.push, options.adapters)


def add_afterwards(commands: SubCommands) -> None:
    """Adds `report` and `export`."""
    text = "Print the table of a run; write its plots and TensorBoard events anew. Of several, compare them."
    report = add_command(commands, "report", _report, text)
    report.add_argument("sources", nargs="+", metavar="PRESET|FILE|RUN_DIRECTORY")
    report.add_argument("--picture", default="", metavar="NEW.png", help="draw the runs' curves over each other")
    export = add_command(
        commands, "export", _export, "Write a checkpoint's policy as a folder that transformers and vLLM load."
    )
    export.add_argument("source", metavar="PRESET|FILE|RUN_DIRECTORY")
    export.add_argument("--version", type=int, metavar="N", help="policy version of the checkpoint; the newest")
    export.add_argument("--to", default="", metavar="FOLDER", help="checkpoints/export-N in the run's directory")
    export.add_argument(
        "--adapters", action="store_true", help="what learner.lora has trained by itself, as a folder for PEFT"
    )
    export.add_argument(
        "--push", default="", metavar="OWNER/NAME", help="and upload it to the Hugging Face hub, a private model if new"
    )


def add_completion(commands: SubCommands, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds `completion`. `parser`: the whole command's."""

    def print_script(options: argparse.Namespace) -> None:
        from areal_mesh.cli.completion import completion_script

        print(completion_script(parser(), options.shell), end="")

    text = "Print a script that completes commands, options and presets in a shell."
    completion = add_command(commands, "completion", print_script, text)
    completion.add_argument("shell", choices=("bash", "zsh"))
