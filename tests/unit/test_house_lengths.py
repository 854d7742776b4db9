"""House rules of length: what is written by hand is read in one sitting, a function on one screen."""

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN = ("services", "clients", "benchmarks", "tests")
MOST_LINES = 300
MOST_FUNCTION_LINES = 40
# Longer than that, and no longer than the number: a list that only shrinks.
LONG_FILES = {
    "tests/integration/controller_peers.py": 307,
    "tests/integration/test_cli_launcher.py": 399,
    "tests/integration/test_client.py": 340,
    "tests/integration/test_controller_service.py": 734,
    "tests/integration/test_replay_service.py": 359,
    "tests/unit/test_controller_run.py": 441,
    "tests/unit/test_controller_simulation.py": 395,
    "tests/unit/test_replay_buffer.py": 412,
}
LONG_FUNCTIONS: dict[str, int] = {}


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


def faults_of_length(lengths: Mapping[str, int], most: int, exceptions: Mapping[str, int]) -> list[str]:
    """What is too long, and exceptions that are needed no more."""
    long = [f"{name}: {count} lines" for name, count in lengths.items() if count > exceptions.get(name, most)]
    kept = [f"{name}: take it off the list of exceptions" for name in exceptions if lengths.get(name, 0) <= most]
    return long + kept


def test_no_file_is_longer_than_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in written()}
    faults = faults_of_length(lengths, MOST_LINES, LONG_FILES)
    assert not faults, f"over {MOST_LINES} lines: {faults}"


def test_no_function_is_longer_than_a_screen() -> None:
    faults = faults_of_length(lengths_of_functions(), MOST_FUNCTION_LINES, LONG_FUNCTIONS)
    assert not faults, f"over {MOST_FUNCTION_LINES} lines: {faults}"


def test_an_exception_from_a_length_ends_with_its_need() -> None:
    exceptions = {"known": 350, "split": 350, "gone": 350}
    faults = faults_of_length({"known": 340, "split": 300, "new": 301}, 300, exceptions)
    assert [fault.split(":")[0] for fault in faults] == ["new", "split", "gone"]
    assert faults_of_length({"known": 351}, 300, {"known": 350}) == ["known: 351 lines"]
