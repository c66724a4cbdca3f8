"""What a loop starts from, as far as it can be told without doing anything: the embedded model's sizes, a checkpoint that is
stored, and the chat that prompts stand in.
"""

from flows.config import EMBEDDED, LoopConfig
from flows.expected import waits_for
from flows.step import Model
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import bare
from storage.lineage import find_checkpoint
from tasks.characters import characters_of
from tasks.problems.registry import load as load_problems
from tasks.prompts.chat import Chat, chat_of
from tasks.training.embedded import Architecture


def architecture_of(config: LoopConfig, template: str) -> Architecture:
    """The embedded model, with the characters that the problem set is written in."""
    model, problem_set = config.model, load_problems(config.problems)
    characters = characters_of(problem_set, template, model.corpus_documents)
    if characters.longest is not None and characters.longest > model.positions:
        raise UserMistake(
            f"the embedded model reads {model.positions} characters and the longest worked example of "
            f"{problem_set.name} has {characters.longest}; raise model.positions, training.max_length and "
            "model.pretraining.max_length to that, or start from another model with model.source"
        )
    sizes = model.model_dump(
        include={"hidden", "layers", "heads", "mlp", "positions", "rope_theta", "initializer_range"}
    )
    return Architecture(characters.alphabet, **sizes)


def stored_checkpoint(home: Home, source: str) -> Model:
    """The checkpoint of this home that a source names."""
    found = find_checkpoint(home, bare(source))
    if found.kind == "value":
        raise UserMistake(f"{source} is a value model, which writes nothing; name the checkpoint of a policy")
    base = found.parent_id if found.kind == "adapter" else None
    return Model(found.checkpoint_id, found.weights_digest, found.kind, base)


def chat_in_force(config: LoopConfig, home: Home, model: Model) -> Chat | None:
    """The chat that prompts to this model stand in. Of a model that is only promised, a chat that waits for it."""
    if config.chat == "off" or (config.chat == "auto" and config.model.source == EMBEDDED):
        return None
    if waits_for(model.checkpoint_id):
        return Chat(model.checkpoint_id)
    chat = chat_of(home.checkpoints / model.checkpoint_id)
    if chat is None and config.chat == "on":
        raise UserMistake(f"{config.model.source} has no chat template in its tokenizer; set chat = auto or off")
    return chat
