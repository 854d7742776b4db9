"""The options of the commands that examine what was trained: `eval`, `plot`."""

import argparse
import json
import os

from areal_mesh.cli.option_types import positive
from areal_mesh.cli.options import SubCommands, add_command, overrides_option

_DATA_VARIABLE = "AREAL_MESH_DATA"
_SETTINGS = ("samples", "limit", "temperature", "top_p", "max_response_tokens", "seed", "data")


def _eval(options: argparse.Namespace) -> None:
    from areal_mesh.cli.evaluate import EvaluateOptions, evaluate

    given = {name: value for name in _SETTINGS if (value := getattr(options, name)) is not None}
    overrides = [*options.overrides, *(f"evaluation.{name}={_written(value)}" for name, value in given.items())]
    evaluate(
        EvaluateOptions(options.checkpoints, options.suite, options.config, options.output, options.compare, overrides)
    )


def _plot(options: argparse.Namespace) -> None:
    from areal_mesh.cli.plot import plot

    plot(options.sources, options.figure, options.output)


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def add_evaluating(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    text = "Examine checkpoints on suites of problems; the same command again goes on where it was ended."
    evaluate = add_command(commands, "eval", _eval, text)
    evaluate.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="model folder, run, or version of a run (runs/trial@40)"
    )
    evaluate.add_argument("--suite", default="", metavar="NAME,FILE", help="(evaluation.suites of the settings)")
    evaluate.add_argument(
        "--data",
        default=os.environ.get(_DATA_VARIABLE) or None,
        metavar="FOLDER",
        help=f"where suites are found by name (${_DATA_VARIABLE}, else data)",
    )
    evaluate.add_argument("--samples", type=positive, metavar="N", help="responses to each problem (32)")
    evaluate.add_argument("--limit", type=positive, metavar="N", help="the first so many problems of each suite")
    evaluate.add_argument("--temperature", type=float, metavar="T", help="0 for the likeliest token (the run's; 0.6)")
    evaluate.add_argument("--top-p", type=float, metavar="P", help="(0.95)")
    evaluate.add_argument("--max-tokens", type=positive, dest="max_response_tokens", metavar="N", help="of a response")
    evaluate.add_argument("--seed", type=int, metavar="N", help="the same responses again with the same weights (1)")
    evaluate.add_argument("--output", default="", metavar="FOLDER", help="(evaluations/..., the same for the same)")
    evaluate.add_argument(
        "--config", default="", metavar="PRESET|FILE", help="settings in place of the run's: prompts, engine, sampling"
    )
    evaluate.add_argument("--compare", choices=("release-note",), default="", help="set published results beside them")
    overrides_option(evaluate)
    text = "Draw a figure of AReaL's release note from runs, as PNG and SVG; print the table of their stages."
    plot = add_command(commands, "plot", _plot, text)
    plot.add_argument("sources", nargs="+", metavar="RUN", help="several are averaged; for figure 4 also evaluations")
    plot.add_argument(
        "--figure",
        type=int,
        choices=(1, 3, 4),
        default=1,
        help="1: reward and length, stages marked; 3: without stages; 4: accuracy and length of evaluations (1)",
    )
    plot.add_argument("--output", default="", metavar="FOLDER", help="(plots/ of the run)")
