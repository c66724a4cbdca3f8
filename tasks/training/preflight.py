"""What is checked before the first step, because a trainer that is given nothing to learn says nothing.

Every row must carry loss, must end in an EOS that is trained, must not be cut off unasked, and must begin with exactly
the tokens that sampling feeds the model for the same prompt; in a chat these must be the ones that the tokenizer's own
`apply_chat_template` gives for the same turn. What the trainer holds in the end must be these rows.

Not covered: whether the text is worth training on.
"""

from collections.abc import Sequence
from typing import Any

from storage.errors import TrainingFault
from tasks.training.recipe import Recipe
from tasks.training.rows import Row, TokenRow

MARK = "\u2063the user's turn\u2063"
"""A text that no template writes itself: what stands before and after it is the template's."""


def tokenise(rows: Sequence[Row], tokenizer: Any, recipe: Recipe, chat: str | None = None) -> list[TokenRow]:
    """The rows as tokens: the prompt exactly as sampling encodes it, then the completion, then EOS.

    Where encoding both together would merge a token across the border, they are encoded apart: a model that continues a
    prompt has the prompt's own tokens before it. Raises TrainingFault, naming the first bad row, how many are like it, and
    what to do.
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise TrainingFault("the base's tokenizer has no EOS token, so the model could not learn to stop; give it one")
    prompts = _encode(tokenizer, rows, [row.prompt for row in rows])
    wholes = _encode(tokenizer, rows, [row.prompt + row.completion for row in rows])
    if chat is not None:
        check_chat(rows, prompts, tokenizer, chat)
    tokens: list[TokenRow] = []
    for row, prompt, whole in zip(rows, prompts, wholes, strict=True):
        if whole[: len(prompt)] != prompt:
            whole = [*prompt, *_encode(tokenizer, [row], [row.completion])[0]]
        if len(whole) == len(prompt) or whole[-1] != eos:  # a completion that already ends in EOS keeps that one
            whole = [*whole, eos]
        if len(whole) > recipe.max_length and recipe.truncate:
            whole = whole[: recipe.max_length]
        tokens.append(TokenRow(row.example_id, whole, len(prompt)))
    check(rows, tokens, eos, recipe)
    return tokens


def check_chat(rows: Sequence[Row], prompts: Sequence[list[int]], tokenizer: Any, chat: str) -> None:
    """Raises TrainingFault unless every prompt is, token by token, what the tokenizer's `apply_chat_template` gives for its turn.

    `chat` is the template that sampling rendered; where it is not the tokenizer's own, because that asks for the date, it is
    what the tokenizer is asked with.
    """
    own = tokenizer.get_chat_template() if tokenizer.chat_template else None
    if own is None or not chat.endswith(own):
        raise TrainingFault(
            "the prompts were rendered with another chat template than the base's tokenizer has; sample anew"
        )

    def applied(texts: Sequence[str], tokenize: bool) -> list[Any]:
        chats = [[{"role": "user", "content": text}] for text in texts]
        given = {} if chat == own else {"chat_template": chat}
        return tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=tokenize, return_dict=False, **given
        )

    before, mark, after = applied([MARK], False)[0].partition(MARK)
    if not mark or MARK in after:
        raise TrainingFault("the base's chat template does not show the user's text once; set chat = off")
    strange = [
        (index, row.prompt)
        for index, row in enumerate(rows)
        if not (row.prompt.startswith(before) and row.prompt.endswith(after) and len(row.prompt) > len(before + after))
    ]
    _refuse(strange, rows, "has the prompt {!r:.80}, which the base's chat template does not make; sample anew")
    turns = [row.prompt[len(before) : len(row.prompt) - len(after)] for row in rows]
    for index, (prompt, ids) in enumerate(zip(prompts, applied(turns, True) if turns else [], strict=True)):
        if prompt != ids:
            place = next((place for place, (a, b) in enumerate(zip(prompt, ids, strict=False)) if a != b), 0)
            raise TrainingFault(
                f"{rows[index].name} begins with other tokens than the base's chat template gives for its turn, from token "
                f"{place} on ({len(prompt)} and {len(ids)} tokens); nothing was trained"
            )


def check(rows: Sequence[Row], tokens: Sequence[TokenRow], eos: int, recipe: Recipe) -> None:
    """Raises TrainingFault unless every row of the mix is there, is whole, and would teach something."""
    if not rows:
        raise TrainingFault("the training set is empty, so there is nothing to train on")
    if [row.example_id for row in rows] != [row.example_id for row in tokens]:
        raise TrainingFault(
            f"{len(tokens)} rows would be trained where the mix has {len(rows)} members; nothing was trained"
        )
    _refuse(
        [(index, len(row.input_ids)) for index, row in enumerate(tokens) if len(row.input_ids) > recipe.max_length],
        rows,
        f"has {{}} tokens with its completion, more than max_length {recipe.max_length}; raise it, or set truncate",
    )
    _refuse(
        [(index, row.prompt_tokens) for index, row in enumerate(tokens) if row.trained_tokens < 1],
        rows,
        f"has no token to learn from: its prompt takes {{}} of max_length {recipe.max_length} tokens",
    )
    _refuse(
        [(index, row.prompt) for index, row in enumerate(rows) if not row.completion],
        rows,
        "has an empty completion after the prompt {!r}; leave it out of the mix",
    )
    if not recipe.truncate:
        _refuse(
            [(index, row.input_ids[-1]) for index, row in enumerate(tokens) if row.input_ids[-1] != eos],
            rows,
            f"ends in token {{}}, not in EOS ({eos}), so the model would not learn to stop",
        )
    early = [
        (index, place)
        for index, row in enumerate(tokens)
        if (place := _first(row.input_ids, eos, row.prompt_tokens)) < len(row.input_ids) - 1
    ]
    _refuse(early, rows, "has EOS inside its completion, at token {}; sampling would stop there")


def check_trainer(trainer: Any, expected: Sequence[TokenRow]) -> None:
    """Raises TrainingFault unless the trainer holds exactly the expected rows, in order: no row dropped, none masked."""
    held = trainer.train_dataset.with_format("arrow")[:]  # as columns at once: row by row takes ten times as long
    if len(held) != len(expected):
        raise TrainingFault(f"the trainer kept {len(held)} of {len(expected)} rows; nothing was trained")
    for index, (ids, labels) in enumerate(zip(held["input_ids"].to_pylist(), held["labels"].to_pylist(), strict=True)):
        if ids != expected[index].input_ids or labels != expected[index].labels:
            raise TrainingFault(
                f"row {index} (exm_{expected[index].example_id}) is not what was asked for once the trainer holds it; "
                "nothing was trained"
            )


def _encode(tokenizer: Any, rows: Sequence[Row], texts: list[str]) -> list[list[int]]:
    try:
        return tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"] if texts else []
    except Exception as error:  # tokenizers raises bare Exception for a text it has no tokens for
        row, text = next(
            (pair for pair in zip(rows, texts, strict=True) if not _encodes(tokenizer, pair[1])), (rows[0], "")
        )
        raise TrainingFault(
            f"{row.name} has a character that the base's tokenizer does not know, in {_short(text)}; "
            "leave it out of the mix or take another base"
        ) from error


def _encodes(tokenizer: Any, text: str) -> bool:
    try:
        tokenizer(text, add_special_tokens=False)
    except Exception:  # noqa: BLE001
        return False
    return True


def _refuse(bad: Sequence[tuple[int, object]], rows: Sequence[Row], sentence: str) -> None:
    if bad:
        index, value = bad[0]
        others = f" ({len(bad) - 1} more rows like it)" if len(bad) > 1 else ""
        raise TrainingFault(f"{rows[index].name} {sentence.format(value)}{others}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _first(ids: Sequence[int], wanted: int, start: int) -> int:
    return next((index for index in range(start, len(ids)) if ids[index] == wanted), len(ids))
