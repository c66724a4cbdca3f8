"""What vLLM would be given. Where it is installed, it is asked itself whether it knows the fields; elsewhere its documentation was."""

import json
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from storage.errors import UserMistake
from tasks.engines.protocol import FAILED, LENGTH, STOP, Request, Sampling
from tasks.engines.registry import check_options, open_engine
from tasks.engines.vllm import read_options
from tasks.engines.vllm_requests import (
    adapter_fields,
    end_tokens,
    in_groups,
    model_fields,
    response_of,
    room_for,
    sampling_fields,
    unfit,
)

REQUEST = Request("9f86d081884c7d659a2feaa0c55ad015", "2+2=")
DIGEST = "5f0c2b1e9d3a4c5b8e7f60718293a4b5"

SAMPLING_PARAMS = frozenset({
    "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k", "min_p", "seed",
    "stop", "stop_token_ids", "ignore_eos", "max_tokens", "min_tokens", "logprobs", "prompt_logprobs", "detokenize",
    "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output", "logit_bias", "bad_words",
})  # fmt: skip
"""The fields of SamplingParams in vLLM's documentation."""

ENGINE_ARGUMENTS = frozenset({
    "model", "tokenizer", "tokenizer_mode", "trust_remote_code", "load_format", "dtype", "seed", "generation_config",
    "max_model_len", "quantization", "enforce_eager", "logprobs_mode", "gpu_memory_utilization", "enable_prefix_caching",
    "tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs", "disable_log_stats", "enable_lora", "max_loras",
    "max_lora_rank",
})  # fmt: skip
"""Those of its engine arguments that may matter here."""


def test_every_field_of_the_sampling_is_written_out():
    fields = sampling_fields(REQUEST, Sampling(0.7, 32, top_p=0.9, top_k=5, stop=("\n",)), (2, 1))
    assert fields == {
        "n": 1, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "repetition_penalty": 1.0, "seed": 528928897, "stop": ["\n"], "stop_token_ids": [1, 2],
        "ignore_eos": False, "min_tokens": 0, "max_tokens": 32, "logprobs": 0, "include_stop_str_in_output": False,
        "skip_special_tokens": False, "spaces_between_special_tokens": False,
    }  # fmt: skip
    assert fields.keys() <= SAMPLING_PARAMS
    assert sampling_fields(REQUEST, Sampling(0.7, 32, presence_penalty=2), (1,))["presence_penalty"] == 2.0


def test_every_request_has_a_seed_of_its_own_that_any_engine_takes():
    seeds = {Request(f"{number * 2654435761 % 2**32:08x}{0:024x}", "").seed for number in range(1000)}
    assert len(seeds) > 990
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_checkpoint_is_opened_with_its_prefixes_cached_and_no_settings_of_its_own(tmp_path):
    fields = model_fields(
        tmp_path, None, read_options("tensor_parallel_size=2,dtype=bfloat16,gpu_memory_utilization=0.85")
    )
    assert fields == {
        "model": str(tmp_path), "tokenizer": str(tmp_path), "enable_prefix_caching": True, "generation_config": "vllm",
        "logprobs_mode": "processed_logprobs", "trust_remote_code": False, "load_format": "safetensors",
        "disable_log_stats": True, "seed": 0, "tensor_parallel_size": 2, "dtype": "bfloat16",
        "gpu_memory_utilization": 0.85,
    }  # fmt: skip
    assert fields.keys() <= ENGINE_ARGUMENTS


def test_an_adapter_gets_room_and_the_name_of_its_weights(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 12, "peft_type": "LORA"}))
    fields = model_fields(tmp_path / "base", tmp_path, {})
    assert fields["model"] == str(tmp_path / "base")
    assert (fields["enable_lora"], fields["max_loras"], fields["max_lora_rank"]) == (True, 1, 16)
    assert fields.keys() <= ENGINE_ARGUMENTS
    named = adapter_fields(tmp_path, DIGEST)
    assert named == {"lora_name": DIGEST, "lora_int_id": named["lora_int_id"], "lora_path": str(tmp_path)}
    assert 0 < named["lora_int_id"] < 2**31
    assert adapter_fields(tmp_path, "0" * 32)["lora_int_id"] > 0
    assert [room_for(rank) for rank in (1, 8, 9, 64, 512)] == [8, 8, 16, 64, 512]
    with pytest.raises(UserMistake, match=r"rank 513.*512 at most"):
        room_for(513)


def test_a_text_ends_where_any_of_the_models_files_says(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 2, "text_config": {"eos_token_id": [2, 7]}}))
    assert end_tokens(tmp_path, None) == (2, 7)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 9], "temperature": 0.6}))
    assert end_tokens(tmp_path, 5) == (2, 5, 7, 9)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "generation_config.json").unlink()
    with pytest.raises(UserMistake, match="no token that ends a text"):
        end_tokens(tmp_path, None)


def output(reason, logprob=-1.5):
    written = SimpleNamespace(text="4", token_ids=[8, 2], cumulative_logprob=logprob, finish_reason=reason)
    return SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[written])


def test_outputs_are_read():
    drawn = Sampling(0.7, 9)
    first = response_of(output("stop"), REQUEST, drawn)
    assert (first.text, first.finish_reason, first.prompt_tokens, first.tokens, first.logprob) == (
        "4",
        STOP,
        3,
        2,
        -1.5,
    )
    assert response_of(output("length"), REQUEST, drawn).finish_reason == LENGTH
    broken = response_of(output("abort"), REQUEST, drawn)
    assert (broken.finish_reason, broken.error, broken.final, broken.logprob) == (
        FAILED,
        "vLLM ended it with 'abort'",
        False,
        None,
    )
    assert response_of(output("stop", None), REQUEST, drawn).logprob is None
    for cut in (Sampling(0.7, 9, top_p=0.9), Sampling(0.7, 9, top_k=5)):
        assert response_of(output("stop"), REQUEST, cut).logprob is None, "what it tells is after top-k and top-p"


def test_a_prompt_that_never_fits_is_not_sent():
    assert unfit([1, 2], 3) is None
    assert unfit([1, 2, 3], 3) == "the prompt has 3 tokens and the model's context is 3"
    assert unfit([], 3) == "the prompt is empty"


def test_requests_are_asked_for_in_groups_in_order():
    requests = [Request(f"{n:032x}", str(n)) for n in range(5)]
    assert [[one.prompt for one in group] for group in in_groups(requests, 2)] == [["0", "1"], ["2", "3"], ["4"]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("presicion=high", "no option 'presicion'; it has: dtype, enforce_eager, gpu_memory_utilization"),
        ("dtype=int3", "no dtype 'int3'; give one of: auto, bfloat16"),
        ("tensor_parallel_size=0", "tensor_parallel_size=0 does not fit; give a whole number from 1 up"),
        ("rows=many", "rows=many does not fit"),
        ("gpu_memory_utilization=2", "gpu_memory_utilization=2 does not fit; give more than 0 and at most 1"),
        ("enforce_eager=perhaps", "no enforce_eager 'perhaps'; give one of: true, false"),
    ],
)
def test_an_option_that_does_not_fit_is_told_with_those_that_do(options, says):
    with pytest.raises(UserMistake) as refused:
        check_options(f"vllm:{options}")
    assert says in str(refused.value)


def test_options_are_read_as_vllm_takes_them():
    assert read_options("Qwen/Qwen2.5-3B,enforce_eager=true,quantization=fp8,max_model_len=2048") == {
        "model": "Qwen/Qwen2.5-3B", "enforce_eager": True, "quantization": "fp8", "max_model_len": 2048,
    }  # fmt: skip


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_it_says_how_to_get_it(tmp_path):
    for look in (lambda: check_options("vllm"), lambda: open_engine("vllm:dtype=bfloat16", tmp_path)):
        with pytest.raises(UserMistake, match="pip install vllm on a machine with a GPU"):
            look()


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here")
def test_vllm_knows_the_fields():
    from vllm import EngineArgs, SamplingParams

    SamplingParams(**sampling_fields(REQUEST, Sampling(0.7, 9), (2,)))
    assert set(EngineArgs.__dataclass_fields__) >= ENGINE_ARGUMENTS
