"""Verifiers in processes that can be killed: real hangs, real crashes, many threads, and every other verdict right."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import VerifierFault
from storage.records import Attempt, Problem
from tasks.verifier_pool import Limits, VerifierPool
from tasks.verifiers.judging import OUT_OF_MEMORY
from tasks.verifiers.protocol import Judgement

pytestmark = pytest.mark.slow

MINE = "tests.verifiers.misbehaving:verify"
LIMITS = Limits(cpu_s=0.4, wall_s=3.0, memory_mb=256)


def row(text: str, gold: str | None = "18", question: str = "?"):
    problem = Problem.of("case", "test", question, gold)
    return Attempt(
        "0" * 32, "0" * 32, problem.problem_id, "0" * 32, "0" * 32, "e", "{}", 0, 0, text, "stop", 1, 1
    ), problem


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with VerifierPool(tmp_path_factory.mktemp("logs"), workers=2, limits=LIMITS) as pool:
        yield pool


def judged(pool: VerifierPool, ref: str, texts: list[str]) -> list[Judgement]:
    said = list(pool.judge(ref, [row(text) for text in texts]))
    assert [attempt.text for attempt, _ in said] == texts
    return [one for _, (one,) in said]


def soon_gone(pid: int) -> bool:
    """Whether a process has ended, or does within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("loop", "timed out after computing for 0.4 s"),
        ("deaf", "timed out after computing for 0.4 s"),
        ("sleep", "timed out after 3 s"),
        ("leave", "exited with status 3"),
        ("fault", "was killed by SIGSEGV"),
        ("kill", "was killed by SIGKILL"),
        ("memory", OUT_OF_MEMORY),
        ("recurse", "RecursionError"),
    ],
)
def test_what_ends_or_hangs_is_undecided_and_its_neighbours_are_judged(pool, does, reason):
    verdicts = judged(pool, MINE, ["before", does, "after"])
    assert [one.passed for one in verdicts] == [True, None, True]
    assert reason in str(verdicts[1].reason)


def test_several_that_hang_in_a_row_are_each_undecided(pool):
    verdicts = judged(pool, MINE, ["loop", "leave", "loop", "right", "leave", "leave", "right"])
    assert [one.passed for one in verdicts] == [None, None, None, True, None, None, True]


def test_a_verifier_has_the_main_thread_and_its_signals(pool):
    assert judged(pool, MINE, ["alarm"])[0].passed is True


def test_what_a_killed_verifier_started_ends_with_it(pool, tmp_path):
    ((_, (judgement,)),) = pool.judge(MINE, [row("child", str(tmp_path / "pid"))])
    assert judgement.passed is None
    assert soon_gone(int((tmp_path / "pid").read_text()))


def test_a_worker_that_somebody_else_kills_costs_no_verdict(pool, tmp_path):
    pids = tmp_path / "pids"
    rows = [row("right" if place % 3 else "wrong", str(pids)) for place in range(6_000)]

    def kill():
        killed = 0
        while killed < 3:
            time.sleep(0.05)
            if pids.exists() and (lines := pids.read_text().split()):
                try:
                    os.kill(int(lines[-1]), 9)
                    killed += 1
                except (ProcessLookupError, ValueError):
                    pass

    killer = threading.Thread(target=kill)
    killer.start()
    before = pool.replaced
    said = list(pool.judge("tests.verifiers.misbehaving:write_pid", rows))
    killer.join()
    assert pool.replaced > before
    assert [one.passed for _, (one,) in said] == [bool(place % 3) for place in range(6_000)]


def test_many_threads_at_once_each_get_their_own_verdicts(pool):
    """Right and wrong formulas from eight threads, with what hangs among them."""

    def cell(number: int) -> list[bool | None]:
        texts = [f"Answer: {place + (place % 2)}" for place in range(60)]
        golds = [str(place) for place in range(60)]
        rows = [row(text, gold) for text, gold in zip(texts, golds, strict=True)]
        ref = "math"
        if number % 4 == 3:
            rows, ref = [row("loop" if place == 30 else "fine") for place in range(60)], MINE
        return [one.passed for _, (one,) in pool.judge(ref, rows)]

    with ThreadPoolExecutor(8) as threads:
        cells = list(threads.map(cell, range(8)))
    for number, outcomes in enumerate(cells):
        if number % 4 == 3:
            assert outcomes == [None if place == 30 else True for place in range(60)]
        else:
            assert outcomes == [place % 2 == 0 for place in range(60)]


def test_neither_order_nor_neighbours_change_a_verdict(tmp_path):
    golds = [r"\frac{1}{2}", r"\sqrt{2}", "x^2+1", "(1,2)", r"\{1,2\}", "[0,1)", "3", r"\pi"]
    rows = [row(rf"\boxed{{{given}}}", gold) for gold in golds for given in golds]
    forever = row(r"\boxed{9^{9^{9^{9}}}}", r"\sqrt{7}+1")
    with VerifierPool(tmp_path, workers=2, limits=Limits(cpu_s=2.0)) as pool:
        forward = [one.passed for _, (one,) in pool.judge("math", [*rows[:20], forever, *rows[20:]])]
        backward = [one.passed for _, (one,) in pool.judge("math", rows[::-1])]
        assert pool.replaced == 1
    assert forward.pop(20) is None
    assert forward == backward[::-1] == [given == gold for gold in golds for given in golds]


def test_a_verifier_that_cannot_be_loaded_in_the_worker_is_a_fault_and_no_verdict(pool):
    with pytest.raises(VerifierFault, match="no_such_module"):
        list(pool.judge("no_such_module.checks:verify", [row("x")]))


def test_a_cancelled_pool_decides_nothing(tmp_path):
    with VerifierPool(tmp_path, workers=1, limits=Limits(cpu_s=60, wall_s=60)) as pool:
        threading.Timer(1.0, pool.cancel).start()
        began = time.monotonic()
        with pytest.raises(VerifierFault):
            list(pool.judge(MINE, [row("fine"), row("sleep")]))
        assert time.monotonic() - began < 30


def test_workers_end_with_their_parent(tmp_path):
    script = (
        "import os, sys, threading\n"
        "from pathlib import Path\n"
        "from tests.verifiers.test_verifier_pool import MINE, row\n"
        "from tasks.verifier_pool import Limits, VerifierPool\n"
        "pool = VerifierPool(Path(sys.argv[1]), workers=1, limits=Limits(cpu_s=60, wall_s=60))\n"
        "pids = Path(sys.argv[1]) / 'pids'\n"
        "list(pool.judge('tests.verifiers.misbehaving:write_pid', [row('right', str(pids))]))\n"
        "threading.Thread(target=lambda: list(pool.judge(MINE, [row('sleep')])), daemon=True).start()\n"
        "import time; time.sleep(0.3); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2], timeout=60, check=False
    )
    assert soon_gone(int((tmp_path / "pids").read_text().split()[0]))
