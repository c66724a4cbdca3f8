"""A person's judgements on stored attempts: verdicts of the verifier `human`, which measure the others and decide nothing themselves.

A sample is even over what the verifiers said (passed, failed, undecided), so that the rare outcomes are looked at too. Each attempt comes
once; who judges is not shown what the verifier said.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.cases import Case
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.lineage import Lineage
from storage.manifest import Accounting, Output
from storage.records import Verdict

HUMAN = "human"
METHOD = "label"
CODE = digest("verifier", HUMAN)
"""A person has no code; all labels are one version's."""

_SAMPLE = """
with judged as (
    select distinct on (v.attempt_id) v.attempt_id, v.verifier, v.passed
    from verdict v
    join attempt a using (attempt_id)
    where v.verifier <> $human and v.aspect = '' and a.finish_reason <> 'failed'
        and ($verifier::varchar is null or v.verifier = $verifier)
        and v.attempt_id not in (select attempt_id from verdict where verifier = $human)
        and ($run::uuid is null or v.attempt_id in (select attempt_id from v_verdict where run_id = $run))
    order by v.attempt_id, v.verifier, v.verdict_id
),
drawn as (
    select *, md5(attempt_id::varchar || $seed) as lot,
        row_number() over (partition by verifier, passed order by md5(attempt_id::varchar || $seed)) as turn
    from judged
)
select d.attempt_id, d.verifier, d.passed, b.question, b.gold, b.info, a.text
from drawn d join attempt a using (attempt_id) join problem b using (problem_id)
order by d.turn, d.lot
limit $count
"""

_LABELS = """
with said as (
    select v.attempt_id, v.passed, v.reason, max(s.event_seq) as seq
    from verdict v
    join member m on m.id = v.verdict_id
    join shard h on h.digest = m.digest and h.table_name = 'verdict'
    join step_shard o on o.digest = m.digest and o.direction = 'output'
    join step s on s.step_id = o.step_id
    where v.verifier = $human
    group by all
)
select b.question, b.gold, b.info, a.text, arg_max(said.passed, said.seq), arg_max(coalesce(said.reason, ''), said.seq), count(*)
from said join attempt a using (attempt_id) join problem b using (problem_id)
group by said.attempt_id, b.question, b.gold, b.info, a.text
order by said.attempt_id
"""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One attempt to be judged. `verifier` and `passed` are what is not shown."""

    attempt_id: str
    verifier: str
    passed: bool | None
    question: str
    gold: str | None
    info: str
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said: `passed` None is that nobody can say."""

    attempt_id: str
    passed: bool | None
    note: str | None = None

    def verdict(self) -> Verdict:
        reason = self.note or ("a person cannot say" if self.passed is None else None)
        return Verdict.of(self.attempt_id, HUMAN, CODE, self.passed, reason=reason)


def sample(
    home: Home, count: int, *, verifier: str | None = None, run: str | None = None, seed: int = 0
) -> list[Sampled]:
    """So many attempts that nobody has labelled, in turn from each outcome of each verifier; the same seed draws the same.

    Raises UserMistake where there is nothing to label.
    """
    with Lineage.open(home, fresh=True) as lineage:
        run_id = lineage.find(run, ("run",)).id if run else None
        given = {"human": HUMAN, "verifier": verifier, "run": run_id, "seed": str(seed), "count": count}
        rows = lineage.rows(_SAMPLE, given)
        if not rows:
            known = [
                name
                for (name,) in lineage.rows(
                    "select distinct verifier from verdict where verifier <> ? order by 1", [HUMAN]
                )
            ]
            there = f"there are verdicts by: {', '.join(known)}" if known else "there are no verdicts yet"
            raise UserMistake(f"no attempt is left to label; {there}")
    drawn: list[list[Any]] = [[*row[:5], _text(row[5]), row[6]] for row in rows]
    return [Sampled(*values) for values in drawn]


def keep(home: Home, labels: Sequence[Label], run_id: str, batch: int) -> None:
    """Writes labels into the ledger, as one step of the run of this sitting."""
    ledger = Ledger(home)
    try:
        rows = [label.verdict() for label in labels]
        manifest = ledger.shards.write("verdict", rows)
        outcomes = [label.passed for label in labels]
        accounting = Accounting(
            len(rows), ok=outcomes.count(True), rejected=outcomes.count(False), undecided=outcomes.count(None)
        )
        if batch == 0:
            ledger.start_run("labels", METHOD, None, {"verifier": HUMAN}, run_id=run_id)
        key_parts = {"task": METHOD, "arguments": {"labels": digest([row.verdict_id for row in rows])}}
        step = StepCommit(run_id, 0, METHOD, f"{batch:04d}", f"{METHOD}-{digest(key_parts)}", key_parts, False, None, 0.0, 0.0, {},
                          Output({"verdicts": manifest}, accounting, {}))  # fmt: skip
        ledger.commit_steps([step])
        ledger.publish(force=True)
    finally:
        ledger.close()


def finish(home: Home, run_id: str, labelled: int) -> None:
    """Records that a sitting is over."""
    ledger = Ledger(home)
    try:
        ledger.finish_run(run_id, "completed", {"labelled": labelled})
        ledger.publish(force=True)
    finally:
        ledger.close()


def sitting() -> str:
    """The id of a new sitting."""
    return uuid.uuid4().hex


def labels(home: Home) -> list[Case]:
    """What people have said in this home, as cases; of an attempt that was labelled twice, the last."""
    with Lineage.open(home, fresh=True) as lineage:
        rows = lineage.rows(_LABELS, {"human": HUMAN})
    return [
        Case(gold, text, passed, why, question, json.loads(_text(info)), source="labelled in this home")
        for question, gold, info, text, passed, why, _ in rows
    ]


def _text(info: object) -> str:
    return info if isinstance(info, str) else json.dumps(info)
