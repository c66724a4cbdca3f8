"""What vLLM is given for a checkpoint and for a request, and what its outputs say: plain data, so that it needs no GPU to be tested.

>>> sampling_fields(Request("9f86d081884c7d659a2feaa0c55ad015", "2+2="), Sampling(temperature=0.7, max_tokens=32), (2,))
{'n': 1, 'temperature': 0.7, 'top_p': 1.0, 'top_k': 0, 'min_p': 0.0, 'seed': 528928897, 'max_tokens': 32, …}

Every field is written out, and vLLM is told to read no `generation_config`. The tokens that end a text are given by us, because
some models name those of their chats in that file alone.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from tasks.engines.protocol import FAILED, LENGTH, STOP, Request, Response, Sampling

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM makes room for."""


def sampling_fields(request: Request, sampling: Sampling, ends: Sequence[int]) -> dict[str, Any]:
    """The fields of vLLM's SamplingParams for one request. `ends`: the ids of the tokens that end a text."""
    return {
        "n": 1,
        "temperature": float(sampling.temperature),
        "top_p": float(sampling.top_p),
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "presence_penalty": float(sampling.presence_penalty),
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "seed": request.seed,
        "stop": list(sampling.stop),
        "stop_token_ids": sorted(ends),
        "ignore_eos": False,
        "min_tokens": 0,
        "max_tokens": sampling.max_tokens,
        "logprobs": 0,
        "include_stop_str_in_output": False,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }


def sampling_params(request: Request, sampling: Sampling, ends: Sequence[int]) -> Any:
    """The SamplingParams themselves."""
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue] - see `tasks.engines.vllm`

    return SamplingParams(**sampling_fields(request, sampling, ends))


def model_fields(base: Path, adapter: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of vLLM's LLM for a checkpoint; for an adapter that of its base, with room for the adapter."""
    fields = {
        "model": str(base),
        "tokenizer": str(base),
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "logprobs_mode": "processed_logprobs",
        "trust_remote_code": False,
        "load_format": "safetensors",
        "disable_log_stats": True,
        "seed": 0,
    }
    if adapter is not None:
        fields |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room_for(_rank(adapter))}
    return fields | options


def adapter_fields(adapter: Path, digest: str) -> dict[str, Any]:
    """The arguments of vLLM's LoRARequest. Name and number are the digest's: under an old name it may use what it cached of another."""
    return {"lora_name": digest, "lora_int_id": int(digest[:8], 16) % (2**31 - 1) + 1, "lora_path": str(adapter)}


def room_for(rank: int) -> int:
    """The smallest rank that vLLM has room for and an adapter of this rank fits in; raises UserMistake when it is too large."""
    for room in RANKS:
        if rank <= room:
            return room
    raise UserMistake(f"the adapter has rank {rank}, and vLLM takes {RANKS[-1]} at most; merge it into its base first")


def end_tokens(folder: Path, tokenizer_end: int | None) -> tuple[int, ...]:
    """Ids of the tokens that the tokenizer, the configuration or the generation configuration call an end."""
    ends = {tokenizer_end}
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            said = json.loads((folder / name).read_text(encoding="utf-8"))
            for place in (said, said.get("text_config") or {}):
                named = place.get("eos_token_id")
                ends.update(named if isinstance(named, list) else [named])
    found = tuple(sorted(end for end in ends if end is not None))
    if not found:
        raise UserMistake("the model names no token that ends a text; give its tokenizer an eos_token")
    return found


def unfit(tokens: Sequence[int], context: int) -> str | None:
    """Why a prompt of these tokens can never be written after; None if it can."""
    if not tokens:
        return "the prompt is empty"
    if len(tokens) >= context:
        return f"the prompt has {len(tokens)} tokens and the model's context is {context}"
    return None


def response_of(output: Any, request: Request, sampling: Sampling) -> Response:
    """The response that one of vLLM's RequestOutputs is. Its log probability is told where top-k and top-p leave it what it is."""
    written = output.outputs[0]
    reason = {"stop": STOP, "length": LENGTH}.get(str(written.finish_reason), FAILED)
    told = sampling.top_k == 0 and sampling.top_p == 1 and reason != FAILED
    return Response(
        request.request_id,
        written.text,
        reason,
        len(output.prompt_token_ids),
        len(written.token_ids),
        float(written.cumulative_logprob) if told and written.cumulative_logprob is not None else None,
        f"vLLM ended it with {written.finish_reason!r}" if reason == FAILED else None,
    )


def precision_of(dtype: object) -> str:
    """`bfloat16` for `torch.bfloat16`."""
    return str(dtype).removeprefix("torch.")


def in_groups(requests: Sequence[Request], rows: int) -> Iterable[Sequence[Request]]:
    """So many requests at a time, in order."""
    return (requests[start : start + rows] for start in range(0, len(requests), rows))


def _rank(adapter: Path) -> int:
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
