"""Any causal language model that transformers opens, from a folder or the hub: `transformers`, `transformers:dtype=bfloat16`.

Options, each after a comma: a model name (`Qwen/Qwen2.5-3B-Instruct@<revision>`, where no checkpoint is given), `dtype`,
`device`, `quantization` (`4bit`), `attention` (transformers' `attn_implementation`) and `rows` (how many texts are written
at once, at most). Weights are safetensors; code that comes with a model is not run.

Texts end at the tokens that the tokenizer, the configuration or the generation configuration call an end. That is all
that is taken from the latter: sampling is what the request says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.weights import weights_digest
from tasks.engines.batches import batches
from tasks.engines.decoding import Decoding, StopStrings, Writing, Written, decode
from tasks.engines.folders import folder_of
from tasks.engines.loading import DTYPES, QUANTIZATIONS, load
from tasks.engines.memory import give_back, most_tokens, ran_out
from tasks.engines.prefixes import Family, Prefixes, families
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.scoring import Scored, log_likelihoods
from tasks.engines.trial import takes_our_attention
from tasks.engines.uniforms import keys_of

OPTIONS = ("attention", "device", "dtype", "quantization", "rows")
MOST_ROWS = 1024
MOST_SCORED = 1 << 13
"""Tokens whose likelihoods are found at once: each has a number for every word of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an engine ref says after its colon; None leaves it to the machine."""

    model: str | None = None
    dtype: str | None = None
    device: str | None = None
    attention: str | None = None
    quantization: str | None = None
    rows: int = MOST_ROWS


def check_options(options: str) -> Options:
    """The options as read; raises UserMistake for one that does not exist or fit. Loads nothing."""
    chosen: dict[str, str] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if equals and name not in OPTIONS:
            raise UserMistake(f"engine transformers has no option {name!r}; it has: {', '.join(OPTIONS)}")
        chosen[name if equals else "model"] = value if equals else name
    rows = chosen.pop("rows", str(MOST_ROWS))
    if not rows.isdigit() or int(rows) < 1:
        raise UserMistake(f"rows={rows} does not fit; give a number of texts to write at once")
    if chosen.get("dtype", DTYPES[0]) not in DTYPES:
        raise UserMistake(f"no dtype {chosen['dtype']!r}; give one of: {', '.join(DTYPES)}")
    if chosen.get("quantization", QUANTIZATIONS[0]) not in QUANTIZATIONS:
        raise UserMistake(f"no quantization {chosen['quantization']!r}; give one of: {', '.join(QUANTIZATIONS)}")
    return Options(**chosen, rows=int(rows))


def open_engine(model: Path | str | None, options: str = "") -> "TransformersEngine":
    """The engine with `model` loaded; raises UserMistake for options, models and devices that do not exist or fit."""
    chosen = check_options(options)
    if (named := model or chosen.model) is None:
        raise UserMistake("engine transformers needs a model: a folder, or a hub name such as Qwen/Qwen2.5-0.5B")
    return TransformersEngine(folder_of(named), chosen)


@dataclass(frozen=True, slots=True)
class Text:
    """A request on its way to the model."""

    request_id: str
    writing: Writing


class TransformersEngine:
    """A model in this process. Not for several threads at once."""

    batched = True

    def __init__(self, folder: Path, options: Options) -> None:
        loaded = load(folder, options.dtype, options.device, options.attention, options.quantization)
        self._model: Any = loaded.model
        self._tokenizer: Any = loaded.tokenizer
        if options.attention is None and getattr(self._model, "_supports_attention_backend", False):
            takes_our_attention(self._model)
        self._prefixes = Prefixes(self._model)
        self.weights_digest = weights_digest(folder)
        self.name = f"transformers {loaded.precision}"
        self.end_tokens = _end_tokens(self._tokenizer, self._model)
        self._context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._most_rows = options.rows

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """Responses in the order they finish; a prompt that is empty, too long or not in the vocabulary is a failed one."""
        encoded = self._encode([request.prompt for request in requests])
        sound: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(encoded):
            if problem := self._unfit(prompt):
                size = 0 if isinstance(prompt, str) else len(prompt)
                yield Response(requests[index].request_id, "", FAILED, size, 0, error=problem, final=True)
            else:
                sound.setdefault(tuple(prompt), []).append(index)  # type: ignore[arg-type]
        together = [(prompt, requests[index].request_id) for prompt, members in sound.items() for index in members]
        keys = keys_of([request_id for _, request_id in together]).tolist()
        texts = [
            Text(request_id, Writing(prompt, key, min(sampling.max_tokens, (self._context or 1 << 40) - len(prompt))))
            for (prompt, request_id), key in zip(together, keys, strict=True)
        ]
        whole = [Family((), list(range(len(texts))))] if texts else []
        for family in families([text.writing.prompt for text in texts]) if self._prefixes.possible else whole:
            yield from self._write([texts[place] for place in family.members], family.prefix, sampling)

    def _write(self, texts: "list[Text]", prefix: tuple[int, ...], sampling: Sampling) -> Iterator[Response]:
        """All texts of a family, in batches that become smaller where memory runs out."""
        waiting = self._grouped(texts, prefix, sampling)
        while waiting:
            group = waiting.pop(0)
            left = {text.request_id: text for text in group}
            try:
                for response in self._together(group, prefix, sampling):
                    del left[response.request_id]
                    yield response
                continue
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
            # Out here, where the error no longer holds what filled the memory.
            self._prefixes.forget()
            give_back()
            if len(group) == 1:
                yield self._too_large(group[0])
            else:
                self._most_rows = min(self._most_rows, len(group) // 2)
                unwritten = [*left.values(), *(text for later in waiting for text in later)]
                waiting = self._grouped(unwritten, prefix, sampling)

    def _grouped(self, texts: "list[Text]", prefix: tuple[int, ...], sampling: Sampling) -> "list[list[Text]]":
        before = len(prefix) if self._prefixes.apart else 0
        lengths = [len(text.writing.prompt) - before for text in texts]
        groups = batches(lengths, sampling.max_tokens, self._most_rows, most_tokens(self._model))
        return [[texts[place] for place in group] for group in groups]

    def _together(self, group: "list[Text]", prefix: tuple[int, ...], sampling: Sampling) -> Iterator[Response]:
        """One batch."""
        stops = StopStrings(sampling.ends_at, self._texts) if sampling.ends_at else None
        padding = self._tokenizer.pad_token_id
        batch = [text.writing for text in group]
        decoding = Decoding(
            self._model, batch, sampling, self.end_tokens, self.end_tokens[0] if padding is None else padding, stops,
            self._prefixes.of(prefix),
        )  # fmt: skip
        for finished in decode(decoding):
            for written, text in zip(finished, self._texts([self._body(row) for row in finished]), strict=True):
                kept, finish_reason = sampling.ended(text, written.finish_reason)
                yield Response(
                    group[written.row].request_id,
                    kept,
                    finish_reason,
                    len(batch[written.row].prompt),
                    len(written.tokens),
                    written.logprob,
                )

    def _too_large(self, text: "Text") -> Response:
        size, room = len(text.writing.prompt), text.writing.room
        problem = (
            f"a text of {size} tokens that may become {size + room} does not fit into the memory of {self._model.device} even "
            "alone; a smaller max_tokens, dtype=bfloat16, quantization=4bit or a smaller model needs less"
        )
        return Response(text.request_id, "", FAILED, size, 0, error=problem, final=True)

    def log_likelihoods(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """How likely each completion is after its prompt; raises UserMistake for what the tokenizer does not take."""
        encoded = [self._encode([part for pair in texts for part in pair])[place::2] for place in (0, 1)]
        for problem in (one for part in encoded for one in part if isinstance(one, str)):
            raise UserMistake(problem)
        prompts: Any = encoded[0]
        completions = [[*completion, self.end_tokens[0]] for completion in encoded[1]]
        return log_likelihoods(self._model, prompts, completions, min(MOST_SCORED, most_tokens(self._model)))

    def close(self) -> None:
        """Drop the model; on a GPU its memory goes back to the device."""
        self._model = None
        self._prefixes.forget()
        give_back()

    def _encode(self, prompts: list[str]) -> list[list[int] | str]:
        """Token ids of each prompt, or why there are none."""
        if not prompts:
            return []
        try:
            return self._tokenizer(prompts, add_special_tokens=False, return_attention_mask=False, verbose=False)[
                "input_ids"
            ]
        except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exceptions; here they become data
            if len(prompts) == 1:
                return [f"the tokenizer does not take the prompt {prompts[0]!r:.80}: {error}"]
            return [self._encode([prompt])[0] for prompt in prompts]

    def _unfit(self, prompt: list[int] | str) -> str | None:
        if isinstance(prompt, str):
            return prompt
        if not prompt:
            return "the prompt is empty"
        if self._context is not None and len(prompt) >= self._context:
            return f"the prompt has {len(prompt)} tokens and the model's context is {self._context}"
        return None

    def _texts(self, rows: list[list[int]]) -> list[str]:
        return self._tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _body(self, written: Written) -> list[int]:
        tokens = written.tokens
        return tokens[:-1] if tokens and tokens[-1] in self.end_tokens else tokens


def _end_tokens(tokenizer: Any, model: Any) -> list[int]:
    said = (tokenizer.eos_token_id, model.config.get_text_config().eos_token_id, model.generation_config.eos_token_id)
    ends: set[int] = set()
    for one in said:
        ends.update([one] if isinstance(one, int) else one or [])
    if not ends:
        raise UserMistake("the model names no token that ends a text; give its tokenizer an eos_token")
    return sorted(ends)
