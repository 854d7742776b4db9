"""The house rules: who may import whom, and what stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.unit.entry_points import ENTRY_POINTS

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "vllm")
LIGHT_PACKAGES = (
    "runtime",
    "grading",
    "prompts",
    "rewards",
    "views",
    "rollouts",
    "page",
    "planning",
    "preparation",
    "evaluation",
    "controller",
    "verifier",
    "replay",
    "simulation",
    "client",
    "cli",
)

LIBRARIES = {
    "evaluation",
    "grading",
    "optimizers",
    "planning",
    "preparation",
    "prompts",
    "recipes",
    "rewards",
    "rollouts",
    "simulation",
    "views",
}
MAY_IMPORT = {
    "v1": {"v1"},
    "runtime": {"runtime", "v1"},
    "grading": {"grading"},
    "optimizers": {"optimizers"},
    "weights": {"weights", "runtime", "v1"},
    "prompts": {"prompts", "runtime", "v1"},
    "rewards": {"rewards", "runtime"},
    "views": {"views", "runtime"},
    "rollouts": {"rollouts", "grading", "prompts", "runtime", "v1"},
    "page": {"page", "client", "rollouts", "runtime", "views"},
    "planning": {"planning", "runtime"},
    "preparation": {"preparation", "runtime"},
    "evaluation": {"evaluation", "runtime"},
    "controller": {"controller", "evaluation", "views", "runtime", "v1"},
    "verifier": {"verifier", "grading", "rewards", "runtime", "v1"},
    "replay": {"replay", "runtime", "v1"},
    "generator": {"generator", "prompts", "weights", "runtime", "v1"},
    "learner": {"learner", "optimizers", "weights", "runtime", "v1"},
    "recipes": {"recipes", "optimizers", "runtime"},
    "simulation": {"simulation", "runtime", "v1"},
    "client": {"client", "runtime", "v1"},
    "cli": LIBRARIES | {"cli", "client", "page", "runtime", "v1"},
}
# Layers of grading: each may import itself, those named here, and the words and bounds that all share.
GRADING_LAYERS = {
    "trees": {"trees"},
    "reading": {"reading", "trees"},
    "equality": {"equality", "trees"},
    "symbolic": {"symbolic", "equality", "trees", "verdict"},
    "strict": {"strict", "equality", "reading", "trees", "verdict"},
}
PACKAGE_RINGS = ("tests/unit", "tests/integration")
# What holds of the tree itself, and of the settings as a whole.
TESTS_OF_THE_TREE = {
    "commit_subject",
    "contracts",
    "contributing",
    "docs",
    "examples",
    "house_lengths",
    "house_rules",
    "installation",
    "readme",
    "registries",
    "settings",
}
# Of the runtime the client has the channel and settings parts alone.
CLIENT_RUNTIME = {"addresses", "channels", "identity", "security", "settings"}


def sources() -> list[Path]:
    """Python files of ours, those generated from the contracts left out."""
    roots = ("services", "clients")
    return sorted(path for root in roots for path in (ROOT / root / "areal_mesh").rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[2]


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names that a file imports anywhere, lazily too, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write it out"
            assert node.module is not None
            if node.module in ("areal_mesh", "areal_mesh.runtime"):
                yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)
            else:
                yield node.module, node.lineno


def test_every_package_imports_only_what_it_may() -> None:
    faults = []
    for path in sources():
        package = package_of(path)
        for name, line in imports_of(path):
            parts = name.split(".")
            if name in ENTRY_POINTS.get(package, ()):
                continue
            if parts[0] == "areal_mesh" and parts[1] not in MAY_IMPORT[package]:
                faults.append(f"{path.relative_to(ROOT)}:{line}: {package} may not import {name}")
    assert not faults, "\n".join(faults)


def test_layers_of_grading_import_downwards_alone() -> None:
    wrong = []
    for layer, allowed in GRADING_LAYERS.items():
        for path in sorted((ROOT / "services" / "areal_mesh" / "grading" / layer).glob("*.py")):
            for name, line in imports_of(path):
                parts = name.split(".")
                known = allowed | {"limits", "unit_table", "vocabulary"}
                if parts[:2] == ["areal_mesh", "grading"] and len(parts) > 2 and parts[2] not in known:
                    wrong.append(f"{layer}/{path.name}:{line}: {name}")
    assert not wrong


def test_the_client_has_of_the_runtime_the_channel_and_settings_parts_alone() -> None:
    names = [name.split(".") for path in sources() if package_of(path) == "client" for name, _ in imports_of(path)]
    used = {parts[2] for parts in names if parts[:2] == ["areal_mesh", "runtime"]}
    assert used <= CLIENT_RUNTIME


def test_light_packages_never_name_a_heavy_one() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: imports {name}"
        for path in sources()
        if package_of(path) in LIGHT_PACKAGES
        for name, line in imports_of(path)
        if name.split(".")[0] in HEAVY
    ]
    assert not faults, "\n".join(faults)


def test_no_file_is_read_or_written_in_whatever_encoding_the_locale_says() -> None:
    faults = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and opens_text(node) and "encoding" not in {k.arg for k in node.keywords}:
                faults.append(f"{path.relative_to(ROOT)}:{node.lineno}: name the encoding")
    assert not faults, "\n".join(faults)


def opens_text(call: ast.Call) -> bool:
    """Whether a call reads or writes a file as text: `read_text`, `write_text`, or an `open` without b in its mode."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("read_text", "write_text"):
        return True
    if name != "open":
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [node.value for argument in given for node in ast.walk(argument) if isinstance(node, ast.Constant)]
    mode = next((value for value in modes if isinstance(value, str) and re.fullmatch("[rwax+bt]+", value)), None)
    return "b" not in mode if mode else isinstance(call.func, ast.Name) or not call.args


def modules_of(*packages: str) -> list[str]:
    names = []
    for path in sources():
        if package_of(path) in packages and path.stem != "__main__":
            parts = path.relative_to(ROOT).with_suffix("").parts[1:]
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def loaded_after_importing(modules: list[str], watched: tuple[str, ...]) -> str:
    """Which of the `watched` packages a fresh interpreter holds after importing `modules`."""
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {watched!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_every_light_module_leaves_torch_out() -> None:
    modules = modules_of(*LIGHT_PACKAGES)
    assert len(modules) > 40
    assert loaded_after_importing(modules, HEAVY) == ""


def test_whether_a_recipes_model_is_there_is_known_without_torch() -> None:
    assert loaded_after_importing(["areal_mesh.recipes.arithmetic.folder"], HEAVY) == ""


def test_the_client_needs_the_base_install_alone() -> None:
    modules = modules_of("client", "runtime")
    assert loaded_after_importing(modules, (*HEAVY, "mpmath", "sympy", "matplotlib", "tensorboard", "numpy")) == ""


def test_a_command_starts_without_the_libraries_of_the_others() -> None:
    watched = ("grpc", "pydantic", "rich", "matplotlib", "tensorboard")
    assert loaded_after_importing(["areal_mesh.cli.main"], watched) == ""


def test_what_asks_a_controller_and_a_recipe_that_finds_its_model_there_wait_for_no_settings() -> None:
    """pydantic and the models of the settings take half a second to import on a slow machine."""
    asking = ["areal_mesh.cli.status", "areal_mesh.cli.health", "areal_mesh.client"]
    for modules in (asking, ["areal_mesh.recipes.arithmetic.__main__"]):
        assert loaded_after_importing(modules, ("pydantic", "areal_mesh.runtime.settings")) == "", modules


def test_only_the_run_writes_its_ledger() -> None:
    """The names of the methods that write are those of `Ledger`; whoever reads has a `LedgerReader`."""
    folder = ROOT / "services" / "areal_mesh" / "controller"
    module = ast.parse((folder / "ledger.py").read_text())
    [ledger] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Ledger"]
    writing = {node.name for node in ledger.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert {"write_fact", "put_groups", "commit_step", "add_publish", "add_member"} <= writing
    found = {
        path.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in writing
    }
    assert found == {"ledger.py", "run.py"}


def test_every_package_says_in_its_init_what_lives_there() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent
    assert not (ROOT / "services" / "areal_mesh" / "__init__.py").exists(), "areal_mesh is a namespace package"


def test_tests_are_named_for_the_package_that_they_test() -> None:
    names = [path.stem.removeprefix("test_") for ring in PACKAGE_RINGS for path in (ROOT / ring).glob("test_*.py")]
    faults = [name for name in names if name.split("_")[0] not in MAY_IMPORT and name not in TESTS_OF_THE_TREE]
    assert not faults, f"write test_<package>_<module>.py: {faults}"


def test_helpers_of_tests_are_imported_by_their_full_names() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    full = {path.stem: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    faults = [
        f"{path.relative_to(ROOT)}:{line}: write {full[name]}"
        for path in files
        for name, line in imports_of(path)
        if name in full
    ]
    assert not faults, "\n".join(faults)


def test_tasks_live_in_task_groups() -> None:
    faults = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if node.func.attr == "ensure_future" or (node.func.attr == "create_task" and owner in ("asyncio", "loop")):
                faults.append(f"{path.relative_to(ROOT)}:{node.lineno}: {owner}.{node.func.attr} outside a TaskGroup")
    assert not faults, "\n".join(faults)
