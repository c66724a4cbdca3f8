"""Search: solutions of the problems of one cell, by tree search with a learned process value (ReST-MCTS*, see `tasks.tree`).

What comes of a tree are its complete solutions, as ordinary attempts under the problem's own prompt, so that they are verified and
trained on like samples; every one of its nodes; and every step that was written, with a derivation from each step of a solution to it.
A tree that came to no complete solution is counted as undecided: nothing says that the model cannot solve the problem.
"""

from dataclasses import asdict, dataclass

from storage.identity import canonical_json, content_id
from storage.manifest import Accounting, Manifest, Output
from storage.nodes import Node as NodeRow
from storage.records import Attempt, Derivation, Problem
from tasks.caching import cached_task
from tasks.engines.protocol import STOP
from tasks.forest import Forest, Growing, Search
from tasks.generation import Model, seal, spent
from tasks.ingredients import chat_code, direct_text, engine_code
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime
from tasks.tree import Node

STEP_OF = "step"
"""The role in which a step stands to the solutions that it is a part of."""


@cached_task("search", engine=engine_code, template=direct_text, chat=chat_code, value_engine=engine_code)
def search(
    problems: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    how: Search,
    seed: int,
    runtime: Runtime,
    value_engine: str | None = None,
    value_checkpoint_id: str | None = None,
    value_weights_digest: str | None = None,
    chat: Chat | None = None,
) -> Output:
    """A tree for every problem of the cell, all grown side by side; without a value model, solutions drawn step by step."""
    rows = runtime.shards.read(problems, Problem)
    policy = Model(engine, checkpoint_id, weights_digest)
    value = None
    if value_engine is not None and value_checkpoint_id is not None:
        value = Model(value_engine, value_checkpoint_id, value_weights_digest)
    prompts = [prompt_of(template, problem, chat=chat) for problem in rows]
    forest = Forest(rows, prompts, policy, value, how, seed, runtime)
    forest.grow()
    made = [_rows(one, policy, value, how, seed) for one in forest.trees]
    solutions = [attempt for tree in made for attempt in tree.solutions]
    steps = list(forest.steps.values())
    ok = sum(bool(tree.solutions) for tree in made)
    output = Output(
        {
            "attempts": runtime.shards.write("attempt", solutions),
            "steps": runtime.shards.write("attempt", steps),
            "prompts": runtime.shards.write("prompt", list(forest.prompts.values())),
            "derivations": runtime.shards.write("derivation", [one for tree in made for one in tree.derivations]),
            "nodes": runtime.shards.write("node", [node for tree in made for node in tree.nodes]),
        },
        Accounting(asked=len(rows), ok=ok, undecided=len(rows) - ok),
        {
            **spent(steps, engine),
            "nodes": sum(len(tree.nodes) - 1 for tree in made),
            "solutions": len(solutions),
            "valued": forest.valued,
            "rounds": sum(one.tree.rounds for one in forest.trees),
            "gated": sum(one.tree.reached is not None for one in forest.trees),
            "closed": sum(bool(node.closed) for one in forest.trees for node in one.tree.nodes),
        },
    )
    for call in forest.calls:
        seal(call, runtime)
    return output


@dataclass(frozen=True, slots=True)
class _Tree:
    """A tree's rows."""

    nodes: list[NodeRow]
    solutions: list[Attempt]
    derivations: list[Derivation]


def _rows(one: Growing, policy: Model, value: Model | None, how: Search, seed: int) -> _Tree:
    described = canonical_json(
        {"search": asdict(how.rule), "drawn": how.drawn.canonical(), "value": value and value.checkpoint_id}
    )
    solutions: dict[str, Attempt] = {}
    derivations: dict[tuple[str, str], Derivation] = {}
    for node in one.tree.finished():
        if node.solution not in solutions:
            solutions[node.solution] = _solution(one, node, policy, described, len(solutions), seed)
        whole = solutions[node.solution].attempt_id
        for step in _steps(node):
            derivations[whole, step.attempt_id] = Derivation(whole, step.attempt_id, STEP_OF)
    written = [node.step.written.attempt_id if node.step.written else None for node in one.tree.nodes]
    tree_id = content_id(
        "tree", problem=one.problem.problem_id, search=described, seed=seed, policy=policy.checkpoint_id,
        nodes=[[attempt, node.kind, node.parent.place if node.parent else None, node.value, node.visits]
               for attempt, node in zip(written, one.tree.nodes, strict=True)],
    )  # fmt: skip
    nodes = [
        NodeRow(
            node_id=NodeRow.identity(tree_id, node.place),
            tree_id=tree_id,
            problem_id=one.problem.problem_id,
            checkpoint_id=policy.checkpoint_id,
            value_checkpoint_id=value.checkpoint_id if value else None,
            parent_id=NodeRow.identity(tree_id, node.parent.place) if node.parent else None,
            attempt_id=attempt,
            solution_id=solutions[node.solution].attempt_id if node.finished else None,
            place=node.place,
            depth=node.depth,
            kind=node.kind,
            value=node.value,
            visits=node.visits,
            terminal=node.finished,
            closed=node.closed or None,
        )
        for attempt, node in zip(written, one.tree.nodes, strict=True)
    ]
    return _Tree(nodes, list(solutions.values()), list(derivations.values()))


def _solution(one: Growing, node: Node, policy: Model, described: str, index: int, seed: int) -> Attempt:
    """A complete solution as an attempt at the problem: its tokens are those of its own steps."""
    steps = _steps(node)
    engine = steps[0].engine
    request_id = Attempt.request(
        one.problem.problem_id, one.prompt.text, policy.checkpoint_id, engine, described, index, seed
    )
    logprobs = [step.logprob for step in steps if step.logprob is not None]
    return Attempt(
        attempt_id=Attempt.identity(request_id, engine, node.solution, STOP),
        request_id=request_id,
        problem_id=one.problem.problem_id,
        prompt_id=one.prompt.prompt_id,
        checkpoint_id=policy.checkpoint_id,
        engine=engine,
        sampling=described,
        sample_index=index,
        seed=seed,
        text=node.solution,
        finish_reason=STOP,
        prompt_tokens=steps[0].prompt_tokens,
        tokens=sum(step.tokens or 0 for step in steps),
        logprob=sum(logprobs) if len(logprobs) == len(steps) else None,
    )


def _steps(node: Node) -> list[Attempt]:
    """The steps from the root to a node."""
    steps: list[Attempt] = []
    above: Node | None = node
    while above is not None and above.parent is not None:
        steps.append(above.step.written)
        above = above.parent
    return steps[::-1]
