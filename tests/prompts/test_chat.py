"""A chat rendered here is what transformers renders, and a run without one is asked for nothing new."""

import json

import pytest

from storage.errors import UserMistake
from storage.records import Problem
from tasks.prompts.chat import Chat, chat_of, prompt_of
from tasks.prompts.render import render
from tasks.sample import sample

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe brief."
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday Date: " + date_string + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
PARTS = """{%- if tools is not none %}{{ raise_exception('no tools here') }}{%- endif -%}
{%- set ns = namespace(found=false) -%}
{% for message in messages %}
    {% if ns.found %}{% break %}{% endif %}
    {% set ns.found = true %}
    {% if message.role == 'assistant' %}
        {% generation %}{{ message.content }}{% endgeneration %}
    {% else %}
[{{ message.role }}] {{ message | tojson }}
    {% endif %}
{% endfor %}
{{ eos_token }}[assistant]
"""
TOKENS = (("bos_token", "<s>"), ("eos_token", "</s>"))
TEXTS = [
    "What is 2 + 2?",
    "  spaces, ünïcode, 'quotes' & <tags>\n\n",
    "{{ 7 * 7 }} {% raise %}",
    "Question: 1\nAnswer: 1\n\nQuestion: 2",
]
PROBLEM = Problem.of("case", "train", "What is 17 + 8?", "25")


def applied(template: str, text: str) -> str:
    """What transformers makes of it."""
    from transformers.utils.chat_template_utils import render_jinja_template

    chats = [[{"role": "user", "content": text}]]
    (rendered,), _ = render_jinja_template(
        conversations=chats, chat_template=template, add_generation_prompt=True, **dict(TOKENS)
    )
    return rendered


@pytest.mark.slow
@pytest.mark.parametrize("template", [CHATML, PARTS], ids=["chatml", "parts"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_chat_is_what_transformers_makes_of_it(template, text):
    assert Chat(template, TOKENS).wrap(text) == applied(template, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_a_template_that_asks_for_the_date_is_told_one_that_stays(text, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(HEADERS)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(dict(TOKENS)))
    chat = chat_of(tmp_path)
    assert chat is not None
    assert "Today Date: 26 Jul 2024" in chat.wrap(text)
    assert chat.wrap(text) == applied(chat.template, text)


def test_a_models_chat_is_read_from_its_folder_alone(tmp_path):
    assert chat_of(tmp_path) is None
    config = {"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}],
              "eos_token": {"content": "<|im_end|>", "lstrip": False}, "model_max_length": 8192}  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert chat_of(tmp_path) == Chat(CHATML, (("eos_token", "<|im_end|>"),))
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    assert chat_of(tmp_path) == Chat(CHATML, TOKENS)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert chat_of(tmp_path) == Chat("{{ messages[0].content }}", TOKENS)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserMistake, match=r"tokenizer_config\.json is no JSON"):
        chat_of(tmp_path)


def test_a_template_that_refuses_is_one_sentence():
    with pytest.raises(UserMistake, match=r"cannot be filled in: only systems; set chat = off"):
        Chat("{{ raise_exception('only systems') }}").wrap("hello")
    with pytest.raises(UserMistake, match="cannot be filled in"):
        Chat("{% for %}").wrap("hello")


def test_a_template_can_reach_nothing_of_ours():
    with pytest.raises(UserMistake, match="cannot be filled in"):
        Chat("{{ messages.__class__.__mro__ }}").wrap("hello")
    with pytest.raises(UserMistake, match="cannot be filled in"):
        Chat("{{ messages.append(1) }}").wrap("hello")


def test_without_a_chat_a_prompt_is_the_very_one_it_was():
    assert prompt_of("plain", PROBLEM) == render("plain", PROBLEM)
    assert prompt_of("plain", PROBLEM, hinted=True) == render("plain", PROBLEM, hinted=True)


def test_in_a_chat_the_prompt_is_the_turn_and_what_stands_around_it():
    direct, hinted = prompt_of("plain", PROBLEM, chat=Chat(CHATML)), prompt_of("plain", PROBLEM, True, Chat(CHATML))
    assert direct.text.endswith("<|im_start|>user\nWhat is 17 + 8?<|im_end|>\n<|im_start|>assistant\n")
    assert "25" not in direct.text
    assert "25" in hinted.text
    assert (direct.hinted, hinted.hinted) == (False, True)
    assert direct.template_digest != render("plain", PROBLEM).template_digest


def test_only_a_chat_that_is_in_force_enters_a_key():
    call = {"problems": "p", "engine": "transformers", "checkpoint_id": "c", "weights_digest": "w", "template": "plain",
            "sampling": "s", "first_sample": 0, "samples": 1, "seed": 0}  # fmt: skip
    plain = sample.key_parts(call)
    assert plain["arguments"] == call
    assert set(plain["ingredients"]) == {"engine", "template"}
    assert sample.key_parts(call | {"chat": None}) == plain
    keys = {sample.key(call | {"chat": chat}) for chat in (None, Chat("a"), Chat("b"), Chat("b", TOKENS))}
    assert len(keys) == 4
