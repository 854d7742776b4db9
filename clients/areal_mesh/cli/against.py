"""`areal-mesh verify --against math-verify`: both graders' verdicts side by side, and where they disagree."""

import logging
from collections import Counter
from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.grading.answer_file import Graded
from areal_mesh.grading.verdict import GradeRequest

GRADERS = ("math-verify",)
_SECONDS = 5
"""For reading one answer, and for comparing two."""
_SHOWN = 20
_WIDTH = 60


class Comparison:
    """Verdicts of both graders, counted, and the first lines on which they disagree."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._accepts = _math_verify()
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._disagreements: list[str] = []

    def add(self, graded: Graded) -> None:
        """Asks the other grader about a line that ours has judged."""
        request, status = graded.line.request, graded.verdict.status
        if request is None or status == "error":
            return
        accepted = self._accepts(request)
        self._counts[status, accepted] += 1
        if accepted != graded.verdict.correct and len(self._disagreements) < _SHOWN:
            extracted = ascii((graded.verdict.extracted or "")[:_WIDTH])
            reference = ascii(request.golds[0][:_WIDTH])
            self._disagreements.append(
                f"line {graded.line.number}: ours {status} ({graded.verdict.rule}), "
                f"{self._name} {'correct' if accepted else 'incorrect'}: answer {extracted}, reference {reference}"
            )

    @property
    def disagreements(self) -> list[str]:
        """The first lines on which the graders disagree."""
        return self._disagreements

    def table(self) -> Table:
        """How often each pair of verdicts was given."""
        table = Table(title_justify="left")
        table.add_column("ours")
        for verdict in ("correct", "incorrect"):
            table.add_column(f"{self._name}: {verdict}", justify="right", no_wrap=True)
        for status in ("correct", "incorrect"):
            table.add_row(Text(status), *(f"{self._counts[status, accepted]:,}" for accepted in (True, False)))
        same = self._counts["correct", True] + self._counts["incorrect", False]
        total = self._counts.total()
        table.add_section()
        table.add_row("agree", f"{same / total:.1%}" if total else "-", "")
        return table


def _math_verify() -> Callable[[GradeRequest], bool]:
    """Whether math-verify accepts a response, by its own extraction.

    Raises:
        CommandFailed: it is not installed.
    """
    try:
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
    except ModuleNotFoundError as error:
        raise CommandFailed(f"--against math-verify: {error.name} is not installed; pip install math-verify") from error
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]

    def accepts(request: GradeRequest) -> bool:
        answer = parse(request.response, targets, parsing_timeout=_SECONDS)
        golds = (parse(f"$\\boxed{{{gold}}}$", targets, parsing_timeout=_SECONDS) for gold in request.golds)
        return any(verify(gold, answer, timeout_seconds=_SECONDS) for gold in golds)

    return accepts
