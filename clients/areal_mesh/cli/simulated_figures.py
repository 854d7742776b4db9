"""How a simulation goes, as lines, and what came of it, as a table or a JSON object."""

import asyncio
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from areal_mesh.simulation.figures import Figures, percentile
from areal_mesh.simulation.plan import Plan
from areal_mesh.simulation.processes import cpu_seconds, rss_bytes

_WIDTH = 100
_WARM_SHARE = 0.2
"""Of the steps: what a process takes at first, imports and connections, is none of its growth."""


class Watch:
    """Measures the controller's process while a simulation runs."""

    def __init__(self, plan: Plan, pid: int, progress_seconds: float) -> None:
        self.plan = plan
        self.figures = Figures()
        self.seconds = 0.0
        self.cpu_share = 0.0
        """Of one core, since the first step."""
        self.rss_first = 0
        self.rss_last = 0
        self.groups_a_second = 0.0
        self._pid = pid
        self._progress_seconds = progress_seconds
        self._began: tuple[float, float, int] | None = None

    async def follow(self, figures: Figures) -> None:
        """Looks at the process, and prints a line now and then, until it is cancelled."""
        self.figures = figures
        said = time.monotonic()
        while True:
            await asyncio.sleep(min(0.5, self._progress_seconds))
            if self._began is None and figures.steps:
                self._began = (time.monotonic(), cpu_seconds(self._pid), figures.ended)
                figures.clear_times()
            self._measure()
            if time.monotonic() - said >= self._progress_seconds:
                said = time.monotonic()
                print(self._line(), file=sys.stderr, flush=True)

    def _measure(self) -> None:
        self.rss_last = rss_bytes(self._pid)
        if not self.rss_first and self.figures.steps >= _WARM_SHARE * self.plan.steps:
            self.rss_first = self.rss_last
        if self._began is None:
            return
        began, cpu, ended = self._began
        self.seconds = time.monotonic() - began
        if self.seconds > 0:
            self.cpu_share = (cpu_seconds(self._pid) - cpu) / self.seconds
            self.groups_a_second = (self.figures.ended - ended) / self.seconds

    def finish(self) -> None:
        """Says how it ended."""
        print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        figures = self.figures
        return (
            f"step {figures.steps}/{self.plan.steps}, {self.groups_a_second:.1f} groups/s, "
            f"lease p99 {_ms(figures.leases, 0.99):.1f} ms, status p99 {_ms(figures.statuses, 0.99):.1f} ms, "
            f"controller {self.cpu_share:.0%} of a core, {self.rss_last / 1e6:.0f} MB"
        )

    @property
    def memory_growth(self) -> int:
        """Bytes that the controller grew by since a fifth of the steps were taken."""
        return self.rss_last - self.rss_first if self.rss_first else 0


def _ms(seconds: Any, share: float) -> float:
    return 1000 * percentile(seconds, share)


def as_json(watch: Watch) -> dict[str, Any]:
    """What came of it: milliseconds, bytes, groups and tokens by what each name says; None for what was not seen."""
    figures, plan = watch.figures, watch.plan
    groups = sum(figures.staleness.values())
    leased, trained = figures.leased_tokens.value, figures.trained_tokens.value
    found = {
        "generators": plan.generators,
        "steps": figures.steps,
        "simulated_seconds": watch.seconds * plan.speed,
        "seconds": watch.seconds,
        "groups_a_second": watch.groups_a_second,
        "lease_p50_ms": _ms(figures.leases, 0.5),
        "lease_p99_ms": _ms(figures.leases, 0.99),
        "heartbeat_p99_ms": _ms(figures.heartbeats, 0.99),
        "status_p50_ms": _ms(figures.statuses, 0.5),
        "status_p99_ms": _ms(figures.statuses, 0.99),
        "commit_p99_ms": _ms(figures.commits, 0.99),
        "controller_cpu_share": watch.cpu_share,
        "controller_mb": watch.rss_last / 1e6,
        "controller_growth_mb": watch.memory_growth / 1e6,
        "groups_trained": groups,
        "groups_stale": figures.stale,
        "mean_staleness": sum(age * count for age, count in figures.staleness.items()) / groups if groups else 0.0,
        "max_staleness": max(figures.staleness, default=0),
        "leased_response_tokens": leased / plan.lengths.responses,
        "trained_response_tokens": trained / plan.lengths.responses,
        "calls_sent_again": figures.again,
    }
    # NaN is no JSON.
    return {name: None if value != value else value for name, value in found.items()}


_ROWS = (
    ("groups a second", "groups_a_second", "{:.1f}"),
    ("lease p50, its wait for a place included", "lease_p50_ms", "{:.1f} ms"),
    ("lease p99", "lease_p99_ms", "{:.1f} ms"),
    ("heartbeat p99", "heartbeat_p99_ms", "{:.1f} ms"),
    ("status p50", "status_p50_ms", "{:.1f} ms"),
    ("status p99", "status_p99_ms", "{:.1f} ms"),
    ("commit p99, its publish included", "commit_p99_ms", "{:.1f} ms"),
    ("controller, of a core", "controller_cpu_share", "{:.1%}"),
    ("controller, memory in MB", "controller_mb", "{:.1f}"),
    ("its growth after a fifth of the steps, MB", "controller_growth_mb", "{:+.1f}"),
    ("groups trained", "groups_trained", "{:,}"),
    ("groups stale", "groups_stale", "{:,}"),
    ("staleness, mean", "mean_staleness", "{:.2f}"),
    ("staleness, highest", "max_staleness", "{}"),
    ("mean length leased, tokens a response", "leased_response_tokens", "{:,.0f}"),
    ("mean length trained", "trained_response_tokens", "{:,.0f}"),
)


def show(watch: Watch) -> None:
    """Prints the table."""
    found = as_json(watch)
    print(
        f"{watch.plan.generators} simulated generators and a simulated learner: {found['steps']} steps in "
        f"{watch.seconds:.0f} s, {found['simulated_seconds']:,.0f} s simulated"
    )
    table = Table()
    table.add_column("")
    table.add_column("measured", justify="right")
    for name, key, form in _ROWS:
        table.add_row(name, "-" if found[key] is None else form.format(found[key]))
    Console(width=_WIDTH).print(table)
