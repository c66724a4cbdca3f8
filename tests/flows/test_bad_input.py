"""A person's mistakes: one sentence that names the value and what would fit, exit code 2, nothing done, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.home import Home

ROOT = Path(__file__).resolve().parents[2]
RUN = ["run", "star", "--preset", "addition-smoke"]


def said(arguments: list[str], home: Path, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    command = [sys.executable, "-P", "-m", "flows.cli.main", *arguments]
    settings = os.environ | {"STARLOOP_HOME": str(home), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=ROOT, timeout=120, check=False)
    assert "Traceback" not in done.stderr + done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "start", "--preset", "x"], "no method 'start'; this checkout has: care_star, gsr, rest, rest_em"),
        (["run", "star", "--preset", "adition"], "no preset 'adition'; for star there are: addition-compare, addition-controls, addition-paper"),
        ([*RUN, "--set", "training.step=3"], "no setting 'training.step' in star with preset addition-smoke; there are: batch_size"),
        ([*RUN, "--set", "training.steps=0"], "training.steps = 0 does not fit"),
        ([*RUN, "--set", "training.steps"], "--set 'training.steps' does not fit; write --set name=value"),
        ([*RUN, "--set", "problems=adition:1-5"], "no problem set 'adition'; this checkout has: addition, arc, commonsense_qa"),
        ([*RUN, "--set", "problems=addition:0-12"], "addition:0-12 does not fit; give a range of digits within 1-9"),
        ([*RUN, "--set", "verifier=maths"], "no verifier 'maths'; this checkout has: choice, code, constraints, exact"),
        ([*RUN, "--set", "verifier=nowhere.checks:verify"], "verifier 'nowhere.checks:verify' cannot be imported"),
        ([*RUN, "--set", "engine=transfomers"], "no engine 'transfomers'; this checkout has: openai, scripted, transformers, vllm"),
        ([*RUN, "--set", "template=adition"], "no prompt template 'adition'; this checkout has: addition"),
        ([*RUN, "--set", "problems=jsonl:/no/such.jsonl"], "/no/such.jsonl"),
        ([*RUN, "--iterations", "0"], "iterations = 0 does not fit"),
        ([*RUN, "--set", "rationalize_iterations=null"], "--set 'rationalize_iterations=null' says nothing: null means as the preset says"),
        ([*RUN, "--set", 'stop={"max_tokens": null}'], "stop.max_tokens=none"),
        (["status", "run_ffff"], "no run 'run_ffff'"),
        (["lineage", "ckp_ffff"], "no checkpoint 'ckp_ffff'"),
        (["sql", "selec 1"], "syntax error"),
        (["sql", "drop table run"], "the ledger is read-only here, and this is a DROP"),
        (["sql", "select * from read_csv('/etc/passwd')"], "disabled"),
        (["sql", "copy (select 1) to '/dev/stdout'"], "the ledger is read-only here, and this is a COPY"),
        (["sql", "attach '/etc/passwd' as other"], "the ledger is read-only here, and this is an ATTACH"),
        (["sql", "install httpfs"], "the ledger is read-only here, and this is a LOAD"),
        (["sql", "select 1; select 2"], "one question at a time: this is 2 statements"),
        (["sql", "select count(*) from range(10000000) a, range(1000000) b where a.range + b.range < 0", "--timeout", "0.3"],
         "the query took longer than 0.3 s and was stopped"),
        (["report", "run_ffff"], "no run 'run_ffff'"),
        (["preview", "star", "--preset", "nothing"], "no preset 'nothing'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path):
    code, stderr = said(arguments, Home.open(tmp_path / "home").root)
    assert code == 2, stderr
    assert sentence in stderr
    assert len(stderr.strip().splitlines()) <= 4  # DuckDB's own message shows where it stopped reading


def test_a_home_that_cannot_be_written_is_named():
    code, stderr = said(RUN, Path("/dev/null/home"))
    assert code == 2
    assert (
        "the home /dev/null/home cannot be written (Not a directory); give another folder with STARLOOP_HOME" in stderr
    )


@pytest.mark.slow
def test_a_prefect_server_that_is_not_there_says_what_to_do(tmp_path):
    code, stderr = said(RUN, tmp_path / "home", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert code == 1
    assert "the Prefect server at http://127.0.0.1:9/api does not answer; start it, or unset PREFECT_API_URL" in stderr


@pytest.mark.slow
def test_a_prefect_server_that_dies_while_starting_says_where_its_log_is(tmp_path):
    (tmp_path / "prefect").write_text("a file where Prefect wants its folder")
    code, stderr = said(RUN, tmp_path / "home", PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"))
    assert code == 1
    assert "Prefect's server ended with code" in stderr
    assert str(tmp_path / "home" / "logs" / "prefect-server.log") in stderr


@pytest.mark.slow
def test_an_empty_problem_set_stops_before_anything_is_trained(tmp_path, prefect_server):
    (tmp_path / "none.jsonl").write_text("")
    code, stderr = said(
        [*RUN, "--set", f"problems=jsonl:{tmp_path}/none.jsonl,question=q"],
        tmp_path / "home",
        PREFECT_API_URL=prefect_server,
    )
    assert code in {1, 2}
    assert "none.jsonl" in stderr
    assert not list((tmp_path / "home" / "checkpoints").glob("*"))


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a script starts with it ignored
print("here", file=sys.stderr, flush=True)
from flows.cli.main import main
main()
"""


@pytest.mark.slow
def test_control_c_stops_a_question(tmp_path):
    query = "select count(*) from range(10000000) a, range(1000000) b where a.range + b.range < 0"
    command = [sys.executable, "-P", "-c", INTERRUPTIBLE, "sql", query]
    settings = os.environ | {"STARLOOP_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    Home.open(tmp_path / "home")
    with subprocess.Popen(command, cwd=ROOT, env=settings, text=True, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "here\n"
        time.sleep(4)  # until the question is being answered; earlier, Ctrl-C ends the command as well
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        assert child.wait(30) == 130, rest
    assert "Traceback" not in rest
    assert "stopped" in rest


def test_help_answers_at_once():
    best = 9.0
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-m", "flows.cli.main", "--help"], capture_output=True, cwd=ROOT, check=True
        )
        best = min(best, time.perf_counter() - begun)
    assert best < 0.7
