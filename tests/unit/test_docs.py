"""Commands of Python in the documents name modules that are there."""

import importlib.util
import re
from pathlib import Path

import pytest

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
