"""The options of the commands that compute before anything runs: `plan`, `schedule replay`."""

import argparse
from argparse import ArgumentTypeError

from areal_mesh.cli.options import SubCommands, add_command, overrides_option, source_argument


def _plan(options: argparse.Namespace) -> None:
    from areal_mesh.cli.plan import PlanOptions, plan

    given = {name: getattr(options, name) for name in PlanOptions.__dataclass_fields__}
    plan(options.source, options.overrides, PlanOptions(**given))


def _replay(options: argparse.Namespace) -> None:
    from areal_mesh.cli.schedule import replay

    replay(options.file, options.preset, options.overrides, options.as_json)


def add_planning(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    text = "Predict a run's step time, tokens a second, bottleneck and hours on so many nodes of GPUs."
    plan = add_command(commands, "plan", _plan, text)
    source_argument(plan)
    plan.add_argument("--nodes", type=counts, default=[1], metavar="N,N", help="nodes, a row each (1)")
    plan.add_argument("--gpus", type=count, default=8, dest="gpus_per_node", metavar="N", help="of a node (8)")
    plan.add_argument("--hardware", default="h800", metavar="GPU", help="h800, h100, h200, a100, l40s, rtx4090 (h800)")
    plan.add_argument("--stage", default="", metavar="NAME", help="that hours are of (that of 16384 tokens)")
    plan.add_argument("--epochs", type=float, default=10.0, metavar="N", help="that hours are of (10)")
    plan.add_argument("--prompts", type=count, metavar="N", help="of an epoch (prompts.file's, or AReaL's 40315)")
    plan.add_argument("--split", type=split, metavar="G/T", help="GPUs to generate and to train (AReaL's allocation)")
    plan.add_argument("--mean-length", type=float, metavar="TOKENS", help="of responses at the stage's limit")
    plan.add_argument("--calibrate", default="", metavar="RUN", help="directory of a run measured on this hardware")
    plan.add_argument("--figure", type=int, choices=(2,), help="draw hours by nodes beside the published ones")
    plan.add_argument("--to", default="plan-hours.png", metavar="FILE", help="the figure, PNG or SVG (plan-hours.png)")
    plan.add_argument("--json", action="store_true", dest="as_json", help="a list of one object a row")
    schedule = commands.add_parser("schedule", help="The rules by which stages end.").add_subparsers(required=True)
    text = "Say where the stages of a preset would have ended on the recorded steps of a run."
    replay = add_command(schedule, "replay", _replay, text)
    replay.add_argument("file", metavar="METRICS.jsonl", help="of a run's directory")
    replay.add_argument("--preset", required=True, metavar="PRESET|FILE", help="whose stages are tried")
    overrides_option(replay)
    replay.add_argument("--json", action="store_true", dest="as_json", help="a list of one object a stage")


def cluster_options(check: argparse.ArgumentParser) -> None:
    """Those that say on which GPUs a run is to fit; with one of them the others have their defaults."""
    check.add_argument("--nodes", type=count, metavar="N", help="check that the run fits so many nodes (1)")
    check.add_argument("--gpus", type=count, metavar="N", help="of a node (8)")
    check.add_argument("--memory", type=float, metavar="GB", help="of a GPU (80)")


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def counts(text: str) -> list[int]:
    """Such numbers, with commas between them."""
    return [count(part.strip()) for part in text.split(",")]


def split(text: str) -> tuple[int, int]:
    """Two such numbers, with a slash between them."""
    generation, slash, training = text.partition("/")
    if not slash:
        raise ArgumentTypeError(f"{text!r}: expected GPUs to generate and to train, such as 6/2")
    return count(generation), count(training)
