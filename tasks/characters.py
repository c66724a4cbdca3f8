"""What the embedded model must be able to read and write for a problem set: one token is one character, so the set's texts say
which characters there are and how long a worked example gets.

    >>> characters_of(load("jsonl:questions.jsonl"), "plain", 20_000)
    Characters(alphabet=' .0123456789?Wahist\\n', longest=58)

A set that knows its alphabet says so (`addition`); of others everything is rendered once. Of a stream without end the first
`LOOKED_AT` problems are, so a character that comes later makes its prompt a failed one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.protocol import SPLITS, ProblemSet
from tasks.prompts.render import completion, render
from tasks.training.embedded import EOS

LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Characters:
    """`alphabet` is what Architecture takes; `longest` counts a prompt with its completion and the end, None if not measured."""

    alphabet: str
    longest: int | None


def characters_of(problem_set: ProblemSet, template: str, documents: int) -> Characters:
    """The characters of every prompt, hinted and direct, and of the first `documents` worked examples.

    Raises UserMistake for a set that has no worked examples: there is nothing to pre-train on.
    """
    if known := getattr(problem_set, "alphabet", None):
        return Characters(known, None)
    corpus = problem_set.corpus(0, documents)
    if not corpus:
        raise nothing_to_pretrain_on(problem_set)
    worked = [render(template, one).text + completion(template, one) for one in corpus]
    found = set[str]().union(*worked, *_prompts(problem_set, template))
    return Characters("".join(sorted(found - {EOS})) + EOS, max(map(len, worked)) + 1)


def nothing_to_pretrain_on(problem_set: ProblemSet) -> UserMistake:
    """The sentence for a set that the embedded model cannot do."""
    return UserMistake(
        f"the embedded model is pre-trained on worked examples, and {problem_set.name} has none; give its train problems a "
        "rationale, or set model.source to a model folder, a hub name or a checkpoint (ckp_…)"
    )


def _prompts(problem_set: ProblemSet, template: str) -> Iterator[str]:
    for split in SPLITS:
        size = problem_set.size(split)
        for problem in problem_set.take(split, 0, LOOKED_AT if size is None else size):
            yield from _both(problem, template)


def _both(problem: Problem, template: str) -> Iterator[str]:
    yield render(template, problem).text
    if problem.gold is not None:
        yield render(template, problem, hinted=True).text + completion(template, problem, rationale=False)
