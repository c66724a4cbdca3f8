"""A program against its problem's tests, in the sandbox.

    problem.info   {"tests": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]}          asked of its functions
                   {"tests": "def check(candidate): ...", "entry": "add"}                  as HumanEval has them
                   {"runs": [{"input": "1 2\\n", "output": "3\\n"}]}                         from standard input to output

Beside them `setup` (Python before the tests), `prefix` (what stands before a text that defines no `entry`), and the limits `seconds` (of CPU time), `wait` (by the clock),
`memory_mb`, `processes`, `disk_mb`. The program is the last fenced block that defines what the tests use, else the last block, else
the whole text. All tests must pass; `score` is the share that does. A program that ends, exhausts its CPU time or memory, or never
gets as far has failed. Undecided is what the program need not be to blame for: tests that are no Python, a sandbox that did not start,
and a program that is still waiting when its time is over, since the machine may have been busy.

Not covered: programs that need installed packages (Python's own library is all there is), and tests that pass a class of theirs
to the program.
"""

import ast
import json
import re
from dataclasses import replace
from typing import Any

from storage.records import Problem
from tasks.verifiers.confinement import Limits
from tasks.verifiers.protocol import Judgement
from tasks.verifiers.sandbox import Examination, Run, examine

_FENCED = re.compile(
    r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
PYTHON = {"", "py", "python", "python3"}
MIB = 2**20


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when every test does; undecided without tests, and where none of them could be decided."""
    info: dict[str, Any] = json.loads(problem.info)
    tests, entry = _tests(info), str(info.get("entry", ""))
    runs = tuple(Run(str(one["input"]), str(one["output"])) for one in info.get("runs", []))
    if not tests and not runs:
        return Judgement(None, reason="the problem has no tests")
    wanted = [entry] if entry else sorted(set(re.findall(r"\b[A-Za-z_]\w*", "\n".join(tests))))
    program = program_in(text, wanted)
    if not program.strip():
        return Judgement(False, reason="no program")
    if entry and not _defines(program, [entry]) and info.get("prefix"):
        program = f"{info['prefix']}{program}"
    examination = Examination(program, tests, str(info.get("setup", "")), entry, runs, _limits(info))
    outcome = examine(examination)
    if outcome.undecided:
        return Judgement(None, reason=outcome.undecided)
    wrong = [one.reason for one in outcome.results if not one.passed]
    score = 1 - len(wrong) / len(outcome.results)
    return Judgement(not wrong, score=score, reason=wrong[0] if wrong else None)


def program_in(text: str, wanted: list[str]) -> str:
    """The program that an attempt gives: the last fenced block of Python that defines one of `wanted`, else the last, else all of it."""
    blocks = [found["code"] for found in _FENCED.finditer(text) if found["language"].lower() in PYTHON]
    if not blocks:
        return text
    return next((block for block in reversed(blocks) if _defines(block, wanted)), blocks[-1])


def _defines(program: str, names: list[str]) -> bool:
    if any(re.search(rf"^(?:async def|def|class) {re.escape(name)}\b", program, re.MULTILINE) for name in names):
        return True
    try:
        body = ast.parse(program).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    targets = [target for one in body if isinstance(one, ast.Assign) for target in one.targets]
    return any(isinstance(target, ast.Name) and target.id in names for target in targets)


def _tests(info: dict[str, Any]) -> tuple[str, ...]:
    """The problem's tests; one text that defines `check` and does not call it is made to, as HumanEval means it."""
    given = info.get("tests") or []
    if isinstance(given, list):
        return tuple(map(str, given))
    text = str(given)
    called = re.search(r"^check\(", text, re.MULTILINE)
    return (f"{text}\ncheck({info['entry']})" if "def check(" in text and not called and info.get("entry") else text,)


def _limits(info: dict[str, Any]) -> Limits:
    """The usual limits with the problem's own; by the clock a program has three times its CPU time, and five seconds for a busy machine."""
    usual = Limits()
    seconds = int(info.get("seconds", usual.seconds))
    return replace(
        usual,
        seconds=seconds,
        wait=float(info.get("wait", 3 * seconds + 5)),
        memory=int(info.get("memory_mb", usual.memory // MIB)) * MIB,
        processes=int(info.get("processes", usual.processes)),
        disk=int(info.get("disk_mb", usual.disk // MIB)) * MIB,
    )
