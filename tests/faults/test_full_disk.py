"""A disk that is full, for real: a small filesystem in a user namespace of our own, filled up but for a few blocks."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.faults.comparison import differences, faults_in, ledger_rows, told
from tests.faults.conftest import RUN
from tests.faults.outcomes import Outcome
from tests.small_run import ROOT

pytestmark = pytest.mark.slow

SCRIPT = """
set -u
mount -t tmpfs -o size=200m tmpfs "$1"
cp -a "$2/." "$1/"
free=$(df --output=avail -B1024 "$1" | tail -1)
head -c $(((free - $3) * 1024)) /dev/zero > "$1/ballast"
shift 3 2>/dev/null
"$@" > full.out 2> full.err
echo $? > full.code
find "$STARLOOP_HOME" -name '*.tmp' > full.tmp
rm "$STARLOOP_HOME/ballast"
"$@" > again.out 2> again.err
echo $? > again.code
cp -a "$STARLOOP_HOME/." kept/
"""

NAMESPACES = (
    shutil.which("unshare") is not None
    and not subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode
)


@pytest.mark.parametrize("kib", [400, *(pytest.param(kib, marks=pytest.mark.further_fault) for kib in (40, 1500))])
def test_a_full_disk_is_one_sentence_and_with_space_the_same_command_goes_on(
    kib, undisturbed, small_run, prefect_server, tmp_path, outcomes
):
    if not NAMESPACES:
        pytest.skip("this system gives no user namespace with a filesystem of one's own")
    home = tmp_path / "home"
    for folder in (home, tmp_path / "kept"):
        folder.mkdir()
    command = [sys.executable, "-P", "-m", "flows.cli.main", *RUN]
    settings = {
        "STARLOOP_HOME": str(home),
        "PREFECT_API_URL": prefect_server,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    arguments = ["unshare", "-Urm", "bash", "-c", SCRIPT, "full", str(home), str(small_run[0]), str(kib), *command]
    subprocess.run(arguments, env=os.environ | settings, cwd=tmp_path, check=True, timeout=280)

    def read(name: str) -> str:
        return (tmp_path / name).read_text().strip()

    assert read("full.code") == "1", read("full.out")
    assert "space" in read("full.err")
    assert "Traceback" not in read("full.err") + read("full.out")
    assert read("full.tmp") == ""
    assert read("again.code") == "0", read("again.err")
    kept = tmp_path / "kept"
    assert differences(ledger_rows(kept), undisturbed.rows) == []
    assert differences(told(kept), undisturbed.told) == []
    assert faults_in(kept) == []
    outcomes.append(Outcome("disk full", f"{kib} KiB were free at the start", "nothing", "", 0))
