"""vLLM inside the engine's own process, for GPUs: `vllm`, `vllm:tensor_parallel_size=2,gpu_memory_utilization=0.85`.

Options, each after a comma: a model name (where no checkpoint is given), `rows` (how many texts are asked for at once), and of
vLLM's own `dtype`, `quantization`, `max_model_len`, `max_num_seqs`, `gpu_memory_utilization`, `tensor_parallel_size`,
`pipeline_parallel_size` and `enforce_eager`. Prefix caching is always on, so a few-shot prefix is computed once.

Randomness is vLLM's, seeded by request: with the same version on the same hardware a request mostly gets the same text, but what
it is batched with can change its last bits. A pass that was cut off is therefore asked again whole.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.weights import weights_digest
from tasks.engines.folders import base_of, folder_of
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.vllm_requests import (
    adapter_fields,
    end_tokens,
    in_groups,
    model_fields,
    precision_of,
    response_of,
    sampling_params,
    unfit,
)

WORDS = {"dtype": ("auto", "bfloat16", "float16", "float32"), "quantization": None, "enforce_eager": ("true", "false")}
COUNTS = ("max_model_len", "max_num_seqs", "pipeline_parallel_size", "rows", "tensor_parallel_size")
SHARE = "gpu_memory_utilization"
ROWS = 4096


def check_options(options: str) -> dict[str, Any]:
    """The options as vLLM takes them, `model` and `rows` among them. Raises UserMistake for one that does not fit, and without vLLM."""
    chosen = read_options(options)
    if find_spec("vllm") is None:
        raise UserMistake(
            "engine vllm needs vLLM, which is not installed; pip install vllm on a machine with a GPU, or take engine transformers"
        )
    return chosen


def read_options(options: str) -> dict[str, Any]:
    """As `check_options`, wherever."""
    chosen: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals:
            chosen["model"] = name
        elif name in WORDS:
            if (known := WORDS[name]) and value not in known:
                raise UserMistake(f"no {name} {value!r}; give one of: {', '.join(known)}")
            chosen[name] = value == "true" if name == "enforce_eager" else value
        elif name in COUNTS:
            if not value.isascii() or not value.isdigit() or int(value) < 1:
                raise UserMistake(f"{name}={value} does not fit; give a whole number from 1 up")
            chosen[name] = int(value)
        elif name == SHARE:
            chosen[name] = _share(value)
        else:
            known = ", ".join(sorted([*WORDS, *COUNTS, SHARE]))
            raise UserMistake(f"engine vllm has no option {name!r}; it has: {known}")
    return chosen


def open_engine(model: Path | str | None, options: str = "") -> "VllmEngine":
    """The engine with `model` loaded; raises UserMistake for options and models that do not fit, and without vLLM."""
    chosen = check_options(options)
    named = chosen.pop("model", None)
    if (given := model or named) is None:
        raise UserMistake("engine vllm needs a model: a folder, or a hub name such as Qwen/Qwen2.5-0.5B")
    return VllmEngine(folder_of(given), chosen.pop("rows", ROWS), chosen)


class VllmEngine:
    """A model in this process, and in those that vLLM starts for other GPUs."""

    batched = True

    def __init__(self, folder: Path, rows: int, options: dict[str, Any]) -> None:
        from vllm import LLM  # pyright: ignore[reportAttributeAccessIssue] - it takes this module for the package
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        base = base_of(folder)
        adapter = folder if folder != base else None
        self.weights_digest = weights_digest(folder)
        try:
            self._llm: Any = LLM(**model_fields(base, adapter, options))
        except (OSError, ValueError) as mistake:
            raise UserMistake(f"vLLM cannot open {folder}: {mistake}") from mistake
        self._adapter = LoRARequest(**adapter_fields(adapter, self.weights_digest)) if adapter else None
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._ends = end_tokens(base, self._tokenizer.eos_token_id)
        settings = self._llm.llm_engine.model_config
        self._context = int(settings.max_model_len)
        self._rows = rows
        kept = [precision_of(settings.dtype), *([str(settings.quantization)] if settings.quantization else [])]
        self.name = " ".join(["vllm", *kept])

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """Responses as groups finish; a prompt that is empty or too long is a failed one."""
        for group in in_groups(requests, self._rows):
            encoded = self._tokenizer([one.prompt for one in group], add_special_tokens=False)["input_ids"]
            sound: list[tuple[Request, list[int]]] = []
            for request, tokens in zip(group, encoded, strict=True):
                if why := unfit(tokens, self._context):
                    yield Response(request.request_id, "", FAILED, len(tokens), 0, error=why, final=True)
                else:
                    sound.append((request, tokens))
            if not sound:
                continue
            outputs = self._llm.generate(
                [{"prompt_token_ids": tokens} for _, tokens in sound],
                [sampling_params(request, sampling, self._ends) for request, _ in sound],
                use_tqdm=False,
                lora_request=self._adapter,
            )
            for (request, _), output in zip(sound, outputs, strict=True):
                yield response_of(output, request, sampling)

    def close(self) -> None:
        """Drop the model. Memory on a GPU is given back for sure when the process ends."""
        self._llm = None


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserMistake(f"{SHARE}={value} does not fit; give more than 0 and at most 1")
    return share
