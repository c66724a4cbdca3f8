"""The engine against a real HTTP server that misbehaves: what is asked again, what is lost (nothing), and how long is waited."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from storage.errors import EngineFault, UserMistake
from storage.identity import digest
from tasks.engines import asking, line
from tasks.engines.openai import OpenAIEngine
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.registry import open_engine
from tests.engines.misbehaving_server import (
    MisbehavingServer,
    cut_off,
    half_a_stream,
    hangs,
    later,
    reset,
    says,
    send,
    status,
)

GREEDY = Sampling(0.0, 9)
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds; the waits that a server asks for are real."""
    monkeypatch.setattr(line, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def opened() -> Iterator[Any]:
    engines: list[OpenAIEngine] = []

    def opening(server: MisbehavingServer, *options: str) -> OpenAIEngine:
        engine = open_engine("?".join([f"openai:{server.url}", "&".join(["model=m", *options])]))
        assert isinstance(engine, OpenAIEngine)
        engines.append(engine)
        return engine

    yield opening
    for engine in engines:
        engine.close()


def requests(*prompts: str) -> list[Request]:
    return [Request(digest("request", prompt), prompt) for prompt in prompts]


def numbered(count: int) -> list[Request]:
    return requests(*map(str, range(count)))


def by_prompt(asked: list[Request], responses: list[Response]) -> dict[str, Response]:
    """Every request has exactly one response."""
    assert sorted(response.request_id for response in responses) == sorted(request.request_id for request in asked)
    found = {response.request_id: response for response in responses}
    return {request.prompt: found[request.request_id] for request in asked}


def until_stopped(engine: OpenAIEngine, asked: list[Request]) -> tuple[list[Response], Exception]:
    """What came before the call stopped, and why it did."""
    came: list[Response] = []
    try:
        for response in engine.generate(asked, GREEDY):
            came.append(response)  # noqa: PERF402 - what came before it stopped is wanted
    except (EngineFault, UserMistake) as stopped:
        return came, stopped
    raise AssertionError("it did not stop")


def test_a_text_is_asked_for_once_with_everything_said(opened):
    with MisbehavingServer(lambda asked: says("4")) as server:
        engine = opened(server)
        (request,) = requests("2+2=")
        (response,) = engine.generate([request], Sampling(0.7, 32, top_p=0.9, stop=("\n",)))
        assert response == Response(request.request_id, "4", "stop", 7, 3)
        (asked,) = server.asked
        assert asked.path == "/v1/chat/completions"
        assert asked.body == {
            "model": "m", "messages": [{"role": "user", "content": "2+2="}], "temperature": 0.7, "top_p": 0.9,
            "max_tokens": 32, "stop": ["\n"], "seed": request.seed, "n": 1, "presence_penalty": 0.0,
            "frequency_penalty": 0.0, "stream": False,
        }  # fmt: skip
        assert "Authorization" not in asked.headers
        assert engine.weights_digest is None
        assert engine.name == f"openai openai chat m at {server.url}"


def test_completions_are_sent_the_prompt_as_it_is(opened):
    with MisbehavingServer(lambda asked: says(" 4")) as server:
        (response,) = opened(server, "endpoint=completions").generate(requests("2+2="), GREEDY)
        assert response.text == " 4"
        assert (server.asked[0].path, server.asked[0].body["prompt"]) == ("/v1/completions", "2+2=")


def test_never_more_at_a_time_than_allowed_whoever_asks(opened):
    with MisbehavingServer(lambda asked: later(0.02, says(asked.prompt))) as server:
        engine = opened(server, "concurrency=5")
        came: list[Response] = []
        threads = [
            threading.Thread(target=lambda part: came.extend(engine.generate(part, GREEDY)), args=[numbered(60)[n::3]])
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {prompt: one.text for prompt, one in by_prompt(numbered(60), came).items()} == {
            str(n): str(n) for n in range(60)
        }
        assert server.most == 5


def test_requests_are_asked_in_order_and_given_on_as_they_finish(opened):
    held = threading.Event()

    def does(asked):
        return (lambda handler: (held.wait(10), says("late")(handler))) if asked.prompt == "0" else says("soon")

    with MisbehavingServer(does) as server:
        responses = opened(server, "concurrency=2").generate(numbered(9), GREEDY)
        soon = [next(responses).text for _ in range(8)]  # the first is still under way
        held.set()
        assert (soon, [one.text for one in responses]) == (["soon"] * 8, ["late"])
        asked = [one.prompt for one in server.asked]
        assert sorted(asked[:2]) == ["0", "1"]
        assert asked[2:] == list("2345678")


FAULTS = {
    "500": status(500),
    "504": status(504),
    "408": status(408),
    "no JSON": send(200, b"<html>Bad Gateway</html>"),
    "no text at all": send(200, b""),
    "not UTF-8": send(200, b'{"choices": [{"message": {"content": "\xff\xfe"'),
    "JSON that is no object": send(200, b"[1, 2]"),
    "nested JSON": send(200, b"[" * 100_000),
    "no choices": send(200, b'{"object": "chat.completion"}'),
    "empty choices": send(200, b'{"choices": []}'),
    "choices of another kind": send(200, b'{"choices": ["4"]}'),
    "no message": send(200, b'{"choices": [{"finish_reason": "stop"}]}'),
    "null content": says(None),
    "content of another kind": send(200, b'{"choices": [{"finish_reason": "stop", "message": {"content": 4}}]}'),
    "no finish reason": says("4", finish=None),
    "a finish reason of another kind": send(200, b'{"choices": [{"finish_reason": {}, "message": {"content": "4"}}]}'),
    "an error with status 200": send(200, b'{"error": {"message": "worker died"}}'),
    "half an answer": cut_off,
    "half a stream": half_a_stream,
    "a connection torn down": reset,
    "503": status(503, "loading"),
    "502": send(502, b"<html>Bad Gateway</html>"),
    "429": status(429, "slow down"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_survived_and_only_its_request_asked_again(fault, opened):
    def does(asked):
        return fault if asked.prompt == "2" and asked.times == 1 else says(f"{asked.prompt}!")

    with MisbehavingServer(does) as server:
        found = by_prompt(numbered(5), list(opened(server, "concurrency=2").generate(numbered(5), GREEDY)))
        assert [one.text for one in found.values()] == ["0!", "1!", "2!", "3!", "4!"]
        assert {one.finish_reason for one in found.values()} == {"stop"}
        assert [server.times(str(n)) for n in range(5)] == [1, 1, 2, 1, 1]


REQUEST_FAULTS = {name: fault for name, fault in FAULTS.items() if name not in ("503", "502", "429")}


@pytest.mark.parametrize("fault", REQUEST_FAULTS.values(), ids=REQUEST_FAULTS.keys())
def test_a_fault_that_stays_is_left_for_another_sitting(fault, opened):
    def does(asked):
        return fault if asked.prompt == "2" else says("fine")

    with MisbehavingServer(does) as server:
        found = by_prompt(numbered(5), list(opened(server, "retries=2").generate(numbered(5), GREEDY)))
        assert [one.text for one in found.values()] == ["fine", "fine", "", "fine", "fine"]
        failed = found["2"]
        assert (failed.finish_reason, failed.final, failed.decided) == (FAILED, False, False)
        assert failed.error
        assert (failed.prompt_tokens, failed.tokens) == (None, None)
        assert server.times("2") == 3, "once, and two retries"


def test_a_server_that_says_nothing_is_waited_for_once_and_no_longer(opened):
    with MisbehavingServer(lambda asked: hangs if asked.prompt == "1" else says("fine")) as server:
        begun = time.monotonic()
        found = by_prompt(numbered(4), list(opened(server, "timeout=0.3").generate(numbered(4), GREEDY)))
        assert time.monotonic() - begun < 3
        assert "no answer within 0.3 s" in str(found["1"].error)
        assert not found["1"].final
        assert server.times("1") == 1, "another try would only cost as much again"
        assert [found[prompt].text for prompt in "023"] == ["fine"] * 3


def test_an_answer_that_drips_counts_by_its_whole_time(opened):
    def drips(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    with MisbehavingServer(lambda asked: drips if asked.prompt == "0" else says("fine")) as server:
        found = by_prompt(numbered(2), list(opened(server, "timeout=0.4").generate(numbered(2), GREEDY)))
        assert "no answer within 0.4 s" in str(found["0"].error)


def test_an_endless_answer_is_cut_off(opened, monkeypatch):
    monkeypatch.setattr(line, "LARGEST", 1 << 20)

    def floods(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        for _ in range(1 << 14):
            handler.wfile.write(b" " * (1 << 16))

    with MisbehavingServer(lambda asked: floods if asked.prompt == "0" else says("fine")) as server:
        found = by_prompt(numbered(2), list(opened(server).generate(numbered(2), GREEDY)))
        assert "longer than" in str(found["0"].error)
        assert found["1"].text == "fine"


RETRY_AFTER = {
    "seconds": lambda: {"Retry_After": "1"},
    "milliseconds": lambda: {"retry_after_ms": "1000"},
    "a date": lambda: {"Retry_After": formatdate(time.time() + 2, usegmt=True)},
    "what is used up": lambda: {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "1s"},
}


@pytest.mark.slow
@pytest.mark.parametrize("headers", RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
def test_what_a_server_asks_to_wait_everybody_waits(headers, opened):
    """Nothing at all is asked before the time is over: the limit is the account's, not the request's."""

    def does(asked):
        return (
            status(429, "slow down", **headers())
            if asked.prompt == "0" and asked.times == 1
            else later(0.05, says("fine"))
        )

    with MisbehavingServer(does) as server:
        found = by_prompt(numbered(12), list(opened(server, "concurrency=2").generate(numbered(12), GREEDY)))
        assert {one.text for one in found.values()} == {"fine"}
        times = sorted(one.at for one in server.asked)
        gaps = [after - before for before, after in pairwise(times[1:])]
        assert times[1] - times[0] < 0.3, "two were under way"
        assert gaps[0] > 0.85, "and then nothing"
        assert server.times("0") == 2


def test_a_limit_that_is_used_up_is_waited_for_before_it_is_hit(opened):
    def does(asked):
        spent = (
            {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "700ms"}
            if asked.prompt == "1"
            else {}
        )
        return lambda handler: send(200, answer(), **spent)(handler)

    def answer():
        return json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "fine"}}]}).encode()

    with MisbehavingServer(does) as server:
        assert len(list(opened(server, "concurrency=1").generate(numbered(4), GREEDY))) == 4
        times = [one.at for one in server.asked]
        assert times[2] - times[1] > 0.65
        assert times[3] - times[2] < 0.5


def test_who_asks_to_wait_longer_than_is_allowed_is_not_waited_for(opened):
    with MisbehavingServer(lambda asked: status(429, "daily limit", Retry_After="3600")) as server:
        begun = time.monotonic()
        came, why = until_stopped(opened(server, "wait=60"), numbered(50))
        assert time.monotonic() - begun < 3
        assert came == []
        assert isinstance(why, EngineFault)
        assert "asks to wait 3600 s" in str(why)
        assert "wait=60 s" in str(why)
        assert "daily limit" in str(why)


@pytest.mark.slow
def test_a_busy_server_costs_nothing_but_time(opened):
    """As long as anything is answered, 429 and 503 are waited out, however often they come."""

    def does(asked):
        return status(503 if asked.times % 2 else 429, "busy") if asked.times < 8 else says("fine")

    with MisbehavingServer(does) as server:
        found = by_prompt(numbered(20), list(opened(server, "retries=0").generate(numbered(20), GREEDY)))
        assert {one.text for one in found.values()} == {"fine"}


MISTAKES = {
    "400": (status(400, "temperature must be at most 2"), "temperature must be at most 2"),
    "401": (status(401, f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY"),
    "403": (status(403, "not for you"), "OPENAI_API_KEY"),
    "404": (status(404, "the model `m` does not exist"), "the model `m` does not exist"),
    "422": (send(422, b'{"detail": "Unexpected fields in the request: {\'seed\'}"}'), "Unexpected fields"),
    "a redirect": (send(307, b"", Location="http://127.0.0.1:9/"), "307"),
    "no money": (status(429, "you exceeded your quota", "insufficient_quota"), "you exceeded your quota"),
}


@pytest.mark.parametrize(("fault", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_refused_stops_the_step_with_one_sentence_and_loses_nothing(fault, said, opened, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def does(asked):
        return fault if asked.prompt == "3" else later(0.1, says("fine"))

    with MisbehavingServer(does) as server:
        came, why = until_stopped(opened(server, "concurrency=4"), numbered(50))
        assert isinstance(why, UserMistake)
        assert said in str(why)
        assert "'m'" in str(why)
        assert "\n" not in str(why)
        assert KEY not in str(why)
        assert server.times("3") == 1
        answered = {one.request_id for one in came}
        assert answered == {digest("request", one.prompt) for one in server.asked if one.prompt != "3"}, (
            "all that was asked"
        )
        assert 3 <= len(answered) <= 8


NEVER = {
    "OpenAI": status(400, "This model's maximum context length is 4096 tokens.", "context_length_exceeded"),
    "vLLM": status(400, "This model's maximum context length is 96 tokens. However, you requested 600 tokens."),
    "llama.cpp": send(400, b'{"error": {"code": 400, "type": "exceed_context_size_error", "message": "too large"}}'),
    "llama-cpp-python": status(400, "Requested tokens (600) exceed context window of 512"),
    "a proxy": send(413, b"Payload Too Large"),
    "a filter": status(400, "your prompt was filtered", "content_filter"),
    "a filtered text": says("The ans", finish="content_filter"),
    "a tool call": says(None, finish="tool_calls", tool_calls=[{"function": {"name": "calculator"}}]),
}


@pytest.mark.parametrize("fault", NEVER.values(), ids=NEVER.keys())
def test_a_request_that_can_never_be_answered_is_final_and_stops_nobody(fault, opened):
    with MisbehavingServer(lambda asked: fault if asked.prompt == "1" else says("fine")) as server:
        found = by_prompt(numbered(4), list(opened(server).generate(numbered(4), GREEDY)))
        assert (found["1"].finish_reason, found["1"].final) == (FAILED, True)
        assert found["1"].error
        assert server.times("1") == 1
        assert [found[prompt].text for prompt in "023"] == ["fine"] * 3


def test_a_server_that_is_not_there_is_told_at_once():
    with MisbehavingServer(lambda asked: says("4")) as server:
        pass
    with pytest.raises(EngineFault) as down:
        open_engine(f"openai:{server.url}?model=m")
    assert str(down.value).startswith(f"{server.url}: nobody answers there")
    assert "run again" in str(down.value)


def test_a_server_that_goes_away_is_waited_for_then_the_step_stops_and_nothing_counts(opened):
    server = MisbehavingServer(lambda asked: says("fine"))
    with server:
        engine = opened(server, "concurrency=2", "wait=0.5")
        responses = engine.generate(numbered(2000), GREEDY)
        came = [next(responses) for _ in range(5)]
        server.stop()
        with pytest.raises(EngineFault, match=r"cannot be had \(nobody answers there.*run again once it answers"):
            came.extend(responses)
        assert {one.finish_reason for one in came} <= {"stop", FAILED}
        assert not any("nobody answers" in str(one.error) for one in came)


def test_a_server_that_comes_back_in_time_is_gone_on_with(opened):
    first = MisbehavingServer(lambda asked: reset)
    with first:
        engine = opened(first, "concurrency=3", "wait=30", "retries=50")
        came: list[Response] = []
        asking_ = threading.Thread(target=lambda: came.extend(engine.generate(numbered(6), GREEDY)))
        asking_.start()
        while len(first.asked) < 3:
            time.sleep(0.01)
        first.stop()
        time.sleep(0.3)
        with MisbehavingServer(lambda asked: says("back"), port=first.port):
            asking_.join(timeout=20)
    assert {one.text for one in by_prompt(numbered(6), came).values()} == {"back"}


def test_where_nothing_succeeds_any_more_the_server_fails_and_no_request_counts(opened):
    with MisbehavingServer(
        lambda asked: says("fine") if int(asked.prompt) < 4 else status(500, "out of memory")
    ) as server:
        came, why = until_stopped(opened(server, "concurrency=3", "retries=1"), numbered(100))
        assert sorted(one.text for one in came) == ["fine"] * 4
        assert isinstance(why, EngineFault)
        assert f"{asking.IN_A_ROW} requests in a row failed" in str(why)
        assert "out of memory" in str(why)
        assert len({one.prompt for one in server.asked}) <= 4 + asking.IN_A_ROW + 3


def test_the_key_goes_into_its_header_and_nowhere_else(opened, monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", KEY)

    def does(asked):
        return status(500, f"worker died with {dict(asked.headers)}") if asked.prompt == "1" else says("fine")

    with caplog.at_level(logging.DEBUG), MisbehavingServer(does) as server:
        engine = opened(server, "key=MY_KEY", "retries=1")
        found = by_prompt(numbered(3), list(engine.generate(numbered(3), GREEDY)))
        assert {one.headers["Authorization"] for one in server.asked} == {f"Bearer {KEY}"}
        assert "Bearer …" in str(found["1"].error)
        assert KEY not in f"{found} {engine.name} {caplog.text}"


def test_a_wrong_key_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusal = status(401, f"Incorrect API key provided: {KEY}")
    with MisbehavingServer(lambda asked: says("4"), models=refusal) as server:
        with pytest.raises(UserMistake, match="wants another key than that in OPENAI_API_KEY") as refused:
            open_engine(f"openai:{server.url}?model=m")
        assert KEY not in str(refused.value)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(UserMistake, match=r"none \(OPENAI_API_KEY is not set\)"):
            open_engine(f"openai:{server.url}?model=m")
        assert server.asked == []


@pytest.mark.parametrize("models", [status(404), status(500), send(200, b"<html>"), send(200, b'{"data": "all"}')])
def test_a_server_that_lists_no_models_is_asked_all_the_same(models, opened):
    with MisbehavingServer(lambda asked: says("4"), models=models) as server:
        assert [one.text for one in opened(server).generate(requests("2+2="), GREEDY)] == ["4"]


@pytest.mark.parametrize(("owner", "server_name"), [("vllm", "vllm"), ("llamacpp", "llama.cpp"), ("system", "openai")])
def test_a_server_is_known_by_who_owns_its_models(owner, server_name, opened):
    listed = send(200, json.dumps({"data": [{"id": "m", "owned_by": owner}]}).encode())
    with MisbehavingServer(lambda asked: says("4"), models=listed) as server:
        engine = opened(server)
        assert engine.name == f"openai {server_name} chat m at {server.url}"
        list(engine.generate(requests("2+2="), Sampling(1.0, 9)))
        assert ("top_k" in server.asked[0].body) == (server_name != "openai")
        assert opened(server, "server=openai").name == f"openai openai chat m at {server.url}"


def test_top_k_is_refused_where_it_would_be_left_out(opened):
    with MisbehavingServer(lambda asked: says("4")) as server:
        with pytest.raises(UserMistake, match=r"top_k=5 is not in OpenAI's interface.*server=vllm"):
            list(opened(server).generate(requests("2+2="), Sampling(1.0, 9, top_k=5)))
        assert server.asked == []
        list(opened(server, "server=vllm").generate(requests("2+2="), Sampling(1.0, 9, top_k=5)))
        assert server.asked[0].body["top_k"] == 5


def test_what_nobody_counted_is_unknown(opened):
    odd = {"0": None, "1": {}, "2": {"prompt_tokens": "7", "completion_tokens": -1}, "3": [7, 3], "4": "counted"}
    with MisbehavingServer(lambda asked: says("4", usage=odd[asked.prompt])) as server:
        found = by_prompt(numbered(5), list(opened(server).generate(numbered(5), GREEDY)))
        assert [(one.prompt_tokens, one.tokens) for one in found.values()] == [(None, None)] * 4 + [(7, 3)]


def test_a_call_that_is_left_asks_for_nothing_more(opened):
    with MisbehavingServer(lambda asked: later(0.05, says("fine"))) as server:
        responses = opened(server, "concurrency=2").generate(numbered(500), GREEDY)
        next(responses)
        assert hasattr(responses, "close")
        responses.close()
        asked = len(server.asked)
        time.sleep(0.3)
        assert len(server.asked) <= asked + 1


def test_a_closed_engine_lets_go_of_who_waits_for_it(opened):
    with MisbehavingServer(lambda asked: hangs) as server:
        engine = opened(server)
        threading.Timer(0.2, engine.close).start()
        begun = time.monotonic()
        with pytest.raises(EngineFault, match="was closed"):
            list(engine.generate(numbered(3), GREEDY))
        assert time.monotonic() - begun < 3
        with pytest.raises(EngineFault, match="has been closed"):
            list(engine.generate(numbered(3), GREEDY))


def test_a_presence_penalty_is_refused_where_it_would_be_left_out(opened):
    with MisbehavingServer(lambda asked: says("4")) as server:
        engine = opened(server, "server=transformers")
        with pytest.raises(UserMistake, match=r"transformers serve takes no presence_penalty \(1\.5 is asked for\)"):
            list(engine.generate(requests("2+2="), Sampling(1.0, 9, presence_penalty=1.5)))
        assert server.asked == []
