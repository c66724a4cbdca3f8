"""What a served engine sends for one request, and the text that its answer holds: all of it that decides an attempt.

>>> exchange = Exchange("Qwen/Qwen2.5-3B-Instruct", endpoint="chat", server="openai")
>>> exchange.body(Request("9f86d081884c7d659a2feaa0c55ad015", "2+2="), Sampling(temperature=0.7, max_tokens=32))
{'model': 'Qwen/Qwen2.5-3B-Instruct', 'temperature': 0.7, 'top_p': 1.0, 'max_tokens': 32, 'seed': 528928897, 'n': 1, …}

Servers fill in what they are not told, from the model's `generation_config` or from defaults of their own (llama.cpp keeps 40 tokens
and those above a twentieth of the likeliest; `transformers serve` is greedy, whatever the temperature, where the model's
configuration does not sample). So each is sent everything that it takes, by the names that it has for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.engines.protocol import FAILED, LENGTH, STOP, Request, Response, Sampling

STOPPED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
CUT = frozenset({"length", "max_tokens"})
OTHERWISE = {
    "content_filter": "the server's content filter stopped the text",
    "tool_calls": "the model called a tool instead of writing a text",
    "function_call": "the model called a function instead of writing a text",
}
"""Ends that another try would meet again."""

MOST_STOPS = 4
"""So many stop strings the standard allows; texts are cut at the others when they are here."""


class NotAnAnswer(Exception):
    """What came is none, for the reason that is its text; another try may bring one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """How a server is talked to; see `tasks.engines.served` for what the fields may be."""

    model: str
    endpoint: str = "chat"
    server: str = "openai"
    reasoning: str = "drop"

    @property
    def path(self) -> str:
        """Where requests go, below the base URL."""
        return "/chat/completions" if self.endpoint == "chat" else "/completions"

    @property
    def takes_top_k(self) -> bool:
        return self.server != "openai"

    @property
    def takes_presence_penalty(self) -> bool:
        """`transformers serve` knows no such setting."""
        return self.server != "transformers"

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """The request as JSON."""
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": float(sampling.temperature),
            "top_p": float(sampling.top_p),
            "max_tokens": sampling.max_tokens,
            "seed": request.seed,
            "n": 1,
            "presence_penalty": float(sampling.presence_penalty),
            "frequency_penalty": 0.0,
            "stream": False,
        }
        if self.endpoint == "chat":
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        if sampling.stop:
            body["stop"] = list(sampling.stop[:MOST_STOPS] if self.server == "openai" else sampling.stop)
        return body | self._beyond(sampling)

    def _beyond(self, sampling: Sampling) -> dict[str, Any]:
        """What this server takes beyond the standard."""
        match self.server:
            case "vllm":
                plain = {"top_k": sampling.top_k, "min_p": 0.0, "repetition_penalty": 1.0}
                # A prompt that is sent as it is holds its special tokens already.
                return plain if self.endpoint == "chat" else plain | {"add_special_tokens": False}
            case "llama.cpp":
                return {"top_k": sampling.top_k, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0}
            case "transformers":
                drawn = sampling.temperature > 0
                settings = {
                    "do_sample": drawn,
                    "temperature": float(sampling.temperature) if drawn else 1.0,
                    "top_p": float(sampling.top_p),
                    "top_k": sampling.top_k,
                    "min_p": 0.0,
                    "typical_p": 1.0,
                    "repetition_penalty": 1.0,
                    "no_repeat_ngram_size": 0,
                    "num_beams": 1,
                    "max_new_tokens": sampling.max_tokens,
                }
                return {"generation_config": json.dumps(settings)}
        return {}

    def read(self, payload: object, request: Request, sampling: Sampling) -> Response:
        """The response that an answer is. Raises NotAnAnswer for what is none."""
        if not isinstance(payload, Mapping):
            raise NotAnAnswer(f"its answer is a JSON {type(payload).__name__}, not an object")
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
            raise NotAnAnswer("its answer has no choices")
        choice = choices[0]
        ended = choice.get("finish_reason") if isinstance(choice.get("finish_reason"), str) else None
        text = self._message(choice, ended) if self.endpoint == "chat" else choice.get("text")
        if not isinstance(text, str):
            raise NotAnAnswer("its answer has no text")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character is none
        usage = payload.get("usage")
        counted = usage if isinstance(usage, Mapping) else {}
        cut = text[: min((text.find(stop) for stop in sampling.stop if stop in text), default=len(text))]
        why = None
        if cut != text or ended in STOPPED:
            reason = STOP
        elif ended in CUT:
            reason = LENGTH
        elif ended in OTHERWISE:
            reason, why = FAILED, OTHERWISE[ended]
        else:
            raise NotAnAnswer(f"its answer ended with finish_reason {ended!r}, which says nothing")
        return Response(
            request.request_id, cut, reason, _count(counted.get("prompt_tokens")),
            _count(counted.get("completion_tokens")), error=why, final=why is not None,
        )  # fmt: skip

    def _message(self, choice: Mapping[str, Any], ended: object) -> str:
        message = choice.get("message")
        if not isinstance(message, Mapping):
            raise NotAnAnswer("its answer has no message")
        content, thought = message.get("content"), message.get("reasoning_content") or message.get("reasoning")
        if isinstance(content, list):  # in parts, as some servers give it
            content = "".join(str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part)
        if content is None and isinstance(message.get("refusal"), str):
            content = message["refusal"]
        if content is None and (isinstance(thought, str) or ended in OTHERWISE):
            content = ""  # the tokens were used up before there was an answer
        if not isinstance(content, str):
            raise NotAnAnswer("its answer's content is null")
        if self.reasoning == "keep" and isinstance(thought, str) and thought:
            return f"<think>\n{thought.strip()}\n</think>\n\n{content}"
        return content


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
