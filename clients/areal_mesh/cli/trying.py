"""The options of the commands by which a person tries a model and its prompts: `generate`, `data preview`."""

import argparse
from argparse import ArgumentTypeError

from areal_mesh.cli.option_types import address_or_nothing
from areal_mesh.cli.options import SubCommands, add_command, controller_option, source_argument


def _generate(options: argparse.Namespace) -> None:
    from areal_mesh.cli.generate import GenerateOptions, generate
    from areal_mesh.cli.targets import target_of

    given = {name: getattr(options, name) for name in GenerateOptions.__dataclass_fields__}
    generate(target_of(options), options.address, GenerateOptions(**given))


def _preview(options: argparse.Namespace) -> None:
    from areal_mesh.cli.preview import preview

    preview(options.source, options.overrides, options.count, options.as_json)


def add_trying(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    _add_generate(commands)
    data = commands.add_parser("data", help="The prompt file: see what becomes of it.").add_subparsers(required=True)
    preview = add_command(data, "preview", _preview, "Print prompts as the model will read them, with token ids.")
    source_argument(preview)
    preview.add_argument("--count", type=_positive, default=3, metavar="N", help="the first so many of the file (3)")
    preview.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line")


def _add_generate(commands: SubCommands) -> None:
    text = "Ask a run's generator something, with the weights that it holds; nothing of it is trained on."
    generate = add_command(commands, "generate", _generate, text)
    generate.add_argument("prompt", metavar="PROBLEM", help="put into the run's template; - reads it from the input")
    generate.add_argument("--written", action="store_true", help="PROBLEM is the whole prompt, control tokens included")
    controller_option(generate)
    generate.add_argument(
        "--address",
        type=address_or_nothing,
        default="",
        metavar="ADDR",
        help="host:port of a generator; left out, the run's",
    )
    generate.add_argument("--responses", type=_positive, metavar="N", help="how many (1)")
    generate.add_argument("--max-tokens", type=_positive, dest="max_response_tokens", metavar="N", help="of a response")
    generate.add_argument("--temperature", type=float, metavar="T", help="0 for the likeliest token (the run's)")
    generate.add_argument("--top-p", type=float, metavar="P", help="(the run's)")
    generate.add_argument("--seed", type=int, metavar="N", help="the same answers again with the same weights")
    generate.add_argument(
        "--policy-version", type=int, metavar="V", help="fail rather than answer with a token of another version"
    )
    generate.add_argument("--tag", default="", metavar="NAME", help="tokens are counted by it in the metrics")
    generate.add_argument("--tokens", action="store_true", help="a line for each token: id, log-probability, text")
    generate.add_argument("--json", action="store_true", dest="as_json", help="each message as one JSON object a line")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("at least 1")
    return number
