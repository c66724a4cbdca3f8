"""The `starloop` command: one file per noun, loaded when it is called."""

import atexit
import os
import sys
import threading
from pathlib import Path

from cyclopts import App

from storage.errors import StarloopError

app = App(
    name="starloop",
    help="Self-training loops for language models: cached Prefect steps, lineage in DuckDB, checkpoints in MLflow.",
    version_flags=["--version"],
    version=lambda: __import__("importlib.metadata").metadata.version("starloop"),
    suppress_keyboard_interrupt=False,
)

COMMANDS = {
    "run": "flows.cli.run:run",
    "serve": "flows.cli.serve:serve",
    "compare": "flows.cli.compare:compare",
    "status": "flows.cli.status:status",
    "presets": "flows.cli.presets:list_presets",
    "settings": "flows.cli.presets:list_settings",
    "recommend": "flows.cli.recommend:recommend",
    "zpd": "flows.cli.zpd:zpd",
    "resume": "flows.cli.resume:resume",
    "plan": "flows.cli.plan:plan",
    "why": "flows.cli.why:why",
    "adopt": "flows.cli.adopt:adopt",
    "preview": "flows.cli.preview:preview",
    "sql": "flows.cli.lineage:sql",
    "lineage": "flows.cli.lineage:lineage",
    "explore": "flows.cli.explore:explore",
    "reverify": "flows.cli.reverify:reverify",
    "promote": "flows.cli.promote:promote",
    "rollback": "flows.cli.promote:rollback",
    "serve-model": "flows.cli.serve_model:serve_model",
    "release": "flows.cli.release:release",
    "audit-verifier": "flows.cli.audit_verifier:audit_verifier",
    "label": "flows.cli.label:label",
    "export": "flows.cli.export:export",
    "merge": "flows.cli.merge:merge",
    "report": "flows.cli.report:report",
    "doctor": "flows.cli.doctor:doctor",
    "import": "flows.cli.intake:take_in",
    "verify-store": "flows.cli.store:verify_store",
    "rebuild": "flows.cli.store:rebuild",
    "gc": "flows.cli.store:gc",
    "forget": "flows.cli.forget:forget",
}
"""Command to where it is written."""

HELP = {
    "run": "Run a method; again, it goes on from where it was.",
    "serve": "Prefect's and MLflow's pages, and a worker: runs from a browser.",
    "compare": "Methods on the same problems at equal generated tokens.",
    "status": "What runs there are, or one run's iterations.",
    "presets": "The ready-made runs.",
    "settings": "Everything that --set can change, and what fits.",
    "recommend": "Which method, preset and model size fit a task, and why.",
    "zpd": "Is this the right model for this task? Measured before anything is trained.",
    "resume": "Go on with a run as it was asked for.",
    "plan": "Which steps of a run are there, which would run, why, and at what cost.",
    "why": "Why a step was computed and not found cached.",
    "adopt": "Keep a step's results after a change of code that does not matter.",
    "preview": "What a run would send and train on, before it does.",
    "sql": "Ask the ledger in SQL (read-only).",
    "lineage": "Where an example or a checkpoint came from.",
    "explore": "Look at the lineage in a browser (read-only, on this machine).",
    "reverify": "Judge stored attempts again with today's code; what changed, and what stood on it.",
    "promote": "Give an alias in MLflow to a checkpoint that is shown to be better.",
    "rollback": "Give the alias back to who held it before.",
    "serve-model": "Serve a registered model as an OpenAI-compatible endpoint.",
    "release": "Write a checkpoint as a folder for a model hub, with its card.",
    "audit-verifier": "How often a verifier errs, on labelled cases; before it is trusted.",
    "label": "Judge a sample of attempts yourself; the labels measure the verifiers.",
    "merge": "Put an adapter into its base, as a folder of whole weights.",
    "export": "A training set as Parquet, JSONL or a datasets folder; lineage as OpenLineage or W3C PROV.",
    "report": "One self-contained HTML file about a run.",
    "doctor": "Whether this machine can run a loop.",
    "import": "Take in attempts, examples or problems that you have.",
    "verify-store": "Check all that is stored, and name what is wrong.",
    "rebuild": "Make the databases again from shards and events.",
    "gc": "What no kept run needs; --yes removes it.",
    "forget": "Take a text out for good, with all that holds it.",
}
"""One line a command, shown without importing it."""

PATIENCE_S = 10.0
"""How long a command that is done may take to end."""

for _name, _where in COMMANDS.items():
    app.command(_where, name=_name, help=HELP[_name])


def main() -> None:
    """The console script. A mistake is one sentence on standard error and exit code 2; any other fault of ours is 1."""
    from flows.server import keep_quiet

    # Registered first, so called last: Prefect's threads outlive the interpreter, and DuckDB's binding then prints pages
    # about objects that were not freed.
    atexit.register(leave, left := [1])
    keep_quiet()
    # A verifier or problem set of one's own is found from here; last, so that a `tasks.py` in this folder shadows nothing,
    # and after our own folder, which an editable installation finds only once the path has been searched.
    sys.path += [str(Path(__file__).parents[2]), os.getcwd()]
    try:
        left[0] = call()
    finally:
        # Everything is written down by now. Prefect would wait without end to tell its last events to a server that is gone.
        patience = threading.Timer(PATIENCE_S, leave, [left])
        patience.daemon = True
        patience.start()
    sys.exit(left[0])


def call(words: list[str] | None = None) -> int:
    """Carry out the command line, or these words in its place; the exit code."""
    from storage.errors import UserMistake

    try:
        app(words)
    except UserMistake as mistake:
        return fail(str(mistake), 2)
    except StarloopError as fault:
        return fail(str(fault), 1)
    except KeyboardInterrupt:
        return fail("stopped; what was finished is kept, and the same command goes on from there", 130)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as asked:
        return fail(asked.code, 1) if isinstance(asked.code, str) else int(asked.code or 0)
    except Exception as error:
        from flows.cli.boundary import attributed

        fault = attributed(error)
        if fault is None:
            raise
        return fail(str(fault), 1)
    return 0


def fail(sentence: str, code: int) -> int:
    """Say it on standard error, and give back the exit code."""
    sys.stderr.write(f"starloop: {sentence}\n")
    return code


def leave(left: list[int]) -> None:
    """End the process with this exit code, everything said."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(left[0])


if __name__ == "__main__":
    main()
