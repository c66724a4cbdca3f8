"""What to type next, and the SQL that asks for more: complete, with the run's own ids in it."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from storage.answers import Run
from storage.identity import show
from storage.report.arms import Arm


@dataclass(frozen=True, slots=True)
class Line:
    """Something to type, and why one would."""

    why: str
    text: str


def next_commands(root: Path, run: Run, best: Arm) -> list[Line]:
    """How to go on from a run."""
    place = f" --home {shlex.quote(str(root))}"
    preset = f" --preset {shlex.quote(run.preset)}" if run.preset else ""
    start = f"starloop run {shlex.quote(run.method)}{preset}"
    again = "with the same --set options as before, if there were any"
    lines = []
    if run.state != "completed":
        lines.append(Line(f"go on from where it was ({again}); nothing finished is done again", f"{start}{place}"))
    elif wanted := run.config.get("iterations"):
        lines.append(Line(f"two iterations more ({again})", f"{start} --iterations {int(wanted) + 2}{place}"))
    checkpoints = [one.checkpoint_id for one in best.iterations if one.checkpoint_id]
    if checkpoints:
        last = show("ckp", checkpoints[-1])
        lines += [
            Line("where the last checkpoint came from, down to the base", f"starloop lineage {last}{place}"),
            Line("a new run that starts from it", f"{start} --from {last}{place}"),
        ]
    lines += [
        Line("these figures for a script", f"starloop status {show('run', run.run_id)} --json{place}"),
        Line(
            "every metric and checkpoint in MLflow's pages",
            f"mlflow ui --backend-store-uri sqlite:///{shlex.quote(str(root / 'mlflow.db'))}",
        ),
    ]
    return lines


def queries(best: Arm) -> list[Line]:
    """SQL on the run's own rows; each is one SELECT without double quotes, so that a shell takes it in them."""
    run = best.run.run_id
    lines = [
        Line("why attempts were rejected",
             f"select iteration, reason, count(*) as attempts from v_attempt where run_id = '{run}' and passed = false "
             "and split = 'train' group by all order by iteration, attempts desc"),
        Line("every attempt at the problems that were tried most, over the iterations",
             f"select problem_id, iteration, hinted, passed, answer, gold, text from v_attempt where run_id = '{run}' "
             "and split = 'train' order by count(*) over (partition by problem_id) desc, problem_id, iteration"),
        Line("held-out problems that the last evaluation got wrong",
             "select stratum, question, gold, answer, text from v_evaluation_item where passed = false and evaluation_id = "
             f"(select evaluation_id from v_evaluation where run_id = '{run}' order by iteration desc, split desc limit 1)"),
    ]  # fmt: skip
    trained = [one.checkpoint_id for one in best.iterations if one.checkpoint_id and one.train_rows]
    if trained:
        lines.append(
            Line("the last checkpoint's training set, row by row, with the example ids that lineage takes",
                 "select position, origin, prompt, completion, example_id from v_checkpoint_training_set "
                 f"where checkpoint_id = '{trained[-1]}' order by position")
        )  # fmt: skip
    if best.soundness:
        lines.append(
            Line("kept rationales with a wrong step",
                 "select a.iteration, a.hinted, v.reason, a.text from v_attempt a join v_verdict v using (run_id, iteration, attempt_id) "
                 f"where a.run_id = '{run}' and a.passed and v.aspect = 'steps' and v.passed = false order by a.iteration")
        )  # fmt: skip
    return lines
