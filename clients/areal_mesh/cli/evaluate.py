"""`areal-mesh eval`: examines checkpoints on suites of problems, keeps every response, goes on where it was ended."""

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.cli.evaluation_folder import RESPONSES, entered, identity_of
from areal_mesh.cli.evaluation_progress import Shown, progress
from areal_mesh.cli.evaluation_results import conclude
from areal_mesh.cli.examined import Examined, examined
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.standalone_engine import events
from areal_mesh.evaluation.published import PUBLISHED
from areal_mesh.evaluation.requests import SampleRequest, sample_requests
from areal_mesh.evaluation.responses import REFUSED, DamagedFile, Response, ResponseFile
from areal_mesh.evaluation.suites import Suite, SuiteError, read_suites

_DEFAULT_PARENT = Path("evaluations")


@dataclass(frozen=True)
class EvaluateOptions:
    """What a person asks for; what is left out is as the checkpoint's settings say."""

    checkpoints: Sequence[str]
    suite: str
    """Names or paths of suites, commas between them."""
    config: str
    output: str
    compare: str
    overrides: Sequence[str]
    """Of the settings; those of the other options among them."""


def evaluate(options: EvaluateOptions) -> None:
    """Generates what is missing, grades everything, prints and writes the results.

    Raises:
        CommandFailed: a checkpoint, a suite or the folder cannot be used, or an engine failed. What was generated is
            kept.
    """
    words = [word for word in options.suite.split(",") if word]
    overrides = [*options.overrides, *([f"evaluation.suites={json.dumps(words)}"] if words else [])]
    models = examined(options.checkpoints, options.config, overrides)
    section = models[0].settings.evaluation
    try:
        suites = read_suites(section.suites, section.data, section.limit)
    except SuiteError as error:
        raise CommandFailed(str(error)) from error
    identity = identity_of(models, suites)
    with entered(_output(options.output, models, identity), identity) as folder:
        try:
            file = ResponseFile(folder / RESPONSES)
        except DamagedFile as error:
            raise CommandFailed(str(error)) from error
        try:
            for model in models:
                _generate(model, suites, file, folder)
        except (KeyboardInterrupt, CommandFailed):
            print(f"{folder}: what was generated is kept; the same command goes on", file=sys.stderr)
            raise
        finally:
            file.close()
        print(conclude(folder, models, [suite.name for suite in suites], PUBLISHED.get(options.compare, ())), end="")
        print(f"\n{folder}: results.md, results.json, results.png, results.svg, responses.jsonl, verdicts.jsonl")


def _output(given: str, models: Sequence[Examined], identity: Mapping[str, Any]) -> Path:
    """The folder that is given; left out, one whose name follows from what is asked."""
    if given:
        return Path(given)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return _DEFAULT_PARENT / f"{models[0].label}-{digest[:8]}"


def _generate(model: Examined, suites: Sequence[Suite], file: ResponseFile, folder: Path) -> None:
    """Generates the responses of a checkpoint that the file lacks."""
    section = model.settings.evaluation
    asked = {
        request.key.identifier: request
        for request in sample_requests(model.label, suites, section.samples, section.seed)
    }
    missing = {name: request for name, request in asked.items() if request.key not in file.known}
    if not missing:
        return
    plan = folder / ".plan.json"
    _write_plan(model, list(missing.values()), plan)
    with progress(model.label, len(asked), len(asked) - len(missing)) as show:
        for event in events(plan, folder / "logs" / f"{model.label}.log"):
            _take(event, missing, file, show)
    plan.unlink()
    left = [name for name, request in missing.items() if request.key not in file.known]
    if left:
        raise CommandFailed(f"{model.label}: the engine left out {len(left)} responses, first {left[0]}; try again")


def _take(event: Mapping[str, Any], asked: Mapping[str, SampleRequest], file: ResponseFile, show: Shown) -> None:
    kind = event["event"]
    if kind == "response":
        request = asked[event["id"]]
        file.add(Response.to(request, event["text"], event["tokens"], event["finish_reason"]))
        show.response()
    elif kind == "refused":
        file.add(Response.to(asked[event["id"]], "", 0, REFUSED, event["reason"]))
        show.response()
    elif kind == "progress":
        show.tokens(event["tokens"], time.monotonic())
    else:
        show.ready(event["max_response_tokens"])


def _write_plan(model: Examined, asked: Sequence[SampleRequest], path: Path) -> None:
    from areal_mesh.generator.standalone import Plan, Request, write_plan

    requests = tuple(Request(request.key.identifier, request.problem, request.seed) for request in asked)
    write_plan(Plan(model.settings, requests), path)
