"""What a served engine's ref may say, what of it counts, and what is sent to which server."""

import json

import pytest

from storage.errors import UserMistake
from tasks.caching import plain
from tasks.engines.exchange import Exchange, NotAnAnswer
from tasks.engines.faults import asked_to_wait
from tasks.engines.protocol import FAILED, LENGTH, STOP, Request, Sampling
from tasks.engines.registry import EngineRef, check_options, deciding, is_served, modules_of, prices, takes_messages
from tasks.engines.served import Served, served_by

URL = "http://127.0.0.1:8000/v1"
REQUEST = Request("9f86d081884c7d659a2feaa0c55ad015", "2+2=")
DRAWN = Sampling(0.7, 32, top_p=0.9, top_k=5, stop=("\n", "Q:"))


def test_options_may_be_parted_as_in_a_url_or_by_commas():
    said = Served(URL, "Qwen/Qwen2.5-3B,a?", "completions", concurrency=8, wait=60.0, prompt_price=0.15)
    assert (
        served_by(f"{URL}?model=Qwen/Qwen2.5-3B%2Ca%3F&endpoint=completions&concurrency=8&wait=60&prompt_price=.15")
        == said
    )
    assert (
        served_by(f"{URL},model=Qwen/Qwen2.5-3B%2Ca%3F,endpoint=completions,concurrency=8,wait=60,prompt_price=.15")
        == said
    )
    assert served_by(f"{URL}/chat/completions") == served_by(f"{URL}/") == Served(URL)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "needs its server's base URL, not ''; for example openai:http://127.0.0.1:8000/v1"),
        ("gpt-4o", "needs its server's base URL, not 'gpt-4o'"),
        ("ftp://host/v1", "needs its server's base URL"),
        ("http://host:port/v1", "needs its server's base URL"),
        ("http:///v1", "needs its server's base URL"),
        (f"{URL}?concurency=3", "no option 'concurency'; it has: completion_price, concurrency"),
        (f"{URL}?url=x", "no option 'url'"),
        (f"{URL}?endpoint=responses", "no endpoint 'responses'; give one of: chat, completions"),
        (f"{URL}?server=ollama", "no server 'ollama'; give one of: llama.cpp, openai, transformers, vllm"),
        (f"{URL}?concurrency=0", "concurrency=0 does not fit; give a whole number from 1 up"),
        (f"{URL}?retries=-1", "retries=-1 does not fit; give a whole number from 0 up"),
        (f"{URL}?timeout=0", "timeout=0 does not fit; give a number of seconds"),
        (f"{URL}?wait=inf", "wait=inf does not fit"),
        (f"{URL}?wait=nan", "wait=nan does not fit"),
        (f"{URL}?prompt_price=free", "prompt_price=free does not fit"),
        (f"{URL}?model=", "model= is empty"),
    ],
)
def test_an_option_that_does_not_fit_is_told_with_those_that_do(options, says):
    with pytest.raises(UserMistake) as refused:
        check_options(f"openai:{options}")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "options",
    ["http://me:sk-secret@host/v1", f"{URL}?key=sk-secret-1", f"{URL}?api_key=sk-secret", f"{URL}?sk=sk-secret"],
)
def test_a_key_in_a_ref_is_refused_and_not_repeated(options):
    with pytest.raises(UserMistake) as refused:
        check_options(f"openai:{options}")
    assert "secret" not in str(refused.value)


def test_a_key_that_was_not_named_goes_neither_unencrypted_nor_over_a_network():
    goes = {
        "http://127.0.0.1:8000/v1": True,
        "http://localhost/v1": True,
        "https://api.example.org/v1": True,
        "http://10.0.0.7:8000/v1": False,
        "http://10.0.0.7:8000/v1?key=CLUSTER_KEY": True,
        "http://127.example.org/v1": False,
    }
    assert {options: served_by(options).sends_key for options in goes} == goes


def test_what_changes_no_text_enters_no_key():
    ref = f"openai:{URL}?model=m&endpoint=completions"
    others = "concurrency=3&timeout=5&retries=9&wait=7&key=MINE&prompt_price=1&completion_price=2"
    assert deciding(f"{ref}&{others}") == deciding(ref) == ref
    assert deciding(f"openai:{URL},model=m,endpoint=chat") == f"openai:{URL}?model=m"
    assert plain(EngineRef(f"{ref}&{others}")) == plain(EngineRef(ref)) == ref
    assert len({deciding(f"{ref}{more}") for more in ("", "&server=vllm", "&reasoning=keep", "&model=n")}) == 4
    assert deciding("transformers:rows=3") == "transformers:rows=3"
    assert deciding(f"openai:{URL}?model=a%2Cb%26c") == f"openai:{URL}?model=a%2Cb%26c"


def test_a_ref_says_what_kind_of_engine_it_is():
    assert [is_served(ref) for ref in (f"openai:{URL}", "transformers", "scripted:a.json")] == [True, False, False]
    assert [takes_messages(f"openai:{URL}{more}") for more in ("", "?endpoint=completions")] == [True, False]
    assert not takes_messages("transformers")
    assert prices("transformers") is None
    assert prices(f"openai:{URL}") is None
    assert prices(f"openai:{URL}?prompt_price=0.5&completion_price=2").cost(1_000_000, 2_000_000) == 4.5


def test_the_code_that_counts_is_what_makes_requests_and_reads_answers():
    assert modules_of(f"openai:{URL}") == ("tasks.engines.exchange",)


@pytest.mark.parametrize(
    ("server", "beyond"),
    [
        ("openai", {}),
        ("vllm", {"top_k": 5, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("llama.cpp", {"top_k": 5, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0}),
    ],
)
def test_each_server_is_sent_all_that_it_takes(server, beyond):
    standard = {
        "model": "m", "messages": [{"role": "user", "content": "2+2="}], "temperature": 0.7, "top_p": 0.9, "max_tokens": 32,
        "stop": ["\n", "Q:"], "seed": 528928897, "n": 1, "presence_penalty": 0.0, "frequency_penalty": 0.0, "stream": False,
    }  # fmt: skip
    assert Exchange("m", server=server).body(REQUEST, DRAWN) == standard | beyond


@pytest.mark.parametrize("server", ["openai", "vllm", "llama.cpp"])
def test_a_presence_penalty_is_sent(server):
    assert Exchange("m", server=server).body(REQUEST, Sampling(0.7, 9, presence_penalty=2))["presence_penalty"] == 2.0


def test_transformers_serve_is_told_to_sample_and_how():
    body = Exchange("m", "completions", "transformers").body(REQUEST, DRAWN)
    assert body["prompt"] == "2+2="
    settings = json.loads(body["generation_config"])
    assert settings == {
        "do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.0, "typical_p": 1.0,
        "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1, "max_new_tokens": 32,
    }  # fmt: skip
    greedy = json.loads(Exchange("m", "chat", "transformers").body(REQUEST, Sampling(0.0, 9))["generation_config"])
    assert (greedy["do_sample"], greedy["max_new_tokens"]) == (False, 9)


def test_no_special_tokens_are_added_to_a_prompt_that_is_sent_as_it_is():
    assert Exchange("m", "completions", "vllm").body(REQUEST, DRAWN)["add_special_tokens"] is False


def test_more_stop_strings_than_the_standard_allows_are_cut_at_here():
    sampling = Sampling(0.0, 9, stop=("a", "b", "c", "d", "e"))
    assert Exchange("m").body(REQUEST, sampling)["stop"] == ["a", "b", "c", "d"]
    assert Exchange("m", server="vllm").body(REQUEST, sampling)["stop"] == ["a", "b", "c", "d", "e"]
    assert Exchange("m").read(chat("x e y"), REQUEST, sampling).text == "x "


def chat(content, finish="stop", **message):
    return {"choices": [{"finish_reason": finish, "message": {"content": content, **message}}]}


@pytest.mark.parametrize(
    ("answer", "text", "reason"),
    [
        (chat("4"), "4", STOP),
        (chat(""), "", STOP),
        (chat("4", "length"), "4", LENGTH),
        (chat("4\nQ: 3+3", "length"), "4", STOP),
        (chat("4", "eos_token"), "4", STOP),
        (chat("4", "content_filter"), "4", FAILED),
        (chat(None, "length", reasoning_content="Let me see"), "", LENGTH),
        (chat(None, refusal="I cannot"), "I cannot", STOP),
        (chat([{"type": "text", "text": "4"}, {"type": "text", "text": "!"}]), "4!", STOP),
        (chat("half \ud83d"), "half \ufffd", STOP),
    ],
)
def test_answers_are_read(answer, text, reason):
    response = Exchange("m").read(answer, REQUEST, Sampling(0.0, 9, stop=("\nQ:",)))
    assert (response.text, response.finish_reason, response.final) == (text, reason, reason == FAILED)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_a_model_thought_is_kept_if_asked(name):
    answer = chat("4", **{name: "2 and 2\n"})
    assert Exchange("m").read(answer, REQUEST, Sampling(0.0, 9)).text == "4"
    kept = Exchange("m", reasoning="keep").read(answer, REQUEST, Sampling(0.0, 9)).text
    assert kept == "<think>\n2 and 2\n</think>\n\n4"


def test_an_end_that_says_nothing_is_no_answer():
    with pytest.raises(NotAnAnswer, match="finish_reason 'abort'"):
        Exchange("m").read(chat("4", "abort"), REQUEST, Sampling(0.0, 9))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30.5s"}, 90.5),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1m"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "whenever"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
    ],
)
def test_what_a_server_asks_to_wait_is_understood(headers, seconds):
    assert asked_to_wait(headers, now=10.0) == seconds


def test_a_limit_that_is_reset_at_a_moment_is_waited_for_until_then():
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1900000030"}
    assert asked_to_wait(headers, now=1.9e9) == 30.0
