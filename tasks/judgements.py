"""Every row's judgements, reached where its verifier belongs: in this thread, in a worker that can be killed, or by a model.

A combination asks each of its parts where that belongs, and of the later ones only what the earlier left open.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from storage.identity import digest
from storage.records import Attempt, Problem
from tasks.engine_pool import EnginePool
from tasks.engines.protocol import Request, Sampling
from tasks.verifier_pool import VerifierPool
from tasks.verifiers.combined import EACH, apart, combination, conjunction, decides
from tasks.verifiers.judge import LONGEST, MAX_TOKENS, options_of, prompt, read, too_long
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Judgement, Verifier

Row = tuple[Attempt, Problem]
Judged = tuple[Attempt, list[Judgement]]


@dataclass(frozen=True, slots=True)
class Means:
    """Where verifiers work. `engines` None: no model can be asked, and whoever needs one is undecided."""

    workers: VerifierPool
    engines: EnginePool | None = None


def judgements(verifier: Verifier, rows: Iterable[Row], means: Means) -> Iterator[Judged]:
    """Every attempt with what the verifier says of it, at least one judgement, in order."""
    if verifier.parts:
        return _combined(verifier, list(rows), means)
    if verifier.asks and means.engines is not None:
        return _asked(verifier, list(rows), means.engines)
    if verifier.may_hang:
        return means.workers.judge(verifier.ref, rows)
    return ((attempt, judge(verifier, attempt, problem)) for attempt, problem in rows)


def _combined(verifier: Verifier, rows: list[Row], means: Means) -> Iterator[Judged]:
    if verifier.how == EACH:
        asked = [[judged for _, judged in judgements(part, rows, means)] for part in verifier.parts]
        for (attempt, _), *judged in zip(rows, *asked, strict=True):
            yield attempt, apart(verifier.parts, judged)
        return
    said: list[list[Judgement]] = [[] for _ in rows]
    open_ = list(range(len(rows)))
    for part in verifier.parts:
        outcomes = judgements(part, [rows[place] for place in open_], means)
        for place, (_, judged) in zip(open_, outcomes, strict=True):
            said[place].append(conjunction(judged))
        open_ = [place for place in open_ if not decides(verifier.how, said[place][-1])]
    for (attempt, _), judged in zip(rows, said, strict=True):
        yield attempt, [combination(verifier.how, judged)]


def _asked(verifier: Verifier, rows: list[Row], engines: EnginePool) -> Iterator[Judged]:
    """A model's judgements, greedily decoded; a question it could not answer is undecided."""
    chosen = options_of(verifier.ref.partition(":")[2])
    said: dict[int, Judgement] = {}
    requests: dict[str, list[int]] = {}
    prompts: dict[str, str] = {}
    for place, (attempt, problem) in enumerate(rows):
        if attempt.finish_reason == "failed":
            said[place] = Judgement(None, reason=f"the attempt failed: {attempt.error or 'no cause given'}")
        elif len(attempt.text) > LONGEST:
            said[place] = too_long(attempt.text)
        else:
            asked = prompt(chosen.rubric, attempt.text, problem)
            name = digest("judge", asked)
            prompts[name] = asked
            requests.setdefault(name, []).append(place)
    if requests:
        greedy = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
        with engines.lease(chosen.engine, Path(chosen.model)) as (engine, _):
            for response in engine.generate([Request(name, text) for name, text in prompts.items()], greedy):
                for place in requests[response.request_id]:
                    if response.error:
                        said[place] = Judgement(None, reason=f"the judge failed: {response.error}"[:400])
                    else:
                        said[place] = read(response.text)
    missing = Judgement(None, reason="the judge gave no reply")
    for place, (attempt, _) in enumerate(rows):
        yield attempt, [replace(said.get(place, missing))]
