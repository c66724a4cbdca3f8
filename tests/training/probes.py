"""What the training tests look at inside a child, where torch and transformers are already imported."""

import json
import shutil
from pathlib import Path
from typing import Any


def refusals(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """For each case (rows of [prompt, completion], recipe settings, optional eos) the sentence that refuses it, or its token rows."""
    from storage.errors import TrainingFault
    from tasks.training.embedded import Architecture, make_tokenizer
    from tasks.training.preflight import tokenise
    from tasks.training.recipe import Recipe
    from tasks.training.rows import Row

    answers = []
    for case in cases:
        tokenizer = make_tokenizer(Architecture())
        if case.get("without_eos"):
            tokenizer.eos_token = None
        rows = [
            Row(index, f"{index:032x}", prompt, completion) for index, (prompt, completion) in enumerate(case["rows"])
        ]
        try:
            tokens = tokenise(rows, tokenizer, Recipe.of({"steps": 1, **case.get("recipe", {})}))
            answers.append([[row.input_ids, row.labels, row.trained_tokens] for row in tokens])
        except TrainingFault as fault:
            answers.append(str(fault))
    return {"answers": answers}


def embedded(folder: str) -> dict[str, Any]:
    """Two embedded models of one seed and one of another: digests, encodings, and what a text-generation pipeline says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from tasks.training.digests import file_digests
    from tasks.training.embedded import Architecture, initialise

    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        initialise(Path(folder) / name, seed, Architecture())
    first = Path(folder) / "first"
    tokenizer = AutoTokenizer.from_pretrained(first)
    model = AutoModelForCausalLM.from_pretrained(first)
    text = "001207?00628+00579=897127016521000A001207"
    return {
        "digests": [file_digests(Path(folder) / name) for name in ("first", "again", "other")],
        "ids": tokenizer.encode(text),
        "decoded": tokenizer.decode(tokenizer.encode(text)),
        "with_newline": tokenizer.decode(tokenizer.encode(text + "\n"), skip_special_tokens=True),
        "text": text,
        "eos": tokenizer.eos_token_id,
        "newline": tokenizer.encode("\n"),
        "parameters": model.num_parameters(),
        "said": pipeline("text-generation", model=model, tokenizer=tokenizer)("1+1=", return_full_text=False)[0],
        "twice": json.loads((first / "tokenizer_config.json").read_text())["padding_side"],
    }


def adapter(base: str, folder: str) -> dict[str, Any]:
    """The adapter put on its base by peft: does it change what the model says, and are its tensors all LoRA's?"""
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)("0012+0034=", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(base)(ids).logits
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)(ids).logits
    return {
        "changed": float((plain - adapted).abs().max()),
        "tensors": sorted(load_file(Path(folder) / "adapter_model.safetensors")),
    }


def dtype(folder: str) -> dict[str, Any]:
    """How the weights lie in the file and what `auto` makes of them."""
    from transformers import AutoModelForCausalLM

    return {"dtype": str(AutoModelForCausalLM.from_pretrained(folder).dtype)}


def reshard(folder: str, other: str) -> dict[str, str]:
    """The digest of a model's weights, and of the same saved in several files; and with one value changed."""
    import torch
    from transformers import AutoModelForCausalLM

    from storage.weights import weights_digest

    model = AutoModelForCausalLM.from_pretrained(folder)
    shutil.copytree(folder, other)
    (Path(other) / "model.safetensors").unlink()
    model.save_pretrained(other, max_shard_size="20KB")
    answer = {
        "files": str(len(list(Path(other).glob("*.safetensors")))),
        "one": weights_digest(folder),
        "many": weights_digest(other),
    }
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    model.save_pretrained(Path(other) / "changed")
    return answer | {"changed": weights_digest(Path(other) / "changed")}


def plain_losses(spec_path: str) -> dict[str, Any]:
    """Every step's loss of an unchanged SFTTrainer on the rows of a spec, in the order ours takes them."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from benchmarks.reference_sft import _prepare
    from tasks.training.spec import TrainingSpec

    spec = TrainingSpec.read(spec_path)
    recipe = spec.recipe
    folder = Path(spec_path).parent.parent / "plain"
    model, tokenizer, rows = _prepare(spec, folder)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder), max_steps=recipe.steps, per_device_train_batch_size=recipe.batch_size, bf16=False,
            learning_rate=recipe.learning_rate, warmup_steps=recipe.warmup_steps, activation_checkpointing=False,
            completion_only_loss=True, train_sampling_strategy="sequential", logging_steps=1, report_to="none",
            save_strategy="no", disable_tqdm=True, seed=spec.seed,
        ),
        train_dataset=Dataset.from_dict({
            "input_ids": [row.input_ids for row in rows],
            "completion_mask": [[int(place >= row.prompt_tokens) for place in range(len(row.input_ids))] for row in rows],
        }),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    return {"losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]}


def stored(adapter: str, base: str) -> dict[str, Any]:
    """How an adapter's weights lie in the file, and how many parameters its base has."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    weights = load_file(Path(adapter) / "adapter_model.safetensors")
    return {
        "adapter_dtypes": sorted({str(weight.dtype) for weight in weights.values()}),
        "base_parameters": AutoModelForCausalLM.from_pretrained(base).num_parameters(),
    }


def digest_of(folder: str) -> dict[str, str]:
    """The digest of a folder's weights."""
    from storage.weights import weights_digest

    return {"digest": weights_digest(folder)}


def chats(template: str, other: str) -> dict[str, Any]:
    """What the preflight says of rows in a chat: of sound ones, of one that was tampered with, and of another template."""
    from storage.errors import TrainingFault
    from tasks.training.embedded import Architecture, make_tokenizer
    from tasks.training.preflight import tokenise
    from tasks.training.recipe import Recipe
    from tasks.training.rows import Row

    tokenizer = make_tokenizer(Architecture(alphabet="0123456789+=[]ua \n"))
    tokenizer.chat_template = template
    before, mark, after = "[u]\u2063[a]".partition("\u2063")

    def said(prompt: str, chat: str | None = template) -> Any:
        rows = [Row(0, "0" * 32, f"{before}1+1={after}", "2"), Row(1, "1" * 32, prompt, "3")]
        try:
            return [row.input_ids for row in tokenise(rows, tokenizer, Recipe(steps=1), chat)]
        except TrainingFault as fault:
            return str(fault)

    del mark
    answers = {
        "sound": said(f"{before}1+2={after}"),
        "bare": said("1+2="),
        "cut": said(f"{before}1+2="),
        "empty": said(f"{before}{after}"),
        "spaced": said(f"{before} 1+2= {after}"),
        "other": said(f"{before}1+2={after}", other),
    }
    tokenizer.chat_template = None
    return {**answers, "none": said(f"{before}1+2={after}"), "off": said("1+2=", None)}


def plain_preference_losses(spec_path: str) -> dict[str, Any]:
    """Every step's loss of an unchanged DPOTrainer on the pairs of a spec, in the order ours takes them."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from tasks.training.base import open_base
    from tasks.training.order import lay_out
    from tasks.training.pairs import read_pairs
    from tasks.training.spec import TrainingSpec

    spec = TrainingSpec.read(spec_path)
    recipe = spec.recipe
    folder = Path(spec_path).parent / "plain"
    tokenizer, model = open_base(Path(str(spec.base)), recipe)
    pairs = read_pairs(spec.examples, spec.members)
    order = lay_out(len(pairs), recipe.steps * recipe.batch_size, spec.seed)
    trainer = DPOTrainer(
        model=model,
        ref_model=open_base(Path(str(spec.base)), recipe)[1],
        args=DPOConfig(
            output_dir=str(folder), max_steps=recipe.steps, per_device_train_batch_size=recipe.batch_size, bf16=False,
            learning_rate=recipe.learning_rate, warmup_steps=recipe.warmup_steps, gradient_checkpointing=False,
            beta=recipe.dpo_beta, loss_type=["sigmoid", "sft"], loss_weights=[1.0, recipe.nll_weight],
            lr_scheduler_type=recipe.schedule, train_sampling_strategy="sequential", logging_steps=1, report_to="none", save_strategy="no",
            disable_tqdm=True, seed=spec.seed, max_length=None,
        ),
        train_dataset=Dataset.from_list([
            {"prompt": one.chosen.prompt, "chosen": one.chosen.completion, "rejected": one.rejected.completion}
            for one in (pairs[place] for place in order)
        ]),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    return {"losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]}
