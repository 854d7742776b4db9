"""`areal-mesh rollouts`: what a run's model answered, how it was judged, and why."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_choice import chosen_run, settings_of
from areal_mesh.rollouts.explaining import explanation
from areal_mesh.rollouts.index import RolloutIndex
from areal_mesh.rollouts.values import Rollout, RolloutDetail, RolloutQuery, RolloutsUnreadable
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.text import printable

_SHOWN_BEGIN, _SHOWN_END = 400, 400


def show_rollouts(source: str, query: RolloutQuery, count: int, explained: str, as_json: bool) -> None:
    """Prints `count` rollouts of a query, or explains the one whose id is `explained`.

    Raises:
        CommandFailed: there is no such run or rollout, or its log cannot be read.
    """
    folder = chosen_run(source)
    settings = settings_of(folder)
    index = RolloutIndex(folder, settings.model.folder)
    try:
        index.update()
        if index.missing_tokenizer:
            print(f"tokens are shown by their ids: {index.missing_tokenizer}", file=sys.stderr)
        if explained:
            _explain(index, settings, folder, explained, as_json)
        else:
            _list(index, folder, query, count, as_json)
    except RolloutsUnreadable as error:
        raise CommandFailed(str(error)) from error
    finally:
        index.close()


def _list(index: RolloutIndex, folder: Path, query: RolloutQuery, count: int, as_json: bool) -> None:
    found = index.find(query, count)
    for rollout in found.rollouts:
        print(json.dumps(asdict(rollout), ensure_ascii=False) if as_json else "\n".join(_lines(rollout)) + "\n")
    if not as_json:
        print(f"{folder}: {len(found.rollouts):,} of {found.count:,} rollouts shown")


def _lines(rollout: Rollout) -> Iterator[str]:
    yield f"--- {rollout.rollout_id}  {_verdict_line(rollout)}"
    yield f"problem    {_shortened(rollout.problem)}"
    yield f"reference  {printable(' | '.join(rollout.references)) or '-'}"
    yield f"answer     {printable(rollout.extracted) or '-'}"
    yield f"response   {_shortened(rollout.response)}"


def _verdict_line(rollout: Rollout) -> str:
    versions = f"{rollout.oldest_version}"
    if rollout.newest_version != rollout.oldest_version:
        versions += f" to {rollout.newest_version}"
    trained = f"step {rollout.step}" if rollout.step is not None else "stale" if rollout.stale else "not trained on"
    cut_off = " (cut off)" if rollout.finish == "length" else ""
    parts = [
        f"{rollout.verdict} by `{rollout.rule}`",
        f"reward {rollout.reward:+g}{_terms(rollout)}",
        f"{rollout.length:,} tokens{cut_off}",
        f"version {versions}",
        trained,
        f"stage {rollout.stage}",
        *([f"source {rollout.source}"] if rollout.source else []),
    ]
    return printable("  ".join(parts))


def _terms(rollout: Rollout) -> str:
    """What the reward is made of."""
    return f" ({', '.join(f'{name} {value:+g}' for name, value in rollout.terms.items())})" if rollout.terms else ""


def _shortened(text: str) -> str:
    """A text for a list, its middle left out where it is long."""
    left_out = len(text) - _SHOWN_BEGIN - _SHOWN_END
    if left_out <= 0:
        return printable(text)
    return f"{printable(text[:_SHOWN_BEGIN])}\n[... {left_out:,} characters ...]\n{printable(text[-_SHOWN_END:])}"


def _explain(index: RolloutIndex, settings: RunSettings, folder: Path, rollout_id: str, as_json: bool) -> None:
    detail = index.detail(rollout_id)
    if detail is None:
        raise CommandFailed(
            f"{folder}: holds no rollout {rollout_id}; ids are those that `areal-mesh rollouts` prints, and the oldest "
            "go with their part of the log (replay.kept_bytes)"
        )
    steps = explanation(detail.rollout, settings)
    if as_json:
        print(json.dumps({**asdict(detail), "why": steps}, ensure_ascii=False))
        return
    print("\n".join(_in_full(detail)))
    print("\n".join(printable(step) for step in steps))


def _in_full(detail: RolloutDetail) -> Iterator[str]:
    rollout = detail.rollout
    yield f"--- {rollout.rollout_id}  {_verdict_line(rollout)}"
    yield f"prompt     {printable(detail.prompt)}"
    yield f"reference  {printable(' | '.join(rollout.references)) or '-'}"
    yield f"response   {printable(rollout.response)}"
    spans = ", ".join(f"{span.policy_version}: {span.start} to {span.end}" for span in detail.spans)
    yield f"versions   {spans} (tokens)"
    mean = sum(detail.log_probs) / max(1, len(detail.log_probs))
    yield f"tokens     {rollout.length:,} of up to {detail.response_limit:,}, mean log-probability {mean:.4f}"
