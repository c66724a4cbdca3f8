"""The small loop, and after it a run whose every text is written to do harm; also rows that come again, and a verdict that changed."""

from small_loop import TEMPLATE, Story, attempt, tell

from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger
from storage.manifest import Accounting
from storage.records import Attempt, Derivation, Example, ExampleEvidence, Problem, Prompt, Verdict

SCRIPT = (
    "<script>document.title = 'owned'; fetch('http://127.0.0.1:{port}/owned')</script>"
    '<img src="http://127.0.0.1:{port}/owned" onerror="document.title = \'owned\'">'
    "\"><svg onload=\"document.title='owned'\"></textarea></pre></title><iframe src='http://127.0.0.1:{port}/owned'></iframe>"
    "{{{{ 7 * 7 }}}}<a href=\"javascript:document.title='owned'\">owned</a>"
)
MARKS = "\x1b[31mred\x1b[0m \x07 \u202egnp.exe\u202c \u200b\u2066hidden\u2069 \r over \ufeff \x7f"
LONG = "".join(f"line {n:06d} <b>&\n" for n in range(60_000))  # a million characters
OTHER = digest("another version of the verifier")


def tell_hostile(home: Home, ledger: Ledger, port: int = 9) -> Story:
    """Both runs, committed; `ids` names what is hostile."""
    script = SCRIPT.format(port=port)
    story = tell(home, ledger)
    good = story.run_id
    story.run_id = ledger.start_run(
        script[:120] + MARKS, "star", "<b>preset", {"samples": 1}, run_id=digest("hostile run")
    )
    problem = Problem.of(script[:60], "train", f"{script}{MARKS}?", f"42{script}", stratum="<i>hard", licence="<u>")
    base = story.ids["base"]
    again = [attempt(Problem.of("addition", "train", f"{n}+{n}=", str(2 * n), stratum="1", licence="CC0"), text, base)
             for n, text in ((1, "2"), (3, "?"))]  # fmt: skip
    made = []
    for sample, text in enumerate((script, MARKS, LONG, "")):
        prompt = Prompt.of(f"{script}\n{text[:200]}", "<template>", TEMPLATE, sample == 1)
        request = Attempt.request(problem.problem_id, prompt.text, base, "<engine>", "{}", sample, 0)
        identity = Attempt.identity(request, "<engine>", text, "stop")
        made.append(
            (
                prompt,
                Attempt(
                    identity,
                    request,
                    problem.problem_id,
                    prompt.prompt_id,
                    base,
                    "<engine>",
                    "{}",
                    sample,
                    0,
                    text,
                    "stop",
                    1,
                    1,
                ),
            )
        )
    rows = [again[0], *made, again[1]]
    reasons = (None, script, MARKS, None, "empty")
    passed = (True, False, None, True, False)
    judged = [Verdict.of(row.attempt_id, "sums", OTHER, yes, answer=row.text[:400], reason=why)
              for (_, row), yes, why in zip([again[0], *made], passed, reasons, strict=True)]  # fmt: skip
    story.step(1, "problems", problems=(problem,))
    story.step(1, "sample", Accounting(6, 6), prompts=tuple(p for p, _ in rows), attempts=tuple(a for _, a in rows))
    story.step(1, "verify", Accounting(5, 2, 2, 1), verdicts=tuple(judged))
    retry = made[1][1]
    story.step(
        1,
        "rationalize",
        derivations=(Derivation(retry.attempt_id, made[0][1].attempt_id, "rationalizes"),),
        attempts=(retry,),
    )
    example = Example.of(f"{script}{MARKS}", LONG)
    story.train(1, "hostile model", base, [(example, ExampleEvidence(example.example_id, problem.problem_id, "sampled", made[2][1].attempt_id,
                                                                     judged[3].verdict_id))])  # fmt: skip
    changed = Verdict.of(story.ids["right 1"], "sums", OTHER, False, answer="3", reason=script)
    story.step(2, "verify", Accounting(1, 0, 1), verdicts=(changed,))
    story.commit()
    ledger.finish_run(story.run_id, "completed")
    story.ids |= {"good run": good, "hostile run": story.run_id, "script": made[0][1].attempt_id, "marks": made[1][1].attempt_id,
                  "long": made[2][1].attempt_id, "hostile example": example.example_id, "hostile problem": problem.problem_id}  # fmt: skip
    return story
