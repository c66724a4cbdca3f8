"""Aliases of registered models in MLflow: who holds one, moving it, and whether what a version holds answers as recorded.

    processes.call("tasks.tracking_aliases:versions", home, "addition-star")    # {"versions": {"3": "9b1c…"}, "aliases": {"champion": 3}}
    processes.call("tasks.tracking_aliases:move", home, "addition-star", "champion", 3, tags)

Each function is for a child process: MLflow keeps a database that it opened open. All raise ServerFault where MLflow does not
answer, and UserMistake for what is not there.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from storage.errors import ServerFault, StarloopError, UserMistake
from storage.faults import reached
from storage.identity import show
from tasks.outbox import Outbox
from tasks.tracking import CHECKPOINT_TAG, Teller, deliver, quietly
from tasks.tracking_messages import Registration
from tasks.tracking_server import HOME, address, answers, destination, follow

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROMOTION_TAG = "starloop.promotion_id"
"""The tag of a version that an alias was given to by a promotion."""


def versions(home: str, model_name: str) -> dict[str, Any]:
    """A model's versions, each with its checkpoint (None: starloop did not make it), its aliases, and the promoted ones."""
    with _opened(Path(home)) as client:
        found = client.search_registered_models(f"name = '{model_name}'")
        held = client.search_model_versions(f"name = '{model_name}'") if found else []
        return {
            "versions": {str(one.version): one.tags.get(CHECKPOINT_TAG) for one in held},
            "aliases": {alias: int(version) for one in found for alias, version in one.aliases.items()},
            "promoted": [int(one.version) for one in held if PROMOTION_TAG in one.tags],
        }


def register(home: str, model_name: str, checkpoint_id: str) -> dict[str, Any]:
    """The version that a checkpoint is, made again if a person deleted it or the run it belongs to."""
    root = Path(home)
    with _opened(root):  # a server that does not answer is said before anything else
        pass
    delivery = deliver(root)
    with _opened(root) as client:
        wanted = f"name = '{model_name}' and tags.`{CHECKPOINT_TAG}` = '{checkpoint_id}'"
        known = client.search_model_versions(wanted)
        if known:
            return {"version": max(int(one.version) for one in known), "again": False}
        to = destination(root)
        outbox = Outbox(root)
        for name in reversed(outbox.names()):
            message = outbox.read(name) if f"-{Registration.KIND}-" in name else None
            if isinstance(message, Registration) and (message.model_name, message.checkpoint_id) == (
                model_name,
                checkpoint_id,
            ):
                made = Teller(outbox, to, address(root)).registration(name, replace(message, alias=None))
                return {"version": made["version"], "again": True}
    why = delivery.warnings[0] if delivery.warnings else "no run of this home registered it"
    raise UserMistake(f"{show('ckp', checkpoint_id)[:16]} is no version of {model_name} in MLflow ({why})")


def move(home: str, model_name: str, alias: str, version: int | None, tags: Mapping[str, str]) -> dict[str, Any]:
    """Give the alias to a version that carries `tags` from then on, or with None take it away. Doing it again changes nothing."""
    with _opened(Path(home)) as client:
        if version is None:
            client.delete_registered_model_alias(model_name, alias)
            return {}
        for key, value in tags.items():
            client.set_model_version_tag(model_name, str(version), key, value)
        reached("promotion-after-tags")
        client.set_registered_model_alias(model_name, alias, str(version))
        return {}


def drop(home: str, checkpoints: Sequence[str]) -> dict[str, Any]:
    """Remove the versions that these checkpoints are, with their files, where no alias points to them; of the home's own store alone."""
    root, wanted, versions, size = Path(home), set(checkpoints), 0, 0
    if destination(root) != HOME or not (root / "mlflow.db").is_file():
        return {"versions": 0, "bytes": 0}
    with _opened(root) as client:
        for one in client.search_model_versions(f"tags.`{CHECKPOINT_TAG}` != ''"):
            if one.tags.get(CHECKPOINT_TAG) not in wanted or client.get_model_version(one.name, one.version).aliases:
                continue
            model = client.get_logged_model(one.model_id) if one.model_id else None
            client.delete_model_version(one.name, str(one.version))
            versions += 1
            if model is not None:
                client.delete_logged_model(model.model_id)
                size += _removed(root, str(model.artifact_location))
    return {"versions": versions, "bytes": size}


def _removed(root: Path, location: str) -> int:
    """Remove a logged model's files below the home, and say how many bytes came free."""
    place = Path(unquote(urlsplit(location).path))
    if not place.is_relative_to(root.resolve() / "mlartifacts") or not place.is_dir():
        return 0
    freed = sum(file.stat().st_size for file in place.rglob("*") if file.is_file() and file.stat().st_nlink == 1)
    shutil.rmtree(place)
    return freed


def files(home: str, model_name: str, version: int) -> dict[str, Any]:
    """Where a version's files are on this machine, fetched if need be: `folder` holds a whole model, or with `base` an adapter."""
    with _opened(Path(home)):
        import mlflow
        from mlflow.artifacts import download_artifacts
        from mlflow.models import Model

        mlflow.set_tracking_uri(address(Path(home)))
        place = Path(download_artifacts(f"models:/{model_name}/{version}"))
        if not (place / "MLmodel").is_file():
            raise UserMistake(
                f"{model_name} version {version} has no MLmodel file in MLflow, so it is not known how to serve it"
            )
        flavor = Model.load(str(place)).flavors.get("transformers", {})
        if "peft_adaptor" in flavor:
            return {"folder": str(place / flavor["peft_adaptor"]), "base": flavor["local_base_model_path"]}
        return {"folder": str(place / flavor.get("model_binary", "model")), "base": None}


def reproduce(home: str, model_name: str, version: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a version says, loaded as anybody loads it, greedily; `fault` instead where it cannot be loaded.

    `asked`: `prompts`; `max_tokens`, `stop`; `dtype` that its numbers are brought to (None: as loaded); `chat`: whether a prompt is
    a user's turn. Special tokens are kept in the text, as the ledger keeps them.
    """
    with _opened(Path(home)):
        import mlflow
        import torch
        from mlflow.transformers import load_model

        mlflow.set_tracking_uri(address(Path(home)))
        try:
            pipeline: Any = load_model(f"models:/{model_name}/{version}", device=_device(torch))
            model = pipeline.model.eval()
            if asked["dtype"] is not None:
                model = model.to(getattr(torch, asked["dtype"]))
            texts = [_greedy(model, pipeline.tokenizer, prompt, asked) for prompt in asked["prompts"]]
        except Exception as error:  # noqa: BLE001 - whatever a model that does not load raises is the gate's finding
            return {
                "fault": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
            }
        return {"texts": texts}


def _device(torch: Any) -> Any:
    return 0 if torch.cuda.is_available() else "cpu"


def _greedy(model: Any, tokenizer: Any, prompt: str, asked: Mapping[str, Any]) -> str:
    """The likeliest token again and again, and nothing that a generation configuration asks for besides."""
    import torch

    if asked["chat"]:
        turn = [{"role": "user", "content": prompt}]
        prompt = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]], device=model.device)
    ends, written, cache = _end_tokens(model, tokenizer), list[int](), None
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 40
    room = min(asked["max_tokens"], context - ids.shape[1])
    with torch.no_grad():
        while len(written) < room:
            out = model(input_ids=ids if cache is None else ids[:, -1:], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            token = int(out.logits[0, -1].argmax())
            if token in ends:
                break
            written.append(token)
            ids = torch.cat([ids, torch.tensor([[token]], device=ids.device)], dim=1)
            text = _cut(
                tokenizer.decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False), asked["stop"]
            )
            if text is not None:
                return text
    return tokenizer.decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _cut(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first stop string; None where there is none."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else None


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    said = (tokenizer.eos_token_id, model.config.get_text_config().eos_token_id, model.generation_config.eos_token_id)
    return {token for one in said for token in ([one] if isinstance(one, int) else one or [])}


@contextlib.contextmanager
def _opened(root: Path) -> Iterator["MlflowClient"]:
    """MLflow, answering; whatever it raises comes out as one sentence."""
    to, uri = destination(root), address(root)
    if not answers(uri):
        raise ServerFault(
            f"MLflow at {to} does not answer, so nothing was decided; start it, or check MLFLOW_TRACKING_URI"
        )
    with quietly(root):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if to == HOME:
            follow(root)
        try:
            yield MlflowClient(uri)
        except StarloopError:
            raise
        except MlflowException as fault:
            said = str(fault).strip().partition("\n")[0].rstrip(".")
            if not answers(uri):
                raise ServerFault(f"MLflow at {to} stopped answering ({said}); run the same command again") from fault
            kind = UserMistake if fault.error_code == "RESOURCE_DOES_NOT_EXIST" else ServerFault
            raise kind(f"MLflow at {to} would not do it: {said}") from fault
