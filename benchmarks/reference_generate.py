"""What sampling is measured against: plain batched `model.generate`, as a person writes it after reading its documentation.

    python -m benchmarks.reference_generate spec.json

The spec is JSON: `{"model": folder, "prompts": […], "max_tokens": 40, "batch": 256, "threads": 1}`, and to sample also
`temperature` and `samples` (texts a prompt; `batch` counts prompts). Prints one JSON line with the texts, their tokens with
the one that ended them, and the seconds; loading the model and a first small batch are left out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """The texts of all prompts, in their order, `samples` of each in a row."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32).eval()
    how: dict[str, Any] = {"do_sample": False}
    if temperature := spec.get("temperature", 0):
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0,
               "num_return_sequences": spec["samples"]}  # fmt: skip
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])

    def answer(prompts: list[str], most: int) -> list[list[int]]:
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            written = model.generate(**batch, max_new_tokens=most, **how)
        return [_ended(row, ends) for row in written[:, batch["input_ids"].shape[1] :].tolist()]

    answer(spec["prompts"][:2], 4)
    began = time.perf_counter()
    rows: list[list[int]] = []
    for start in range(0, len(spec["prompts"]), spec["batch"]):
        rows += answer(spec["prompts"][start : start + spec["batch"]], spec["max_tokens"])
    seconds = time.perf_counter() - began
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return {"seconds": seconds, "texts": [text.strip() for text in texts], "tokens": rows}


def _ended(row: list[int], ends: set[int]) -> list[int]:
    """The row up to its end, without the padding after it."""
    end = next((place for place, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: end + 1]


if __name__ == "__main__":
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
