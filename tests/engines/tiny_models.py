"""Random models of a few thousand weights, in the forms that real servers open: a Hugging Face folder and a GGUF file."""

from pathlib import Path

ALPHABET = "0123456789+=?A abcdef\n"
"""transformers finds stop strings only with a tokenizer that knows the letters a to f."""
CHAT_TEMPLATE = "{{ messages[0]['content'] }}"
HIDDEN, LAYERS, HEADS, MLP, POSITIONS = 32, 2, 4, 64, 256


def make_folder(folder: Path) -> Path:
    """A Llama of characters with a chat template that adds nothing. Its own settings never sample: what is drawn was asked for."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<unk>", "</s>", *ALPHABET]
    characters = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters, unk_token="<unk>", eos_token="</s>", pad_token="</s>", padding_side="left",
        clean_up_tokenization_spaces=False, model_max_length=POSITIONS, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=MLP, max_position_embeddings=POSITIONS, initializer_range=0.4,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=1, pad_token_id=1, max_new_tokens=3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_gguf(path: Path) -> Path:
    """A Llama with the same sizes in llama.cpp's own format; its tokens are the characters, then bytes."""
    import gguf
    import numpy as np

    drawn = np.random.default_rng(0)
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *ALPHABET.replace(" ", "").strip()]
    written = gguf.GGUFWriter(path, "llama")
    written.add_context_length(POSITIONS)
    written.add_embedding_length(HIDDEN)
    written.add_block_count(LAYERS)
    written.add_feed_forward_length(MLP)
    written.add_head_count(HEADS)
    written.add_head_count_kv(HEADS)
    written.add_layer_norm_rms_eps(1e-5)
    written.add_rope_dimension_count(HIDDEN // HEADS)
    written.add_vocab_size(len(names))
    written.add_tokenizer_model("llama")
    written.add_token_list(names)
    written.add_token_scores([0.0] * len(names))
    written.add_token_types([2, 3, 3, *[6] * 256, *[1] * (len(names) - 259)])
    written.add_unk_token_id(0)
    written.add_bos_token_id(1)
    written.add_eos_token_id(2)
    written.add_add_bos_token(False)
    written.add_add_space_prefix(False)
    written.add_chat_template(CHAT_TEMPLATE)

    def tensor(name: str, *shape: int) -> None:
        weights = drawn.standard_normal(shape) * 0.3 if shape[1:] else np.ones(shape)
        written.add_tensor(f"{name}.weight", weights.astype(np.float32))

    tensor("token_embd", len(names), HIDDEN)
    tensor("output_norm", HIDDEN)
    tensor("output", len(names), HIDDEN)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            tensor(f"blk.{layer}.{name}", HIDDEN)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{layer}.{name}", HIDDEN, HIDDEN)
        tensor(f"blk.{layer}.ffn_gate", MLP, HIDDEN)
        tensor(f"blk.{layer}.ffn_up", MLP, HIDDEN)
        tensor(f"blk.{layer}.ffn_down", HIDDEN, MLP)
    written.write_header_to_file()
    written.write_kv_data_to_file()
    written.write_tensors_to_file()
    written.close()
    return path
