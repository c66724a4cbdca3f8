"""A checkpoint laid out as the folder that `mlflow.transformers.load_model` opens, without loading or copying weights.

    model/                  config, weights, generation config       (a full checkpoint)
    peft/                   adapter config and weights               (an adapter; its base stays where it is)
    components/tokenizer/   everything but weights
    requirements.txt  conda.yaml  python_env.yaml

Files are hard links where the file system has them. `mlflow.transformers.save_model` cannot be used: with
transformers 5 it fails on a local folder, and given a loaded model it writes the weights anew, an adapter's base with them.
Only safetensors are taken; code beside a model is left behind. Not covered: anything but causal language models.
"""

import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path

from storage.errors import StorageFault

TASK = "text-generation"

TEXT = frozenset({".json", ".jinja", ".txt", ".model", ".tiktoken"})
WEIGHTS = frozenset({".safetensors"})

REQUIREMENTS = ("mlflow", "transformers", "torch", "accelerate", "safetensors")
"""What loading needs, at the versions installed here; an adapter also needs peft."""


def flavor(checkpoint_id: str, base_folder: Path | None) -> dict[str, object]:
    """The entry `transformers` of the MLmodel file. The classes are the automatic ones, so custom code is never run."""
    source = {"model_binary": "model"} if base_folder is None else {
        "local_base_model_path": str(base_folder.resolve()), "peft_adaptor": "peft"
    }  # fmt: skip
    return {
        "task": TASK,
        "instance_type": "TextGenerationPipeline",
        "source_model_name": checkpoint_id,
        "pipeline_model_type": "AutoModelForCausalLM",
        "components": ["tokenizer"],
        "tokenizer_type": "AutoTokenizer",
        "transformers_version": importlib.metadata.version("transformers"),
        "code": None,
        **source,
    }


def lay_out(checkpoint: Path, target: Path, base_folder: Path | None) -> int:
    """Make `target` the model folder of a checkpoint, all but its MLmodel file; returns its size in bytes.

    Raises StorageFault when the checkpoint, or an adapter's base, is not there.
    """
    marker = "config.json" if base_folder is None else "adapter_config.json"
    if not (checkpoint / marker).is_file():
        raise StorageFault(
            f"{checkpoint} has no {marker}, so it cannot be registered; it may have been removed by retention"
        )
    if base_folder is not None and not (base_folder / "config.json").is_file():
        raise StorageFault(f"{base_folder} has no config.json, but the adapter {checkpoint.name} needs it as its base")
    files = [path for path in sorted(checkpoint.iterdir()) if path.is_file()]
    weights = "model" if base_folder is None else "peft"
    size = _link([path for path in files if path.suffix in TEXT | WEIGHTS], target / weights)
    if not any(path.suffix in WEIGHTS for path in files):
        raise StorageFault(
            f"{checkpoint} holds no safetensors, the only weights that are registered; save it as safetensors"
        )
    own = base_folder is None or (checkpoint / "tokenizer_config.json").is_file()
    origin = checkpoint if own else base_folder or checkpoint
    described = [path for path in sorted(origin.iterdir()) if path.is_file() and path.suffix in TEXT]
    size += _link(described, target / "components" / "tokenizer")
    _environment(target, (*REQUIREMENTS, "peft") if base_folder else REQUIREMENTS)
    return size


def _environment(target: Path, packages: tuple[str, ...]) -> None:
    """The three files that serving a model reads; JSON is YAML too."""
    pins = [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in packages]
    python = platform.python_version()
    (target / "requirements.txt").write_text("\n".join(pins) + "\n")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pins}],
    }
    (target / "conda.yaml").write_text(json.dumps(conda, indent=1))
    venv = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    (target / "python_env.yaml").write_text(json.dumps(venv, indent=1))


def _link(files: list[Path], folder: Path) -> int:
    folder.mkdir(parents=True)
    for path in files:
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)
    return sum(path.stat().st_size for path in files)
