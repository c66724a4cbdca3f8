"""What the ref of a served engine says: where the server is, what is asked of it, and how patiently.

    openai:http://127.0.0.1:8000/v1?model=Qwen/Qwen2.5-3B-Instruct&endpoint=completions&concurrency=8

After the server's base URL come options, each after `?`, `&` or a comma; what of a value is none of these is written as in
a URL (`%2C` for a comma).

decide what is written, and enter keys
    model        the model's name at the server; without it, the checkpoint's folder, which is the name that a server started
                 with that folder has for it
    endpoint     chat (the prompt is a user's message, and the server renders the model's template) or completions
                 (the prompt as it is)
    server       openai, vllm, llama.cpp or transformers: what may be sent beyond the standard. Found out if not said
    reasoning    drop, or keep: what a reasoning model thought comes before its answer, between <think> tags
decide how it is asked, and enter nothing, so that a run goes on with others
    concurrency  how many requests are under way at a time, at most (16)
    timeout      seconds that one request may take (600)
    retries      how often a request that failed is sent again before it is left for another sitting (4)
    wait         seconds that a request is waited with in all, backing off and for rate limits (300)
    key          the environment variable that holds the key (OPENAI_API_KEY); never the key
    prompt_price, completion_price   what a million tokens cost, in any currency
"""

import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from storage.errors import UserMistake
from tasks.engines.protocol import Prices

CHAT, COMPLETIONS = "chat", "completions"
SERVERS = ("llama.cpp", "openai", "transformers", "vllm")
CHOICES = {"endpoint": (CHAT, COMPLETIONS), "reasoning": ("drop", "keep"), "server": SERVERS}
DECIDING = ("model", "endpoint", "server", "reasoning")
DEFAULT_KEY = "OPENAI_API_KEY"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Served:
    """A ref's options as read; see the module."""

    url: str
    model: str | None = None
    endpoint: str = CHAT
    server: str | None = None
    reasoning: str = "drop"
    concurrency: int = 16
    timeout: float = 600.0
    retries: int = 4
    wait: float = 300.0
    key: str = DEFAULT_KEY
    prompt_price: float | None = None
    completion_price: float | None = None

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None

    @property
    def sends_key(self) -> bool:
        """Whether a key may go there: one that was not named goes neither unencrypted nor over a network."""
        return self.key != DEFAULT_KEY or self.local or self.url.startswith("https:")

    @property
    def prices(self) -> Prices | None:
        """What its tokens cost; None where the ref says nothing of it."""
        if self.prompt_price is None and self.completion_price is None:
            return None
        return Prices(self.prompt_price or 0.0, self.completion_price or 0.0)

    @property
    def deciding(self) -> str:
        """The options without those that change no text, in one way of writing them."""
        said = {name: getattr(self, name) for name in DECIDING}
        told = [f"{name}={_quoted(value)}" for name, value in said.items() if value != DEFAULTS[name]]
        return "?".join([self.url, "&".join(told)]) if told else self.url


DEFAULTS = {field.name: field.default for field in fields(Served)}


def served_by(options: str) -> Served:
    """The options of a ref; raises UserMistake for one that does not exist or fit."""
    url, *rest = re.split(r"[?&,]", options)
    chosen: dict[str, Any] = {}
    for option in filter(None, rest):
        name, equals, value = option.partition("=")
        if not equals or name not in DEFAULTS or name == "url":
            # Whatever stands after a name that is none may be a key, and is not repeated.
            raise UserMistake(f"engine openai has no option {name[:40]!r}; it has: {', '.join(sorted(DEFAULTS)[:-1])}")
        chosen[name] = _fitting(name, unquote(value))
    return Served(_base(url), **chosen)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, fits = SplitResult("", "", "", "", ""), False
    if parts.username or parts.password:
        raise UserMistake("a key does not belong into the URL of engine openai; name its variable with key=VARIABLE")
    if not fits:
        raise UserMistake(
            f"engine openai needs its server's base URL, not {url!r}; for example openai:http://127.0.0.1:8000/v1"
        )
    return re.sub(r"/(chat/)?completions$", "", url.rstrip("/"))


def _fitting(name: str, value: str) -> object:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise UserMistake(f"no {name} {value!r}; give one of: {', '.join(CHOICES[name])}")
        return value
    if name == "key":
        if not VARIABLE.fullmatch(value):
            raise UserMistake("key= names the environment variable that holds the key, and is never the key itself")
        return value
    if name in ("concurrency", "retries"):
        least = 1 if name == "concurrency" else 0
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise UserMistake(f"{name}={value} does not fit; give a whole number from {least} up")
        return int(value)
    if name != "model":
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf") or (name == "timeout" and not number):
            raise UserMistake(f"{name}={value} does not fit; give a number of {_unit(name)}")
        return number
    if not value:
        raise UserMistake("model= is empty; give the model's name at the server, or leave it out")
    return value


def _unit(name: str) -> str:
    return "seconds" if name in ("timeout", "wait") else "what a million tokens cost"


def _quoted(value: str) -> str:
    return re.sub(r"[?&,%]", lambda found: f"%{ord(found[0]):02X}", value)
