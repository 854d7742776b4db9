"""House rules of length: what is written by hand is read in one sitting, a function on one screen."""

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN = ("services", "clients", "benchmarks", "tests")
MOST_LINES = 300
MOST_FUNCTION_LINES = 40


def written() -> list[Path]:
    """Python files of ours, those generated from the contracts left out."""
    return sorted(path for root in WRITTEN for path in (ROOT / root).rglob("*.py"))


def lengths_of_functions() -> dict[str, int]:
    """Lines of every function, by its file and name; of several of one name the longest."""
    lengths: dict[str, int] = {}
    for path in written():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(ROOT)}: {node.name}"
                lengths[name] = max(lengths.get(name, 0), (node.end_lineno or 0) - node.lineno + 1)
    return lengths


def too_long(lengths: Mapping[str, int], most: int) -> list[str]:
    return [f"{name}: {count} lines" for name, count in lengths.items() if count > most]


def test_no_file_is_longer_than_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in written()}
    faults = too_long(lengths, MOST_LINES)
    assert not faults, f"over {MOST_LINES} lines: {faults}"


def test_no_function_is_longer_than_a_screen() -> None:
    faults = too_long(lengths_of_functions(), MOST_FUNCTION_LINES)
    assert not faults, f"over {MOST_FUNCTION_LINES} lines: {faults}"


def test_what_is_a_line_over_is_named() -> None:
    assert too_long({"fits": 300, "long": 301}, 300) == ["long: 301 lines"]
