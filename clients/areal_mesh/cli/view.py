"""What a person sees of a run: a panel of tables on a terminal, and one line a step elsewhere. Pure: values in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from areal_mesh.cli.evaluation_lines import evaluation_lines
from areal_mesh.cli.service_rows import ProcessNotes, services_table
from areal_mesh.cli.times import times_line
from areal_mesh.client import RunStatus, Stage, Step
from areal_mesh.views.rows import Row

_BAR_WIDTH = 40
_REASONS_SHOWN = 4
_LONGEST_REASON = 200
NARROW_COLUMNS = 110
"""With fewer the view leaves out what it can do without, and folds the rest."""
_LOW_LINES, _HIGH_LINES = 30, 50
"""With fewer than the first it has two lines of each kind of news; with fewer than the second none is folded."""


@dataclass(frozen=True)
class Figure:
    """How a metric of a step is shown."""

    label: str
    metric: str
    style: str
    """A format specification."""
    unit: str = ""

    def shown(self, metrics: Mapping[str, float]) -> str:
        """With its label; a dash where the step did not measure it."""
        value = metrics.get(self.metric)
        return f"{self.label} -" if value is None else f"{self.label} {value:{self.style}}{self.unit}"


STEP_FIGURES = (
    Figure("reward", "reward", "+.3f"),
    Figure("length", "response_length", ".1f"),
    Figure("truncated", "truncated", ".0%"),
    Figure("equal rewards", "equal_rewards", ".0%"),
    Figure("staleness", "staleness_mean", ".2f"),
    Figure("mismatch KL", "mismatch_kl", ".1e"),
    Figure("generated", "generated_tokens_per_second", ",.0f", " tok/s"),
    Figure("trained", "trained_tokens_per_second", ",.0f", " tok/s"),
)
"""What people are shown of a step, in the live view and on its line: a further metric is a row here."""


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural unless it is one: `1 restart`, `2 restarts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def run_view(
    status: RunStatus | None,
    stage_steps: Sequence[int],
    processes: ProcessNotes,
    news: Sequence[str] = (),
    size: tuple[int, int] = (160, 60),
) -> RenderableType:
    """The live view.

    Args:
        status: None while no controller answers.
        stage_steps: steps of each stage at most.
        size: columns and lines that there are.
    """
    narrow, low = size[0] < NARROW_COLUMNS, size[1] < _LOW_LINES
    shut = size[1] < _HIGH_LINES
    parts: list[RenderableType] = []
    if status is None:
        parts.append(Text("waiting for the controller", style="yellow"))
    else:
        parts += [_headline(status, narrow), _progress(status, stage_steps, narrow), _figures(status, narrow)]
        parts += [Text(line, style="bold red") for line in fault_lines(status)]
    parts.append(services_table(status.services if status else (), processes, size[0]))
    if status is not None:
        reasons = reason_lines(status.end_reasons, status.reason_tokens)
        told = [(line, "") for line in evaluation_lines(status.step_metrics)]
        told += [(line, "dim") for line in engine_lines(status)]
        told += [(line, "yellow") for line in [*waiting_lines(status), *(reasons[:2] if low else reasons)]]
        parts += [Text(line, style, no_wrap=shut, overflow="ellipsis") for line, style in told]
    for line in news[-2:] if low else news:
        parts.append(Text(line, style="dim", no_wrap=shut, overflow="ellipsis"))
    return Group(*parts)


def _headline(status: RunStatus, narrow: bool) -> Text:
    stage = status.stage
    where = f"stage {stage.name} ({stage.index + 1} of {status.stages}, up to {stage.max_response_tokens} tokens)"
    versions = f"step {status.step}  version {status.policy_version} (published {status.published_version})"
    if narrow:
        return Text.assemble((status.run_name, "bold"), f"  {status.state}  {where}\n{versions}")
    return Text.assemble((status.run_name, "bold"), f"  {status.state}  {where}  {versions}")


def _progress(status: RunStatus, stage_steps: Sequence[int], narrow: bool) -> Table:
    grid = Table.grid(padding=(0, 1))
    in_stage = stage_steps[status.stage.index] if status.stage.index < len(stage_steps) else 0
    for name, done, planned, said in (
        ("run", status.step, status.planned_steps, times_line(status, datetime.now(UTC))),
        ("stage", status.stage_step, in_stage, ""),
    ):
        if planned:
            bar = ProgressBar(total=planned, completed=min(done, planned), width=20 if narrow else _BAR_WIDTH)
            grid.add_row(name, bar, f"{done}/{planned}", said)
    return grid


def _figures(status: RunStatus, narrow: bool) -> Group:
    """Figures of the last step and of the run, as many in a row as there is room for."""
    replay, groups = status.replay, status.groups
    cells = [
        *(figure.shown(status.step_metrics) for figure in STEP_FIGURES),
        f"staleness {_histogram(status.staleness)}",
        f"weight updates {status.weight_updates}",
        f"steps without update {status.steps_without_update}",
        f"last pause {status.last_pause_seconds * 1e3:.0f} ms",
        f"leased {groups.leased:,}, open {groups.open:,}",
        f"trained {groups.trained:,}",
        f"stale {groups.stale:,}, filtered {groups.filtered:,}, failed {groups.failed:,}",
        f"replay {counted(replay.waiting_groups, 'group')}, {_bytes(replay.waiting_bytes)}",
    ]
    in_a_row = 3 if narrow else 4
    grid = Table.grid(padding=(0, 2))
    for place in range(0, len(cells), in_a_row):
        grid.add_row(*cells[place : place + in_a_row])
    return Group(grid, Text(f"tokens a group {lengths_line(status.group_tokens)}", no_wrap=narrow, overflow="ellipsis"))


def lengths_line(group_tokens: Mapping[str, float]) -> str:
    """Mean response tokens of the groups that ended, by end; a dash where none did."""
    return ", ".join(f"{end} {tokens:,.0f}" for end, tokens in group_tokens.items()) or "-"


def _histogram(staleness: Mapping[int, int]) -> str:
    return " ".join(f"{age}:{count}" for age, count in staleness.items()) or "-"


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def engine_lines(status: RunStatus) -> list[str]:
    """A line for each engine that says how full it is: responses open of those it may run, its cache, preemptions."""
    lines = []
    for service in status.services:
        figures = service.metrics
        if "responses_limit" in figures:
            lines.append(
                f"{service.service_id}: {figures['responses_open']:,.0f} responses open, up to "
                f"{figures['responses_limit']:,.0f} at once, KV cache {figures['kv_cache_use']:.0%} full, "
                f"{counted(int(figures['preemptions']), 'preemption')}"
            )
    return lines


def waiting_lines(status: RunStatus) -> list[str]:
    """A line for each generator that lacks its weights: why."""
    waiting = [service for service in status.services if service.waits_for]
    return [f"{service.service_id} waits for weights: {_first_line(service.waits_for)}" for service in waiting]


def reason_lines(end_reasons: Mapping[str, int], tokens: Mapping[str, float]) -> list[str]:
    """Why groups ended with nothing to train on, the commonest reasons first, with the mean of their response `tokens`
    where it is known; empty where none did."""
    listed = list(end_reasons.items())
    lines = [
        f"{counted(count, 'group')} {kind}" + (f", {tokens[kind]:,.0f} tokens each" if kind in tokens else "")
        for kind, count in listed[:_REASONS_SHOWN]
    ]
    rest = sum(count for _, count in listed[_REASONS_SHOWN:])
    return [*lines, f"{counted(rest, 'group')} for other reasons"] if rest else lines


def _first_line(text: str) -> str:
    return text.splitlines()[0][:_LONGEST_REASON] if text else ""


def step_line(step: Step, planned_steps: int) -> str:
    """A step on one plain line; figures that it did not measure are dashes. `planned_steps`: 0 where nobody knows."""
    planned = f"/{planned_steps}" if planned_steps else ""
    shown = [figure.shown(step.metrics) for figure in STEP_FIGURES]
    if step.metrics.get("optimizer_updates") == 0:
        shown.append("no update")
    return "  ".join([f"step {step.step}{planned}", f"stage {step.stage.name}", *shown])


def stage_line(stage: Stage, stages: int) -> str:
    """A stage that is entered, on one plain line."""
    return f"stage {stage.name} ({stage.index + 1} of {stages}): up to {stage.max_response_tokens} tokens"


def fault_lines(status: RunStatus) -> list[str]:
    """What a person has to see to, a line each."""
    return [
        f"{fault.service_id}: {fault.text}" + ("; nothing is leased meanwhile" if fault.holds_admission else "")
        for fault in status.faults
    ]


def changes(before: RunStatus | None, now: RunStatus) -> list[str]:
    """Plain lines for what changed between two statuses: the states of the services and of the run."""
    lines = []
    known = {service.service_id: service.state for service in before.services} if before else {}
    for service in now.services:
        if known.get(service.service_id) != service.state:
            lines.append(f"{service.service_id} {service.state.replace('_', ' ')} at {service.address}")
    told = waiting_lines(before) if before else []
    lines += [line for line in waiting_lines(now) if line not in told]
    lines += [line for line in fault_lines(now) if before is None or line not in fault_lines(before)]
    if before is not None and before.faults and not now.faults:
        lines.append("no fault any more")
    if before is None or before.state != now.state:
        lines.append(f"run {now.run_name} {now.state}")
    return lines


def step_of(row: Row) -> Step:
    """The step that a row tells of."""
    stage = Stage(int(row.get("stage", 0)), str(row.get("stage_name", "")), int(row.get("max_response_tokens", 0)))
    numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    return Step(int(row["step"]), stage, numbers)
