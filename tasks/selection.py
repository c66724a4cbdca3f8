"""Which of the candidates are trained on, where a rule looks at several of them at once: a cap, one path a problem, the best of each.

A first pass over ids, rewards and paths; the texts are not held. Of an example that was written several times the first counts,
in the order in which each was last written. Refinements have prompts of their own, and limits of their own: a right direct answer
takes no refinement's place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.id_tally import IdArray, IdTally, id_array
from storage.identity import digest
from tasks.composition import REFINED, Candidate, once


@dataclass(frozen=True, slots=True)
class Limits:
    """How many of a problem's examples are kept. `cap_per_problem` 0 keeps all; `paths`: one of each path (RFT: Yuan et al. 2023,
    arXiv 2308.01825, one for each distinct equation list); `best`: the one with the highest reward.
    """

    cap_per_problem: int = 0
    paths: bool = False
    best: bool = False

    @property
    def any(self) -> bool:
        return bool(self.cap_per_problem) or self.paths or self.best


@dataclass(frozen=True, slots=True)
class Chosen:
    """Examples that are within the limits."""

    ids: IdTally

    def those_of(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        times = self.ids.times(id_array([one.example.example_id for one in candidates]))
        return [one for one, count in zip(candidates, times, strict=True) if count]


def within(batches: Iterable[Sequence[Candidate]], limits: Limits) -> Chosen:
    """The examples that stay: of each path one, of these the best, of these the first so many."""
    examples, problems, paths = [id_array([])], [id_array([])], [id_array([])]
    rewards = [np.zeros(0)]
    tally = IdTally()
    for batch in batches:
        examples.append(id_array([one.example.example_id for one in batch]))
        problems.append(id_array([_limited_by(one) for one in batch]))
        rewards.append(np.array([one.reward for one in batch], float))
        if limits.paths:
            paths.append(id_array([digest(_limited_by(one), one.path) for one in batch]))
        tally.add(examples[-1])
    ids, of_problem = np.concatenate(examples), np.concatenate(problems)
    places = once(ids, len(tally))
    if limits.paths:
        places = places[IdTally().add(np.concatenate(paths)[places]) == 0]
    if limits.best:
        places = _best(places, of_problem, np.concatenate(rewards))
    if limits.cap_per_problem:
        places = places[IdTally().add(of_problem[places]) < limits.cap_per_problem]
    chosen = IdTally()
    chosen.add(ids[places])
    return Chosen(chosen)


def _limited_by(candidate: Candidate) -> str:
    """What is limited together: a problem's examples, and its refinements apart from them."""
    evidence = candidate.evidence
    return digest(REFINED, evidence.problem_id) if evidence.origin == REFINED else evidence.problem_id


def _best(places: np.ndarray, problems: IdArray, rewards: np.ndarray) -> np.ndarray:
    """Of each problem the place with the highest reward, the first of equals; in the order of places."""
    order = np.argsort(-rewards[places], kind="stable")
    first = IdTally().add(problems[places][order]) == 0
    return places[np.sort(order[first])]
