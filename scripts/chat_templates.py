#!/usr/bin/env python3
"""Renders chat templates by transformers: the expectations of crates/text/tests/chat.rs.

    python scripts/chat_templates.py TEMPLATES crates/text/tests/fixtures/chat.json [--whole FILE]

TEMPLATES is a folder of `*.jinja`. The fixture holds the conversations, and for each template the digest of
its source and of each rendering, or the word `error` where transformers refuses. `--whole` writes the
renderings themselves, to compare with the eye. Made with transformers 5.24 and Jinja2 3.1.6.
"""

import argparse
import datetime as clock
import hashlib
import json
import pathlib

from transformers.utils import chat_template_utils as hf

NOW = 1785412862  # 2026-07-30 12:01:02 UTC


class Frozen(clock.datetime):
    @classmethod
    def now(cls, tz=None):
        return clock.datetime.fromtimestamp(NOW, clock.timezone.utc)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a <place> & more",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city"},
                    "days": {"type": "integer", "description": "How many days", "default": 3},
                    "unit": {"type": "string", "enum": ["°C", "°F"]},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}},
    },
]


def call(name, arguments, identity="call12345"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


HELLO = [{"role": "user", "content": "Hello, who are you?"}]
SYSTEM = [{"role": "system", "content": "You are a careful assistant."}]
ANSWER = [{"role": "assistant", "content": "  I am a model.\n"}]
AGAIN = [{"role": "user", "content": "Say 'naïve' & \"<b>\" — 漢字 😀\n\nTwice.  "}]
WEATHER = [
    {"role": "user", "content": "How is the weather in Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Paris", "days": 2, "exact": True, "x": None, "f": 1.5})]},
    {"role": "tool", "tool_call_id": "call12345", "name": "get_weather", "content": '{"temperature": 21.5}'},
]
SAID = [{"role": "assistant", "content": "It is 21.5 degrees."}]

CASES = {
    "user": {"messages": HELLO, "add_generation_prompt": True},
    "user_closed": {"messages": HELLO, "add_generation_prompt": False},
    "system": {"messages": SYSTEM + HELLO, "add_generation_prompt": True},
    "turns": {"messages": SYSTEM + HELLO + ANSWER + AGAIN, "add_generation_prompt": True},
    "turns_closed": {"messages": HELLO + ANSWER + AGAIN + SAID, "add_generation_prompt": False},
    "parts": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "First part."}, {"type": "text", "text": "Second."}]}],
        "add_generation_prompt": True,
    },
    "thought": {
        "messages": HELLO + [{"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi."}] + AGAIN,
        "add_generation_prompt": True,
    },
    "reasoning": {
        "messages": HELLO + [{"role": "assistant", "content": "Hi.", "reasoning_content": "A greeting."}],
        "add_generation_prompt": False,
    },
    "no_thinking": {"messages": HELLO, "add_generation_prompt": True, "enable_thinking": False},
    "tools": {"messages": SYSTEM + HELLO, "tools": TOOLS, "add_generation_prompt": True},
    "tool_call": {"messages": SYSTEM + WEATHER, "tools": TOOLS, "add_generation_prompt": True},
    "tool_answered": {"messages": WEATHER + SAID + AGAIN, "tools": TOOLS, "add_generation_prompt": True},
    "tool_text_arguments": {
        "messages": [WEATHER[0], {"role": "assistant", "content": None, "tool_calls": [call("now", '{"a": [1, 2]}')]}],
        "tools": TOOLS,
        "add_generation_prompt": False,
    },
    "odd_role": {"messages": HELLO + HELLO + [{"role": "critic", "content": "Bad."}], "add_generation_prompt": True},
}

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def render(source, case):
    case = dict(case)
    messages = json.loads(json.dumps(case.pop("messages")))
    try:
        rendered, _ = hf.render_jinja_template(conversations=[messages], chat_template=source, **TOKENS, **case)
        return rendered[0], None
    except Exception as error:  # whatever a template may raise
        return None, f"{type(error).__name__}: {error}"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("templates", type=pathlib.Path)
    arguments.add_argument("fixture", type=pathlib.Path)
    arguments.add_argument("--whole", type=pathlib.Path)
    given = arguments.parse_args()
    hf.datetime = Frozen
    templates, whole = {}, {}
    for path in sorted(given.templates.glob("*.jinja")):
        source = path.read_text()
        results = {name: render(source, case) for name, case in CASES.items()}
        whole[path.stem] = {name: {"text": text, "error": error} for name, (text, error) in results.items()}
        templates[path.stem] = [digest(source)] + ["error" if text is None else digest(text) for text, _ in results.values()]
    fixture = {"now": NOW, "tokens": TOKENS, "cases": CASES, "templates": templates}
    body = json.dumps(fixture, ensure_ascii=False, indent=0, separators=(",", ":"))
    given.fixture.write_text(body + "\n")
    if given.whole:
        given.whole.write_text(json.dumps(whole, ensure_ascii=False, indent=1))
    errors = sum(row.count("error") for row in templates.values())
    print(f"{len(templates)} templates, {len(CASES)} cases each, {errors} refused")


main()
