"""What an engine is: requests in, responses out in the order they finish.

>>> sampling = Sampling(temperature=0.7, max_tokens=32)
>>> next(engine.generate([Request("9f86d081884c7d659a2feaa0c55ad015", "00628+00579=")], sampling))
Response(request_id='9f86…', text='890727106512…A001207', finish_reason='stop', prompt_tokens=12, tokens=28, …)
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from storage.errors import UserMistake
from storage.identity import canonical_json
from tasks.engines.scoring import Scored

STOP = "stop"
"""The model ended its text, or wrote a stop string."""
LENGTH = "length"
"""The text reached `max_tokens`, or the end of the model's context."""
STEP = "step"
"""The text came to the end of a step; only where the sampling says what ends one."""
FAILED = "failed"
"""The engine could not finish this request; `error` says why, `text` is what came."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is drawn, whole and explicit: nothing a model's `generation_config` says applies.

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 switch those off. A text ends before the first of the `stop`
    strings, and behind the first `step` string, which stays in it. `presence_penalty` is taken off the logit of every token that
    the text has already, prompt aside, before the temperature; 0 switches it off. Raises UserMistake for values out of range.
    """

    temperature: float
    max_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    step: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserMistake(f"temperature {self.temperature} does not fit; give 0 (greedy) or a positive number")
        if self.max_tokens < 1:
            raise UserMistake(f"max_tokens {self.max_tokens} does not fit; give at least 1")
        if not 0 < self.top_p <= 1:
            raise UserMistake(f"top_p {self.top_p} does not fit; give more than 0 and at most 1 (1 switches it off)")
        if self.top_k < 0:
            raise UserMistake(f"top_k {self.top_k} does not fit; give 0 (off) or a positive number")
        if not -2 <= self.presence_penalty <= 2:
            raise UserMistake(
                f"presence_penalty {self.presence_penalty} does not fit; give -2 to 2 (0 switches it off)"
            )
        if not all(self.stop):
            raise UserMistake("an empty stop string would end every text at once; leave it out")

    def canonical(self) -> dict[str, Any]:
        """Its values as plain JSON, the same however they were written: what enters keys. A penalty of 0 and a step of no length are
        not named, as before there were any.
        """
        values = asdict(self) | {
            "temperature": float(self.temperature),
            "top_p": float(self.top_p),
            "stop": list(self.stop),
            "presence_penalty": float(self.presence_penalty),
        }
        unnamed = {name for name in ("presence_penalty", "step") if not getattr(self, name)}
        return {name: value for name, value in values.items() if name not in unnamed}

    @property
    def ends_at(self) -> tuple[str, ...]:
        """Every string at which a text ends."""
        return (*self.stop, self.step) if self.step else self.stop

    def ended(self, text: str, finish_reason: str) -> tuple[str, str]:
        """What of a text that was written is kept, and how it then ended: by its first stop string, or the end of its first step."""
        stop = min((place for one in self.stop if (place := text.find(one)) >= 0), default=len(text))
        if self.step and 0 <= (place := text.find(self.step)) < stop:
            return text[: place + len(self.step)], STEP
        return (text[:stop], STOP) if stop < len(text) else (text, finish_reason)

    @property
    def text(self) -> str:
        """Its canonical JSON: what enters request ids and the ledger."""
        return canonical_json(self.canonical())


@dataclass(frozen=True, slots=True)
class Request:
    """One text to write. `request_id` (32 hex digits) is also the key of its randomness."""

    request_id: str
    prompt: str

    @property
    def seed(self) -> int:
        """31 bits of its id, for engines that draw by themselves: as many as each of them takes."""
        return int(self.request_id[:8], 16) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Response:
    """One finished request. `text` holds neither the prompt nor the end-of-text token or stop string.

    `tokens` counts what was generated, the end-of-text token included, and `prompt_tokens` what was read (None: a server did
    not tell; nothing is estimated); `logprob` is the sum of those tokens' log
    probabilities in nats under the distribution they were drawn from before top-k and top-p (None: not told). `final`
    says of a failure that asking again cannot change it: a prompt that is too long, or not in the vocabulary.
    """

    request_id: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    tokens: int | None
    logprob: float | None = None
    error: str | None = None
    final: bool = False

    @property
    def decided(self) -> bool:
        """Whether this is the request's last word, without counting how often it was asked."""
        return self.finish_reason != FAILED or self.final


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in whatever currency they were given in."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, tokens: float) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt + tokens * self.completion) / 1e6


class Engine(Protocol):
    """Something that writes text. It holds one model from opening to `close`."""

    @property
    def name(self) -> str:
        """Engine, dtype and quantisation, as it enters request ids: `transformers float32`."""
        ...

    @property
    def weights_digest(self) -> str | None:
        """`storage.weights.weights_digest` of the weights that were loaded; 32 hex digits. None: a server cannot show them."""
        ...

    @property
    def batched(self) -> bool:
        """Whether what is written for a request can differ, in its last bits, with what else is asked for at the same time."""
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """One response for every request, in the order they finish. A request that fails is a response too."""
        ...

    def close(self) -> None:
        """Give the memory back; the engine cannot be used afterwards."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """An engine that also says how likely its model finds a text."""

    def log_likelihoods(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """One for every pair of a prompt and a completion, in order."""
        ...
