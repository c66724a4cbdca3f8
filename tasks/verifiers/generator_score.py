"""An answer to a problem of reasoning-gym, scored by its own generator: passes at 1.0 and at nothing less.

    >>> verify("2 * 3 = 6, and 6 + 1 = 7. <answer>7</answer>", problem)         # problem.info names generator, seed and index
    Judgement(passed=True, answer='7', score=1.0)

The answer is what stands in the last `<answer>…</answer>`, or after the last `Answer:` of the text. The item is made anew from
generator, seed and index, since some of them have many right answers.

Some generators evaluate what they score (Python's `eval`, or SymPy's parser, which is no safer), and so could a text run anything. For
those an answer must be a literal, plain words and numbers, or a formula of known functions; any other fails unscored. Not covered: a
formula that takes for ever to compare, so this verifier belongs in a worker process.
"""

import ast
import inspect
import json
import re
from functools import lru_cache
from math import prod
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.verifiers.protocol import Judgement

LONGEST = 20_000
FUNCTIONS = {"sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "ln", "sqrt", "pi", "E", "C"}  # fmt: skip
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_STATED = re.compile(r"^.*\banswer\s*(?:is)?\s*:\s*(?P<answer>\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\(")
_WORDS = re.compile(r"[\w\s,;:|+\-]*")
_FORMULA = re.compile(r"(?:[\s+\-*/^(),=]++|\d++(?:\.\d++)?|[A-Za-z]++)*+")
_POWER = re.compile(r"\*\*|\^")
_SMALL_POWER = re.compile(
    r"(?P<of>\)?)\s*(?:\*\*|\^)\s*(?:(?P<number>\d{1,3})|[A-Za-z]|\(\s*-?\d{1,3}\s*(?:/\s*\d{1,3}\s*)?\))(?![\d.]|\s*(?:\*\*|\^))"
)
MOST_POWER = 10_000
"""What the powers of brackets may multiply up to."""


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the generator scores the answer 1.0; `score` is what it gave. Undecided for a problem of another set."""
    info: dict[str, Any] = json.loads(problem.info)
    if "generator" not in info:
        return Judgement(None, reason="the problem is none of reasoning-gym's")
    answer = answer_in(text)
    if answer is None:
        return Judgement(False, reason="no answer")
    items = _items(info["generator"], json.dumps(info["options"]), info["seed"], info["size"])
    if evaluates(info["generator"]) and not harmless(answer):
        return Judgement(
            False, answer=answer[:200], reason="the answer is neither a literal nor plain words nor a formula"
        )
    item = items[info["index"]]
    if str(item["question"]).strip() != problem.question:
        return Judgement(None, answer=answer[:200], reason="this version of reasoning-gym makes another problem of it")
    if wrong := MORE.get(info["generator"], nothing_more)(answer, item):
        return Judgement(False, answer=answer[:200], reason=wrong)
    score = float(items.score_answer(answer, item))
    passed = score == 1.0
    return Judgement(
        passed, answer=answer[:200], score=score, reason=None if passed else "the generator gives less than 1"
    )


def nothing_more(answer: str, item: dict[str, Any]) -> str:
    del answer, item
    return ""


def the_numbers_given(answer: str, item: dict[str, Any]) -> str:
    """puzzle24's scorer takes any four numbers of the right size."""
    used = sorted(map(int, re.findall(r"\d+", answer)))
    return "" if used == sorted(item["metadata"]["numbers"]) else "other numbers than those that were given"


MORE = {"puzzle24": the_numbers_given}
"""What a generator's own scorer leaves out."""


def answer_in(text: str) -> str | None:
    """What the text gives as its answer."""
    tagged = _TAGGED.findall(text)
    if tagged:
        return tagged[-1].strip()
    stated = list(_STATED.finditer(text))
    return stated[-1]["answer"] if stated else None


@lru_cache(maxsize=256)
def evaluates(generator: str) -> bool:
    """Whether the generator's module has anything that evaluates text."""
    from reasoning_gym.factory import DATASETS

    module = inspect.getmodule(DATASETS[generator][0])
    return module is None or _EVALUATES.search(inspect.getsource(module)) is not None


def harmless(answer: str) -> bool:
    """Whether evaluating the answer can do nothing but compute: no attribute, no call but of known functions, no endless powers."""
    if len(answer) > LONGEST:
        return False
    try:
        ast.literal_eval(answer)
        return True
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    if _WORDS.fullmatch(answer) and "__" not in answer:
        return True
    names = re.findall(r"[A-Za-z]+", answer)
    return (
        _FORMULA.fullmatch(answer) is not None
        and all(len(name) == 1 or name in FUNCTIONS for name in names)
        and _computable(answer)
    )


def _computable(formula: str) -> bool:
    """Whether every power is a small one, also of brackets that hold powers: 9**9**9 would compute for ever."""
    small = list(_SMALL_POWER.finditer(formula))
    of_brackets = [int(one["number"] or 1) for one in small if one["of"]]
    return len(small) == len(_POWER.findall(formula)) and prod(of_brackets) <= MOST_POWER


@lru_cache(maxsize=32)
def _items(generator: str, options: str, seed: int, size: int) -> Any:
    try:
        import reasoning_gym
    except ImportError:
        raise UserMistake("verifier reasoning_gym needs the package reasoning-gym; pip install reasoning-gym") from None
    return reasoning_gym.create_dataset(generator, size=size, seed=seed, **json.loads(options))
