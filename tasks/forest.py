"""The trees of many problems, grown side by side: each round asks for the steps of all trees in one call, and for their values.

    forest = Forest(problems, prompts, policy, value, how, seed=0, runtime=runtime)
    forest.grow()

A round is at most four calls: `branch` steps after every selected node, their values, the roll-outs (a call a step), and the values of
these. So an engine sees full batches, and computes what the steps of a node have before them once. Every call goes through
`tasks.generation`, with a journal of its own: after a kill, finished calls are read and the one under way is asked again. What is
greedy is asked once a text, whichever round comes to it, and so is a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from storage.records import Attempt, Problem, Prompt
from tasks.engines.protocol import FAILED as ATTEMPT_FAILED
from tasks.engines.protocol import LENGTH, STOP, Sampling
from tasks.generation import Asked, Model, generate
from tasks.runtime import Runtime
from tasks.tree import COMPLETED, CUT, ENDS, FAILED, GOES_ON, ROLLED, Node, SearchRule, Step, Tree

LOOKED_AT = Sampling(temperature=0.0, max_tokens=32)
"""A value is read, not drawn; what counts of this is that it is always the same, and room for a number."""


@dataclass(frozen=True, slots=True)
class Search:
    """How trees are grown. `sampling` draws the steps; one ends behind `delimiter`, or where that is empty after `step_tokens` tokens.

    A stop string ends the solution, also one that stands across the border of two steps.
    """

    rule: SearchRule
    sampling: Sampling
    delimiter: str = ""
    step_tokens: int = 64

    @property
    def drawn(self) -> Sampling:
        """How a step is drawn."""
        return replace(self.sampling, max_tokens=self.step_tokens, step=self.delimiter)

    @property
    def greedy(self) -> Sampling:
        """How a step of a roll-out is written."""
        return replace(self.drawn, temperature=0.0, top_p=1.0, top_k=0)


@dataclass(slots=True)
class Growing:
    """A problem with its tree, and how many tokens were generated for it."""

    problem: Problem
    prompt: Prompt
    tree: Tree
    tokens: int = 0


class Forest:
    """Many trees. Without a `value` model nothing is searched: `branch` solutions of each problem are drawn, step by step, and
    written down as a tree of what they have in common.
    """

    def __init__(
        self, problems: Sequence[Problem], prompts: Sequence[Prompt], policy: Model, value: Model | None, how: Search,
        seed: int, runtime: Runtime,
    ) -> None:  # fmt: skip
        self.trees = [
            Growing(problem, prompt, Tree(how.rule)) for problem, prompt in zip(problems, prompts, strict=True)
        ]
        self.calls: list[list[Attempt]] = []
        """What every call came to, values included: their journals are sealed when the cell is."""
        self.steps: dict[str, Attempt] = {}
        """Every step that was written, by its id."""
        self.prompts: dict[str, Prompt] = {prompt.prompt_id: prompt for prompt in prompts}
        self.valued = 0
        self._policy, self._value, self._how, self._seed, self._runtime = policy, value, how, seed, runtime
        self._greedy: dict[tuple[str, str], Attempt] = {}
        self._values: dict[tuple[str, str], Attempt] = {}

    def grow(self) -> None:
        """All trees to their ends."""
        if self._value is None:
            while self._draw():
                pass
            return
        checkpoints = self._runtime.home.checkpoints
        pairs = [(model.engine, checkpoints / model.checkpoint_id) for model in (self._policy, self._value)]
        with self._runtime.engines.in_turns(*pairs):
            while self._round():
                pass
            self._complete()

    def _round(self) -> bool:
        """A round of every tree that goes on; whether there was one."""
        selected = [(one, node) for one in self.trees if (node := one.tree.select()) is not None]
        written = self._written(selected, [self._how.rule.branch] * len(selected), self._how.drawn)
        new = [one.tree.expand(node, steps) for (one, node), steps in zip(selected, written, strict=True)]
        self._give_values(
            [(one, child) for (one, _), children in zip(selected, new, strict=True) for child in children]
        )
        best = [one.tree.to_roll(children) for (one, _), children in zip(selected, new, strict=True)]
        looked = self._roll([(one, start) for (one, _), start in zip(selected, best, strict=True)])
        for (one, node), children, rolled in zip(selected, new, looked, strict=True):
            top = max(children, key=lambda child: child.value, default=node)
            one.tree.settle(top, rolled)
        return bool(selected)

    def _roll(self, starts: Sequence[tuple[Growing, Node | None]]) -> list[list[Node]]:
        """The nodes of each greedy roll-out, with their values."""
        rolled: list[list[Node]] = [[] for _ in starts]
        heads = {place: (one, start) for place, (one, start) in enumerate(starts) if start is not None}
        for _ in range(self._how.rule.rollout_steps):
            heads = {place: head for place, head in heads.items() if head[1].open}
            steps = self._greedily(list(heads.values()))
            went = {}
            for (place, (one, node)), step in zip(heads.items(), steps, strict=True):
                if (next_ := one.tree.roll(node, step, ROLLED)) is not None:
                    rolled[place].append(next_)
                    went[place] = (one, next_)
            heads = went
        self._give_values([(starts[place][0], node) for place, nodes in enumerate(rolled) for node in nodes])
        return rolled

    def _complete(self) -> None:
        """A solution for every tree that has none: written on greedily from the best place."""
        heads = [(one, node) for one in self.trees if (node := one.tree.to_complete()) is not None]
        while heads := [(one, node) for one, node in heads if node.open]:
            steps = self._greedily(heads)
            grown = [
                (one, one.tree.roll(node, step, COMPLETED)) for (one, node), step in zip(heads, steps, strict=True)
            ]
            heads = [(one, node) for one, node in grown if node is not None]
            self._give_values(heads)

    def _draw(self) -> bool:
        """One more step of every solution that is being drawn; whether there was one."""
        open_ = [(one, node) for one in self.trees for node in one.tree.nodes if node.open and not node.children]
        times = [node.times if node.parent else self._how.rule.branch for _, node in open_]
        for (one, node), steps in zip(open_, self._written(open_, times, self._how.drawn), strict=True):
            one.tree.expand(node, steps)
        return bool(open_)

    def _greedily(self, heads: Sequence[tuple[Growing, Node]]) -> list[Step]:
        keys = [(one.problem.problem_id, node.solution) for one, node in heads]
        new = {key: head for key, head in zip(keys, heads, strict=True) if key not in self._greedy}
        asked = self._asked(list(new.values()), [1] * len(new), self._how.greedy)
        self._greedy |= {key: attempts[0] for key, attempts in zip(new, asked, strict=True)}
        return [self._step(self._greedy[key], node) for key, (_, node) in zip(keys, heads, strict=True)]

    def _written(
        self, heads: Sequence[tuple[Growing, Node]], times: Sequence[int], sampling: Sampling
    ) -> list[list[Step]]:
        asked = self._asked(heads, times, sampling)
        return [[self._step(one, node) for one in attempts] for (_, node), attempts in zip(heads, asked, strict=True)]

    def _asked(
        self, heads: Sequence[tuple[Growing, Node]], times: Sequence[int], sampling: Sampling
    ) -> list[list[Attempt]]:
        """So many attempts at the next step after each node, in one call."""
        asked: list[Asked] = []
        for (one, node), count in zip(heads, times, strict=True):
            prompt = after(one.prompt, node.solution)
            self.prompts[prompt.prompt_id] = prompt
            asked += [Asked(one.problem, prompt, index) for index in range(count)]
        attempts = generate(asked, self._policy, sampling, self._seed, "search", self._runtime)
        self.calls.append(attempts)
        self.steps |= {attempt.attempt_id: attempt for attempt in attempts}
        self._runtime.check_cancelled()
        rest = iter(attempts)
        found = [[next(rest) for _ in range(count)] for count in times]
        for (one, _), steps in zip(heads, found, strict=True):
            one.tokens += sum(step.tokens or 0 for step in steps)
        return found

    def _give_values(self, nodes: Sequence[tuple[Growing, Node]]) -> None:
        """Every node its value; one that the value model cannot read has none, is worth nothing and leads nowhere."""
        assert self._value is not None
        keys = [(one.problem.problem_id, node.solution) for one, node in nodes]
        new = {key: one for key, (one, _) in zip(keys, nodes, strict=True) if key not in self._values}
        asked = [Asked(one.problem, after(one.prompt, solution), 0) for (_, solution), one in new.items()]
        read = generate(asked, self._value, LOOKED_AT, 0, "value", self._runtime)
        self.calls.append(read)
        self.valued += len(read)
        self._values |= dict(zip(new, read, strict=True))
        for key, (_, node) in zip(keys, nodes, strict=True):
            value, why = value_of(self._values[key])
            node.value = value
            if why and not node.finished:
                node.closed = why

    def _step(self, attempt: Attempt, after: Node) -> Step:
        """An attempt as the step after a node."""
        if attempt.finish_reason == ATTEMPT_FAILED:
            return Step("", FAILED, attempt, attempt.error or "the step failed")
        whole = after.solution + attempt.text
        stop = min((place for one in self._how.sampling.stop if (place := whole.find(one)) >= 0), default=-1)
        if stop >= 0:  # it began in the step before, where nobody could see that it was one
            return Step(whole[:stop][len(after.solution) :], ENDS, attempt)
        if attempt.finish_reason == STOP:
            return Step(attempt.text, ENDS, attempt)
        if attempt.finish_reason == LENGTH and self._how.delimiter:
            return Step(attempt.text, CUT, attempt, f"a step came to no end within {self._how.step_tokens} tokens")
        blank = not attempt.text.removesuffix(self._how.delimiter).strip()
        return Step("" if blank else attempt.text, GOES_ON, attempt)


def after(prompt: Prompt, solution: str) -> Prompt:
    """What is read before the next step: the problem's prompt with the solution so far."""
    if not solution:
        return prompt
    return Prompt.of(prompt.text + solution, prompt.template, prompt.template_digest, prompt.hinted)


def value_of(read: Attempt) -> tuple[float, str]:
    """The number that a value model answered with, or 0 and why there is none."""
    if read.finish_reason == ATTEMPT_FAILED:
        return 0.0, f"no value: {read.error}"
    try:
        value: Any = float(read.text)
    except ValueError:
        return 0.0, f"no value: the value model answered {read.text!r:.40}"
    return (min(1.0, max(0.0, value)), "") if value == value else (0.0, "no value: the value model's is not a number")
