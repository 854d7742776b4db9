"""The options of `areal-mesh simulate`, each checked on its own and, as a plan, together."""

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from areal_mesh.cli.failures import CommandFailed

if TYPE_CHECKING:
    from areal_mesh.simulation.plan import Plan

_EXIT_USAGE = 2
_MOST_RESPONSES = 4_096
_MOST_BATCH = 65_536


def add_simulate_options(parser: argparse.ArgumentParser) -> None:
    """Adds them; the defaults are those of one node."""
    whole, seconds = _whole, _number
    parser.add_argument("--generators", type=whole(1, 4_000), default=16, metavar="N", help="simulated ones (16)")
    parser.add_argument("--steps", type=whole(1, 10_000_000), default=20, metavar="N", help="steps to take (20)")
    parser.add_argument("--step-seconds", type=seconds, default=60.0, metavar="S", help="that an update takes (60)")
    parser.add_argument(
        "--token-seconds", type=seconds, default=0.02, metavar="S", help="that a token of a response takes (0.02)"
    )
    parser.add_argument("--batch-groups", type=whole(1, _MOST_BATCH), default=64, metavar="N", help="of a step (64)")
    parser.add_argument("--responses", type=whole(1, _MOST_RESPONSES), default=16, metavar="N", help="of a group (16)")
    parser.add_argument(
        "--groups-in-flight", type=whole(1, 4_096), default=8, metavar="N", help="that a generator works on (8)"
    )
    parser.add_argument("--max-staleness", type=whole(0, 1_024), default=4, metavar="N", help="the bound, eta (4)")
    parser.add_argument(
        "--median-length", type=seconds, default=3000.0, metavar="TOKENS", help="of the responses, log-normal (3000)"
    )
    parser.add_argument("--limit", type=whole(1, 1 << 20), default=24_000, metavar="TOKENS", help="of one (24000)")
    parser.add_argument("--seed", type=whole(0, 1 << 31), default=1, metavar="N", help="of the lengths (1)")
    parser.add_argument(
        "--speed", type=seconds, default=1.0, metavar="X", help="simulated seconds in a real one; heartbeats stay (1)"
    )
    parser.add_argument(
        "--payload-tokens",
        type=whole(1, 1 << 20),
        default=1,
        metavar="N",
        help="that a response carries through the replay buffer, of those it is said to have (1)",
    )
    parser.add_argument("--progress", type=seconds, default=5.0, metavar="S", help="real seconds between lines (5)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object instead of the table")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is out of range: {least} to {most}")
        return value

    return parse


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is out of range: over 0, and finite")
    return value


def plan_of(options: argparse.Namespace) -> "Plan":
    """The plan that the options say.

    Raises:
        CommandFailed: no step could ever be taken by it.
    """
    from areal_mesh.simulation.lengths import Lengths
    from areal_mesh.simulation.plan import Plan

    if options.median_length > options.limit:
        raise CommandFailed(
            f"--median-length {options.median_length:g} is over --limit {options.limit}: most responses would be cut "
            "off; lower the one or raise the other",
            _EXIT_USAGE,
        )
    return Plan(
        generators=options.generators,
        groups_in_flight=options.groups_in_flight,
        token_seconds=options.token_seconds,
        step_seconds=options.step_seconds,
        batch_groups=options.batch_groups,
        max_staleness=options.max_staleness,
        steps=options.steps,
        speed=options.speed,
        payload_tokens=options.payload_tokens,
        lengths=Lengths(options.responses, options.limit, options.median_length, seed=options.seed),
    )
