"""The embedded model: a small Llama that reads and writes characters, made here from nothing but a seed.

One character is one token; newline ends a sequence. The folder is an ordinary Hugging Face model folder, which
`AutoModelForCausalLM` and `AutoTokenizer` open without remote code.

    >>> tokenizer.encode("8971A001207\n")
    [8, 9, 7, 1, 13, 0, 0, 1, 2, 0, 7, 14]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import UserMistake

PAD = "<pad>"
EOS = "\n"


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of an embedded model; the defaults are 0.36 million parameters.

    `alphabet` must hold newline, which is EOS. `positions` bounds prompt and completion together, in characters. A model this
    narrow learns several times faster from weights spread wider (`initializer_range`) than a large one's.
    """

    alphabet: str = "0123456789+=?A\n"
    hidden: int = 96
    layers: int = 3
    heads: int = 4
    mlp: int = 288
    positions: int = 128
    rope_theta: float = 10000.0
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if EOS not in self.alphabet or len(set(self.alphabet)) != len(self.alphabet):
            raise UserMistake(f"the alphabet {self.alphabet!r} must hold a newline and every character once")
        if self.hidden % (2 * self.heads):
            raise UserMistake(f"hidden size {self.hidden} does not split into {self.heads} heads of even width")


def initialise(folder: Path, seed: int, architecture: Architecture) -> None:
    """Writes a model folder with random weights from `seed`, float32."""
    import torch
    from transformers import LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(_config(architecture, tokenizer))
    model.generation_config = _generation_config(architecture, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer(architecture: Architecture) -> Any:
    """A `PreTrainedTokenizerFast` with one token a character of the alphabet, and padding (on the left, as decoding needs)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {character: index for index, character in enumerate(architecture.alphabet)}
    vocabulary[PAD] = len(vocabulary)
    # No unknown token: a character outside the alphabet is an error, never silently another character.
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD + "?"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=architecture.positions,
        model_input_names=["input_ids", "attention_mask"],
    )


def _config(architecture: Architecture, tokenizer: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        intermediate_size=architecture.mlp,
        max_position_embeddings=architecture.positions,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        tie_word_embeddings=True,
        initializer_range=architecture.initializer_range,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _generation_config(architecture: Architecture, tokenizer: Any) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=architecture.positions // 2,
    )
