"""The options of the commands by which a person tries a model and its prompts: `generate`, `data preview`."""

import argparse

from areal_mesh.cli.option_types import address_or_nothing, positive
from areal_mesh.cli.options import SubCommands, add_command, controller_option, source_argument


def _generate(options: argparse.Namespace) -> None:
    from areal_mesh.cli.generate import GenerateOptions, generate
    from areal_mesh.cli.targets import target_of

    given = {name: getattr(options, name) for name in GenerateOptions.__dataclass_fields__}
    generate(target_of(options), options.address, GenerateOptions(**given))


def _preview(options: argparse.Namespace) -> None:
    from areal_mesh.cli.preview import preview

    preview(options.source, options.overrides, options.count, options.as_json)


def _prepare(options: argparse.Namespace) -> None:
    from areal_mesh.cli.data_prepare import PrepareOptions, prepare_data

    given = {name: getattr(options, name) for name in PrepareOptions.__dataclass_fields__}
    prepare_data(options.wanted, PrepareOptions(**given))


def add_trying(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    _add_generate(commands)
    data = commands.add_parser("data", help="The prompt file: see what becomes of it.").add_subparsers(required=True)
    preview = add_command(data, "preview", _preview, "Print prompts as the model will read them, with token ids.")
    source_argument(preview)
    preview.add_argument("--count", type=positive, default=3, metavar="N", help="the first so many of the file (3)")
    preview.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line")
    _add_prepare(data)


def _add_prepare(data: SubCommands) -> None:
    text = "Make a prompt file of a data set: read, mended, told apart, held against evaluation sets; with a report."
    prepare = add_command(data, "prepare", _prepare, text)
    prepare.add_argument("wanted", metavar="NAME|FILE", help="areal, deepscaler, gsm8k, reasoning-gym/TASK, ...")
    prepare.add_argument("--output", default="", metavar="FILE", help="the prompt file (NAME-prompts.jsonl)")
    prepare.add_argument("--folder", default="data", metavar="FOLDER", help="where files of named sets lie (data)")
    prepare.add_argument("--from", choices=("hub",), dest="fetch", help="fetch a named set that is not there")
    prepare.add_argument("--columns", default="", metavar="KIND=FIELD,...", help="problem, solutions, id, source, ...")
    prepare.add_argument("--metadata", default="", metavar="FILE", help="answers by id (id2info.json beside the file)")
    prepare.add_argument(
        "--against", action="append", default=[], metavar="FILE", help="an evaluation set; may be repeated"
    )
    prepare.add_argument(
        "--overlap", type=float, default=0.5, metavar="SHARE", help="of n-grams, from which a problem is out (0.5)"
    )
    prepare.add_argument("--preset", default="", metavar="PRESET|FILE", help="whose tokenizer, template and limit")
    prepare.add_argument("--tokenizer", default="", metavar="FOLDER", help="a model's folder (the preset's)")
    prepare.add_argument("--max-prompt-tokens", type=positive, metavar="N", help="(the preset's, or 2048)")
    prepare.add_argument("--count", type=positive, default=10_000, metavar="N", help="problems of a task (10000)")
    prepare.add_argument("--seed", type=int, default=1, metavar="N", help="of a task's problems (1)")
    prepare.add_argument("--json", action="store_true", dest="as_json", help="the report as one JSON object")


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
    generate.add_argument("--responses", type=positive, metavar="N", help="how many (1)")
    generate.add_argument("--max-tokens", type=positive, dest="max_response_tokens", metavar="N", help="of a response")
    generate.add_argument("--temperature", type=float, metavar="T", help="0 for the likeliest token (the run's)")
    generate.add_argument("--top-p", type=float, metavar="P", help="(the run's)")
    generate.add_argument("--seed", type=int, metavar="N", help="the same answers again with the same weights")
    generate.add_argument(
        "--policy-version", type=int, metavar="V", help="fail rather than answer with a token of another version"
    )
    generate.add_argument("--tag", default="", metavar="NAME", help="tokens are counted by it in the metrics")
    generate.add_argument("--tokens", action="store_true", help="a line for each token: id, log-probability, text")
    generate.add_argument("--json", action="store_true", dest="as_json", help="each message as one JSON object a line")
