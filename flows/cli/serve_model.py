"""`starloop serve-model`: a registered model behind an OpenAI-compatible endpoint."""

import os
from pathlib import Path

from storage.home import Home


def serve_model(model: str, /, *, port: int = 8000, home: Path | None = None) -> None:
    """Serve a registered model on loopback with `transformers serve`, until it is stopped.

    Parameters
    ----------
    model
        NAME@champion, or any other alias; NAME/3 for a version.
    port
        Where it listens.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.console import ConsoleListener
    from flows.serving import command, environment, label, served

    opened = Home.existing(home)
    console = Console(highlight=False, soft_wrap=True)
    with ConsoleListener(console) as listening:
        one = served(opened, listening, model)
    words = command(one, port)
    url = f"http://127.0.0.1:{port}"
    console.print(f"{label(one)} at {url}/v1, once {url}/health answers; Ctrl-C stops it", markup=False)
    question = f'{{"model": "{one.folder}", "prompt": "12+34=", "max_tokens": 40}}'
    console.print(
        f"  curl {url}/v1/completions -H 'content-type: application/json' -d '{question}'", style="cyan", markup=False
    )
    os.execve(words[0], words, environment())
