import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import UserMistake
from tasks.code_digest import code_of, normal_form, source_path

BEFORE = '''
"""What is here."""
def verify(text, problem):
    """Whether it is right."""
    return f"{text}a" "b" == problem  # a comment
'''
AFTER = """
def verify(text,
           problem):
    return (f"{text}a"
            "b" == problem)
"""


def test_comments_docstrings_and_formatting_change_nothing():
    assert normal_form(BEFORE) == normal_form(AFTER)


@pytest.mark.parametrize(
    "edit", [("==", "!="), ("{text}a", "{text}c"), ("def verify", "def check"), ("{text}a", "{text!r}a")]
)
def test_a_change_of_meaning_changes_the_normal_form(edit):
    assert normal_form(AFTER) != normal_form(AFTER.replace(*edit))


def test_an_integer_and_a_float_are_different_programs():
    assert normal_form("x = 1") != normal_form("x = 1.0")


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / f"checks_{tmp_path.name.replace('-', '_')}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "verifier.py").write_text(
        "import json\nfrom . import numbers\ndef verify(t, p):\n    return numbers.read(t)\n"
    )
    (folder / "numbers.py").write_text("def read(t):\n    return float(t)\n")
    (folder / "unrelated.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    source_path.cache_clear()
    return folder


def test_a_users_own_package_counts_as_far_as_it_is_imported(package: Path):
    code = code_of(f"{package.name}.verifier")
    assert set(code.modules) == {f"{package.name}.verifier", f"{package.name}.numbers"}
    (package / "unrelated.py").write_text("x = 2\n")
    assert code_of(f"{package.name}.verifier") == code
    (package / "numbers.py").write_text("def read(t):\n    return float(t or 0)\n")
    assert code_of(f"{package.name}.verifier") != code


def test_registries_never_count_and_what_they_name_is_not_followed():
    modules = code_of("tasks.engines.transformers").modules
    assert "tasks.engines.transformers" in modules
    assert not any(name.endswith(".registry") or name == "tasks.engines.scripted" for name in modules)


def test_storage_and_caching_never_count():
    modules = code_of("tasks.training.sft", "tasks.engines.transformers", "tasks.verifiers.sums").modules
    assert all(name.startswith(("tasks.engines.", "tasks.training.", "tasks.verifiers.")) for name in modules)


def test_the_libraries_that_decide_a_result_count_with_their_versions():
    libraries = code_of("tasks.engines.transformers").libraries
    assert {"torch", "transformers"} <= set(libraries)
    assert "pyarrow" not in libraries


def test_finding_code_imports_none_of_it():
    script = "import sys; from tasks.code_digest import code_of; code_of('tasks.training.sft'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_module_is_named():
    with pytest.raises(UserMistake, match=r"no Python source for module .nowhere\.checks"):
        code_of("nowhere.checks")


def test_a_module_without_python_source_is_refused():
    with pytest.raises(
        UserMistake, match=r"no Python source for module 'math'.*name a module that is written in Python"
    ):
        code_of("math")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's modules under names that no other test uses, and how to change one."""
    mark = f"m{abs(hash(str(tmp_path)))}"

    def write(**modules: str):
        for name, text in modules.items():
            path = tmp_path / f"{mark}_{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("@", f"{mark}_"))
        return mark

    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_a_name_from_a_packages_init_counts(project):
    mark = project(pack__init="", checks="from @pack import rule\ndef verify(t, p):\n    return rule(t)\n")
    init = Path(source_path(f"{mark}_checks") or "").parent / f"{mark}_pack" / "__init__.py"
    init.write_text("def rule(t):\n    return True\n")
    before = code_of(f"{mark}_checks")
    assert f"{mark}_pack" in before.modules
    init.write_text("def rule(t):\n    return False\n")
    assert code_of(f"{mark}_checks") != before


def test_a_module_beside_a_single_file_counts(project):
    mark = project(
        checks="import @rules\ndef verify(t, p):\n    return @rules.rule(t)\n", rules="import json\nLIMIT = 1\n"
    )
    before = code_of(f"{mark}_checks")
    assert set(before.modules) == {f"{mark}_checks", f"{mark}_rules"}
    project(rules="import json\nLIMIT = 2\n")
    assert code_of(f"{mark}_checks") != before


def test_an_installed_library_counts_by_its_version(project):
    mark = project(checks="import yaml\nimport numpy\n")
    code = code_of(f"{mark}_checks")
    assert set(code.modules) == {f"{mark}_checks"}
    assert {"PyYAML", "numpy"} <= set(code.libraries) or {"pyyaml", "numpy"} <= set(code.libraries)
