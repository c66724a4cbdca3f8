"""The commands of docs/promotion.md, one after another on a real run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from flows.cli.main import call
from storage.home import Home
from storage.lineage import Lineage
from storage.promotions import promotions

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "promotion.md"
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("starloop serve-model")  # see test_serving.py
]


def test_the_page_holds_from_the_first_command_to_the_last(
    small_run, tmp_path, prefect_server, warm, monkeypatch, capsys
):
    home = Home(shutil.copytree(small_run[0], tmp_path / ".starloop"))
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "STARLOOP_HOME": str(home.root),
        "STARLOOP_WARM": warm,
        "PREFECT_API_URL": prefect_server,
    }.items():
        monkeypatch.setenv(name, value)
    assert [words[0] for words in COMMANDS] == ["promote"] * 3 + ["rollback", "gc", "gc", "release"]
    codes = []
    for words in COMMANDS:
        if words[0] == "rollback":  # which needs one before: the first iteration's checkpoint under the forced one
            with Lineage.open(home, fresh=True) as lineage:
                earlier = lineage.iterations(lineage.runs()[-1].run_id)[1].checkpoint_id
            assert call(["promote", str(earlier), "--force", "--reason", "for the rollback"]) == 0
        codes.append(call(words))
    shown = capsys.readouterr()
    with Lineage.open(home, fresh=True) as lineage:
        decided = [(one.state, one.action) for one in promotions(lineage)]
    passed = decided[0][0] == "done"  # the figures of this run mean nothing, and may be either
    assert codes[0] == (0 if passed else 1), shown.err
    assert codes[2:] == [0] * 5, shown.err
    assert decided[-1] == ("done", "rollback")
    assert "10 of 10 recorded greedy answers come out the same from MLflow" in " ".join(shown.out.split())

    folder = tmp_path / "addition-model"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert 'license: "apache-2.0"' in card
    assert "| addition:1-2 | CC0-1.0 |" in card
    assert "| promoted | addition-smoke@champion version 3" in card
    assert json.loads((folder / "starloop.json").read_text())["run"]["config"]["problems"] == "addition:1-2"
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(folder)("12+34=")["input_ids"]
