"""What went wrong with one try at a served engine, and so what is done about it.

SERVER    nobody answers, or asks to come later (429, 502, 503)      waited for; if it lasts the step stops, and nothing counts
REQUEST   this try failed (500, nonsense, a broken connection, …)    tried again a few times, then left for another sitting
NEVER     this request cannot be answered (it is too long, …)        a failed attempt
MISTAKE   nothing that is asked this way will be (400, 401, 404, …)  the step stops at once
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

LATER = frozenset({429, 502, 503})
AGAIN = frozenset({408, 409, 425})
REFUSED = frozenset({401, 403})
TOO_LONG = re.compile(
    r"context.{0,40}(exceed|length|size|window)|(exceed|maximum).{0,40}context|too (long|many tokens)", re.IGNORECASE
)
TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})
FILTERED_CODES = frozenset({"content_filter", "content_policy_violation"})
SPENT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
QUOTED = 300
"""So many characters of what a server says are repeated."""


class Kind(Enum):
    """See the module."""

    SERVER = "server"
    REQUEST = "request"
    NEVER = "never"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class Fault:
    """One try's failure. `after`: the seconds that the server asks to wait; `again` False: another try now would only cost as much.

    `status` is that of the answer, None where none came.
    """

    kind: Kind
    sentence: str
    after: float | None = None
    again: bool = True
    status: int | None = None


def fault_of(status: int, headers: Mapping[str, str], content: bytes) -> Fault:
    """The fault that an answer with another status than 200 is."""
    code, said = _said(content)
    told = f"it answers {status}{f': {said}' if said else ''}"
    if status in LATER:
        if code in SPENT_CODES:
            return Fault(Kind.MISTAKE, told, status=status)
        return Fault(Kind.SERVER, told, asked_to_wait(headers), status=status)
    if status >= 500 or status in AGAIN:
        return Fault(Kind.REQUEST, told, asked_to_wait(headers), status=status)
    never = status == 413 or code in FILTERED_CODES | TOO_LONG_CODES
    if never or (status in (400, 422) and TOO_LONG.search(said)):
        return Fault(Kind.NEVER, told, status=status)
    return Fault(Kind.MISTAKE, told, status=status)


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The seconds that `Retry-After` asks for, or else until a limit that is used up is reset; None where nothing is asked."""
    said = headers.get("retry-after-ms", "")
    if (milliseconds := _number(said)) is not None:
        return milliseconds / 1000
    if said := headers.get("retry-after", ""):
        if (seconds := _number(said)) is not None:
            return seconds
        try:
            return max(0.0, parsedate_to_datetime(said).timestamp() - (time.time() if now is None else now))
        except (ValueError, TypeError):
            pass
    return used_up(headers, now)


def used_up(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The seconds until every limit of which nothing remains is reset; None while there is something left of all."""
    waits: list[float] = []
    for limit in ("", "-requests", "-tokens"):
        if _number(headers.get(f"x-ratelimit-remaining{limit}", "")) == 0:
            wait = _duration(headers.get(f"x-ratelimit-reset{limit}", ""), time.time() if now is None else now)
            waits += [] if wait is None else [wait]
    return max(waits, default=None)


def _duration(said: str, now: float) -> float | None:
    """`20ms`, `6m0s`, `1h2m`, plain seconds, or a moment in seconds since 1970."""
    if (seconds := _number(said)) is not None:
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", said)
    if not parts or "".join(number + unit for number, unit in parts) != said.strip():
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(number) * units[unit] for number, unit in parts)


def _number(said: str) -> float | None:
    return float(said) if re.fullmatch(r"\s*\d{1,15}(\.\d+)?\s*", said) else None


def _said(content: bytes) -> tuple[str, str]:
    """The code and the words of an error, in whichever of the usual forms it is; of another one its beginning."""
    text = content.decode("utf-8", "replace")
    code = ""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if isinstance(found, dict):
        inner = found.get("error", found)
        if isinstance(inner, dict):
            code = next((str(inner[name]) for name in ("code", "type") if isinstance(inner.get(name), str)), "")
            inner = inner.get("message") or inner.get("detail") or inner
        found = inner
    words = found if isinstance(found, str) else json.dumps(found)
    return code, " ".join(words.split())[:QUOTED]
