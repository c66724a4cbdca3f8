"""The examined program's own side: it is run, and then does what its examiner asks of it, by name.

Everything here shares a process with the program, which can change all of it. So nothing here decides: it only answers,
in plain data, and another process compares.
"""

import socket
import sys
import types
from typing import Any

from tasks.verifiers.channel import Channel, Closed
from tasks.verifiers.plain_values import decode, encode

NAME = "program"


def serve(end: socket.socket, source: str) -> None:
    """Runs the program as a module and answers until nobody asks any more."""
    Service(Channel(end)).run(source)


class Service:
    """What a program's definitions look like from outside: names, and objects by number."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._module = types.ModuleType(NAME)

    def run(self, source: str) -> None:
        sys.modules[NAME] = self._module
        self._module.__dict__["__builtins__"] = __builtins__
        try:
            exec(compile(source, "<program>", "exec", dont_inherit=True), self._module.__dict__)
        except BaseException as raised:  # noqa: BLE001 - whatever a program does is its own
            self._channel.send({"raised": _described(raised)})
            return
        self._channel.send({"defined": self._definitions()})
        while True:
            try:
                asked = self._channel.receive()
            except Closed:
                return
            self._channel.send(self._answer(asked))

    def _definitions(self) -> dict[str, Any]:
        """Every name that the program gave a meaning, but for what it imported as a module."""
        found = {}
        for name, value in list(vars(self._module).items()):
            if not (name.startswith("__") or isinstance(value, types.ModuleType)):
                found[name] = self._refer(value, None) if callable(value) else encode(value, self._refer)
        return found

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            target = self._objects[asked["object"]]
            sent = asked["arguments"]
            arguments = [decode(one, self._follow) for one in sent]
            named = {name: decode(one, self._follow) for name, one in asked["named"].items()}
            value = self._do(asked["do"], target, arguments, named)
            answer: dict[str, Any] = {"value": encode(value, self._refer)}
            after = {
                str(place): now
                for place, one in enumerate(arguments)
                if isinstance(one, list | dict | set | bytearray) and (now := encode(one, self._refer)) != sent[place]
            }
            return answer | ({"after": after} if after else {})
        except BaseException as raised:  # noqa: BLE001 - whatever a program does is its own
            return {"raised": _described(raised)}

    def _do(self, what: str, target: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        match what:
            case "call":
                return target(*arguments, **named)
            case "get":
                return getattr(target, arguments[0])
            case "set":
                return setattr(target, arguments[0], arguments[1])
            case "instance":
                return isinstance(arguments[0], target)
            case _:
                return getattr(type(target), what)(target, *arguments)

    def _refer(self, value: object, plain: Any) -> dict[str, Any]:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):  # kept from here on, so that no other object takes its id
            self._objects.append(value)
        return {"object": number, "type": type(value).__name__, "plain": plain}

    def _follow(self, reference: dict[str, Any]) -> Any:
        if "callback" in reference:
            return self._calling_back(reference["callback"])
        return self._objects[reference["object"]]

    def _calling_back(self, number: int) -> Any:
        def call(*arguments: Any) -> Any:
            self._channel.send({"callback": number, "arguments": [encode(one, self._refer) for one in arguments]})
            answer = self._channel.receive()
            if "raised" in answer:
                raise RuntimeError(answer["raised"])
            return decode(answer["value"], self._follow)

        return call


def _described(raised: BaseException) -> dict[str, str]:
    """What was raised, in words; also of an exception that cannot say what it is."""
    kinds = [kind.__name__ for kind in type(raised).__mro__ if kind.__module__ == "builtins"]
    try:
        words = str(raised)[:300]
    except BaseException:  # noqa: BLE001 - a `__str__` of the program's own
        words = ""
    return {"kind": kinds[0] if kinds else "Exception", "name": type(raised).__name__[:80], "words": words}
