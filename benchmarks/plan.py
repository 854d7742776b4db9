"""The plan's model against every published cell: with the constants that are kept, and with each run held out.

`python -m benchmarks.plan` fits the constants anew and prints predicted beside published hours and tokens a second.
Computed in a second; nothing is run.
"""

from rich.console import Console
from rich.table import Table

from areal_mesh.planning.calibration import CALIBRATIONS, Constants
from areal_mesh.planning.fit import fit, held_out, predicted
from areal_mesh.planning.published import RUNS

_WIDTH = 160


def _of(system: str, without: tuple[str, ...] = ()) -> Constants:
    return fit([run for name, run in RUNS.items() if run.calibration == system and name not in without])


def _shown(value: float, known: float) -> tuple[str, str]:
    return f"{value:,.0f}", f"{value / known - 1:+.1%}"


def _cells(table: Table) -> tuple[float, float]:
    """Adds a row for each cell; returns the furthest that one is off, by the constants kept and held out."""
    worst = [0.0, 0.0]
    for name, run in RUNS.items():
        kept, out = predicted(run, CALIBRATIONS[run.calibration]), held_out(RUNS, name)
        for figure, (value, known) in kept.items():
            unseen = out[figure][0]
            table.add_row(
                name, figure.replace("_", " "), f"{known:,.0f}", *_shown(value, known), *_shown(unseen, known)
            )
            worst = [max(worst[0], abs(value / known - 1)), max(worst[1], abs(unseen / known - 1))]
    return worst[0], worst[1]


def _gain(constants: Constants) -> float:
    rates = [predicted(RUNS[name], constants)["tokens_per_second"][0] for name in ("eta 0", "eta 1")]
    return rates[1] / rates[0]


def main() -> None:
    """Prints the table, the gain of eta 0 to 1, and the constants."""
    table = Table()
    table.add_column("run on H800")
    table.add_column("figure")
    for title in ("published", "predicted", "off", "held out", "off"):
        table.add_column(title, justify="right")
    kept, out = _cells(table)
    Console(width=_WIDTH).print(table)
    print(f"furthest off: {kept:.1%}, held out {out:.1%}")
    paper = 47_800 / 27_100
    seen, unseen = _gain(CALIBRATIONS["areal-async"]), _gain(_of("areal-async", ("eta 0", "eta 1")))
    print(
        f"gain of eta 0 to 1: published {paper:.2f}x, predicted {seen:.2f}x ({seen / paper - 1:+.1%}), with both of "
        f"its runs held out {unseen:.2f}x ({unseen / paper - 1:+.1%})"
    )
    for system in CALIBRATIONS:
        found = _of(system)
        print(
            f"{system}: {found.host_seconds * 1e3:.1f} ms an iteration ({found.eager_host_seconds * 1e3:.1f} ms "
            f"without CUDA graphs), {found.training_share:.1%} of the GPUs' operations in training, "
            f"{found.fixed_seconds:.0f} s a step in turn"
        )


if __name__ == "__main__":
    main()
