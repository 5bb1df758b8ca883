"""Log-probabilities of completions written in a JSONL file, for a plain causal model or an exported one.

A row is ``{"prompt", "chosen", "rejected"}``, where rejected is a text or a list of texts, or
``{"prompt", "completions": [...]}``. Prompt and completion are joined as they stand, without a separator. A
prompt that is an object asks a model that writes its own prompts; see :mod:`align.scorers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from align.tokenise import boundary, encode, ended
from moltc.backbone.checkpoint import load_text_model, read_config, saved_kind
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Row:
    """A prompt and its completions, the chosen one first; ``line`` counts from 1.

    A prompt that was given as an object is kept as JSON, and marked.
    """

    line: int
    prompt: str
    completions: tuple[str, ...]
    is_object: bool = False


class Scores(NamedTuple):
    """For each completion of a row the sum of its token log-probabilities and the number of these tokens."""

    line: int
    logps: list[float]
    lengths: list[int]


class Refusal(NamedTuple):
    """A row that was not scored, and what is wrong with it."""

    line: int
    reason: str


class Prepared(NamedTuple):
    """A row as a prompt tree, and the tokens that are read of it."""

    line: int
    tree: PromptTree
    tokens: int


def load_model(name: str, *, dtype: Dtype = "auto", device: str = "cpu") -> SoftPromptLM:
    """The language model of an exported folder, or a Hugging Face folder or id, ready to score text.

    Of a model with towers (a MolTC export, say) the text side is taken alone.

    Args:
        name: folder or id.
        dtype: of a Hugging Face model: auto (as stored), float32, bfloat16 or float16.
        device: where it runs.

    Raises:
        CheckpointError: when an exported folder is incomplete or altered.
        ValueError: when ``dtype`` is set for an exported model, which keeps its own.
    """
    folder = Path(name)
    if saved_kind(folder) is None:
        config = LanguageModelConfig(name=name, training="frozen", dtype=dtype)
        language_model = LanguageModel.from_config(config)
    elif dtype != "auto":
        raise ValueError(f"{folder} is an exported model and keeps its dtype; leave dtype at 'auto'")
    else:
        language_model = load_text_model(folder, read_config(folder))
    return SoftPromptLM(language_model).to(device).eval()


def read_rows(path: Path) -> tuple[list[Row], list[Refusal]]:
    """Read a JSONL file; a row that cannot be read is refused with its line number, the others are kept."""
    rows, refused = [], []
    with path.open(encoding="utf-8") as lines:
        for line, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                rows.append(_parse(line, text))
            except ValueError as error:
                refused.append(Refusal(line, str(error)))
    return rows, refused


def _parse(line: int, text: str) -> Row:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object is needed, not {type(record).__name__}")
    if ("completions" in record) == ("chosen" in record or "rejected" in record):
        raise ValueError("give either completions, or chosen and rejected")
    if "completions" in record:
        completions = record["completions"]
    else:
        rejected = record.get("rejected")
        completions = [record.get("chosen"), *(rejected if isinstance(rejected, list) else [rejected])]
    if not isinstance(completions, list) or not completions:
        raise ValueError(f"completions must be a list of texts, not {completions!r}")
    prompt: Any = record.get("prompt")
    is_object = isinstance(prompt, dict)
    if is_object:
        prompt = json.dumps(prompt, ensure_ascii=False)
    for name, value in [
        ("prompt", prompt),
        *(("a completion", value) for value in completions),
    ]:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {value!r} (render chat messages to text first)")
    return Row(line, prompt, tuple(completions), is_object)


def prepare(row: Row, tokenizer: Any, window: int | None = None) -> Prepared:
    """Tokenise a row, as training does (:mod:`align.tokenise`) but that nothing is cut.

    Raises:
        ValueError: when the prompt is an object, nothing stands before a completion, or prompt and completion
            exceed ``window`` tokens.
    """
    if row.is_object:
        raise ValueError("prompt must be text for a model of text, not an object")
    alone, *joined = encode(tokenizer, [row.prompt, *(row.prompt + text for text in row.completions)])
    joined = [ended(tokenizer, ids) for ids in joined]
    for index, ids in enumerate(joined):
        if window is not None and len(ids) > window:
            raise ValueError(
                f"completion {index}: {len(ids)} tokens with its prompt, the model reads {window}"
            )
    end = boundary(alone, joined)
    tree = PromptTree(np.array(joined[0][:end]), tuple(np.array(ids[end:]) for ids in joined))
    return Prepared(row.line, tree, end + sum(len(ids) - end for ids in joined))


def score_rows(
    model: SoftPromptLM, rows: Iterable[Row], *, batch_tokens: int = 8192
) -> Iterator[Scores | Refusal]:
    """Score rows in order, many at a time.

    Args:
        model: reads the trees of a batch in one pass.
        rows: what to score.
        batch_tokens: tokens of one pass; a single longer row is a pass of its own.
    """
    language_model = model.language_model
    window = language_model.max_positions
    batch: list[Prepared] = []
    for row in rows:
        try:
            prepared = prepare(row, language_model.tokenizer, window)
        except ValueError as error:
            yield Refusal(row.line, str(error))
            continue
        if batch and sum(held.tokens for held in batch) + prepared.tokens > batch_tokens:
            yield from _score_batch(model, batch)
            batch = []
        batch.append(prepared)
    if batch:
        yield from _score_batch(model, batch)


def _score_batch(model: SoftPromptLM, batch: Sequence[Prepared]) -> Iterator[Scores]:
    scored = model.logps([prepared.tree for prepared in batch])
    return unpacked(scored, [prepared.line for prepared in batch])


def unpacked(scored: Completions, lines: Sequence[int]) -> Iterator[Scores]:
    """The scores of each prompt of a batch, which stood on these lines."""
    logps, lengths = scored.logps.double().cpu().tolist(), scored.lengths.cpu().tolist()
    start = 0
    for line, count in zip(lines, scored.num_completions.tolist(), strict=True):
        yield Scores(line, logps[start : start + count], lengths[start : start + count])
        start += count
