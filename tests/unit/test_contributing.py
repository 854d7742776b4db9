"""What CONTRIBUTING.md, the hooks and the workflow say of the tree is so."""

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from areal_mesh.runtime.settings import RunSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
TARGETS = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
ADDITIONS = dict(re.findall(r"^### (An? .*?)\n(.*?)(?=^##|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
# In backticks, or where a link leads.
PATHS = sorted(
    set(re.findall(r"`((?:[\w.-]+/)+(?:[\w.<>-]+)?|\w+\.(?:toml|md))`", PAGE))
    | set(re.findall(r"\]\(([^):]+)\)", PAGE))
)
# From the folder of the tree, or from one that is named just before.
ELSEWHERE = {
    "grading/",
    "prompts/",
    "weights/",
    "recipes/",
    "planning/",
    "preparation/",
    "evaluation/",
    "views/",
    "rollouts/",
    "runtime/",
}
MOST_FILES = 4


def folder_of(path: str) -> Path:
    """Folder in which a file that is yet to be written would lie, or the path itself."""
    return ROOT / path.split("<")[0].rsplit("/", 1)[0]


def test_what_grows_is_on_the_page() -> None:
    kinds = ("A loss", "An advantage", "A reward term", "A filter", "A transport", "A stage rule", "A recipe")
    assert list(ADDITIONS) == [*kinds, "A sink", "A kind of reward of one's own", "A preset", "A figure in the status"]
    assert len(PATHS) > 30


@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_the_page_is_there(path: str) -> None:
    if path in ELSEWHERE:
        assert (ROOT / "services" / "areal_mesh" / path).is_dir()
    elif "<" in path:
        assert folder_of(path).is_dir()
    else:
        assert (ROOT / path).exists()


@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_touches_few_files_each_of_which_holds_what_the_page_says(addition: str) -> None:
    items = re.findall(r"^\d\. (.*?)(?=^\d\. |^\n|\Z)", ADDITIONS[addition], flags=re.DOTALL | re.MULTILINE)
    assert 1 <= len(items) <= MOST_FILES
    for item in items:
        for place, names in re.findall(r"`([\w./-]+\.py)`([^`]*(?:`[A-Z]\w+`[^`]*)*)", item):
            text = (ROOT / place).read_text(encoding="utf-8")
            missing = [name for name in re.findall(r"`([A-Z]\w+)`", names) if not re.search(rf"\b{name}\b", text)]
            assert not missing, f"{place} has no {missing}"


def test_the_page_names_every_target_of_the_makefile_and_no_other() -> None:
    assert set(re.findall(r"^\| `make (\S+)` \|", PAGE, re.MULTILINE)) == TARGETS


def test_the_page_names_every_ring_of_tests() -> None:
    rings = set(re.findall(r"^\| `tests/(\w+)` \|", PAGE, re.MULTILINE))
    assert rings == {"unit", "integration", "e2e", "chaos"}
    assert rings <= {path.name for path in (ROOT / "tests").iterdir() if list(path.glob("test_*.py"))}


def test_hooks_and_workflow_call_the_makefile_and_name_no_tool_themselves() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: (.*)", hooks)
    assert entries == ["make lint", "make types", "python3 deploy/commit_subject.py"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    commands = re.findall(r"run: (.*)", workflow)
    assert commands == ['make subjects SINCE="$BASE"', 'make breaking SINCE="$BASE"', 'make "$TARGET"']
    (offered,) = re.findall(r"options: \[(.*)\]", workflow)
    assert {"test", *offered.split(", ")} <= TARGETS
    assert 'python-version: "3.11"' in workflow


def is_a_setting(key: str) -> bool:
    """Whether some run can have a setting of this dotted name."""
    models: list[Any] = [RunSettings]
    for name in key.split("."):
        fields = [model.model_fields[name].annotation for model in models if name in model.model_fields]
        if not fields:
            return False
        models = [part for field in fields for part in (field, *get_args(field)) if hasattr(part, "model_fields")]
    return True


def test_settings_that_moved_are_where_the_changelog_says() -> None:
    moved = re.findall(r"^\| (`.*?) \| (.*?) \|$", CHANGELOG, re.MULTILINE)
    key = re.compile(r"`([a-z]+(?:\.[a-z_0-9]+)+)`")
    gone = {name for old, _ in moved for name in key.findall(old)}
    there = {name for _, new in moved for name in key.findall(new)}
    assert min(len(gone), len(there)) > 8
    assert [name for name in there if not is_a_setting(name)] == []
    # What a recipe made of them is gone; the file's own count is there as before.
    assert [name for name in gone if is_a_setting(name)] == ["prompts.count"]


def test_generated_files_are_marked_and_those_written_by_hand_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    folders = [ROOT / "protos", ROOT / "deploy" / "requirements", ROOT / "services" / "areal_mesh" / "runtime"]
    files = [str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.*") if path.is_file()]
    asked = ["git", "check-attr", "linguist-generated", *files]
    answers = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout
    marked = {line.split(": ")[0] for line in answers.splitlines() if line.endswith(": set")}
    generated = re.compile(r"_pb2(_grpc)?\.pyi?$|^deploy/requirements/(cpu|dev|gpu|trl|bootstrap)\.txt$")
    by_hand = re.compile(r"\.proto$|^services/|\.in$|overrides|torch-cpu")
    assert {file for file in files if generated.search(file)} <= marked
    assert not {file for file in marked if by_hand.search(file)}
