"""A small loop, made by hand: two iterations on four problems, with everything that can become of an attempt."""

from dataclasses import dataclass, field

from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.manifest import Accounting, Manifest, Output
from storage.records import (
    Attempt,
    Checkpoint,
    Derivation,
    Evaluation,
    EvaluationItem,
    Example,
    ExampleEvidence,
    Mix,
    MixMember,
    Problem,
    Prompt,
    Record,
    Training,
    Verdict,
)
from storage.shards import Shards

VERIFIER = digest("verifier")
TEMPLATE = digest("template")


def problem(number: int, split: str = "train") -> Problem:
    return Problem.of(
        "addition", split, f"{number}+{number}=", str(2 * number), stratum=str(len(str(number))), licence="CC0"
    )


def attempt(of: Problem, text: str, checkpoint_id: str, *, hinted: bool = False, finish: str = "stop", sample: int = 0):
    prompt = Prompt.of(of.question + ("!" if hinted else ""), "direct", TEMPLATE, hinted)
    request = Attempt.request(of.problem_id, prompt.text, checkpoint_id, "scripted", "{}", sample, 0)
    identity = Attempt.identity(request, "scripted", text, finish)
    row = Attempt(
        identity,
        request,
        of.problem_id,
        prompt.prompt_id,
        checkpoint_id,
        "scripted",
        "{}",
        sample,
        0,
        text,
        finish,
        3,
        2,
    )
    return prompt, row


def verdict(of: Attempt, passed: bool | None, reason: str | None = None) -> Verdict:
    return Verdict.of(of.attempt_id, "sums", VERIFIER, passed, answer=of.text, reason=reason)


@dataclass
class Story:
    """The small loop as it is in the ledger; `ids` names what is in it."""

    home: Home
    ledger: Ledger
    run_id: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    commits: list[StepCommit] = field(default_factory=list)
    pending: list[StepCommit] = field(default_factory=list)

    def write(self, *rows: Record) -> Manifest:
        return Shards(self.home).write(rows[0].TABLE, rows)

    def step(
        self, iteration: int, name: str, accounting: Accounting | None = None, **rows: tuple[Record, ...]
    ) -> StepCommit:
        manifests = {role: self.write(*written) for role, written in rows.items() if written}
        commit = StepCommit(
            self.run_id, iteration, name, name, digest("key", iteration, name), {"k": 1}, False, None, 0.5, 1.5, {},
            Output(manifests, accounting or Accounting(1, 1), {"name": name}),
        )  # fmt: skip
        self.pending.append(commit)
        self.commits.append(commit)
        return commit

    def commit(self) -> None:
        """One transaction for all that was done since the last."""
        self.ledger.commit_steps(self.pending)
        self.pending = []

    def train(self, iteration: int, name: str, base: str | None, members: list[tuple[Example, ExampleEvidence]]) -> str:
        """Mix and fine-tune; the new checkpoint's id."""
        mix_id = digest("mix", [example.example_id for example, _ in members], name)
        original = sum(evidence.attempt_id is None for _, evidence in members)
        places = tuple(MixMember(mix_id, n, x.example_id, e.origin) for n, (x, e) in enumerate(members))
        self.step(
            iteration, "mix", examples=tuple(x for x, _ in members), evidence=tuple(e for _, e in members), members=places,
            mix=(Mix(mix_id, len(members), original, len(members) - original),),
        )  # fmt: skip
        training_id = Training.identity(base, mix_id, "{}", 0, TEMPLATE)
        weights = digest("weights", name)
        checkpoint_id = Checkpoint.identity({"model.safetensors": weights}, None)
        self.step(
            iteration, "fine-tune",
            training=(Training(training_id, base, mix_id, "{}", 0, TEMPLATE, 3, 9, 99, 44, 0.5),),
            checkpoint=(Checkpoint(checkpoint_id, "full", weights, "{}", base, training_id),),
        )  # fmt: skip
        self.ids[name] = checkpoint_id
        self.ids[f"{name} mix"] = mix_id
        return checkpoint_id


def tell(home: Home, ledger: Ledger, kind: type[Story] = Story) -> Story:
    """The whole small loop, committed iteration by iteration."""
    story = kind(home, ledger)
    story.run_id = ledger.start_run("small", "star", "small-preset", {"samples": 1}, run_id=digest("run"))
    problems = [problem(number) for number in (1, 2, 3, 40)]
    held_out = [problem(number, "dev") for number in (5, 60)]
    corpus = problem(99, "corpus")
    example = Example.of(corpus.question, "198")
    original = (example, ExampleEvidence(example.example_id, corpus.problem_id, "original"))
    story.step(0, "corpus", problems=(corpus,))
    base = story.train(0, "base", None, [(example, ExampleEvidence(example.example_id, corpus.problem_id, "corpus"))])
    story.commit()
    model = base
    for iteration in (1, 2):
        story.step(iteration, "problems", Accounting(4, 4), problems=tuple(problems))
        made = [
            attempt(problems[0], "2", model), attempt(problems[1], "5", model), attempt(problems[2], "?", model),
            attempt(problems[3], "8", model, finish="failed"),
        ]  # fmt: skip
        right, wrong, unclear, failed = (row for _, row in made)
        story.step(
            iteration,
            "sample",
            Accounting(4, 3, failed=1),
            prompts=tuple(p for p, _ in made),
            attempts=tuple(a for _, a in made),
        )
        judged = (
            verdict(right, True),
            verdict(wrong, False),
            verdict(unclear, None, "unparsable"),
            verdict(failed, None, "failed"),
        )
        story.step(iteration, "verify", Accounting(4, 1, 1, 2), verdicts=judged)
        hint, repaired = attempt(problems[1], "4", model, hinted=True)
        story.step(
            iteration, "rationalize", prompts=(hint,), attempts=(repaired,),
            derivations=(Derivation(repaired.attempt_id, wrong.attempt_id, "repairs"),),
        )  # fmt: skip
        repaired_verdict = verdict(repaired, True)
        story.step(iteration, "verify rationalized", verdicts=(repaired_verdict,))
        direct = Example.of(problems[0].question, "2")
        mended = Example.of(problems[1].question, "4")
        members = [
            (direct, ExampleEvidence(direct.example_id, problems[0].problem_id, "sampled", right.attempt_id, judged[0].verdict_id)),
            (mended, ExampleEvidence(mended.example_id, problems[1].problem_id, "rationalized", repaired.attempt_id,
                                     repaired_verdict.verdict_id)),
        ]  # fmt: skip
        model = story.train(iteration, f"model {iteration}", base, [*members, original] if iteration == 1 else members)
        answers = [attempt(held_out[0], "10", model), attempt(held_out[1], "?", model)]
        marks = [verdict(answers[0][1], True), verdict(answers[1][1], None, "unparsable")]
        story.step(iteration, "dev problems", Accounting(2, 2), problems=tuple(held_out))
        story.step(
            iteration,
            "answer dev",
            Accounting(2, 2),
            prompts=tuple(p for p, _ in answers),
            attempts=tuple(a for _, a in answers),
        )
        story.step(iteration, "verify dev", Accounting(2, 1, 0, 1), verdicts=tuple(marks))
        scored = digest("evaluation", model)
        story.step(
            iteration, "evaluate dev", Accounting(2, 1, 0, 1),
            evaluation=(Evaluation(scored, model, "addition", "dev", "scripted", "{}", "sums", VERIFIER, 2, 1, 1, 1.0, 0.2, 1.0),),
            items=tuple(
                EvaluationItem(scored, held_out[n].problem_id, answers[n][1].attempt_id, marks[n].verdict_id) for n in (0, 1)
            ),
        )  # fmt: skip
        story.commit()
        ledger.record(
            "iteration_finished",
            {
                "run_id": story.run_id,
                "iteration": iteration,
                "held_out_accuracy": 1.0,
                "n": 2,
                "kept": 2,
                "checkpoint_id": model,
            },
        )
        story.ids |= {"direct": direct.example_id, "mended": mended.example_id, "original": example.example_id,
                      f"right {iteration}": right.attempt_id, f"request {iteration}": right.request_id,
                      f"failed request {iteration}": failed.request_id, f"repaired {iteration}": repaired.attempt_id,
                      f"evaluation {iteration}": scored}  # fmt: skip
    ledger.finish_run(story.run_id, "completed", {"final": 1.0})
    return story


def contents(ledger: Ledger) -> dict[str, list[str]]:
    """Every row of every table, sorted: what two ledgers are compared by."""
    with ledger.writer() as connection:
        tables = connection.execute("select table_name from duckdb_tables() where database_name = 'ledger'").fetchall()
        return {table: sorted(map(repr, connection.execute(f"from {table}").fetchall())) for (table,) in tables}
