"""How far along a right way a partial solution is: a language model with one number at its last token, `value`, `value:dtype=bfloat16`.

    >>> next(engine.generate([Request("9f86…", "00628+00579=89072710")], sampling))
    Response(request_id='9f86…', text='0.285714', finish_reason='stop', prompt_tokens=20, tokens=0, …)

It answers a text with its value, between 0 and 1, and writes none: so it has a process, a journal and a check of its weights like
any engine, and no use for how text is sampled. Options, each after a comma: `dtype`, `device` and `rows` (texts at once).

The model is `…ForSequenceClassification` of transformers with one label, as `tasks.training.value` makes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.weights import weights_digest
from tasks.engines.folders import folder_of
from tasks.engines.loading import DTYPES, check_loaded, device_of, dtype_of
from tasks.engines.memory import give_back, most_tokens
from tasks.engines.protocol import FAILED, STOP, Request, Response, Sampling

OPTIONS = ("device", "dtype", "rows")
MOST_ROWS = 1024
MOST_TOKENS = 1 << 15
"""Tokens that are looked at at once, at most."""
KIND = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Options:
    """What the ref says after its colon; None leaves it to the machine."""

    dtype: str | None = None
    device: str | None = None
    rows: int = MOST_ROWS


def check_options(options: str) -> Options:
    """The options as read; raises UserMistake for one that does not exist or fit. Loads nothing."""
    chosen: dict[str, str] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if name not in OPTIONS or not equals:
            raise UserMistake(
                f"engine value has no option {option!r}; it has: {', '.join(OPTIONS)}, each as name=value"
            )
        chosen[name] = value
    rows = chosen.pop("rows", str(MOST_ROWS))
    if not rows.isdigit() or int(rows) < 1:
        raise UserMistake(f"rows={rows} does not fit; give a number of texts to value at once")
    if chosen.get("dtype", DTYPES[0]) not in DTYPES:
        raise UserMistake(f"no dtype {chosen['dtype']!r}; give one of: {', '.join(DTYPES)}")
    return Options(**chosen, rows=int(rows))


def open_engine(model: Path | str | None, options: str = "") -> "ValueEngine":
    """The engine with a value model loaded; raises UserMistake for a model of another kind."""
    chosen = check_options(options)
    if model is None:
        raise UserMistake("engine value needs a value model: the folder of one that was trained here")
    return ValueEngine(folder_of(model), chosen)


class ValueEngine:
    """A value model in this process. Not for several threads at once."""

    batched = True

    def __init__(self, folder: Path, options: Options) -> None:
        self._model, self._tokenizer, precision = _load(folder, options)
        self._context = getattr(self._model.config, "max_position_embeddings", None)
        self._rows = options.rows
        self.weights_digest = weights_digest(folder)
        self.name = f"value {precision}"

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """The value of every request's text; one that is empty, too long or not in the vocabulary has none, and fails for good."""
        del sampling
        alike: dict[str, list[str]] = {}
        for request in requests:
            alike.setdefault(request.prompt, []).append(request.request_id)
        encoded: dict[str, list[int]] = {}
        for text, ids in alike.items():
            tokens = self._encode(text)
            if isinstance(tokens, str):
                for request_id in ids:
                    yield Response(request_id, "", FAILED, 0, 0, error=tokens, final=True)
            else:
                encoded[text] = tokens
        waiting = sorted(encoded, key=lambda text: -len(encoded[text]))
        room = min(MOST_TOKENS, most_tokens(self._model))
        while waiting:
            count = max(1, min(self._rows, room // len(encoded[waiting[0]])))
            together, waiting = waiting[:count], waiting[count:]
            for text, value in zip(together, self._values([encoded[text] for text in together]), strict=True):
                for request_id in alike[text]:
                    yield Response(request_id, f"{value:.6f}", STOP, len(encoded[text]), 0)

    def close(self) -> None:
        """Drop the model; on a GPU its memory goes back to the device."""
        self._model = None
        give_back()

    def _encode(self, text: str) -> list[int] | str:
        """The text's tokens, or why it has no value."""
        try:
            tokens = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exceptions; here they become data
            return f"the value model's tokenizer does not take {text!r:.80}: {error}"
        if not tokens:
            return "an empty text has no value"
        if self._context is not None and len(tokens) > self._context:
            return f"the text has {len(tokens)} tokens and the value model's context is {self._context}"
        return tokens

    def _values(self, rows: list[list[int]]) -> list[float]:
        """Of token rows, the longest first: padded on the right, so that every row's last token is its own."""
        import torch

        model: Any = self._model
        device = model.device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids = torch.zeros(len(rows), len(rows[0]), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        ids = ids.to(device)
        padded = len(rows[-1]) < len(rows[0])
        mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long() if padded else None
        with torch.inference_mode():
            states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
            last = states.last_hidden_state[torch.arange(len(rows), device=device), lengths - 1]
            return model.score(last)[:, 0].float().clamp(0.0, 1.0).tolist()


def _load(folder: Path, options: Options) -> tuple[Any, Any, str]:
    """The model on its device, its tokenizer, and what its numbers are."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = device_of(options.device)
    number = dtype_of(options.dtype, place)
    try:
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kinds = list(config.architectures or ["no architecture"])
        if not kinds[0].endswith(KIND) or config.num_labels != 1:
            raise UserMistake(
                f"{folder} is no value model: it is {kinds[0]} and not {KIND} with one label; train one with rest_mcts, or "
                "name another"
            )
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        opened: Any = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=getattr(torch, number),
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError) as mistake:
        reason = (str(mistake).splitlines() or [type(mistake).__name__])[0]
        raise UserMistake(f"{folder} cannot be opened as a value model: {reason}") from mistake
    model, loading = opened
    if strange := sorted({str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading[kind]}):
        raise UserMistake(
            f"the value model {folder} lacks weights that its configuration asks for: {', '.join(strange[:3])}"
        )
    if not hasattr(model, "score"):
        raise UserMistake(f"{folder} is no value model: {kinds[0]} has no score head; train one with rest_mcts")
    check_loaded(folder, model)
    return model.to(place).eval(), tokenizer, number
