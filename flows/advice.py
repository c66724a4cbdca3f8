"""Which method, preset and model size fit a task: the pure part of `starloop recommend`, with the reason for each.

    recommend(Situation(gold=True, accuracy=0.4, memory_gb=24))   →  method star, model 14B in 4 bits, …

What is known of each method stands in its paper; what base models of a size reach, in 4 bits, in `SIZES`.
"""

from dataclasses import dataclass
from typing import Literal

from flows.methods import LOOPS
from flows.resolving import presets
from flows.zone import HIGH, LOW, percent
from storage.errors import UserMistake

Modality = Literal["text", "image", "video"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "video")


@dataclass(frozen=True, slots=True)
class Size:
    """A class of models: billions of parameters, an example, and what such models reach before training, in 4 bits."""

    billions: float
    example: str
    gsm8k: str
    arc_challenge: str

    @property
    def memory_gb(self) -> float:
        """About what training it in 4 bits with an adapter takes: its weights at 0.7 GB a billion, and 4 GB for all else.

        A rule of thumb for 512 tokens a row and gradient checkpointing; not measured here.
        """
        return 0.7 * self.billions + 4


SIZES = (
    Size(0.5, "Qwen/Qwen2.5-0.5B-Instruct", "5-10 %", "30-40 %"),
    Size(1.5, "Qwen/Qwen2.5-1.5B-Instruct", "5-10 %", "30-40 %"),
    Size(3, "Qwen/Qwen2.5-3B-Instruct", "20-25 %", "55-70 %"),
    Size(7, "Qwen/Qwen2.5-7B-Instruct", "40-55 %", "75-85 %"),
    Size(14, "Qwen/Qwen2.5-14B-Instruct", "60-75 %", "85 % and more"),
)
SAMPLING_HOURS = 8.0
"""From so many hours on, ReST-EM's many samples a problem are affordable: it asks 32 where STaR asks one or two."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What somebody knows of their task; None is not known.

    `gold`: answers can be checked. `accuracy`: of the base model. `all_fail`: on many problems every sample is wrong. `constraints`: the
    task is to follow instructions with conditions. `traces`: long solutions in which a wrong step decides. `billions`: the size of
    the model that `accuracy` is of.
    """

    gold: bool
    modality: Modality = "text"
    accuracy: float | None = None
    all_fail: bool = False
    constraints: bool = False
    traces: bool = False
    memory_gb: float | None = None
    hours: float | None = None
    billions: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`here`: this checkout has the method. `preset` None: none is ready-made for it. `reasons`: whole sentences."""

    method: str
    title: str
    here: bool
    preset: str | None
    model: str | None
    reasons: tuple[str, ...]


def recommend(situation: Situation) -> Recommendation:
    """The method, preset and model, each with its reason; UserMistake for what cannot be."""
    _check(situation)
    name, title, why = _method(situation)
    size, about_size = _size(situation)
    reasons = [why, *about_size, *_on_accuracy(situation)]
    if name not in LOOPS:
        have = ", ".join(sorted(LOOPS))
        reasons.append(f"This checkout has no {title} yet; it has: {have}.")
    model = None if size is None else size.example
    return Recommendation(name, title, name in LOOPS, _preset(name, size), model, tuple(reasons))


def _check(situation: Situation) -> None:
    if situation.modality not in MODALITIES:
        raise UserMistake(f"no modality {situation.modality!r}; there are: {', '.join(MODALITIES)}")
    if situation.accuracy is not None and not 0 <= situation.accuracy <= 1:
        raise UserMistake(f"accuracy = {situation.accuracy:g} does not fit; give a share from 0 to 1, such as 0.35")
    for name in ("memory_gb", "hours", "billions"):
        value = getattr(situation, name)
        if value is not None and not value > 0:
            raise UserMistake(f"{name} = {value:g} does not fit; give a number above 0")


def _method(situation: Situation) -> tuple[str, str, str]:
    """Name, title and reason."""
    if situation.modality != "text":
        return (
            "video_star", "Video-STaR",
            f"The task is about {situation.modality}: questions are made from its labels, and an answer is kept if it contains them.",
        )  # fmt: skip
    if situation.constraints:
        return (
            "care_star", "CARE-STaR",
            "The task is to follow instructions with conditions: each condition is checked, and a sample kept if it meets them.",
        )  # fmt: skip
    if not situation.gold:
        return (
            "self_instruct", "Self-Instruct",
            "Nothing says whether an answer is right, so instructions are made and filtered by form; no check of correctness "
            "(about half of such data is right in every field).",
        )  # fmt: skip
    if situation.all_fail:
        return (
            "gsr", "GSR, generative self-refinement",
            "On problems that every sample fails, filtering keeps nothing; refining several wrong candidates can still reach an answer.",
        )  # fmt: skip
    if situation.traces:
        return (
            "rest_mcts", "ReST-MCTS*",
            "Where one wrong step decides, a search over steps finds good traces; expect 5 to 10 times STaR's cost an iteration.",
        )  # fmt: skip
    if (situation.hours or 0) >= SAMPLING_HOURS and (situation.accuracy or 0) >= LOW:
        return (
            "rest_em", "ReST-EM",
            "Answers can be checked and there is time for many samples a problem: at most ten right ones each, always from the base, "
            "without rationalization, which lets more false solutions through.",
        )  # fmt: skip
    return (
        "star", "STaR",
        "Answers can be checked: what reaches the right one is kept, and failures are retried with the answer as a hint.",
    )  # fmt: skip


def _size(situation: Situation) -> tuple[Size | None, list[str]]:
    """The largest model that fits the memory; but the next larger one than a base that is below its zone, and a base that is in it."""
    if situation.modality != "text" or situation.memory_gb is None:
        return None, []
    fitting = [size for size in SIZES if size.memory_gb <= situation.memory_gb]
    if not fitting:
        return None, [
            f"{situation.memory_gb:g} GB are too few to train even {SIZES[0].billions:g}B in 4 bits with an adapter (about "
            f"{SIZES[0].memory_gb:.0f} GB); train a smaller model in full on the CPU, or rent a larger GPU."
        ]  # fmt: skip
    size, why = _measured(situation, fitting) or (fitting[-1], f"the largest that fits {situation.memory_gb:g} GB")
    return size, [
        f"{size.billions:g}B in 4 bits with an adapter is {why} (it takes about {size.memory_gb:.0f} GB); before training "
        f"such models reach {size.gsm8k} on GSM8K and {size.arc_challenge} on ARC-Challenge."
    ]  # fmt: skip


def _measured(situation: Situation, fitting: list[Size]) -> tuple[Size, str] | None:
    """What the accuracy of a model of known size says, where a size that fits follows from it."""
    if situation.billions is None or situation.accuracy is None:
        return None
    if situation.accuracy < LOW:
        larger = [size for size in fitting if size.billions > situation.billions]
        return (larger[0], "the next larger one that fits") if larger else None
    if situation.accuracy > HIGH:
        smaller = [size for size in fitting if size.billions < situation.billions]
        return (smaller[-1], "the next smaller one") if smaller else None
    same = [size for size in fitting if size.billions <= situation.billions]
    return (same[-1], "the size that was measured") if same else None


def _on_accuracy(situation: Situation) -> list[str]:
    accuracy = situation.accuracy
    if accuracy is None:
        return (
            ["Measure the base first: about 200 held-out problems show whether the task is in its reach."]
            if situation.gold
            else []
        )
    if accuracy < LOW:
        larger = [size for size in SIZES if situation.billions is not None and size.billions > situation.billions]
        fits = [size for size in larger if situation.memory_gb is None or size.memory_gb <= situation.memory_gb]
        what = (
            f"take {fits[0].example}"
            if fits
            else "take a larger model"
            if not larger
            else "rent more memory for a larger model"
        )
        return [
            f"{percent(accuracy)} is below the zone ({percent(LOW)} to {percent(HIGH)}): {what}, or easier problems."
        ]
    if accuracy > HIGH:
        return [
            f"{percent(accuracy)} is above the zone: there is little to gain; take harder problems, or a smaller model."
        ]
    return [f"{percent(accuracy)} is in the zone."]


def _preset(method: str, size: Size | None) -> str | None:
    """The ready-made run for a method that names this model, else none."""
    if size is None:
        return None
    for name, preset in presets().items():
        source = str(preset["config"].get("model", {}).get("source", ""))
        if preset["method"] == method and source.partition("@")[0] == size.example:
            return name
    return None
