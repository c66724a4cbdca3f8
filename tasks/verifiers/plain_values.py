"""Values as they cross between a program and what examines it: plain data and nothing that acts.

    decode(encode((1, {2.5: b"x"})))  ==  (1, {2.5: b"x"})

What arrives is made of Python's own types, whatever was sent: an object that claims to be equal to everything cannot cross. It
is sent as a reference that only its own side can follow.
"""

import datetime
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

LONG_INTEGER = 10_000
"""Integers of more bits travel in hexadecimal: JSON's decimal digits would take quadratic time."""

Refer = Callable[[object, Any], Any]
Follow = Callable[[dict[str, Any]], object]


def encode(value: Any, refer: Refer) -> Any:
    """The value as JSON can hold it. What is no plain data is sent as `refer(value, None)` says, and a value of a subclass of
    a plain type as `refer(value, plain)` does, with what it would be as that type.
    """
    for kind, write in PLAIN.items():
        if isinstance(value, kind):
            plain = write(value, refer)
            return plain if type(value) is kind else refer(value, plain)
    return refer(value, None)


def decode(value: Any, follow: Follow) -> Any:
    """The value again. Raises ValueError, TypeError, KeyError or RecursionError for what `encode` cannot have written."""
    if isinstance(value, list):
        return [decode(one, follow) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name == "dict":
            return {decode(key, follow): decode(one, follow) for key, one in inner}
        if name == "integer":
            return int(inner, 16)
        if name in SEQUENCES:
            return SEQUENCES[name](decode(one, follow) for one in inner)
        if name in SCALARS:
            return SCALARS[name][2](inner)
    return follow(value)


def _integer(value: int, refer: Refer) -> Any:
    number = int.__index__(value)
    return number if number.bit_length() <= LONG_INTEGER else {"integer": hex(number)}


def _each(name: str, kind: Any) -> Callable[[Any, Refer], Any]:
    return lambda value, refer: {name: [encode(one, refer) for one in kind.__iter__(value)]}


def _once(name: str, write: Callable[[Any], Any]) -> Callable[[Any, Refer], Any]:
    return lambda value, refer: {name: write(value)}


SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
SCALARS: dict[str, Any] = {
    "bytes": (bytes, lambda value: bytes.hex(value), bytes.fromhex),
    "bytearray": (bytearray, lambda value: bytearray.hex(value), bytearray.fromhex),
    "complex": (complex, lambda value: [value.real, value.imag], lambda pair: complex(*map(float, pair))),
    "range": (range, lambda value: [value.start, value.stop, value.step], lambda three: range(*three)),
    "decimal": (Decimal, Decimal.__str__, Decimal),
    "fraction": (Fraction, lambda value: [value.numerator, value.denominator], lambda pair: Fraction(*pair)),
    "datetime": (datetime.datetime, lambda value: value.isoformat(), datetime.datetime.fromisoformat),
    "date": (datetime.date, lambda value: value.isoformat(), datetime.date.fromisoformat),
    "time": (datetime.time, lambda value: value.isoformat(), datetime.time.fromisoformat),
    "timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda three: datetime.timedelta(*three),
    ),
}
PLAIN: dict[type, Callable[[Any, Refer], Any]] = {
    type(None): lambda value, refer: None,
    bool: lambda value, refer: value,
    str: lambda value, refer: str.__str__(value),
    int: _integer,
    float: lambda value, refer: float.__float__(value),
    list: lambda value, refer: [encode(one, refer) for one in list.__iter__(value)],
    dict: lambda value, refer: {"dict": [[encode(key, refer), encode(one, refer)] for key, one in dict.items(value)]},
    **{kind: _each(name, kind) for name, kind in SEQUENCES.items()},
    **{kind: _once(name, write) for name, (kind, write, _) in SCALARS.items()},
}
"""Type to what writes it; a bool before an int, and a datetime before a date, which they are as well."""
