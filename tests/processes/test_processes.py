"""Real children of real parents, killed for real."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from storage.errors import EngineFault, StarloopError, TrainingFault, UserMistake
from tasks.engines.protocol import Request, Sampling
from tasks.processes import Processes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TARGETS = "tests.processes.targets"
GREEDY = Sampling(temperature=0, max_tokens=100)


@pytest.fixture
def light(tmp_path):
    with Processes(tmp_path / "logs", preload=()) as processes:
        yield processes


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def soon(condition, within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def sleeper(processes: Processes, tmp_path: Path) -> tuple[list[int], list[Exception], threading.Thread]:
    """A child that sleeps, called from a thread: ids of it, the zygote and its own child; where the error will be."""
    errors: list[Exception] = []

    def call():
        try:
            processes.call(f"{TARGETS}:sleep", str(tmp_path / "pids"), log=tmp_path / "sleeper.log")
        except StarloopError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert soon((tmp_path / "pids").exists)
    return [int(pid) for pid in (tmp_path / "pids").read_text().split()], errors, thread


def test_a_call_runs_in_another_process_and_its_output_goes_to_its_log(light, tmp_path, capfd):
    answer = light.call(f"{TARGETS}:add", 2, 3, log=tmp_path / "add.log")
    assert answer["sum"] == 5
    assert answer["pid"] != os.getpid()
    assert (tmp_path / "add.log").read_text() == "said on standard output\n"
    assert capfd.readouterr().out == ""


def test_children_are_forked_from_one_zygote_unless_told_otherwise(light, tmp_path, monkeypatch):
    first, second = (light.call(f"{TARGETS}:add", 1, 1) for _ in range(2))
    assert first["zygote"] == second["zygote"]
    monkeypatch.setenv("STARLOOP_FORK", "0")
    with Processes(tmp_path / "fresh", preload=()) as fresh:
        assert fresh.call(f"{TARGETS}:add", 2, 3)["sum"] == 5
        with pytest.raises(UserMistake):
            fresh.call(f"{TARGETS}:refuse")


def test_children_hold_none_of_the_parents_or_the_zygotes_descriptors(light, tmp_path):
    light.call(f"{TARGETS}:add", 1, 1)
    opened = light.call(f"{TARGETS}:descriptors", log=tmp_path / "d.log")["open"]
    assert sum(name.startswith("socket:") for name in opened) == 1, opened
    assert not [name for name in opened if name.startswith("pipe:")], opened


def test_calls_from_several_threads_run_side_by_side(light):
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(light.call(f"{TARGETS}:add", n, n)["sum"])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [2 * n for n in range(8)]


def test_progress_arrives_in_order(light):
    seen: list[int] = []
    assert light.call(f"{TARGETS}:count", 50, progress=lambda report: seen.append(report["step"])) == {"counted": 50}
    assert seen == list(range(50))


def test_starting_the_process_counts_as_startup_not_as_work(light):
    answer = light.call(f"{TARGETS}:timed")
    assert 0 < answer["startup_s"] < 30
    assert answer["work_s"] == 1.0


def test_a_mistake_in_a_child_is_the_same_mistake_here(light):
    with pytest.raises(UserMistake, match=r"^no verifier 'maths'; this checkout has: choice, math$"):
        light.call(f"{TARGETS}:refuse")


def test_a_child_that_breaks_down_is_reported_with_the_end_of_its_log(light, tmp_path):
    with pytest.raises(EngineFault, match=r"exited with status 1; .*(\n.*)*ZeroDivisionError: a mistake of ours"):
        light.call(f"{TARGETS}:break_down", log=tmp_path / "broken.log")


def test_a_killed_child_is_reported_with_its_signal(light, tmp_path):
    with pytest.raises(EngineFault, match=r"killed by SIGSEGV; .*(\n.*)*the last thing it said"):
        light.call(f"{TARGETS}:end_itself", int(signal.SIGSEGV), log=tmp_path / "killed.log")


def test_an_interrupted_caller_leaves_no_child_behind(light):
    class Enough(Exception):
        pass

    def stop(report):
        raise Enough

    with pytest.raises(Enough):
        light.call(f"{TARGETS}:count", 10**9, progress=stop)
    zygote = light.call(f"{TARGETS}:add", 1, 1)["zygote"]
    children = Path(f"/proc/{zygote}/task/{zygote}/children")
    assert soon(lambda: not children.read_text().split())


def test_cancel_kills_children_with_what_they_started_and_nothing_starts_after_it(light, tmp_path):
    (child, _, grandchild), errors, thread = sleeper(light, tmp_path)
    began = time.monotonic()
    light.cancel()
    thread.join(10)
    assert time.monotonic() - began < 3
    assert soon(lambda: not alive(child) and not alive(grandchild))
    assert "cancelled" in str(errors[0])
    assert light.cancelled.is_set()
    with pytest.raises(TrainingFault, match="cancelled"):
        light.call("tasks.training.sft:run", "spec.json")


def test_close_ends_everything(tmp_path):
    processes = Processes(tmp_path / "logs", preload=())
    pids, errors, thread = sleeper(processes, tmp_path)
    processes.close()
    thread.join(10)
    assert errors
    assert soon(lambda: not any(map(alive, pids)))


def test_when_the_zygote_is_killed_its_children_end_and_the_next_call_has_a_new_one(light, tmp_path):
    (child, zygote, _), errors, thread = sleeper(light, tmp_path)
    os.kill(zygote, signal.SIGKILL)
    thread.join(10)
    assert isinstance(errors[0], EngineFault)
    assert soon(lambda: not alive(child))
    assert light.call(f"{TARGETS}:add", 1, 2)["sum"] == 3


@pytest.mark.parametrize("preload", ["", "engine"])
def test_when_the_parent_is_killed_everything_ends(tmp_path, preload):
    """Once with a working child, once while the zygote is deaf because it is importing."""
    script = (
        "import sys; from pathlib import Path; from tasks.processes import Processes\n"
        f"processes = Processes(Path({str(tmp_path)!r}) / 'logs', preload={tuple(filter(None, [preload]))!r})\n"
        "processes.start(); print(processes._zygote.pid, flush=True)\n"
        f"processes.call('{TARGETS}:sleep', {str(tmp_path / 'pids')!r}, log=Path({str(tmp_path / 'log')!r}))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline())]
    if preload:
        time.sleep(0.5)
    else:
        assert soon((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()][:2]
    assert all(map(alive, pids))
    parent.kill()
    # The pipe ends only when nobody holds it: no child may have kept the parent's standard output.
    assert parent.stdout.read() == ""
    parent.stdout.close()
    parent.wait()
    assert soon(lambda: not any(map(alive, pids)))


def test_an_engine_process_answers_and_can_be_asked_again(light, tmp_path):
    with light.engine(f"scripted:{TARGETS}:reply", tmp_path, log=tmp_path / "engine.log") as engine:
        assert engine.name == "scripted"
        assert len(engine.weights_digest) == 32
        for prompts in (["ab", "cd"], ["ef"]):
            requests = [Request(f"{index:032x}", prompt) for index, prompt in enumerate(prompts)]
            assert [answer.text for answer in engine.generate(requests, GREEDY)] == [prompt[::-1] for prompt in prompts]
        assert engine.startup_s > 0
    with pytest.raises(EngineFault, match="closed"):
        next(engine.generate([Request("0" * 32, "ab")], GREEDY))


def test_an_engine_that_does_not_exist_is_the_users_mistake(light, tmp_path):
    with pytest.raises(UserMistake, match="no engine 'vllmm'"):
        light.engine("vllmm", tmp_path)


def test_an_engine_that_dies_is_a_fault_after_what_it_had_answered(light, tmp_path):
    engine = light.engine(f"scripted:{TARGETS}:reply", tmp_path, log=tmp_path / "engine.log")
    with pytest.raises(EngineFault, match="exited with status 3"):
        list(engine.generate([Request("0" * 32, "ab"), Request("1" * 32, "die")], GREEDY))


def test_an_engine_left_in_the_middle_of_its_answers_is_ended(light, tmp_path):
    engine = light.engine(f"scripted:{TARGETS}:reply", tmp_path, log=tmp_path / "engine.log")
    answers = engine.generate([Request(f"{index:032x}", "ab") for index in range(600)], GREEDY)
    next(answers)
    answers.close()
    with pytest.raises(EngineFault, match="closed"):
        next(engine.generate([Request("0" * 32, "ab")], GREEDY))
