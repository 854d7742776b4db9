"""`areal-mesh verify`: grades a file without a service, shows how, and says why."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from areal_mesh.cli.against import Comparison
from areal_mesh.cli.answer_lines import read_lines
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.grading.answer_file import VERDICT_KEYS, Graded, Protocol, explain_line, grade_lines
from areal_mesh.runtime.problem_lines import LineError, parse_line

_FILE_WIDTH = 160
_STATUSES = ("correct", "incorrect", "error")
_LINES_OF_PROGRESS = 10
_FAULTS_SHOWN = 20


class Tally:
    """Verdicts counted by rule and by source."""

    def __init__(self) -> None:
        self.by_rule: Counter[tuple[str, str]] = Counter()
        self.by_source: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def add(self, graded: Graded) -> None:
        """Counts one verdict."""
        status = graded.verdict.status
        self.by_rule[graded.verdict.rule, status] += 1
        self.by_source[graded.line.source, status] += 1
        if graded.line.fault:
            self.faults.append(graded.line.fault)

    @property
    def graded(self) -> int:
        """Verdicts counted."""
        return self.by_rule.total()

    def table(self) -> Table:
        """A row for each rule, then for each source if lines name any, then for all."""
        table = Table(title_justify="left", show_footer=False)
        table.add_column("judged by")
        for name in (*_STATUSES, "share correct"):
            table.add_column(name, justify="right", no_wrap=True)
        _add_rows(table, self.by_rule, "")
        if any(source for source, _ in self.by_source):
            table.add_section()
            _add_rows(table, self.by_source, "source ")
        table.add_section()
        everything = Counter({("", status): self._count(status) for status in _STATUSES})
        table.add_row("all", *_figures(everything, ""), style="bold")
        return table

    def _count(self, status: str) -> int:
        return sum(count for (_, found), count in self.by_rule.items() if found == status)


def _add_rows(table: Table, counts: Counter[tuple[str, str]], prefix: str) -> None:
    totals: Counter[str] = Counter()
    for (name, _), count in counts.items():
        totals[name] += count
    for name, _ in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(f"{prefix}{name}" if name else "source not named"), *_figures(counts, name))


def _figures(counts: Counter[tuple[str, str]], name: str) -> list[str]:
    figures = [counts[name, status] for status in _STATUSES]
    total = sum(figures)
    return [*(f"{count:,}" for count in figures), f"{figures[0] / total:.1%}" if total else "-"]


def verify_file(file: str, protocol: Protocol, output: str, explain: str | None, against: str = "") -> int:
    """Grades a JSONL file and prints the table, or explains one of its answers; returns the exit code.

    Args:
        against: another grader whose verdicts are set beside ours; empty for none.

    Raises:
        CommandFailed: the file cannot be read or the output not be written, lines cannot be graded (which are reported
            after all others are graded), or there is no such line to explain.
    """
    path = Path(file)
    if not path.is_file():
        # A pipe has no size, which tells how far grading has come.
        what = "is no regular file" if path.exists() else "no such file"
        raise CommandFailed(f"{file}: {what}; give a JSONL file with `response` and `answer` on each line")
    _check_output(path, output, explain)
    if explain is not None:
        return _explain(path, protocol, explain)
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    tally = Tally()
    comparison = Comparison(against) if against else None
    try:
        with _verdicts(output) as write, _progress(path) as advance:
            for graded in grade_lines(read_lines(path, protocol)):
                tally.add(graded)
                if comparison is not None:
                    comparison.add(graded)
                write(graded)
                advance(graded.line.end, tally.graded)
    except OSError as error:
        raise CommandFailed(f"{error.filename or file}: {error.strerror or error}") from error
    if not tally.graded:
        raise CommandFailed(f"{file}: holds no answers; give `response` and `answer` on each line")
    console.print(tally.table())
    if comparison is not None:
        console.print(comparison.table())
        print("\n".join(comparison.disagreements))
    return _report(tally, file)


def _check_output(path: Path, output: str, explain: str | None) -> None:
    if explain is not None and output:
        raise CommandFailed("--explain writes no verdicts: leave --output out")
    if output and Path(output).exists() and path.samefile(output):
        raise CommandFailed(f"--output {output}: is the file that is read; give another")
    if output and not _may_be_written(Path(output)):
        raise CommandFailed(
            f"--output {output}: is there and holds something else than verdicts, so it is left as it is; give another"
        )


def _report(tally: Tally, file: str) -> int:
    if not tally.faults:
        return 0
    for fault in tally.faults[:_FAULTS_SHOWN]:
        print(f"{file}: {fault}", file=sys.stderr)
    raise CommandFailed(f"{file}: {len(tally.faults)} of {tally.graded} lines cannot be graded; all others are")


def _explain(path: Path, protocol: Protocol, identifier: str) -> int:
    try:
        steps = explain_line(read_lines(path, protocol), identifier)
    except ValueError as error:
        raise CommandFailed(f"{path}: {error}") from error
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror or error}") from error
    if steps is None:
        wanted = f"no line has the id or number {identifier}" if identifier else "no answer is incorrect"
        raise CommandFailed(f"{path}: {wanted}; name one with --explain ID")
    print("\n".join(steps))
    return 0


def _may_be_written(output: Path) -> bool:
    """Whether there is nothing to lose: no file, an empty one, a device or pipe, or verdicts of this command."""
    if not output.is_file():
        return True
    with output.open("rb") as file:
        first = file.readline()
    try:
        return not first or parse_line(first).keys() >= VERDICT_KEYS
    except LineError:
        return False


@contextmanager
def _verdicts(output: str) -> Iterator[Callable[[Graded], None]]:
    """What writes a verdict to `output`; to nowhere if that is empty.

    Raises:
        CommandFailed: the file cannot be made, or takes no more.
    """
    if not output:
        yield lambda graded: None
        return
    with _blaming(output, "; give a file in a folder that exists and can be written"):
        file = Path(output).open("w", encoding="utf-8")  # noqa: SIM115 closed below, where a full disk shows at last

    def write(graded: Graded) -> None:
        with _blaming(output):
            file.write(json.dumps(graded.record()) + "\n")

    try:
        yield write
    finally:
        with _blaming(output):
            file.close()


@contextmanager
def _blaming(output: str, advice: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"--output {output}: {error.strerror or error}{advice}") from error


class _PlainProgress:
    """A line for each tenth of the file."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._shown = 0

    def __call__(self, position: int, graded: int) -> None:
        tenth = _LINES_OF_PROGRESS * position // max(self._size, 1)
        if tenth > self._shown:
            self._shown = tenth
            print(f"{100 * position // self._size} %: {graded:,} answers graded", file=sys.stderr, flush=True)


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int, int], None]]:
    """What is told how far grading has come: a bar on a terminal, lines elsewhere; on standard error."""
    size = path.stat().st_size
    if not sys.stderr.isatty():
        yield _PlainProgress(size)
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("0 answers", total=size)

        def advance(position: int, graded: int) -> None:
            progress.update(task, completed=position, description=f"{graded:,} answers")

        yield advance
