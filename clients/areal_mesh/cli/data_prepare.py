"""`areal-mesh data prepare`: a data set as a prompt file, and a report of what became of every line."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from areal_mesh.cli.data_lengths import lengths_by
from areal_mesh.cli.data_sources import Found, find
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.prompt_check import reference_fault, reference_matcher
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.tables import print_wide
from areal_mesh.preparation.fields import Fields, UnknownField, flattened
from areal_mesh.preparation.overlap import EvaluationSets
from areal_mesh.preparation.reading import FileFault, Row, as_written, opened, read_rows
from areal_mesh.preparation.report import Report
from areal_mesh.preparation.stream import Preparation
from areal_mesh.runtime.made import NotMadeHere, made_from, replace_file
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.runtime.text import printable

_EXIT_USAGE = 2
_SHOWN = 5
_MAKER = "areal-mesh data prepare"


@dataclass(frozen=True)
class PrepareOptions:
    """What the command was asked for."""

    output: str
    folder: str
    fetch: str | None
    columns: str
    metadata: str
    against: list[str]
    overlap: float
    preset: str
    tokenizer: str
    max_prompt_tokens: int | None
    count: int
    seed: int
    as_json: bool


def prepare_data(wanted: str, options: PrepareOptions) -> None:
    """Writes the prompt file and its report beside it, and prints what became of the lines.

    Raises:
        CommandFailed: a file is not there or cannot be read, nothing of it can be used, or the output is somebody's.
    """
    if not 0 < options.overlap <= 1:
        raise CommandFailed(f"--overlap {options.overlap:g}: a share is over 0 and at most 1", _EXIT_USAGE)
    try:
        found = find(wanted, Path(options.folder), options.metadata, options.fetch is not None)
        preparation = _preparation(found, options)
        output = Path(options.output or _default_output(wanted, found))
        report = _write(found, preparation, output, found.rows(options.count, options.seed))
    except (FileFault, UnknownField) as error:
        raise CommandFailed(str(error)) from error
    if options.as_json:
        print(json.dumps(report.as_json()))
    else:
        _print(report, found.file, output)
    if not report.kept:
        raise CommandFailed(f"{found.file}: none of its {report.read:,} lines can be used")


def _default_output(wanted: str, found: Found) -> Path:
    folder = found.file.parent
    if found.name == wanted and folder.name == wanted:
        folder = folder.parent
    return folder / f"{found.name}-prompts.jsonl"


def _preparation(found: Found, options: PrepareOptions) -> Preparation:
    prompts, folder, limit = _prompts(options)
    lengths, how = lengths_by(folder, prompts)
    evaluation = EvaluationSets()
    for file in options.against:
        for name, problem in _evaluation_problems(Path(file)):
            evaluation.add(name, problem)
    matches = reference_matcher("qwen")
    known: dict[str, bool] = {}

    def usable(reference: str) -> bool:
        return not reference_fault([reference], matches, known)

    preparation = Preparation(
        source=found.name,
        fields=Fields.parse(options.columns or found.columns),
        metadata=_metadata(found.metadata),
        evaluation=evaluation,
        share=options.overlap,
        lengths=lengths,
        limit=limit,
        matches=usable,
    )
    preparation.report.facts = {
        "file": str(found.file),
        "lengths": f"{how}; at most {limit:,}",
        "against": {"sets": options.against, "problems": len(evaluation), "overlap": options.overlap},
    }
    return preparation


def _prompts(options: PrepareOptions) -> tuple[PromptSettings | None, Path | None, int]:
    """How prompts are written, the model's folder, and the most tokens of one."""
    default = PromptSettings.model_fields["max_prompt_tokens"].default
    if not options.preset:
        return None, Path(options.tokenizer) if options.tokenizer else None, options.max_prompt_tokens or default
    settings = resolved(options.preset)
    folder = Path(options.tokenizer) if options.tokenizer else settings.model.folder
    there = folder if options.tokenizer or (folder / "tokenizer.json").is_file() else None
    return settings.prompts, there, options.max_prompt_tokens or settings.prompts.max_prompt_tokens


def _evaluation_problems(file: Path) -> Iterator[tuple[str, str]]:
    """Names and problems of an evaluation set. Raises FileFault, CommandFailed."""
    if not file.is_file():
        raise CommandFailed(f"--against {file}: no such file; give a set's file")
    fields, count = Fields({}), 0
    for row in read_rows(file):
        value = flattened(row.value)
        problem = None if value is None else fields.value("problem", value)
        if isinstance(problem, str):
            count += 1
            name = None if value is None else fields.value("id", value)
            yield f"{file.name.split('.', 1)[0]}/{name or row.number}", problem
    if not count:
        raise CommandFailed(f"--against {file}: holds no problems")


def _metadata(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        with opened(file) as stream:
            value = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CommandFailed(f"{file}: holds no object of answers by id")
    return {key: as_written(known) for key, known in value.items()}


def _write(found: Found, preparation: Preparation, output: Path, rows: Iterator[Row]) -> Report:
    """Writes the prompt file and its report, in place of such as this command made."""
    beside = output.with_name(f"{output.name.removesuffix('.jsonl')}.report.json")
    for path in (output, beside):
        try:
            made_from(path)
        except NotMadeHere as error:
            what = "this command did not make it, or it was changed since"
            raise CommandFailed(f"{path}: {what}, so it is left as it is; name another with --output") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    made = {"maker": _MAKER, "file": str(found.file)}
    aside = output.with_name(f".{output.name}.{os.getpid()}.new")
    try:
        with aside.open("w", encoding="utf-8") as file:
            for problem in preparation.prepared(rows):
                file.write(problem.as_line())
        if preparation.report.kept:
            replace_file(aside, output, made)
    finally:
        aside.unlink(missing_ok=True)
    aside.write_text(json.dumps(preparation.report.as_json(), indent=2) + "\n", encoding="utf-8")
    replace_file(aside, beside, made)
    return preparation.report


def _print(report: Report, file: Path, output: Path) -> None:
    print(f"{file}: {report.read:,} lines, {report.kept:,} kept")
    table = Table()
    table.add_column("what")
    table.add_column("lines", justify="right")
    table.add_column("such as", overflow="fold")
    for title, counts in (("left out", report.left_out), ("to know", report.noted)):
        for kind, count in counts.most_common():
            table.add_row(f"{title}: {kind}", f"{count:,}", _examples(report, kind))
    for kind, count in report.mended.most_common():
        table.add_row(f"mended: {kind}", f"{count:,}", "")
    if table.row_count:
        print_wide(table)
    against = report.facts["against"]
    print(f"prompt lengths {report.facts['lengths']}")
    print(
        f"held against {against['problems']:,} evaluation problems ({', '.join(against['sets'])}); out from an "
        f"overlap of {against['overlap']:.0%}"
        if against["problems"]
        else "held against no evaluation set; name files with --against"
    )
    print(f"sources: {', '.join(f'{name} {count:,}' for name, count in report.sources.most_common(_SHOWN))}")
    print(f"{output} and its report, {output.name.removesuffix('.jsonl')}.report.json")


def _examples(report: Report, kind: str) -> str:
    first: Sequence[str] = [f"line {found.line}: {found.text}" for found in report.findings if found.kind == kind]
    return printable("\n".join(first[:_SHOWN]))
