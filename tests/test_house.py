"""The house: imports go one way, plain code knows no framework, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ("engines", "problems", "prompts", "training", "verifiers")
HEAVY = {"bitsandbytes", "datasets", "mlflow", "peft", "torch", "transformers", "trl", "vllm"}
FRAMEWORKS = {"prefect", "duckdb", "mlflow"}
LOADED_IN_A_CHILD = {"tasks/training/trainer.py", "tasks/training/preference.py", "tasks/training/value_trainer.py"}
"""Imported by the training process alone, which is there to hold those libraries."""

MODULES = sorted(path for package in ("flows", "tasks", "storage") for path in (ROOT / package).rglob("*.py"))


def imports(path: Path, *, at_the_top: bool = False) -> set[str]:
    """Dotted names that a module imports anywhere, or only when it is itself imported."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree)
    if at_the_top:
        nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_from_flows_to_tasks_to_storage(path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = {"storage": {"tasks", "flows"}, "tasks": {"flows"}, "flows": set()}[package]
    assert not tops(imports(path)) & forbidden


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path):
    if str(path.relative_to(ROOT)) not in LOADED_IN_A_CHILD:
        assert not tops(imports(path, at_the_top=True)) & HEAVY


@pytest.mark.parametrize("package", PLAIN)
def test_plain_code_knows_no_framework_and_no_other_package(package):
    for path in (ROOT / "tasks" / package).rglob("*.py"):
        names = imports(path)
        assert not tops(names) & FRAMEWORKS, path
        others = {name for name in names if name.startswith("tasks.") and not name.startswith(f"tasks.{package}")}
        assert not others, path


def test_only_tracking_imports_mlflow():
    assert {path.name for path in MODULES if "mlflow" in tops(imports(path))} == {
        "tracking.py",
        "tracking_aliases.py",
        "tracking_datasets.py",
    }


def test_only_caching_knows_prefects_cache_policies():
    assert [path.name for path in MODULES if "prefect.cache_policies" in imports(path)] == ["caching.py"]


def test_no_module_is_longer_than_a_reader_has_patience_for():
    long = {
        str(path.relative_to(ROOT)): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_asking_for_help_imports_neither_prefect_nor_torch():
    script = (
        "import sys; from flows.cli.main import app; app(['--help'], result_action='return_value'); "
        "print(sorted({'prefect', 'torch', 'mlflow', 'duckdb', 'pyarrow'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"
