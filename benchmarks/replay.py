"""The replay buffer beside Reverb: groups of 8 responses x 8,192 tokens inserted and drawn, a server process each.

The payload is the same, random tokens and log-probabilities of 0.52 MB; the rounds alternate. Ours checks every group,
writes it to the disk, acknowledges it, and answers a draw with a recorded batch; Reverb keeps its items in memory and
acknowledges nothing. What was drawn is gone from either: ours releases each batch, as after a checkpoint, and keeps no
segments to look at. A round inserts all groups and then draws them; `both` is what either makes of a group that is
inserted and drawn. Reverb is asked in two ways, and the better one counts.

    python -m benchmarks.replay [--groups 512] [--rounds 5] [--environment .cache/reverb] [--without-reverb]
"""

import argparse
import asyncio
import json
import select
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.meshrun import write_result
from benchmarks.replay_load import BATCH_GROUPS, Load, served

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "deploy" / "requirements" / "reverb.txt"
SCRIPT = Path(__file__).with_name("reverb_load.py")
DURABILITIES = ("none", "write", "sync")
WAYS = ("writer", "client")
_SECONDS = 300


@dataclass(frozen=True)
class Rates:
    """Groups a second."""

    insert: float
    draw: float

    @property
    def both(self) -> float:
        """Groups a second that are inserted and then drawn."""
        return 1 / (1 / self.insert + 1 / self.draw)


def main() -> None:
    """Prints the table, and the figures as lines."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--groups", type=int, default=512, help=f"a round, a multiple of {BATCH_GROUPS}")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--environment", type=Path, default=ROOT / ".cache" / "reverb", help="where Reverb is")
    arguments.add_argument("--without-reverb", action="store_true")
    arguments.add_argument("--folder", type=Path, default=ROOT / ".cache", help="on the disk that is measured")
    options = arguments.parse_args()
    interpreter = None if options.without_reverb else python_of_reverb(options.environment)
    rates = measure(options.folder, options.groups, options.rounds, interpreter)
    console = Console(record=True, width=110)
    console.print(table_of(rates, options.groups, options.rounds))
    for line in figures_of(rates):
        console.print(line, highlight=False)
    if interpreter is None:
        console.print("Reverb was not measured: it is not installed here")
    else:
        write_result("replay", console)


def python_of_reverb(folder: Path) -> Path | None:
    """Python of an environment with Reverb, made in `folder` from the pinned file; None where it cannot be made."""
    python, made_from = folder / "bin" / "python", folder / "pinned.txt"
    if made_from.exists() and made_from.read_text(encoding="utf-8") == PINNED.read_text(encoding="utf-8"):
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(PINNED)],
        [str(python), "-c", "import reverb"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
        if done.returncode:
            print(f"{' '.join(command)}: {done.stderr[-2000:]}", file=sys.stderr)
            return None
    made_from.write_text(PINNED.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def measure(folder: Path, groups: int, rounds: int, python: Path | None) -> dict[str, list[Rates]]:
    """Rates by side, a round after the other."""
    rates: dict[str, list[Rates]] = defaultdict(list)
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        loads = {}
        for durability in DURABILITIES:
            where = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="replay-benchmark-"))
            port, _ = stack.enter_context(served(Path(where), durability))
            loads[durability] = Load(port, groups)
        reverb = stack.enter_context(reverb_served(python)) if python is not None else 0
        for number in range(rounds + 1):
            for durability, load in loads.items():
                round_of_ours = asyncio.run(ours(load))
                if number:  # the first warms both up
                    rates[f"ours, {durability}"].append(round_of_ours)
            if python is None:
                continue
            for way in WAYS:
                round_of_reverb = theirs(python, reverb, groups, way)
                if number:
                    rates[f"Reverb, {way}"].append(round_of_reverb)
    return rates


async def ours(load: Load) -> Rates:
    """A round of ours."""
    insert = await load.insert()
    return Rates(insert, await load.draw())


@contextmanager
def reverb_served(python: Path) -> Iterator[int]:
    """Port of a Reverb server in a process of its own."""
    process = subprocess.Popen([str(python), str(SCRIPT), "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        while True:
            if not select.select([process.stdout], [], [], 60)[0]:
                raise RuntimeError("Reverb did not come up")
            line = process.stdout.readline().decode()
            if line.startswith("port "):
                break
            if not line:
                raise RuntimeError("Reverb ended")
        yield int(line.split()[1])
    finally:
        process.kill()
        process.wait()


def theirs(python: Path, port: int, groups: int, way: str) -> Rates:
    """A round of Reverb's."""
    command = [str(python), str(SCRIPT), "load", str(port), str(groups), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Rates(found["insert"], found["draw"])


def middle(rates: list[Rates]) -> Rates:
    """Median of each figure."""
    return Rates(statistics.median(rate.insert for rate in rates), statistics.median(rate.draw for rate in rates))


def table_of(rates: dict[str, list[Rates]], groups: int, rounds: int) -> Table:
    """A line a side, each figure the median of the rounds with its range."""
    table = Table(title=f"groups a second; {groups} groups of 0.52 MB a round, median of {rounds} rounds")
    for name in ("side", "inserted", "drawn", "inserted and drawn"):
        table.add_column(name, justify="left" if name == "side" else "right")
    for side, found in rates.items():
        cells = []
        for figure in ("insert", "draw", "both"):
            values = [getattr(rate, figure) for rate in found]
            cells.append(f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})")
        table.add_row(side, *cells)
    return table


def figures_of(rates: dict[str, list[Rates]]) -> Iterator[str]:
    """`figure: NAME VALUE` lines."""
    best = max((middle(found).both for side, found in rates.items() if side.startswith("Reverb")), default=None)
    for side, found in rates.items():
        name = side.replace(", ", "_").lower()
        rate = middle(found)
        yield f"figure: replay_{name}_insert {rate.insert:.0f}"
        yield f"figure: replay_{name}_draw {rate.draw:.0f}"
        yield f"figure: replay_{name}_both {rate.both:.0f}"
        if best is not None and side.startswith("ours"):
            yield f"figure: replay_{name}_share_of_reverb {rate.both / best:.2f}"


if __name__ == "__main__":
    main()
