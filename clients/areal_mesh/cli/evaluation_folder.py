"""The folder of an evaluation: what is asked, every response, and the results. One process at a time works in it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.cli.examined import Examined
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.evaluation.suites import Suite
from areal_mesh.runtime.locks import FileLock, LockHeld
from areal_mesh.runtime.settings.changes import changes_between

IDENTITY = "evaluation.json"
RESPONSES = "responses.jsonl"
VERDICTS = "verdicts.jsonl"
RESULTS = "results.json"
TABLE = "results.md"
PLOTS = ("results.png", "results.svg")


def identity_of(models: Sequence[Examined], suites: Sequence[Suite]) -> dict[str, Any]:
    """What an evaluation is, so far as its responses and figures depend on it."""
    return {
        "checkpoints": {model.label: _model(model) for model in models},
        "suites": {suite.name: {"problems": len(suite.problems), "digest": suite.digest} for suite in suites},
    }


def _model(model: Examined) -> dict[str, Any]:
    settings = model.settings
    return {
        "digest": model.digest,
        "version": model.version,
        "dtype": settings.model.dtype,
        "prompts": settings.prompts.model_dump(mode="json", exclude={"file", "count", "shuffle", "max_prompt_tokens"}),
        "end_token_ids": settings.model.end_token_ids,
        "temperature": settings.evaluation_temperature,
        "top_p": settings.evaluation.top_p,
        "max_response_tokens": settings.evaluation_response,
        "samples": settings.evaluation.samples,
        "seed": settings.evaluation.seed,
    }


@contextmanager
def entered(folder: Path, identity: Mapping[str, Any]) -> Iterator[Path]:
    """Holds the folder of an evaluation: new, or with the same one in it.

    Raises:
        CommandFailed: another process works in it, or it holds something else.
    """
    file = folder / IDENTITY
    if not file.is_file() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandFailed(
            f"{folder}: is there and holds no {IDENTITY}, so it is no evaluation's; give another --output"
        )
    try:
        lock = FileLock(folder / ".lock")
    except LockHeld as error:
        raise CommandFailed(f"{folder}: process {error.holder} works on this evaluation; wait for it") from error
    try:
        if file.is_file():
            differences = [
                str(change)
                for change in changes_between(
                    json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(identity))
                )
            ]
            if differences:
                raise CommandFailed(
                    f"{folder} holds another evaluation:\n"
                    + "\n".join(f"  {line}" for line in differences)
                    + "\ngive this one another --output"
                )
        else:
            write_whole(file, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        yield folder
    finally:
        lock.release()


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
