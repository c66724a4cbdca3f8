"""The tests' side of an examination: they run in a process of their own, where the program is only reached by asking.

A test is Python, mostly one assertion. The names that it uses and does not define are the program's; never a builtin, and a
module of Python's own library that is used as one (`math.isclose`) is the real one, whatever the program calls so.
"""

import ast
import builtins
import sys
from importlib import import_module
from typing import Any

from tasks.verifiers.channel import Channel, Closed
from tasks.verifiers.stand_ins import Conversation, Gone

WORDS = 300
"""Longest reason, in characters."""


def examine(job: dict[str, Any], program: Channel, warden: Channel) -> dict[str, Any]:
    """`results`, one a test: whether it passed, and why not; or `undecided` with the reason where the tests themselves are at fault."""
    if job["runs"]:
        return {"results": [_run(one, warden) for one in job["runs"]]}
    try:
        setup = ast.parse(job["setup"])
        tests = [ast.parse(test) for test in job["tests"]]
    except (SyntaxError, ValueError) as mistake:
        return {"undecided": f"the problem's tests are no Python: {mistake}"[:WORDS]}
    names = _names([setup, *tests])
    conversation = Conversation(program, warden, frozenset(names.free))
    try:
        defined = conversation.started()
    except Gone as why:
        return {"results": [_failed(str(why))] * len(tests)}
    if job["entry"] and job["entry"] not in defined:
        return {"results": [_failed(f"it defines no {job['entry']!r}")] * len(tests)}
    space: dict[str, Any] = {"__name__": "tests"}
    space |= {name: import_module(name) for name in sorted(names.modules)}
    space |= {name: defined[name] for name in names.free if name in defined}
    if refused := _test(setup, "setup", space):
        if refused["why"] == "Gone":
            return {"results": [refused] * len(tests)}
        return {"undecided": f"the problem's setup does not run: {refused['reason']}"[:WORDS]}
    results: list[dict[str, Any]] = []
    for test, text in zip(tests, job["tests"], strict=True):
        if results and results[-1]["why"] == "Gone":
            results.append(results[-1])
            continue
        results.append(_test(test, text, space) or {"passed": True, "reason": "", "why": ""})
    return {"results": results}


class Names:
    """What the tests mean by their names: `free`, the program's to define; `modules`, of Python's own library."""

    def __init__(self, used: set[str], bound: set[str], called: set[str], dotted: set[str]) -> None:
        self.free = used - bound - set(dir(builtins))
        self.modules = {name for name in self.free & dotted - called if name in sys.stdlib_module_names}
        self.free -= self.modules


def _names(trees: list[ast.Module]) -> Names:
    used, bound, called, dotted = set[str](), set[str](), set[str](), set[str]()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Name(name, ast.Load()):
                used.add(name)
            case ast.Name(name) | ast.arg(name) | ast.FunctionDef(name) | ast.ClassDef(name):
                bound.add(name)
            case ast.alias(name, other):
                bound.add(other or name.partition(".")[0])
        match node:
            case ast.Call(ast.Name(name)):
                called.add(name)
            case ast.Attribute(ast.Name(name)):
                dotted.add(name)
    return Names(used, bound, called, dotted)


def _test(tree: ast.Module, text: str, space: dict[str, Any]) -> dict[str, Any] | None:
    """None if it passes."""
    try:
        exec(compile(tree, "<tests>", "exec"), space)
    except Gone as why:
        return _failed(str(why), "Gone")
    except AssertionError as raised:
        return _failed(f"{' '.join(text.split())}{': ' + str(raised) if str(raised) else ''}")
    except NameError as raised:
        return _failed(f"it defines no {raised.name!r}" if raised.name else str(raised))
    except BaseException as raised:  # noqa: BLE001 - what the program's answers made the test do
        return _failed(f"{type(raised).__name__}: {raised}"[: WORDS // 2] + f" in {' '.join(text.split())}")
    return None


def _failed(reason: str, why: str = "wrong") -> dict[str, Any]:
    return {"passed": False, "reason": reason[:WORDS], "why": why}


def _run(case: dict[str, Any], warden: Channel) -> dict[str, Any]:
    """One run of the whole program: what it writes for an input, trailing white space aside."""
    try:
        warden.send({"input": case["input"]})
        done = warden.receive()
    except Closed as why:
        return _failed(str(why), "Gone")
    if done["ended"]:
        return _failed(done["ended"])
    if _lines(done["output"]) == _lines(case["output"]):
        return {"passed": True, "reason": "", "why": ""}
    return _failed(f"for the input {case['input']!r:.80} it wrote {done['output']!r:.100}")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
