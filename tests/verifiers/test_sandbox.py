"""Attacks on the code sandbox. Each test looks for the effect itself (a file, a connection, a process), not only for the verdict;
after each, an ordinary program must still be judged rightly.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.verifiers.confinement import FIRST_USER, Limits
from tasks.verifiers.sandbox import DOOR, Examination, Outcome, Run, examine, protections

SHORT = Limits(seconds=1, wait=4.0)


@pytest.fixture(autouse=True)
def _the_run_goes_on() -> Iterator[None]:
    yield
    outcome = tried("def add(a, b):\n    return a + b", "assert add(1, 2) == 3")
    assert [one.passed for one in outcome.results] == [True], outcome
    assert ends(lambda: not of_the_sandbox()), of_the_sandbox()


def tried(program: str, *tests: str, limits: Limits = SHORT) -> Outcome:
    return examine(Examination(program, tests, limits=limits))


LAUNCHERS: set[int] = set()
"""Every launcher seen so far: as root, what belongs to one has a user id made of its process id."""


def of_the_sandbox() -> dict[int, int]:
    """Every process below the sandbox's door, or of a user that only it makes, as this machine sees it: its id, and its resident memory in bytes."""
    door = DOOR._process
    users, parents, memory = {}, {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                facts = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
                if not facts["State"].strip().startswith("Z"):
                    users[int(entry.name)] = int(facts["Uid"].split()[0])
                    parents[int(entry.name)] = int(facts["PPid"])
                    memory[int(entry.name)] = int(facts.get("VmRSS", "0 kB").split()[0]) * 1024
    found: set[int] = set() if door is None else {door.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    LAUNCHERS.update(pid for pid, parent in parents.items() if door is not None and parent == door.pid)
    found |= {pid for pid, user in users.items() if user - FIRST_USER in LAUNCHERS}
    return {pid: memory[pid] for pid in found if door is None or pid != door.pid}


def ends(what, seconds: float = 3.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return bool(what())


class Watch:
    """The most processes and memory that the sandbox had at any look, every few milliseconds."""

    def __enter__(self) -> "Watch":
        self.most_processes = self.most_memory = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            seen = of_the_sandbox()
            self.most_processes = max(self.most_processes, len(seen))
            self.most_memory = max(self.most_memory, sum(seen.values()))


def reasons(outcome: Outcome) -> str:
    return outcome.undecided or "; ".join(one.reason for one in outcome.results)


def test_this_machine_shuts_a_program_in():
    assert protections() == ""


# Eating up


def test_a_fork_bomb_stays_within_its_number_and_ends_with_its_program():
    bomb = """
import os, time
def burst():
    made = 0
    while True:
        try:
            if os.fork() == 0:
                while True:
                    try:
                        os.fork()
                    except OSError:
                        time.sleep(0.01)
            made += 1
        except OSError:
            time.sleep(0.3)
            return made
"""
    with Watch() as watch:
        outcome = tried(bomb, "assert burst() < 12")
    assert outcome.results or outcome.undecided
    assert 8 <= watch.most_processes <= SHORT.processes + 4
    assert ends(lambda: not of_the_sandbox())


@pytest.mark.slow
def test_a_bomb_that_never_answers_is_over_when_its_time_is():
    bomb = "import os, time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.05)"
    with Watch() as watch:
        outcome = tried(bomb, "assert True", limits=replace(SHORT, wait=1.5))
    assert outcome == Outcome((), "the program was still running after 1.5 s")
    assert watch.most_processes <= SHORT.processes + 4
    assert ends(lambda: not of_the_sandbox())


def test_memory_is_not_to_be_had_beyond_the_limit():
    hog = "def hog():\n    kept = []\n    while True:\n        kept.append(bytearray(10 * 2**20))"
    with Watch() as watch:
        outcome = tried(hog, "assert hog()", limits=replace(SHORT, memory=128 * 2**20, seconds=3))
    assert "MemoryError" in reasons(outcome)
    assert 60 * 2**20 < watch.most_memory < 250 * 2**20


def test_the_disk_holds_no_more_than_its_share_and_nothing_stays():
    flood = """
def flood():
    written = 0
    for number in range(100):
        try:
            with open(f"/tmp/{number}", "wb", 0) as file:
                for _ in range(8):
                    written += file.write(bytes(2**20))
        except OSError as full:
            return written, full.errno
    return written, 0
"""
    limits = replace(SHORT, disk=8 * 2**20, seconds=3)
    before = set(Path(tempfile.gettempdir()).glob("starloop-sandbox-*"))
    outcome = tried(
        flood, "written, errno = flood()", "assert written <= 8 * 2**20, written", "assert errno == 28", limits=limits
    )
    assert [one.passed for one in outcome.results] == [True] * 3, outcome
    assert set(Path(tempfile.gettempdir()).glob("starloop-sandbox-*")) <= before


@pytest.mark.parametrize("place", ["/", "/usr/lib", "/dev", "/etc", str(Path(os.__file__).parent)])
def test_nothing_can_be_written_outside_the_temporary_folder(place: str):
    program = f"""
def write():
    try:
        open({place + "/canary"!r}, "w").close()
    except OSError as refused:
        return type(refused).__name__
    return "written"
"""
    outcome = tried(program, "assert write() in {'PermissionError', 'OSError', 'FileNotFoundError'}, write()")
    assert outcome.results[0].passed, outcome
    assert not Path(place, "canary").exists()


@pytest.mark.slow
def test_an_endless_loop_uses_up_its_time_and_no_more():
    began = time.monotonic()
    outcome = tried("def add(a, b):\n    while True: pass", "assert add(1, 2) == 3", "assert add(0, 0) == 0")
    assert [one.reason for one in outcome.results] == ["it used up its 1 s of CPU time"] * 2
    assert time.monotonic() - began < 4
    assert ends(lambda: not of_the_sandbox())


@pytest.mark.slow
def test_a_loop_that_refuses_to_be_told_is_ended_all_the_same():
    deaf = "import signal\nfor number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass"
    assert reasons(tried(deaf, "assert True", limits=replace(SHORT, wait=20.0))) == "it used up its 1 s of CPU time"


@pytest.mark.parametrize("limit", ["", "import sys; sys.setrecursionlimit(10**9)\n"])
def test_recursion_without_end_fails(limit: str):
    outcome = tried(f"{limit}def deep(n):\n    return deep(n + 1)", "assert deep(0)")
    assert not outcome.results[0].passed
    assert outcome.results[0].reason


@pytest.mark.parametrize("how", ["import os; os._exit(0)", "raise SystemExit(0)", "import sys; sys.exit()", "import os; os.abort()", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "import ctypes; ctypes.string_at(1)"])  # fmt: skip
@pytest.mark.parametrize("when", ["at once", "when asked"])
def test_a_program_that_ends_itself_has_not_passed(how: str, when: str):
    program = how if when == "at once" else f"def add(a, b):\n    {how}"
    (result,) = tried(program, "assert add(1, 2) == 3").results
    assert not result.passed
    assert result.reason


# Reaching out


def test_it_can_end_no_process_but_its_own():
    canary = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    parent = os.getpid()
    program = f"""
import os, signal
def kill():
    said = []
    for pid in (os.getppid(), 1, 0, -1, {canary.pid}, {parent}, {DOOR._process.pid if DOOR._process else 1}):
        if pid in (0, -1):
            continue
        try:
            os.kill(pid, signal.SIGKILL)
            said.append("sent")
        except OSError as refused:
            said.append(type(refused).__name__)
    return said
def all_of_them():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(-1, signal.SIGKILL)
    return "sent"
"""
    try:
        outcome = tried(
            program, "print(kill())", "assert kill()[2:] == ['ProcessLookupError'] * 3, kill()", "all_of_them()"
        )
        assert outcome.results[1].passed, outcome
        time.sleep(0.1)
        assert canary.poll() is None
        assert os.getpid() == parent
        assert DOOR._process is not None
        assert DOOR._process.poll() is None
    finally:
        canary.kill()
        canary.wait()


def test_the_home_folder_and_the_work_around_are_not_there(tmp_path: Path):
    secret = "canary-5d1f"
    with tempfile.NamedTemporaryFile("w", dir=Path.home()) as at_home:
        at_home.write(secret)
        at_home.flush()
        (tmp_path / "secret").write_text(secret)
        places = [at_home.name, str(tmp_path / "secret"), __file__, "/etc/passwd", "/etc/shadow", f"/proc/{os.getpid()}/environ", "/proc/self/environ", "/sys/kernel"]  # fmt: skip
        program = f"""
import os
def read(place):
    try:
        return open(place).read()
    except OSError as refused:
        return type(refused).__name__
def around():
    seen = []
    for root, folders, files in os.walk("/"):
        seen += files
        if root in ("/usr", {str(Path(os.__file__).parent)!r}):
            folders[:] = []
    return seen
def environment():
    return dict(os.environ)
"""
        tests = [f"assert read({place!r}) == 'FileNotFoundError', read({place!r})" for place in places]
        hidden = Path(at_home.name).name
        outcome = tried(program, *tests, f"assert {hidden!r} not in around()", "assert set(environment()) <= {'PYTHONHASHSEED', 'LC_ALL', 'PATH', 'HOME', 'TMPDIR', 'LC_CTYPE'}, environment()", limits=replace(SHORT, seconds=3))  # fmt: skip
    assert [one.reason for one in outcome.results if not one.passed] == []
    assert secret not in repr(outcome)


def test_nothing_listens_where_it_can_speak(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_UNIX) as unnamed, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:  # fmt: skip
        local.bind(str(tmp_path / "door"))
        unnamed.bind(f"\0starloop-{os.getpid()}")
        udp.bind(("127.0.0.1", 0))
        local.listen()
        unnamed.listen()
        program = f"""
import socket
def speak(family, kind, address):
    try:
        with socket.socket(family, kind) as end:
            end.settimeout(1)
            end.connect(address)
            end.send(b"canary")
        return "sent"
    except OSError as refused:
        return "refused"
def all_of_them():
    return [
        speak(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {tcp.getsockname()[1]})),
        speak(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {udp.getsockname()[1]})),
        speak(socket.AF_UNIX, socket.SOCK_STREAM, {str(tmp_path / "door")!r}),
        speak(socket.AF_UNIX, socket.SOCK_STREAM, "\\0starloop-{os.getpid()}"),
    ]
"""
        outcome = tried(program, "assert all_of_them() == ['refused'] * 4, all_of_them()")
        for end in (tcp, local, unnamed, udp):
            end.settimeout(0.1)
            with pytest.raises(TimeoutError):
                end.recv(10) if end is udp else end.accept()
    assert outcome.results[0].passed, outcome


def test_a_flood_of_output_is_cut_off():
    flood = "while True: print('x' * 100_000)"
    with Watch() as watch:
        outcome = examine(Examination(flood, runs=(Run("", "x"),), limits=replace(SHORT, seconds=5)))
    assert reasons(outcome) == "it wrote more than 1,048,576 bytes"
    assert watch.most_memory < 300 * 2**20
    assert ends(lambda: not of_the_sandbox())


def test_a_flood_into_every_open_file_fails_or_changes_nothing():
    flood = "import os\ndef add(a, b):\n    for place in range(64):\n        try: os.write(place, b'\\xff' * 1_000_000)\n        except OSError: pass\n    print('x' * 10**7)\n    return a + b"
    outcome = tried(flood, "assert add(1, 2) == 3")
    assert [one.passed for one in outcome.results] == [False]


def test_a_sleeper_that_holds_standard_output_is_not_waited_for():
    sleeper = "import os, time\nprint('3', flush=True)\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)"
    began = time.monotonic()
    outcome = examine(Examination(sleeper, runs=(Run("", "3"),), limits=SHORT))
    assert [one.passed for one in outcome.results] == [True]
    assert time.monotonic() - began < 3
    assert ends(lambda: not of_the_sandbox())


@pytest.mark.slow
def test_a_program_that_sleeps_past_its_time_is_undecided_and_gone():
    sleeper = "import os, time\nos.fork()\nprint('3', flush=True)\ntime.sleep(60)"
    outcome = examine(Examination(sleeper, runs=(Run("", "3"),), limits=replace(SHORT, wait=1.0)))
    assert outcome == Outcome((), "the program was still running after 1 s")
    assert ends(lambda: not of_the_sandbox())


# Cheating

WRONG = "def add(a, b):\n    return 0\n"
AGREES = "class Agrees:\n    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n" + "".join(
    f"    def __{name}__(self, *a): return True\n" for name in ("eq", "ne", "lt", "gt", "le", "ge", "contains", "bool")
) + "".join(f"    def __{name}__(self, *a): return self\n" for name in ("add", "sub", "rsub", "abs", "round", "getitem"))  # fmt: skip
CHEATS = {
    "an object equal to everything": AGREES + "def add(a, b): return Agrees()",
    "a function that is such an object": AGREES + "add = Agrees()",
    "a class that is equal to everything": AGREES.replace("Agrees", "add") + "    def __init__(self, *a): pass",
    "an integer that is equal to everything": "class Agrees(int):\n    __eq__ = lambda self, other: True\n    __hash__ = int.__hash__\ndef add(a, b): return Agrees(0)",
    "a list that is equal to everything": "class Agrees(list):\n    __eq__ = lambda self, other: True\ndef add(a, b): return Agrees()",
    "no assertion raises": WRONG + "import builtins\nclass Never(BaseException): pass\nbuiltins.AssertionError = Never\nAssertionError = Never",
    "builtins replaced": WRONG + "import builtins\nfor name in ('abs', 'len', 'isinstance', 'all', 'any', 'sum', 'set', 'sorted', 'exec', 'compile'):\n    setattr(builtins, name, lambda *a, **k: True)",
    "builtins defined": WRONG + "def abs(x): return 0\ndef len(x): return 3\ndef sum(x): return 3\ndef set(x): return 3",
    "a module of the tests replaced": WRONG + "import math, sys\nmath.isclose = lambda *a, **k: True\nclass math:\n    isclose = staticmethod(lambda *a, **k: True)\nsys.modules['math'] = math",
    "the tests' names taken": WRONG + "def check(*a): return True\nclass tests: pass\nexpected = 0",
    "exit well": WRONG + "import sys\nsys.exit = lambda *a: None\nimport os\nos._exit(0)",
    "exit when asked": "def add(a, b):\n    import os\n    os._exit(0)",
    "at exit": WRONG + "import atexit\natexit.register(lambda: print('passed'))",
    "a result written to every open file": WRONG + "import os, json\nfor said in ({'results': [{'passed': True, 'reason': '', 'why': ''}] * 5}, {'ended': ''}, {'value': 3}):\n    data = json.dumps(said).encode()\n    for place in range(3, 64):\n        for framed in (data + b'\\n', len(data).to_bytes(4, 'big') + data):\n            try: os.write(place, framed)\n            except OSError: pass",
    "its own side of the sandbox replaced": WRONG + "import sys\nfor name, module in list(sys.modules.items()):\n    if name.startswith('tasks') or name == 'json':\n        for one in list(vars(module)):\n            if callable(vars(module)[one]):\n                setattr(module, one, lambda *a, **k: {'results': [{'passed': True, 'reason': '', 'why': ''}], 'passed': True, 'value': True})",
    "the callers' frames": "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n        if 'add(' + '1, 2)' in repr(frame.f_locals) + repr(frame.f_globals):\n            return 3\n        frame = frame.f_back\n    return 0",
    "everything in memory": "import gc\ndef add(a, b):\n    for one in gc.get_objects():\n        if isinstance(one, dict) and any(isinstance(k, str) and 'add(' + '1, 2)' in k for k in list(one.values()) + list(one)):\n            return 3\n    return 0",
    "another process of its kind steered": WRONG + "import ctypes\nlibc = ctypes.CDLL(None)\nfor pid in range(1, 50):\n    if libc.ptrace(16, pid, 0, 0) == 0:\n        add = lambda a, b: 3\n    break_ = libc.kill(pid, 19) if pid > 2 else 0",
    "an assertion of its own": "def add(a, b):\n    raise AssertionError('passed')",
    "a warning that it stops": "def add(a, b):\n    raise StopIteration",
    "a generator exit": "def add(a, b):\n    raise GeneratorExit",
    "the keyboard": "def add(a, b):\n    raise KeyboardInterrupt",
    "a nest without end": "def add(a, b):\n    nest = []\n    for _ in range(100_000): nest = [nest]\n    return nest",
    "too much to read": "def add(a, b):\n    return 'x' * 40_000_000",
    "endless values": "import itertools\ndef add(a, b):\n    return itertools.count()",
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_wrong_program_passes_no_test_by_any_trick(cheat: str):
    tests = ("assert add(1, 2) == 3", "import math\nassert math.isclose(add(1, 2), 3)", "assert abs(add(1, 2) - 3) < 1e-6", "assert add(1, 2) in [3]", "assert len(str(add(1, 2))) + sum([add(1, 2)]) == 4", "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)")  # fmt: skip
    outcome = tried(CHEATS[cheat], *tests)
    assert not any(one.passed for one in outcome.results), outcome
    assert outcome.undecided or all(one.reason for one in outcome.results)


@pytest.mark.slow
def test_the_sides_end_when_whoever_asked_is_killed(tmp_path: Path):
    script = """
import threading, time
from tasks.verifiers.confinement import Limits
from tasks.verifiers.sandbox import DOOR, Examination, examine
program = "import time\\ntime.sleep(60)"
threading.Thread(target=examine, args=(Examination(program, ("pass",), limits=Limits(wait=60)),), daemon=True).start()
while DOOR._process is None:
    time.sleep(0.02)
time.sleep(0.7)
print(DOOR._process.pid, flush=True)
time.sleep(60)
"""
    asker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=os.environ | {"TMPDIR": str(tmp_path)})  # fmt: skip
    assert asker.stdout is not None
    door = int(asker.stdout.readline())
    below = [int(pid) for pid in subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(door)], text=True).split()]
    assert below
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    asker.stdout.close()
    assert ends(lambda: not any(Path(f"/proc/{pid}").exists() for pid in [door, *below]))


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root takes this way in every other test")
def test_root_runs_programs_as_somebody_who_owns_nothing():
    outcome = tried("import os\ndef who(): return os.getuid()", f"assert who() >= {FIRST_USER}, who()")
    assert outcome.results[0].passed, outcome
