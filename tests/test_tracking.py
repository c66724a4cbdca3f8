"""MLflow through the outbox: a real sqlite store in a temporary home, a real server on loopback."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.errors import UserMistake
from tasks.outbox import put, results
from tasks.tracking import deliver, run
from tasks.tracking_messages import DatasetUse, Finish, Iteration, Loop, Message, Registration
from tasks.tracking_server import HOME, destination

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
"""Emitted by MLflow's own database models."""

REPOSITORY = Path(__file__).resolve().parents[1]
BEGAN = datetime(2026, 3, 1, 10, tzinfo=UTC)
MIX = "ab" * 16
COUNTED = (
    "runs",
    "metrics",
    "params",
    "logged_models",
    "model_versions",
    "registered_model_aliases",
    "inputs",
    "datasets",
)


def minutes(count: int) -> datetime:
    return BEGAN + timedelta(minutes=count)


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def a_loop(**changes: object) -> Loop:
    params = {"samples": 8, "prompt": "p" * 2000, "unset": None}
    return replace(
        Loop("loop1", "star addition", "starloop", "star", "quick", BEGAN, params, {"prefect": "f1"}), **changes
    )


def an_iteration(number: int, **changes: object) -> Iteration:
    metrics = {"held_out_accuracy": 0.5 + number / 10, "undecided_share": None, "ratio": float("nan")}
    uses = (DatasetUse("addition", MIX, 5000),)
    return replace(
        Iteration("loop1", f"it{number}", number, minutes(number), minutes(number - 1), {"rows": 5000}, metrics, uses),
        **changes,
    )


def a_registration(home: Path, number: int, **changes: object) -> Registration:
    folder = home / "checkpoints" / f"ckp{number}"
    evidence = {"held_out_accuracy": 0.6}
    made = Registration(
        "loop1",
        f"it{number}",
        number,
        f"ckp{number}",
        folder,
        "addition",
        minutes(number),
        minutes(number - 1),
        evidence=evidence,
    )
    return replace(made, **changes)


def a_story(home: Path) -> list[Message]:
    """A loop of two iterations with a checkpoint each, registered before its iteration is told, as a flow does."""
    story: list[Message] = [a_loop()]
    for number in (1, 2):
        story += [a_registration(home, number), an_iteration(number)]
    return [*story, Finish("loop1", "completed", minutes(60), 2, {"test_accuracy": 0.9})]


def tell(home: Path, *messages: Message) -> None:
    for message in messages:
        put(home, message)
    outcome = deliver(home)
    assert (outcome.warnings, outcome.waiting) == ((), 0)


def telling(home: Path) -> subprocess.Popen[bytes]:
    """A process of its own that delivers, as a flow has one."""
    spec = home / "spec.json"
    spec.write_text(json.dumps({"home": str(home)}))
    code = "import sys; from tasks.tracking import run; run(sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", code, str(spec)], cwd=REPOSITORY)


def rows(home: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(sql).fetchall()


def counts(home: Path) -> dict[str, int]:
    return {table: rows(home, f"select count(*) from {table}")[0][0] for table in COUNTED}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without anything in it; making one takes seconds, copying it does not."""
    home = tmp_path_factory.mktemp("store")
    tell(home, Loop("none", "none", "none", "star", "quick", BEGAN))
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        for table in ("params", "tags", "runs", "experiments"):
            database.execute(f"delete from {table} where {'1' if table != 'experiments' else 'experiment_id != 0'}")
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, empty_store: Path) -> Path:
    """A home with an empty store, and two checkpoint folders that look like ones."""
    root = tmp_path / "home"
    root.mkdir()
    shutil.copyfile(empty_store, root / "mlflow.db")
    for name in ("ckp1", "ckp2"):
        folder = root / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
        (folder / "tokenizer_config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(name.encode() * 1000)
        (folder / "optimizer.pt").write_bytes(b"never registered")
    return root


def test_the_same_news_is_put_once_whatever_its_times(tmp_path: Path) -> None:
    assert put(tmp_path, a_loop())
    assert not put(tmp_path, a_loop(started_at=minutes(9)))
    assert put(tmp_path, a_loop(params={"samples": 16}))
    assert put(tmp_path, a_loop())
    assert len(list((tmp_path / "outbox").glob("*.json"))) == 3


def test_a_delivery_with_nothing_to_tell_costs_nothing_and_leaves_mlflow_alone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tasks.tracking import deliver\n"
        "began = time.perf_counter(); outcome = deliver(Path(sys.argv[1])); took = time.perf_counter() - began\n"
        "assert 'mlflow' not in sys.modules and outcome.delivered == 0 and took < 0.05, took"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=REPOSITORY)
    assert list(tmp_path.iterdir()) == []


def test_a_model_name_that_mlflow_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot name a model"):
        a_registration(tmp_path, 1, model_name="org/model")
    with pytest.raises(UserMistake, match="adapter with base_folder"):
        a_registration(tmp_path, 1, kind="adapter")


def test_passwords_in_an_address_are_written_nowhere(tmp_path: Path) -> None:
    uri = "http://someone:secret@127.0.0.1:9"
    put(tmp_path, a_loop(), uri)
    outcome = deliver(tmp_path, uri)
    assert outcome.waiting == 1
    assert "secret" not in outcome.warnings[0]
    assert not any("secret" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_the_homes_own_address_is_the_home(tmp_path: Path) -> None:
    assert destination(tmp_path, f"sqlite:///{tmp_path.resolve()}/mlflow.db") == HOME == destination(tmp_path)


def test_a_loop_becomes_a_parent_run_with_a_child_an_iteration_and_its_own_times(home: Path) -> None:
    tell(home, *a_story(home))
    runs = rows(home, "select run_uuid, name, status, start_time, end_time from runs order by start_time, name desc")
    made = results(home)
    assert [tuple(run[1:]) for run in runs] == [
        ("star addition", "FINISHED", milliseconds(BEGAN), milliseconds(minutes(60))),
        ("iteration 1", "FINISHED", milliseconds(BEGAN), milliseconds(minutes(1))),
        ("iteration 2", "FINISHED", milliseconds(minutes(1)), milliseconds(minutes(2))),
    ]
    assert made.runs == dict(zip(("loop1", "it1", "it2"), (run[0] for run in runs), strict=True))
    points = rows(
        home,
        f"select key, value, step, timestamp from metrics where run_uuid = '{made.runs['loop1']}' order by timestamp",
    )
    assert points == [
        ("held_out_accuracy", 0.6, 1, milliseconds(minutes(1))),
        ("held_out_accuracy", 0.7, 2, milliseconds(minutes(2))),
        ("test_accuracy", 0.9, 2, milliseconds(minutes(60))),
    ]
    tags = dict(rows(home, f"select key, value from tags where run_uuid = '{made.runs['it2']}'"))
    assert tags["mlflow.parentRunId"] == made.runs["loop1"]
    assert rows(home, "select name, digest from datasets") == [("addition", MIX)]
    params = dict(rows(home, f"select key, value from params where run_uuid = '{made.runs['loop1']}'"))
    assert params.keys() == {"method", "preset", "samples", "prompt"}
    assert params["prompt"].endswith("(2000 characters)")
    assert (made.version("ckp1"), made.version("ckp2", "addition"), made.version("ckp3")) == (1, 2, None)
    assert rows(home, "select alias, version from registered_model_aliases") == [("candidate", 2)]
    assert not list(home.rglob("mlartifacts/**/*.pt"))


def test_a_story_told_again_leaves_everything_there_once(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tell(home, *a_story(home))
    first, told = counts(home), results(home)
    shutil.rmtree(home / "outbox" / "delivered")
    outcome = deliver(home)
    assert (outcome.delivered, outcome.warnings) == (6, ())
    assert (counts(home), results(home)) == (first, told)
    assert not any(put(home, message) for message in a_story(home))
    assert deliver(home).delivered == 0
    assert capfd.readouterr() == ("", "")


def test_a_loop_that_goes_on_after_its_end_runs_again(home: Path) -> None:
    tell(home, a_loop(), an_iteration(1), Finish("loop1", "failed", minutes(5)))
    assert rows(home, "select status from runs where name = 'star addition'") == [("FAILED",)]
    tell(home, a_loop(params={"samples": 16}), an_iteration(2, at=minutes(9)))
    assert rows(home, "select status from runs where name = 'star addition'") == [("RUNNING",)]
    assert rows(home, "select value from tags where key = 'now.samples'") == [("16",)]


def test_a_registration_told_late_does_not_take_the_alias_back(home: Path) -> None:
    hidden = (home / "checkpoints" / "ckp1").rename(home / "hidden")
    for message in (a_loop(), a_registration(home, 1), a_registration(home, 2)):
        put(home, message)
    outcome = deliver(home)
    assert (outcome.delivered, outcome.waiting) == (2, 1)
    assert "ckp1 has no config.json" in outcome.warnings[0]
    hidden.rename(home / "checkpoints" / "ckp1")
    tell(home)
    assert results(home).versions == {("addition", "ckp2"): 1, ("addition", "ckp1"): 2}
    assert rows(home, "select alias, version from registered_model_aliases") == [("candidate", 1)]


def test_a_damaged_message_and_a_deleted_run_stop_nothing_else(home: Path) -> None:
    tell(home, a_loop(), an_iteration(1))
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("update runs set lifecycle_stage = 'deleted'")
    put(home, an_iteration(2))
    damaged = max((home / "outbox").glob("*.json"))
    damaged.write_text('{"kind": ')
    put(home, an_iteration(3))
    outcome = deliver(home)
    assert (outcome.delivered, outcome.waiting) == (1, 1)
    assert damaged.name in outcome.warnings[0]
    assert rows(home, "select name from runs where lifecycle_stage = 'active' order by name") == [
        ("iteration 3",),
        ("star addition",),
    ]


@pytest.mark.slow
def test_a_store_that_was_deleted_is_told_everything_again(home: Path) -> None:
    tell(home, a_loop(), an_iteration(1))
    before = counts(home)
    (home / "mlflow.db").unlink()
    assert telling(home).wait() == 0
    assert counts(home) == before


@pytest.mark.slow
@pytest.mark.parametrize("table", ["logged_models", "model_versions"])
def test_a_kill_between_creation_and_record_leaves_no_duplicate(home: Path, table: str) -> None:
    for message in a_story(home):
        put(home, message)
    child = telling(home)
    while child.poll() is None and not rows(home, f"select 1 from {table}"):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    tell(home)
    assert {key: count for key, count in counts(home).items() if key != "params"} == {
        "runs": 3,
        "metrics": 5,
        "logged_models": 2,
        "model_versions": 2,
        "registered_model_aliases": 1,
        "inputs": 4,
        "datasets": 1,
    }
    assert rows(home, "select distinct status from logged_models") == [(2,)]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer Llama with a character tokenizer that has learned sums of digits below 4, as a Hugging Face folder."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {symbol: index for index, symbol in enumerate(["<pad>", "<eos>", *"0123456789+="])}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            **sizes,
            max_position_embeddings=64,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )
    sums = [f"{a}+{b}={a + b}<eos>" for a in range(4) for b in range(4)]
    rows = torch.tensor([[vocabulary[symbol] for symbol in line.removesuffix("<eos>")] + [1] for line in sums])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(150):
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    model.generation_config.max_new_tokens = 8
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def answer(home: Path, model_uri: str, question: str) -> str:
    """What the registered model says, as a person would ask it."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(f"sqlite:///{home.resolve()}/mlflow.db")
    try:
        return mlflow.transformers.load_model(model_uri)(question)[0]["generated_text"]
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.slow
def test_a_registered_model_opens_and_answers_also_after_its_home_moved(home: Path, checkpoint: Path) -> None:
    registration = a_registration(home, 1)
    shutil.copytree(checkpoint, registration.folder, dirs_exist_ok=True)
    tell(home, a_loop(), registration)
    assert answer(home, "models:/addition@candidate", "2+3=") == "2+3=5"
    elsewhere = home.rename(home.with_name("else where"))
    outcome = deliver(elsewhere)
    assert (outcome.delivered, outcome.warnings) == (0, ())
    assert answer(elsewhere, "models:/addition/1", "3+3=") == "3+3=6"
    tell(elsewhere, an_iteration(1))
    assert str(home.as_uri()) not in json.dumps(rows(elsewhere, "select artifact_uri from runs"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_is_registered_without_its_base(home: Path, checkpoint: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(checkpoint)
    get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(home / "checkpoints" / "lora")
    folders = {"folder": home / "checkpoints" / "lora", "base_folder": checkpoint}
    tell(home, a_loop(), a_registration(home, 1, checkpoint_id="lora", kind="adapter", **folders))
    weights = [path.name for path in home.rglob("mlartifacts/**/*.safetensors")]
    assert weights == ["adapter_model.safetensors"]
    assert answer(home, "models:/addition@candidate", "2+3=") == "2+3=5"


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An address nothing listens at, and how to start an MLflow server there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "artifacts"),
    ]
    quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (tmp_path / "server.log").open("wb") as log:
            started.append(
                subprocess.Popen([*command, *stores], stdout=log, stderr=log, env=quick, start_new_session=True)
            )

    yield f"http://127.0.0.1:{port}", start
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.mark.slow
def test_what_waited_for_an_unreachable_server_is_told_once_with_its_own_time(
    home: Path, tmp_path: Path, server, monkeypatch
) -> None:
    uri, start = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for message in a_story(home):
        put(home, message)
    outcome = deliver(home)
    assert (outcome.delivered, outcome.waiting, len(outcome.warnings)) == (0, 6, 1)
    assert "does not answer" in outcome.warnings[0]
    assert outcome.seconds < 5
    start()
    deadline = time.monotonic() + 150
    while deliver(home).waiting and time.monotonic() < deadline:
        time.sleep(0.2)
    assert results(home).version("ckp2") == 2
    first = counts(tmp_path)
    assert (first["runs"], first["metrics"], first["model_versions"]) == (3, 5, 2)
    ends = rows(tmp_path, "select end_time from runs where name = 'star addition'")
    assert ends == [(milliseconds(minutes(60)),)]
    shutil.rmtree(home / "outbox" / "delivered")
    tell(home)
    assert counts(tmp_path) == first


def test_a_child_process_writes_what_came_of_it(home: Path) -> None:
    put(home, a_loop())
    spec = home / "spec.json"
    spec.write_text(json.dumps({"home": str(home), "result": str(home / "told.json")}))
    outcome = run(spec)
    assert outcome["delivered"] == 1
    assert json.loads((home / "told.json").read_text()) == json.loads(json.dumps(outcome))


def test_a_run_that_reached_its_limit_was_killed_and_not_broken(home: Path) -> None:
    tell(home, a_loop(), Finish("loop1", "stopped", minutes(5)))
    assert rows(home, "select status from runs where name = 'star addition'") == [("KILLED",)]


def test_a_registration_without_an_alias_moves_none(home: Path) -> None:
    tell(home, a_loop(), a_registration(home, 1), a_registration(home, 2, alias=None))
    assert results(home).versions == {("addition", "ckp1"): 1, ("addition", "ckp2"): 2}
    assert rows(home, "select alias, version from registered_model_aliases") == [("candidate", 1)]
