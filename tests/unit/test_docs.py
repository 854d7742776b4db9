"""Commands of Python in the documents name modules that are there."""

import importlib.util
import re
from pathlib import Path

import pytest

from areal_mesh.cli.main import build_parser
from areal_mesh.runtime.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.py"))]
# After a backtick, or on a line of its own in a block or in a module's docstring.
WRITTEN = re.compile(r"(?:`|^\s*)(?:\.venv/bin/)?python (\S[^`\n]*)", re.MULTILINE)
COMMANDS = sorted({found for page in PAGES for found in WRITTEN.findall(page.read_text())})


def test_the_documents_name_the_benchmarks() -> None:
    assert {"-m benchmarks.control_plane", "-m benchmarks.publish", "-m benchmarks.grading"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_python_is_asked_for_a_module_that_is_there(command: str) -> None:
    option, module, *_ = [*command.split(), ""]
    assert option == "-m", f"python {command}: benchmarks are modules of a package; write python -m"
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file() or importlib.util.find_spec(module) is not None


COMPARED = re.findall(r"\| `areal-mesh ([^`]+)` \|$", (ROOT / "docs" / "compared.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMPARED)
def test_a_row_of_the_comparison_is_a_command_whose_settings_resolve(command: str) -> None:
    options = build_parser().parse_args(command.split())
    for source in [getattr(options, "source", ""), *getattr(options, "sources", [])]:
        if source and "/" not in source:
            load_settings(source, getattr(options, "overrides", []))


def test_the_comparison_has_twenty_rows_and_each_has_its_command() -> None:
    page = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(COMPARED) >= 20
