import subprocess
import sys
from pathlib import Path

import pytest

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
    with pytest.raises(ModuleNotFoundError, match=r"nowhere\.checks"):
        code_of("nowhere.checks")
