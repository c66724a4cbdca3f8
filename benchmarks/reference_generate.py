"""What sampling is measured against: plain batched `model.generate`, as a person writes it after reading its documentation.

    python -m benchmarks.reference_generate spec.json

The spec is JSON: `{"model": folder, "prompts": […], "max_tokens": 40, "batch": 256, "threads": 1}`. Prints one JSON line with the
texts (greedy), the characters and the seconds; loading the model and a first small batch are left out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Greedy texts of all prompts, in their order."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(spec["threads"])
    tokenizer: Any = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32).eval()

    def answer(prompts: list[str]) -> list[str]:
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            written = model.generate(**batch, max_new_tokens=spec["max_tokens"], do_sample=spec["sample"])
        return tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)

    answer(spec["prompts"][:8])
    began = time.perf_counter()
    texts: list[str] = []
    for start in range(0, len(spec["prompts"]), spec["batch"]):
        texts += answer(spec["prompts"][start : start + spec["batch"]])
    return {"seconds": time.perf_counter() - began, "texts": [text.strip() for text in texts]}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
