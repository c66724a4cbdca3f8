"""One folder: who makes it, and who only reads."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_loop import Story

from storage.errors import UserMistake
from storage.home import Home

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def test_reading_makes_no_home(tmp_path):
    with pytest.raises(UserMistake, match=r"there is no home at .*/typo: nothing has run there; name the right one"):
        Home.existing(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_no_home(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserMistake, match="there is no home"):
        Home.existing(tmp_path)


def test_an_opened_home_exists(tmp_path):
    assert Home.existing(Home.open(tmp_path / "home").root) == Home.at(tmp_path / "home")


@pytest.mark.parametrize(
    "command", [["status"], ["sql", "select 1"], ["lineage", "ckp_1"], ["report"], ["resume", "run_1"]]
)
def test_a_command_that_reads_makes_no_home(command, tmp_path, capsys):
    from flows.cli.main import call

    assert call([*command, "--home", str(tmp_path / "typo")]) == 2
    assert "there is no home at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_can_be_read(told: Story):
    folder = Path(tempfile.mkdtemp(prefix="starloop-read-only-"))  # pytest's own folders let nobody in
    try:
        home = shutil.copytree(told.home.root, folder / "home")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        script = (
            "import os, sys; from pathlib import Path; from storage.home import Home; from storage.lineage import Lineage\n"
            "from storage.database import views_digest; views_digest()  # imports the rest, while this may read Python's files\n"
            f"if os.geteuid() == 0: os.setgid({NOBODY}), os.setuid({NOBODY})\n"
            "home = Home.existing(Path(sys.argv[1])); assert not home.writable\n"
            "with Lineage.open(home, fresh=True) as lineage: print(len(lineage.runs()))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, str(home)], capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout.strip() == "1"
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)
