import shutil
from pathlib import Path

import pytest

from storage.errors import EngineFault, UserMistake
from storage.identity import digest
from storage.weights import weights_digest
from tasks.engines.loading import check_loaded
from tasks.engines.protocol import Request, Sampling
from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine

pytestmark = pytest.mark.slow


def test_it_reports_its_precision_and_the_digest_of_the_weights_it_loaded(
    model_folder: Path, engine: TransformersEngine
):
    assert engine.name == "transformers float32"
    assert engine.weights_digest == weights_digest(model_folder)
    assert open_engine("transformers:dtype=bfloat16", model_folder).name == "transformers bfloat16"


def test_loaded_weights_that_differ_from_the_file_are_a_fault(model_folder: Path):
    import torch

    engine = open_engine("transformers", model_folder)
    assert isinstance(engine, TransformersEngine)
    with torch.no_grad():
        engine._model.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    with pytest.raises(EngineFault, match="up_proj"):
        check_loaded(model_folder, engine._model)


def test_nothing_of_generation_config_applies(model_folder: Path, engine: TransformersEngine, tmp_path: Path):
    from transformers import GenerationConfig

    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    GenerationConfig(
        do_sample=True, temperature=3.0, top_k=1, repetition_penalty=9.0, max_new_tokens=2
    ).save_pretrained(folder)
    requests = [Request(digest(number), f"0000{number}+00001=") for number in range(9)]
    sampling = Sampling(1.0, 20)
    theirs = {
        response.request_id: response.text
        for response in open_engine("transformers", folder).generate(requests, sampling)
    }
    ours = {response.request_id: response.text for response in engine.generate(requests, sampling)}
    assert theirs == ours


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("transformers:presicion=high", "presicion.*attention, device, dtype, quantization, rows"),
        ("transformers:dtype=int3", "int3.*bfloat16"),
        ("transformers:device=warp", "warp.*this machine has: cpu"),
        ("transformers:device=cuda:99", "cuda:99.*this machine has: cpu"),
        ("transformers:device=meta", "meta.*this machine has: cpu"),
        ("transformers:rows=many", "many"),
        ("vllmm", "vllmm.*scripted, transformers"),
    ],
)
def test_a_ref_that_does_not_fit_names_what_does(ref: str, says: str, model_folder: Path):
    with pytest.raises(UserMistake, match=says):
        open_engine(ref, model_folder)


def test_a_folder_without_a_model_is_a_mistake(tmp_path: Path):
    with pytest.raises(UserMistake, match=r"config\.json"):
        open_engine("transformers", tmp_path)
    with pytest.raises(UserMistake, match="needs a model"):
        open_engine("transformers")


def test_a_checkpoint_that_lacks_weights_is_refused(model_folder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserMistake, match=r"lacks weights.*up_proj"):
        open_engine("transformers", folder)


def test_a_prompt_that_never_fits_is_final(engine: TransformersEngine):
    """Too long, empty, or with a character that is no token: no other try would change it."""
    unfit = ["1" * 200, "", "1+1=z"]
    requests = [Request(f"{place:032x}", prompt) for place, prompt in enumerate([*unfit, "1+1="])]
    found = {response.request_id: response for response in engine.generate(requests, Sampling(0.0, 4))}
    assert [found[request.request_id].final for request in requests] == [True, True, True, False]
    assert all(found[request.request_id].decided for request in requests)
