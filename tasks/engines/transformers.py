"""Any causal language model that transformers opens, from a folder or the hub: `transformers`, `transformers:dtype=bfloat16`.

Options, each after a comma: a model name (`Qwen/Qwen2.5-3B-Instruct@<revision>`, where no checkpoint is given), `dtype`,
`device`, `attention` (transformers' `attn_implementation`) and `rows` (how many texts are written at once, at most).
Weights are safetensors; code that comes with a model is not run.

Texts end at the tokens that the tokenizer, the configuration or the generation configuration call an end. That is all
that is taken from the latter: sampling is what the request says.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import EngineFault, UserMistake
from storage.weights import weights_digest
from tasks.engines.attention import register
from tasks.engines.batches import batches
from tasks.engines.decoding import Decoding, StopStrings, Writing, Written, decode
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.uniforms import keys_of

OPTIONS = ("attention", "device", "dtype", "rows")
DTYPES = ("bfloat16", "float16", "float32")
ADAPTER = "adapter_config.json"
"""The file by which peft's adapter folders are known."""
MOST_ROWS = 1024
CACHE_BYTES = 1 << 30
"""On a CPU the cache of a batch may grow to this; on a GPU to half of the memory that is free."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an engine ref says after its colon; None leaves it to the machine."""

    model: str | None = None
    dtype: str | None = None
    device: str | None = None
    attention: str | None = None
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
    return Options(**chosen, rows=int(rows))


def open_engine(model: Path | str | None, options: str = "") -> "TransformersEngine":
    """The engine with `model` loaded; raises UserMistake for options, models and devices that do not exist or fit."""
    chosen = check_options(options)
    if (named := model or chosen.model) is None:
        raise UserMistake("engine transformers needs a model: a folder, or a hub name such as Qwen/Qwen2.5-0.5B")
    return TransformersEngine(folder_of(named), chosen.dtype, chosen.device, chosen.attention, chosen.rows)


class TransformersEngine:
    """A model in this process. Not for several threads at once."""

    batched = True

    def __init__(
        self, folder: Path, dtype: str | None, device: str | None, attention: str | None, most_rows: int
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        place = _device(device)
        precision = _dtype(dtype, place)
        base = base_of(folder)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
            opened: Any = AutoModelForCausalLM.from_pretrained(
                base, dtype=getattr(torch, precision), attn_implementation=attention, trust_remote_code=False,
                use_safetensors=True, output_loading_info=True,
            )  # fmt: skip
        except (OSError, ValueError, ImportError) as mistake:
            raise UserMistake(f"{folder} cannot be opened as a causal language model: {mistake}") from mistake
        model, loading = opened
        if strange := sorted({str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading[kind]}):
            raise UserMistake(f"{folder} lacks weights that its configuration asks for: {', '.join(strange[:3])}")
        _check_loaded(base, model)
        if base != folder:
            model = _with_adapter(model, folder)
        self._model: Any = model.eval().to(place)
        if attention is None and place.type == "cpu" and getattr(self._model, "_supports_attention_backend", False):
            self._model.set_attn_implementation(register())
        self.weights_digest = weights_digest(folder)
        self.name = f"transformers {precision}"
        self.end_tokens = _end_tokens(self._tokenizer, self._model)
        self._context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._most_rows = most_rows

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """Responses in the order they finish; a prompt that is empty, too long or not in the vocabulary is a failed one."""
        encoded = self._encode([request.prompt for request in requests])
        sound: list[int] = []
        for index, prompt in enumerate(encoded):
            if problem := self._unfit(prompt):
                size = 0 if isinstance(prompt, str) else len(prompt)
                yield Response(requests[index].request_id, "", FAILED, size, 0, error=problem, final=True)
            else:
                sound.append(index)
        stops = StopStrings(sampling.stop, self._texts) if sampling.stop else None
        padding = self._tokenizer.pad_token_id
        keys = keys_of([requests[index].request_id for index in sound]).tolist()
        writings = [
            Writing(tokens, key, min(sampling.max_tokens, (self._context or 1 << 40) - len(tokens)))
            for index, key in zip(sound, keys, strict=True)
            if isinstance(tokens := encoded[index], list)
        ]
        groups = batches(
            [len(row.prompt) for row in writings], sampling.max_tokens, self._most_rows, self._most_tokens()
        )
        for group in groups:
            batch = [writings[place] for place in group]
            decoding = Decoding(
                self._model, batch, sampling, self.end_tokens, self.end_tokens[0] if padding is None else padding, stops
            )
            for finished in decode(decoding):
                for written, text in zip(finished, self._texts([self._body(row) for row in finished]), strict=True):
                    yield Response(
                        requests[sound[group[written.row]]].request_id,
                        stops.cut(text) if stops else text,
                        written.finish_reason,
                        len(batch[written.row].prompt),
                        len(written.tokens),
                        written.logprob,
                    )

    def close(self) -> None:
        """Drop the model; on a GPU its memory goes back to the device."""
        import torch

        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

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

    def _most_tokens(self) -> int:
        """How many tokens the cache of a batch may hold."""
        import torch

        device = self._model.device
        most = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CACHE_BYTES
        return most // _cache_bytes_per_token(self._model)


def folder_of(model: Path | str) -> Path:
    """The folder of a model: itself, or the hub's snapshot of `name@revision`."""
    if isinstance(model, Path) or Path(model).is_dir():
        if not any((Path(model) / name).is_file() for name in ("config.json", ADAPTER)):
            raise UserMistake(f"{model} is no model folder: it has neither config.json nor {ADAPTER}")
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as mistake:
        reason = str(mistake).splitlines()[0]
        raise UserMistake(f"no model {model!r}: it is no folder here, and the hub says: {reason}") from mistake


def base_of(folder: Path) -> Path:
    """The folder itself, or for an adapter that of its base: beside it if it is there, else where the adapter says.

    Raises UserMistake when it is nowhere.
    """
    if not (folder / ADAPTER).is_file():
        return folder
    named = Path(json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"])
    for place in (folder.parent / named.name, named):
        if (place / "config.json").is_file():
            return place
    raise UserMistake(
        f"the adapter {folder} was trained on {named}, which is neither beside it nor a folder; put it back"
    )


def _with_adapter(model: Any, folder: Path) -> Any:
    """The model with a LoRA adapter's weights added to its own, so that decoding costs nothing more."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder).merge_and_unload()


def _device(asked: str | None) -> Any:
    import torch

    try:
        device = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as mistake:
        raise UserMistake(f"device {asked!r} cannot be used here: {str(mistake).splitlines()[0]}") from mistake
    return device


def _dtype(asked: str | None, device: Any) -> str:
    """float32 on a CPU, where lower precisions are mostly emulated; on a GPU bfloat16 if it has it, else float16."""
    import torch

    if asked is not None or device.type != "cuda":
        return asked or "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _end_tokens(tokenizer: Any, model: Any) -> list[int]:
    said = (tokenizer.eos_token_id, model.config.get_text_config().eos_token_id, model.generation_config.eos_token_id)
    ends: set[int] = set()
    for one in said:
        ends.update([one] if isinstance(one, int) else one or [])
    if not ends:
        raise UserMistake("the model names no token that ends a text; give its tokenizer an eos_token")
    return sorted(ends)


def _cache_bytes_per_token(model: Any) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return max(1, 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)


def _check_loaded(folder: Path, model: Any) -> None:
    """Raises EngineFault where the first row of a loaded tensor is not what its file says: weight sync is checked, not hoped."""
    import torch
    from safetensors import safe_open

    loaded = model.state_dict()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - safe_open is no mapping
                if name not in loaded or not stored.get_slice(name).get_shape():
                    continue
                first = stored.get_slice(name)[:1].to(loaded[name].dtype)
                if not torch.equal(first, loaded[name][:1].cpu()):
                    raise EngineFault(f"the engine holds another {name} than {file}; reopen it")
