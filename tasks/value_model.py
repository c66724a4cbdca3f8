"""The value model's training set, from finished trees and their verdicts; it is fine-tuned on it with the objective `value`.

A row of the set is a partial solution with what its last step was worth (see `tasks.tree.process_values`): an example whose
prompt is everything the model reads and whose completion is the number. So where a value model's rows came from, and who judged
them, is asked like of any training set.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from storage.errors import UserMistake
from storage.manifest import Accounting, Manifest, Output
from storage.nodes import Node
from storage.records import Attempt, Example, ExampleEvidence, Problem, Verdict
from tasks.caching import cached_task
from tasks.composition import SAMPLED, Candidate, Composition
from tasks.ingredients import chat_code, direct_text
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime
from tasks.tree import by_summed_value, process_values
from tasks.verify import outcomes

PLACES = 4
"""Decimal places of a value. With more of them a number would be long enough to be taken for a text that was forgotten."""


@dataclass(frozen=True, slots=True)
class Trees:
    """The finished trees of a cell: the problems, the nodes, the steps and solutions as attempts, and the solutions' verdicts."""

    problems: Manifest
    nodes: Manifest
    steps: Manifest
    solutions: Manifest
    verdicts: Manifest


@cached_task("value set", template=direct_text, chat=chat_code)
def value_set(trees: tuple[Trees, ...], template: str, seed: int, runtime: Runtime, chat: Chat | None = None) -> Output:
    """What each step on the way to a judged solution was worth, right and wrong ones. Raises UserMistake where none was judged.

    A text that stands in a tree twice (a step that was looked ahead to, and then expanded) is one row with the mean of its values.
    """
    composition = Composition(runtime.shards)
    counts: Counter[str] = Counter()
    for cell in trees:
        runtime.check_cancelled()
        composition.offer(list(_candidates(cell, template, chat, counts, runtime)))
    if not composition.kept:
        raise UserMistake(
            f"there is nothing to train the value model on: of {counts['undecided']} solutions none was judged right or wrong; "
            "look at some with `starloop preview`, or give trees more rounds"
        )
    solutions = counts["right"] + counts["wrong"] + counts["undecided"]
    output = composition.seal(Accounting(solutions, counts["right"], counts["wrong"], counts["undecided"]), seed)
    figures = {name: counts[name] for name in ("trees", "any_right", "best_right", "summed_right")}
    return replace(output, facts=output.facts | figures)


def _candidates(
    cell: Trees, template: str, chat: Chat | None, counts: Counter[str], runtime: Runtime
) -> Iterator[Candidate]:
    """The rows of a cell, tree by tree; what became of each solution, and which trees answer right, is added to `counts`."""
    problems = {one.problem_id: one for one in runtime.shards.iterate(cell.problems, Problem)}
    texts = {one.attempt_id: one.text for one in runtime.shards.iterate(cell.steps, Attempt)}
    verdicts = runtime.shards.read(cell.verdicts, Verdict)
    outcome = outcomes(verdicts)
    answers = {one.attempt_id: one.answer for one in verdicts if one.answer is not None}
    for solution in runtime.shards.iterate(cell.solutions, Attempt):
        texts[solution.attempt_id] = solution.text
        passed = outcome[solution.attempt_id][0]
        counts["undecided" if passed is None else "right" if passed else "wrong"] += 1
    by_tree: dict[str, list[Node]] = {}
    for node in runtime.shards.iterate(cell.nodes, Node):
        by_tree.setdefault(node.tree_id, []).append(node)
    for nodes in by_tree.values():
        counts.update(_answered([node for node in nodes if node.solution_id], answers, outcome))
        prompt = prompt_of(template, problems[nodes[0].problem_id], chat=chat).text
        yield from _rows(sorted(nodes, key=lambda node: node.place), prompt, texts, outcome)


def _answered(
    leaves: list[Node], answers: dict[str, str], outcome: dict[str, tuple[bool | None, str]]
) -> Iterator[str]:
    """What the tree's solutions would have answered: by any of them, by the best leaf, by the largest sum of values."""
    yield "trees"
    solutions = [str(node.solution_id) for node in leaves]
    right = [outcome[solution][0] is True for solution in solutions]
    values = [node.value for node in leaves]
    if any(right):
        yield "any_right"
    if values and right[values.index(max(values))]:
        yield "best_right"
    chosen = by_summed_value(values, [answers.get(solution) for solution in solutions])
    if chosen is not None and right[chosen]:
        yield "summed_right"


def _rows(
    nodes: list[Node], prompt: str, texts: dict[str, str], outcome: dict[str, tuple[bool | None, str]]
) -> Iterator[Candidate]:
    """The rows of a tree, its nodes given in order."""
    place_of = {node.node_id: node.place for node in nodes}
    parents = [None if node.parent_id is None else place_of[node.parent_id] for node in nodes]
    judged = {node.place: node.solution_id for node in nodes if node.solution_id is not None}
    right = {place: passed for place, solution in judged.items() if (passed := outcome[solution][0]) is not None}
    values = process_values(parents, right)
    witness: dict[int, str] = {}
    for place in sorted(right, key=lambda place: not right[place]):  # a right solution speaks for all that led to it
        above: int | None = place
        while above is not None and above not in witness:
            witness[above] = judged[place]
            above = parents[above]
    partial: list[str] = []
    said: dict[str, list[int]] = {}
    for node, above in zip(nodes, parents, strict=True):
        before = "" if above is None else partial[above]
        if node.solution_id is not None:  # what the step wrote behind a stop string is no part of it
            partial.append(texts[node.solution_id])
        else:
            partial.append(before + (texts[node.attempt_id] if node.attempt_id else ""))
        if node.place in values:
            said.setdefault(partial[-1], []).append(node.place)
    for text, places in said.items():
        value = sum(values[place] for place in places) / len(places)
        example = Example.of(prompt + text, f"{value:.{PLACES}f}")
        solution = witness[min(places, key=lambda place: not right.get(place, False))]
        evidence = ExampleEvidence(example.example_id, nodes[0].problem_id, SAMPLED, solution, outcome[solution][1])
        yield Candidate(example, evidence)
