"""Dialogues as text, by the tokenizer's chat template or another one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

DIALOGUE = (
    "{%- set names = {'system': 'System', 'user': 'Human', 'assistant': 'Assistant', 'tool': 'Tool'} -%}"
    "{%- for message in messages -%}"
    "{{ '\n\n' + names[message['role']] + ': ' + message['content'] }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '\n\nAssistant:' }}{%- endif -%}"
)
"""The layout of the HH dialogues (Bai et al. 2022), for models without a template of their own."""


def contents(prompt: str) -> list[str]:
    """What the messages of a stored dialogue say."""
    return [message["content"] for message in json.loads(prompt)]


@dataclass(frozen=True)
class ChatFormat:
    """How dialogues become text.

    Attributes
    ----------
    template : "dialogue" for the layout of the HH data, the file of a Jinja template, or None for the
        tokenizer's own.
    header_in_response : the header of the assistant's message (in Llama 3 some tokens) is scored as part of
        the response, as in the recipes of SimPO (Meng et al., NeurIPS 2024) and alpha-DPO; else it ends the
        prompt.
    """

    template: str | None = None
    header_in_response: bool = False

    @cached_property
    def text(self) -> str | None:
        """The Jinja template; None for the tokenizer's own.

        Raises
        ------
        ValueError : there is no such file.
        """
        if self.template is None:
            return None
        if self.template == "dialogue":
            return DIALOGUE
        if not Path(self.template).is_file():
            raise ValueError(f"chat_template {self.template!r} is neither 'dialogue' nor a file")
        return Path(self.template).read_text(encoding="utf-8")

    def render(self, tokenizer: Any, prompt: str, completions: Sequence[str]) -> list[str]:
        """A dialogue alone, and with each reply.

        Args:
            tokenizer: its special tokens fill the template.
            prompt: messages as JSON.
            completions: texts of the assistant's next message.

        Raises:
            ValueError: there is no template, or it refuses the dialogue.
        """
        if self.text is None and not getattr(tokenizer, "chat_template", None):
            raise ValueError("the tokenizer has no chat template: set chat_template to 'dialogue' or a file")
        messages = json.loads(prompt)
        alone = self._rendered(tokenizer, messages, ask=not self.header_in_response)
        replies = [[*messages, {"role": "assistant", "content": text}] for text in completions]
        return [alone, *(self._ended(tokenizer, self._rendered(tokenizer, one)) for one in replies)]

    def _rendered(self, tokenizer: Any, messages: list[dict[str, str]], *, ask: bool = False) -> str:
        try:
            return tokenizer.apply_chat_template(
                messages, chat_template=self.text, tokenize=False, add_generation_prompt=ask
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ValueError(f"the chat template refuses a dialogue of {roles}: {error}") from error

    @staticmethod
    def _ended(tokenizer: Any, text: str) -> str:
        """A reply ends with its end token: what some templates write behind it is left away."""
        bare = text.rstrip()
        return bare if tokenizer.eos_token and bare.endswith(tokenizer.eos_token) else text

    def describe(self, tokenizer: Any) -> str:
        """The template and its use as one text, to tell cached values by."""
        text = self.text or getattr(tokenizer, "chat_template", None) or "none"
        return f"{text} header_in_response={self.header_in_response}"
