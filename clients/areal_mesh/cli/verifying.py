"""The options of `areal-mesh verify`."""

import argparse

from areal_mesh.cli.options import SubCommands, add_command


def _verify(options: argparse.Namespace) -> int:
    if options.golds:
        from areal_mesh.cli.golds import check_golds

        return check_golds(options.file, options.protocol)
    from areal_mesh.cli.verify import verify_file

    return verify_file(options.file, options.protocol, options.output, options.explain, options.against)


def add_verifying(commands: SubCommands) -> None:
    """Adds the command to the parser."""
    verify = add_command(commands, "verify", _verify, "Grade a file of responses; print a table by rule and by source.")
    verify.add_argument("file", metavar="FILE", help="JSONL with response and answer, and optionally id and source")
    verify.add_argument("--protocol", choices=("qwen", "strict_qwen"), default="qwen", help="grading protocol (qwen)")
    verify.add_argument("--output", default="", metavar="VERDICTS.jsonl", help="write a verdict for each line")
    verify.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="ID",
        help="say instead why one answer was judged so; left out: the first that is not correct",
    )
    verify.add_argument(
        "--against", choices=("math-verify",), default="", help="ask another grader too; print where the two disagree"
    )
    verify.add_argument(
        "--golds", action="store_true", help="read the references alone; list those that no answer could match"
    )
