"""Deterministic answers without a model, for tests and demos: `scripted:answers.json`, `scripted:mypackage.answers:reply`.

A JSON file maps prompts to answers, and `*` to the answer for all others:

    {"00628+00579=": "890727106512001100000A001207", "001+001=": ["A000002", "A000003"], "*": "no idea"}

Of several answers the request's own uniform number picks one, so different samples differ and a repeated request does
not. A function is called with the Request and the Sampling and returns the text; what it raises becomes a failed
response. `{"fail": "why"}` in place of an answer is a failed response too, with `"final": true` one that no other try would
change. Tokens are characters.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.identity import digest
from tasks.engines.protocol import FAILED, LENGTH, STOP, Request, Response, Sampling
from tasks.engines.uniforms import keys_of, uniforms

Reply = Callable[[Request, Sampling], str]


def open_engine(model: Path | str | None, options: str = "") -> "ScriptedEngine":
    """The engine that answers from `options`: a path to a JSON file, or `package.module:function`."""
    return ScriptedEngine(check_options(options), _weights(model))


def check_options(options: str) -> Reply:
    """The answers; raises UserMistake for what cannot be read or imported."""
    if not options:
        raise UserMistake("engine scripted needs its answers: scripted:<file.json> or scripted:package.module:function")
    path = Path(options)
    if path.suffix == ".json":
        try:
            answers = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as mistake:
            raise UserMistake(f"{path} cannot be read as JSON answers: {mistake}") from mistake
        if not isinstance(answers, dict):
            raise UserMistake(f"{path} holds a {type(answers).__name__}; give an object that maps prompts to answers")
        return _replies_from(answers)
    module, _, function = options.partition(":")
    try:
        return getattr(import_module(module), function or "reply")
    except (ImportError, AttributeError) as mistake:
        raise UserMistake(f"scripted answers {options!r} cannot be imported ({mistake})") from mistake


class NeverAnswered(Exception):
    """A script's failure that would be the same every time."""


class ScriptedEngine:
    """Answers at once and in order."""

    name = "scripted"
    batched = False

    def __init__(self, reply: Reply, weights_digest: str) -> None:
        self._reply = reply
        self.weights_digest = weights_digest

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """One response a request; `max_tokens` and `stop` cut as they do for a model."""
        for request in requests:
            size = len(request.prompt)
            try:
                text = self._reply(request, sampling)
            except Exception as cause:  # noqa: BLE001 - a script's failure is a failed response, with its cause
                why, final = f"{type(cause).__name__}: {cause}", isinstance(cause, NeverAnswered)
                yield Response(request.request_id, "", FAILED, size, 0, error=why, final=final)
                continue
            cut, finish_reason = sampling.ended(text, STOP)
            if len(cut) > sampling.max_tokens:
                yield Response(request.request_id, cut[: sampling.max_tokens], LENGTH, size, sampling.max_tokens)
            else:
                tokens = len(cut) + (finish_reason == STOP)
                yield Response(request.request_id, cut, finish_reason, size, tokens)

    def close(self) -> None:
        """Nothing to give back."""


def _replies_from(answers: dict[str, Any]) -> Reply:
    def reply(request: Request, _: Sampling) -> str:
        answer = answers.get(request.prompt, answers.get("*"))
        if isinstance(answer, list) and answer:
            place = uniforms(keys_of([request.request_id]), 0, 1)[0, 0]
            answer = answer[int(place * len(answer))]
        match answer:
            case str():
                return answer
            case {"fail": why, "final": True}:
                raise NeverAnswered(str(why))
            case {"fail": why}:
                raise RuntimeError(str(why))
            case _:
                raise LookupError(f"the script has no answer for {request.prompt!r:.80}")

    return reply


def _weights(model: Path | str | None) -> str:
    """The digest of the checkpoint that a script stands in for, so that a flow's check of weights holds; else of nothing."""
    from storage.weights import weights_digest

    if model is not None and any(Path(model).glob("*.safetensors")):
        return weights_digest(model)
    return digest("scripted", str(model or ""))
