"""Preference data as published: what one record of each format says.

A reader takes a record (a mapping of named fields) and gives its examples, or raises
:class:`~data_prep.preference_records.BadRow`. Which format a file has is seen from its fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.preference_records import (
    BadRow,
    Example,
    Kind,
    Message,
    dialogue_of,
    messages_json,
    question,
    shown,
)

Row = Mapping[str, Any]
Parse = Callable[[Row], list[Example]]

_HH_REPLY = "\n\nAssistant:"
_NUMBERED = re.compile(r"rejected_?(\d+)")


def pairs(row: Row) -> list[Example]:
    """``prompt``, ``chosen`` and ``rejected``: texts, or messages.

    ``rejected`` may be a list, or stand in columns ``rejected1``, ``rejected2``, ... Without a prompt, or
    with whole dialogues as replies, the prompt is what the replies begin with alike.
    """
    chosen, rejected = given(row, "chosen"), _rejected(row)
    replies = [chosen, *rejected]
    kind: Kind = "pair" if len(rejected) == 1 else "listwise"
    others = [reply for reply in replies if not isinstance(reply, str)]
    if not others:
        prompt, chat, texts = _text_prompt(row.get("prompt"), replies)
    elif len(others) < len(replies):
        raise BadRow("wrong type", f"{shown(others[0])} stands beside texts: give all replies alike")
    else:
        prompt, chat, texts = _chat_prompt(row.get("prompt"), replies)
    return [Example(prompt, tuple(texts), kind, chat)]


def _rejected(row: Row) -> list[Any]:
    numbered = {int(m[1]): name for name in row if (m := _NUMBERED.fullmatch(name)) and row[name] is not None}
    if numbered and row.get("rejected") is not None:
        raise BadRow("wrong type", "give rejected or rejected1, rejected2, ..., not both")
    if numbered:
        return [row[numbered[number]] for number in sorted(numbered)]
    rejected = given(row, "rejected")
    if not isinstance(rejected, list):
        return [rejected]
    return [rejected] if rejected and isinstance(rejected[0], Mapping) else _not_empty(rejected, "rejected")


def _not_empty(values: list[Any], name: str) -> list[Any]:
    if not values:
        raise BadRow("missing field", f"{name} is an empty list: give at least one response")
    return values


def _text_prompt(prompt: Any, replies: Sequence[str]) -> tuple[str, bool, Sequence[str]]:
    """Prompt, whether it is a dialogue, and completions, of replies that are texts."""
    if prompt is None:
        # a word is not cut: the blank before the first word that differs begins the completions
        shared = _common_beginning(replies)
        end = max(shared.rfind(blank) for blank in " \n\t")
        if end < 1:
            raise BadRow("prompts differ", "no prompt is given, and the replies do not begin alike")
        return shared[:end], False, [reply[end:] for reply in replies]
    if isinstance(prompt, str):
        return prompt, False, replies
    return messages_json(dialogue_of(prompt, "prompt")), True, replies


def _common_beginning(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # whatever these two share, all in between share
    end = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:end]


def _chat_prompt(
    prompt: Any, replies: Sequence[Any], first: str = "chosen"
) -> tuple[str, bool, Sequence[str]]:
    """The same for replies that are messages: one of the assistant, or the dialogue it ends."""
    names = [first, *["rejected"] * (len(replies) - 1)]
    dialogues = [dialogue_of(reply, name) for reply, name in zip(replies, names, strict=True)]
    heads = [dialogue[:-1] for dialogue in dialogues]
    if any(head != heads[0] for head in heads):
        raise BadRow("prompts differ", "the dialogues part before their last message: no prompt is shared")
    if prompt is None:
        head = heads[0]
    else:
        head = dialogue_of(prompt, "prompt") if not isinstance(prompt, str) else [_user(prompt)]
        whole = heads[0] and (heads[0] == head or (isinstance(prompt, str) and heads[0][-1] == head[0]))
        if heads[0] and not whole:
            raise BadRow("prompts differ", "the dialogues do not begin with the prompt")
        head = heads[0] or head
    if not head:
        raise BadRow("missing field", "the dialogues have one message and there is no prompt")
    return messages_json(head), True, [_reply(dialogue[-1]) for dialogue in dialogues]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _reply(message: Message) -> str:
    if message["role"] != "assistant":
        raise BadRow("wrong type", f"the last message is of role {message['role']!r}, not the assistant's")
    return message["content"]


def multi(row: Row) -> list[Example]:
    """``prompt``, ``responses`` and ``pairs`` of their numbers, better first; perhaps ``sft_target``.

    An example for each response that won: against those it won over.
    """
    prompt, responses, target = row.get("prompt"), given(row, "responses"), row.get("sft_target")
    if not isinstance(responses, list) or not all(isinstance(text, str) for text in responses):
        raise BadRow("wrong type", f"responses must be a list of texts, not {shown(responses)}")
    if target is not None and not isinstance(target, str):
        raise BadRow("wrong type", f"sft_target must be text, not {shown(target)}")
    chat = not isinstance(prompt, str)
    head = messages_json(dialogue_of(prompt, "prompt")) if chat else text_of(row, "prompt")
    beaten: dict[int, list[str]] = {}
    for pair in _not_empty(given(row, "pairs"), "pairs"):
        if not _is_pair(pair, len(responses)):
            raise BadRow("wrong type", f"pair {shown(pair)} does not name two of {len(responses)} responses")
        beaten.setdefault(pair[0], []).append(responses[pair[1]])
    return [
        Example(head, (responses[winner], *losers), "multi", chat, sft_target=target)
        for winner, losers in beaten.items()
    ]


def _is_pair(pair: Any, count: int) -> bool:
    return (
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(isinstance(one, int) and 0 <= one < count for one in pair)
    )


def unpaired(row: Row) -> list[Example]:
    """``prompt``, ``completion`` and ``label``, or ``messages`` and ``label``: true if desirable."""
    label = given(row, "label")
    if isinstance(label, str):
        label = {"true": True, "1": True, "false": False, "0": False}.get(label.strip().lower(), label)
    if label not in (True, False) or isinstance(label, str):
        raise BadRow("wrong type", f"label must be true or false, not {shown(label)}")
    return [_single(row, bool(label))]


def demonstrations(row: Row) -> list[Example]:
    """``prompt`` and ``completion``, or ``messages``, to imitate: desirable completions."""
    return [_single(row, True)]


def _single(row: Row, desirable: bool) -> Example:
    reply = row["messages"] if row.get("messages") is not None else given(row, "completion")
    prompt = row.get("prompt")
    if not isinstance(reply, str):
        head, chat, texts = _chat_prompt(prompt, [reply], "completion")
    else:
        head, chat, texts = _text_prompt(given(row, "prompt"), [reply])
    return Example(head, tuple(texts), "unpaired", chat, desirable)


def hh(row: Row) -> list[Example]:
    """Dialogues of Bai et al. (2022): the prompt ends with the last "Assistant:" of the chosen one."""
    chosen, rejected = text_of(row, "chosen"), text_of(row, "rejected")
    end = chosen.rfind(_HH_REPLY) + len(_HH_REPLY)
    if end < len(_HH_REPLY):
        raise BadRow("wrong type", f"chosen is not a dialogue with {_HH_REPLY.strip()!r}")
    if rejected[:end] != chosen[:end]:
        raise BadRow("prompts differ", "the two dialogues part before the last reply of the chosen one")
    if _HH_REPLY in rejected[end:]:
        raise BadRow(
            "more turns", "the rejected dialogue goes on after the reply: the two are not comparable"
        )
    return [Example(chosen[:end], (chosen[end:], rejected[end:]), "pair")]


def sharegpt(row: Row) -> list[Example]:
    """``conversations``, with ``chosen`` and ``rejected`` as the next message (LLaMA-Factory)."""
    replies = [[given(row, "chosen")], [given(row, "rejected")]]
    prompt, chat, texts = _chat_prompt(given(row, "conversations"), replies)
    return [Example(prompt, tuple(texts), "pair", chat)]


def alpaca(row: Row) -> list[Example]:
    """``instruction``, ``input`` and ``output``: a demonstration."""
    return [Example(_instruction(row), (text_of(row, "output"),), "unpaired", True, True)]


def alpaca_eval(row: Row) -> list[Example]:
    """Judged outputs of AlpacaEval (Li et al. 2023): ``preference`` 1 or 2 is the better one."""
    winner = row.get("preference")
    return [_judged(question(text_of(row, "instruction")), row, ("output_1", "output_2"), winner)]


def autoj(row: Row) -> list[Example]:
    """Human judgements of Auto-J (Li et al., ICLR 2024): label 0 or 1 is the better one, 2 a tie."""
    label = given(row, "label")
    winner = {0: 1, 1: 2, 2: 0}.get(label, label) if isinstance(label, int) else shown(label)
    return [_judged(question(text_of(row, "prompt")), row, ("response 1", "response 2"), winner)]


def pandalm(row: Row) -> list[Example]:
    """Three annotators each (Wang et al., ICLR 2024): the better one of most, 0 is a tie."""
    votes = [given(row, f"annotator{number}") for number in (1, 2, 3)]
    winner = max(votes, key=votes.count)
    if votes.count(winner) == 1:
        raise BadRow("no majority", f"the three annotators say {votes}")
    return [_judged(_instruction(row), row, ("response1", "response2"), winner)]


def _judged(prompt: str, row: Row, names: tuple[str, str], winner: Any) -> Example:
    first, second = (text_of(row, name) for name in names)
    if winner is None:
        raise BadRow("not judged", "there is no judgement")
    if winner == 0:
        raise BadRow("tie", "judged a tie: neither response is preferred")
    if winner not in (1, 2):
        raise BadRow("wrong type", f"the judgement is {shown(winner)}; known are 1, 2 and ties")
    return Example(prompt, (first, second) if winner == 1 else (second, first), "pair", True)


def _instruction(row: Row) -> str:
    """The prompt of an instruction with its input, if it has one."""
    extra = row.get("input") or ""
    if not isinstance(extra, str):
        raise BadRow("wrong type", f"input must be text, not {shown(extra)}")
    return question("\n\n".join(part for part in (text_of(row, "instruction"), extra) if part))


def stack_exchange(row: Row) -> list[Example]:
    """``question`` with a better answer ``response_j`` and a worse one ``response_k``."""
    replies = (text_of(row, "response_j"), text_of(row, "response_k"))
    return [Example(question(text_of(row, "question")), replies, "pair", True)]


def candidates(row: Row) -> list[Example]:
    """A history, candidates and the true choice (S-DPO, Chen et al., NeurIPS 2024): all others are rejected.

    The prompt is written in one wording; the authors draw one of several for each example.
    """
    history, choice, items = (
        text_of(row, "historyList"),
        text_of(row, "trueSelection"),
        given(row, "itemList"),
    )
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise BadRow("wrong type", f"itemList must be a list of titles, not {shown(items)}")
    if choice not in items:
        raise BadRow("choice missing", f"trueSelection {choice!r} is not among the candidates")
    prompt = (
        f"Chosen so far, oldest first: {', '.join(history.split('::'))}.\n"
        f"Candidates: {', '.join(items)}.\n"
        "The next choice is one of the candidates.\nAnswer:"
    )
    others = [item for item in items if item != choice]
    return [Example(prompt, tuple(f" {item}" for item in (choice, *others)), "listwise")]


def given(row: Row, name: str) -> Any:
    """A field that must be there."""
    value = row.get(name)
    if value is None:
        raise BadRow("missing field", f"{name} is missing")
    return value


def text_of(row: Row, name: str) -> str:
    """A field that must be text."""
    value = given(row, name)
    if not isinstance(value, str):
        raise BadRow("wrong type", f"{name} must be text, not {shown(value)}")
    return value


class Format(NamedTuple):
    """How records of a format are read, and the fields by which it is known; all others go unused."""

    parse: Parse
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "candidates": Format(candidates, ("historyList", "itemList", "trueSelection")),
    "sharegpt": Format(sharegpt, ("conversations", "chosen", "rejected")),
    "alpaca-eval": Format(alpaca_eval, ("instruction", "output_1", "output_2", "preference")),
    "autoj": Format(autoj, ("prompt", "response 1", "response 2", "label")),
    "pandalm": Format(
        pandalm,
        ("instruction", "response1", "response2", "annotator1", "annotator2", "annotator3"),
        ("input",),
    ),
    "stack-exchange": Format(stack_exchange, ("question", "response_j", "response_k")),
    "alpaca": Format(alpaca, ("instruction", "output"), ("input",)),
    "multi": Format(multi, ("prompt", "responses", "pairs"), ("sft_target",)),
    "hh": Format(hh, ("chosen", "rejected")),
    "pairs": Format(pairs, ("chosen",), ("prompt", "rejected")),
    "unpaired": Format(unpaired, ("label",), ("prompt", "completion", "messages")),
    "demonstrations": Format(demonstrations, (), ("prompt", "completion", "messages")),
}
"""In the order in which a file's fields are compared with them."""


def detect_format(row: Row) -> str | None:
    """The format of a file, from its first record; None if it is of none."""
    for name, known in FORMATS.items():
        if all(field in row for field in known.fields) and _PECULIAR.get(name, lambda _: True)(row):
            return name
    return None


_PECULIAR: dict[str, Callable[[Row], bool]] = {
    "hh": lambda row: row.get("prompt") is None and _HH_REPLY in str(row["chosen"]) + str(row["rejected"]),
    "unpaired": lambda row: "completion" in row or "messages" in row,
    "demonstrations": lambda row: "messages" in row or ("completion" in row and "prompt" in row),
}


def unused_fields(name: str, row: Row) -> set[str]:
    """Fields of a record that its format does not read."""
    known = FORMATS[name]
    return {
        field
        for field in row
        if field not in (*known.fields, *known.optional)
        and not (name == "pairs" and _NUMBERED.fullmatch(field))
    }
