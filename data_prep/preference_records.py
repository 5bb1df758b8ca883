"""One example of preference data: a prompt and its completions, best one first; and why a row is unusable.

Kinds: ``pair`` (chosen, rejected), ``listwise`` (chosen, several rejected), ``multi`` (a winner and those it
won against, out of a list of responses with their comparisons) and ``unpaired`` (one completion that is
desirable or not). A prompt is text, or the messages of a dialogue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["pair", "multi", "listwise", "unpaired"]
Message = dict[str, str]
KINDS: tuple[Kind, ...] = ("pair", "multi", "listwise", "unpaired")
ROLES = ("system", "user", "assistant", "tool")


class BadRow(ValueError):
    """Why a row is not used: ``kind`` is what the report counts by, the message says what to mend."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class RejectedRow(NamedTuple):
    """A row of a source that is not used; ``line`` counts the lines of a text file, or records, from 1."""

    source: str
    line: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Example:
    """A prompt and its completions.

    Attributes
    ----------
    prompt : text, or with ``chat`` the messages ``[{"role", "content"}, ...]`` as JSON.
    completions : texts, the chosen one first; one only when unpaired.
    kind : see the module.
    chat : the prompt is a dialogue, and a completion the next message of the assistant.
    desirable : for unpaired completions, else None.
    sft_target : text to imitate where it is not the chosen one.
    """

    prompt: str
    completions: tuple[str, ...]
    kind: Kind
    chat: bool = False
    desirable: bool | None = None
    sft_target: str | None = None

    @property
    def prompt_group(self) -> int:
        """A number for the prompt: examples of one prompt share it."""
        return _number(self.chat, self.prompt)

    @property
    def example_id(self) -> int:
        """A number for the whole content, the same wherever and in whatever order the example is read."""
        return _number(self.kind, self.chat, self.prompt, self.desirable, self.sft_target, *self.completions)


def _number(*content: object) -> int:
    """62 bits of a hash: positive as int64, and ids of pairs within an example can be counted up from it."""
    text = json.dumps(content, ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 2


def check_example(example: Example, *, drop_identical: bool = True) -> None:
    """Raise :class:`BadRow` for an example that nothing can be learnt from, or that cannot be stored."""
    if not example.prompt.strip():
        raise BadRow("empty prompt", "the prompt is empty: nothing would stand before the completions")
    texts = [*example.completions, *([] if example.sft_target is None else [example.sft_target])]
    for place, text in enumerate(texts):
        if not text.strip():
            raise BadRow("empty response", f"response {place} is empty: give it a text or remove the row")
    try:
        "".join([example.prompt, *texts]).encode()
    except UnicodeEncodeError as error:
        raise BadRow("not UTF-8", f"half of a character cannot be written as UTF-8: {error.reason}") from None
    if drop_identical and example.completions[0] in example.completions[1:]:
        raise BadRow("identical pair", "the chosen response is also a rejected one: it cannot be both")


def dialogue_of(value: Any, name: str) -> list[Message]:
    """Messages with ``role`` and ``content``, or ``from`` and ``value`` as in ShareGPT, as the former."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise BadRow("wrong type", f"{name} must be text or a list of messages, not {shown(value)}")
    return [_message(one, name) for one in value]


def _message(value: Any, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise BadRow("wrong type", f"{name} holds {shown(value)} where a message is needed")
    role = value.get("role", _SHAREGPT_ROLES.get(str(value.get("from")), value.get("from")))
    content = value.get("content", value.get("value"))
    if role not in ROLES:
        raise BadRow("wrong type", f"{name} has a message of role {role!r}; known are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise BadRow("wrong type", f"{name} has a message whose content is {shown(content)}, not text")
    return {"role": role, "content": content}


_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "observation": "tool"}


def messages_json(messages: Sequence[Message]) -> str:
    """Messages as they are stored in :attr:`Example.prompt`."""
    return json.dumps(list(messages), ensure_ascii=False)


def question(text: str) -> str:
    """The stored prompt of a dialogue of one question."""
    return messages_json([{"role": "user", "content": text}])


def shown(value: Any) -> str:
    """A value in a message, cut to some length."""
    text = "nothing" if value is None else f"{type(value).__name__} {value!r}"
    return text if len(text) <= 60 else f"{text[:57]}..."
