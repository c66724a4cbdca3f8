"""What `starloop preview self_instruct` shows: the prompts of the first round, and the forms that an instance is trained in. No model is asked."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.method_config import SelfInstructConfig
    from tasks.prompts.chat import Chat


def show_writing(
    config: "SelfInstructConfig", template: str, chat: "Chat | None", count: int, show: "Callable[[str, str], None]"
) -> None:
    """So many proposal prompts, exactly as they will be sent, and the prompts that would follow for a seed in place of a new instruction."""
    from flows.instruction_rounds import draws
    from tasks.instruction_mix import form_of
    from tasks.instructions import examples_of
    from tasks.problems.registry import load
    from tasks.prompts.instruct import TRAINED, classification, proposal, request, trained

    problem_set = load(config.problems)
    human = problem_set.take("train", 0, problem_set.size("train") or 0)
    first = draws(config, 1)[0]
    for place in range(min(count, config.proposals)):
        shown = examples_of(human, [], first, place)
        show(f"proposal {place + 1}", proposal(template, [one.question for one in shown], chat).text)
    instruction = human[0].question
    show("classify", classification(template, instruction, chat).text)
    show("label first", request(template, instruction, True, chat).text)
    show("input first", request(template, instruction, False, chat).text)
    drawn = form_of(config.seed, instruction, "INPUT", "OUTPUT")
    for form in TRAINED:
        name = f"{form}{' drawn' if form == drawn else ''}"
        show(name, f"{trained(template, form, instruction, 'INPUT', chat)} OUTPUT")
    show("correctness", config.correctness)
