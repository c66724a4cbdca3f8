"""A script that plays the model for Self-Instruct: `scripted:tasks.engines.instructor:reply`. For a look at the pipeline without a model.

It goes on with a list of tasks, mixing in some that a filter refuses; it says which ask for a label; it gives instances, some of them
faulty; and it answers held-out tasks by repeating their words. What it says is decided by the request alone, and none of it means
anything: it shows what the pipeline does with what a model might write, not what a model would.
"""

from collections.abc import Sequence

from tasks.engines.protocol import Request, Sampling
from tasks.engines.uniforms import keys_of, uniforms

VERBS = (
    "Write",
    "Describe",
    "Explain",
    "Suggest",
    "Summarize",
    "Compare",
    "Invent",
    "List",
    "Translate",
    "Rewrite",
    "Outline",
    "Name",
)
OBJECTS = (
    "a short poem", "three reasons", "a polite letter", "the main steps", "a good title", "two questions", "a simple rule", "an example",
    "a daily plan", "the opening line", "a fair price", "a friendly reply",
)  # fmt: skip
TOPICS = (
    "about a river in winter", "for a visitor from abroad", "against buying a car", "in the style of a ship's log", "for learning to swim",
    "about the history of bread", "to a neighbour who sings at night", "for a garden without sun", "about lost keys", "for a village school",
    "on saving water at home", "about friendship between old people", "for a rainy holiday", "in words that a child knows",
)  # fmt: skip
LABELLED = (
    "Tell if the message is friendly or angry.", "Decide whether the sentence is about music or sports.",
    "Is the given animal a bird, a fish or a mammal?", "Say if the number is smaller or larger than one hundred.",
)  # fmt: skip
REFUSED = (
    "Draw a map of the old town.",
    "Sing it.",
    "Write a program that sorts names.",
    "(Explain the joke to someone.)",
)


def reply(request: Request, sampling: Sampling) -> str:
    """The answer to one of the pipeline's prompts, or to a held-out task."""
    del sampling
    prompt, draw = request.prompt, uniforms(keys_of([request.request_id]), 0, 40)[0].tolist()
    last = prompt.rstrip().rpartition("Task:")[2].strip().partition("\n")[0]
    if prompt.startswith("Come up with a series of tasks"):
        return _proposals(draw)
    if prompt.rstrip().endswith("Is it classification?"):
        return "Yes" if last in LABELLED else "No"
    if "Class label:" in prompt:
        return f"Class label: First\nText: {last.lower()} one\nClass label: Second\nText: {last.lower()} two"
    if prompt.startswith("Come up with examples"):
        return _instances(last, draw)
    return " ".join(prompt.split()[:12])


def _proposals(draw: Sequence[float]) -> str:
    """Eight instructions as a list goes on: mostly fit ones, a labelled one, one that is refused, and one told twice."""
    found = [
        f"{_of(VERBS, a)} {_of(OBJECTS, b)} {_of(TOPICS, c)}."
        for a, b, c in zip(draw[:6], draw[6:12], draw[12:18], strict=True)
    ]
    found.insert(2, _of(LABELLED, draw[18]))
    found.insert(5, _of(REFUSED, draw[19]))
    text = " " + "\n".join(f"{number}. {one}" if number > 9 else one for number, one in enumerate(found, start=9))
    return text if draw[20] < 0.9 else text + f"\n17. {found[0]}"


def _instances(instruction: str, draw: Sequence[float]) -> str:
    words = instruction.rstrip(".").split()
    if draw[0] < 0.4:
        return f"Output: {' '.join(words[1:])}, and nothing more."
    pairs = [(f"case {number} of {words[-1]}", f"{' '.join(words[1:4])}, number {number}.") for number in (1, 2, 3)]
    if draw[1] < 0.3:
        pairs[1] = (pairs[1][0], pairs[1][0])
    if draw[1] > 0.85:
        pairs[2] = (pairs[0][0], "something else.")
    return "\n".join(
        f"Example {number}\nInput: {given}\nOutput: {output}" for number, (given, output) in enumerate(pairs, start=1)
    )


def _of(choices: Sequence[str], number: float) -> str:
    return choices[int(number * len(choices))]
