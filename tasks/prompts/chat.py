"""The chat template of a checkpoint: a template set says what the user's turn holds, and this makes the chat around it.

    >>> chat_of(Path("checkpoints/9b1c…")).wrap("What is 2 + 2?")
    '<|im_start|>user\\nWhat is 2 + 2?<|im_end|>\\n<|im_start|>assistant\\n'

It is rendered to text here, by the rules of transformers' `apply_chat_template` and without importing it: an engine encodes
that text as it is. The trainer's preflight asks the tokenizer itself, and refuses a row whose tokens are others.

A template that asks for today's date is told one that never changes: else a prompt would be another one tomorrow. Not
covered: chats of several turns, tools, and templates that show a user's text other than whole, once and trimmed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import UserMistake
from storage.identity import digest
from storage.records import Problem, Prompt
from tasks.prompts.render import render, render_refinement, shown_with

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE, CONFIG, TOKENS = "chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json"
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that a template may name."""
CLOCK = "strftime_now"
DATE = (
    "{%- macro strftime_now(form) -%}"
    '{{ {"%d %b %Y": "26 Jul 2024", "%Y-%m-%d": "2024-07-26", "%B %d, %Y": "July 26, 2024"}.get(form, "26 July 2024") }}'
    "{%- endmacro -%}\n"
)
"""What stands before a template that asks for the date."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat template with the special tokens it may name: all that decides what `wrap` gives."""

    template: str
    tokens: tuple[tuple[str, str], ...] = ()

    def canonical(self) -> dict[str, object]:
        """What of it enters a key."""
        return {"template": digest(self.template), "tokens": dict(self.tokens)}

    def wrap(self, text: str) -> str:
        """A chat whose one turn is the user's `text`, up to where the model's turn begins."""
        from jinja2 import TemplateError

        messages = [{"role": "user", "content": text}]
        try:
            return _compiled(self.template).render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True, **dict(self.tokens)
            )
        except TemplateError as mistake:
            raise UserMistake(f"the model's chat template cannot be filled in: {mistake}; set chat = off") from mistake


def chat_of(folder: Path) -> Chat | None:
    """The chat of a model folder; None where its tokenizer has no chat template. Raises UserMistake for one that is no JSON."""
    config = _json(folder / CONFIG)
    path = folder / TEMPLATE
    template = path.read_text(encoding="utf-8") if path.is_file() else _default(config.get("chat_template"))
    if not template:
        return None
    named = _json(folder / TOKENS) if "added_tokens_decoder" not in config else {}
    said = {name: value for name in NAMES if (value := _text({**config, **named}.get(name))) is not None}
    return Chat(DATE + template if CLOCK in template else template, tuple(said.items()))


def prompt_of(template: str, problem: Problem, hinted: bool = False, chat: Chat | None = None) -> Prompt:
    """The prompt for a problem, as `render` makes it, and inside a chat where there is one."""
    return in_chat(chat, render(template, problem, hinted))


def in_chat(chat: Chat | None, plain: Prompt) -> Prompt:
    """A prompt inside a chat, where there is one."""
    if chat is None:
        return plain
    version = digest(plain.template_digest, chat.canonical())
    return Prompt.of(chat.wrap(plain.text), plain.template, version, plain.hinted)


def example_prompt(template: str, problem: Problem, chat: Chat | None = None) -> Prompt:
    """What a worked example is shown under, as its writer was prompted: with a hint, with the candidates he was shown, or directly."""
    if candidates := shown_with(problem):
        return in_chat(chat, render_refinement(template, problem, candidates))
    return prompt_of(template, problem, "hint" in json.loads(problem.info), chat)


def _default(template: object) -> str | None:
    """Of several named templates the one that is called default."""
    if isinstance(template, Sequence) and not isinstance(template, str):
        return next((str(one["template"]) for one in template if one.get("name") == "default"), None)
    return str(template) if template else None


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as mistake:
        raise UserMistake(f"{path} is no JSON: {mistake}; take the model's tokenizer anew") from mistake


@lru_cache(maxsize=8)
def _compiled(template: str) -> "Template":
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what a model says, for trainers that ask; here it shows what it holds."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: object, ensure_ascii: bool = False, indent: int | None = None,
        separators: tuple[str, str] | None = None, sort_keys: bool = False,
    ) -> str:  # fmt: skip
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )  # fmt: skip

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)
