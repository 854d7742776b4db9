"""What became of every line of a file, for a person and for a program. Bounded: of each kind the first lines."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_LINES_KEPT = 10_000


@dataclass(frozen=True)
class Finding:
    """What is to know of a line."""

    line: int
    kind: str
    text: str


@dataclass
class Report:
    """Counts, and the lines behind them."""

    read: int = 0
    kept: int = 0
    mended: "Counter[str]" = field(default_factory=Counter)
    """Lines by what was mended in them."""
    left_out: "Counter[str]" = field(default_factory=Counter)
    """Lines by why they are not in the prepared file."""
    noted: "Counter[str]" = field(default_factory=Counter)
    """Lines by what is to know of them; they are in the file."""
    sources: "Counter[str]" = field(default_factory=Counter)
    """Kept lines by source."""
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What was checked, and how."""

    def leave_out(self, line: int, kind: str, text: str) -> None:
        """Counts a line that is not kept."""
        self.left_out[kind] += 1
        self._keep(line, kind, text)

    def note(self, line: int, kind: str, text: str) -> None:
        """Counts a line that is kept, and of which something is to know."""
        self.noted[kind] += 1
        self._keep(line, kind, text)

    def keep(self, source: str, mended: Iterable[str]) -> None:
        """Counts a line that is kept."""
        self.kept += 1
        self.sources[source] += 1
        for what in set(mended):
            self.mended[what] += 1

    def _keep(self, line: int, kind: str, text: str) -> None:
        if len(self.findings) < _LINES_KEPT:
            self.findings.append(Finding(line, kind, text))

    def as_json(self) -> Mapping[str, Any]:
        """The whole as one object."""
        return {
            "read": self.read,
            "kept": self.kept,
            "mended": dict(self.mended),
            "left_out": dict(self.left_out),
            "noted": dict(self.noted),
            "sources": dict(self.sources),
            **self.facts,
            "lines": [{"line": found.line, "kind": found.kind, "text": found.text} for found in self.findings],
        }
