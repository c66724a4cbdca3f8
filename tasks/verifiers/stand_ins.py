"""What stands for a program's functions, classes and objects where its tests run: each asks the program, in another process.

What comes back is plain data, made anew on this side, or another stand-in. A stand-in is equal to no plain value and compares
with none, so an object that the program made to agree with everything agrees with nothing here.

Not covered: a test that hands the expected value to a method of the program's own object (`result.matches(3)`) believes what
that method says.
"""

import builtins
import select
from collections.abc import Callable, Iterator
from typing import Any

from tasks.verifiers.channel import Channel, Closed
from tasks.verifiers.plain_values import decode, encode


class Gone(BaseException):
    """The program can answer no more; says why. No test can catch it by catching every Exception."""


class Raised(Exception):
    """The program raised something that is no exception of Python's own."""


class Conversation:
    """The tests' side of a channel to the program; `warden` says how the program ended.

    `kinds`: the names that the tests use. An object of a class that they name, which is a list or another plain type as well, stays an object.
    """

    def __init__(self, channel: Channel, warden: Channel, kinds: frozenset[str]) -> None:
        self._channel = channel
        self._warden = warden
        self._callbacks: list[Callable[..., Any]] = []
        self._kinds = kinds

    def started(self) -> dict[str, Any]:
        """The program's definitions; raises Gone if it does not get as far."""
        message = self._receive()
        if "raised" in message:
            raise Gone(f"it raised {in_words(message['raised'])} before it could be tested")
        defined = message.get("defined")
        if not isinstance(defined, dict):
            raise Gone("its answer cannot be read")
        return {name: self._decode(value) for name, value in defined.items()}

    def ask(self, number: int, what: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What the program answers; raises what it raised, if that is one of Python's own exceptions."""
        sent = [encode(one, self._refer) for one in arguments]
        given = {name: encode(one, self._refer) for name, one in named.items()}
        self._send({"object": number, "do": what, "arguments": sent, "named": given})
        while True:
            message = self._receive()
            if "callback" not in message:
                break
            self._send(self._call_back(message))
        if "raised" in message:
            raise as_exception(message["raised"])
        for place, value in message.get("after", {}).items():
            _become(arguments[int(place)], self._decode(value))
        return self._decode(message.get("value"))

    def _call_back(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            function = self._callbacks[message["callback"]]
            value = function(*[self._decode(one) for one in message["arguments"]])
            return {"value": encode(value, self._refer)}
        except Exception as raised:  # noqa: BLE001 - told to the program, which called the test's function
            return {"raised": f"{type(raised).__name__}: {raised}"[:300]}

    def _refer(self, value: object, plain: Any) -> Any:
        if plain is not None:
            return plain
        if isinstance(value, StandIn):
            return {"object": object.__getattribute__(value, "_number")}
        if callable(value):
            self._callbacks.append(value)
            return {"callback": len(self._callbacks) - 1}
        raise TypeError(f"a {type(value).__name__} of the tests cannot be handed to the program")

    def _decode(self, value: Any) -> Any:
        try:
            return decode(value, self._follow)
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, AttributeError):
            raise Gone("its answer cannot be read") from None

    def _follow(self, reference: dict[str, Any]) -> Any:
        number, plain = reference["object"], reference.get("plain")
        if not isinstance(number, int):
            raise TypeError("no number")
        return StandIn(self, number) if plain is None or reference["type"] in self._kinds else self._decode(plain)

    def _send(self, message: object) -> None:
        try:
            self._channel.send(message)
        except Closed as why:
            raise Gone(self._ending(why)) from None

    def _receive(self) -> dict[str, Any]:
        # A process that the program has left behind can hold the channel open; the warden knows when the program ends.
        select.select([self._channel, self._warden], [], [])
        try:
            if not select.select([self._channel], [], [], 0)[0]:
                raise Closed("it is gone")
            message = self._channel.receive()
        except Closed as why:
            raise Gone(self._ending(why)) from None
        if not isinstance(message, dict):
            raise Gone("its answer cannot be read")
        return message

    def _ending(self, why: Closed) -> str:
        if "gone" not in str(why):
            return str(why)
        try:
            return str(self._warden.receive()["ended"])
        except Closed:
            return "it ended without a word"


class StandIn:
    """One object of the program's."""

    def __init__(self, conversation: Conversation, number: int) -> None:
        object.__setattr__(self, "_conversation", conversation)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _ask(self, "call", *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _ask(self, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "set", name, value)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, StandIn) and bool(_ask(self, "instance", instance))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StandIn):
            return False
        return _same(self, other) or _ask(self, "__eq__", other) is True

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_number"))

    def __bool__(self) -> bool:
        for name in ("__bool__", "__len__"):
            try:
                return bool(_ask(self, name))
            except TypeError:
                continue
        return True

    def __iter__(self) -> Iterator[Any]:
        found = _ask(self, "__iter__")
        return _stepped(found) if isinstance(found, StandIn) else iter(found)

    def __next__(self) -> Any:
        return _ask(self, "__next__")

    def __len__(self) -> int:
        return _ask(self, "__len__")

    def __getitem__(self, key: Any) -> Any:
        return _ask(self, "__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "__setitem__", key, value)

    def __str__(self) -> str:
        return str(_ask(self, "__str__"))

    def __repr__(self) -> str:
        return str(_ask(self, "__repr__"))

    def __enter__(self) -> Any:
        return _ask(self, "__enter__")

    def __exit__(self, *_: object) -> None:
        _ask(self, "__exit__", None, None, None)


def _between_two(name: str) -> Callable[[StandIn, Any], Any]:
    def operate(self: StandIn, other: Any) -> Any:
        return _ask(self, name, other) if isinstance(other, StandIn) else NotImplemented

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and", "or", "xor", "lt", "le", "gt", "ge"):
    setattr(StandIn, f"__{_name}__", _between_two(f"__{_name}__"))


def _ask(stand_in: StandIn, what: str, *arguments: Any, **named: Any) -> Any:
    conversation: Conversation = object.__getattribute__(stand_in, "_conversation")
    try:
        return conversation.ask(object.__getattribute__(stand_in, "_number"), what, arguments, named)
    except AttributeError as raised:
        # What an object cannot do is for Python's own functions (`list` asks for a length) a TypeError.
        raise (TypeError(str(raised)) if what.startswith("__") else raised) from None


def _same(one: StandIn, other: StandIn) -> bool:
    return object.__getattribute__(one, "_number") == object.__getattribute__(other, "_number")


def _stepped(iterator: StandIn) -> Iterator[Any]:
    while True:
        try:
            yield _ask(iterator, "__next__")
        except StopIteration:
            return


def _become(argument: Any, now: Any) -> None:
    """What the program did to a list, dictionary or set that it was handed, done to the tests' own."""
    if type(argument) is not type(now):
        raise Gone("its answer cannot be read")
    argument.clear()
    argument.extend(now) if isinstance(argument, list | bytearray) else argument.update(now)


def as_exception(described: Any) -> Exception:
    """What the program raised, as the nearest of Python's own exceptions; never one that would end the tests."""
    kind = getattr(builtins, str(described.get("kind")) if isinstance(described, dict) else "", None)
    words = in_words(described)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or issubclass(kind, AssertionError):
        return Raised(words)
    try:
        raised = kind(words)
    except TypeError:  # one that is made of several things, such as UnicodeDecodeError
        return Raised(words)
    raised.__notes__ = ["the program raised this"]
    return raised


def in_words(described: Any) -> str:
    if not isinstance(described, dict):
        return "something"
    return (
        f"{described.get('name')}: {described.get('words')}"[:300]
        if described.get("words")
        else f"{described.get('name')}"[:300]
    )
