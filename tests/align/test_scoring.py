"""Scores of written completions equal the plain computation, one completion at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from align.cli import main
from align.scoring import Row, Scores, load_model, prepare, read_rows, score_rows
from moltc.backbone.checkpoint import CheckpointError, save_model
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, TinyConfig
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

TEXT = "Human: name a colour. Assistant: blue is a colour, and so is red; green is one too."
ROWS = [
    {"prompt": "Human: name a colour. Assistant:", "chosen": " blue", "rejected": " it is not one."},
    {"prompt": "Human: name", "completions": [" a colour", "d red", " green is one too.", ""]},
    {"prompt": "so is", "chosen": " red", "rejected": [" green", " blue is a colour", " a name"]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model and its tokenizer in the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer([TEXT], vocab_size=300)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain(folder: Path, prompt: str, completions: Sequence[str]) -> list[tuple[float, int]]:
    """Sums of log-probabilities and lengths from one forward pass of transformers for each completion.

    All are scored from the first token on in which one of the texts differs from the prompt alone.
    """
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)

    def encode(text: str) -> list[int]:
        return [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]

    alone = encode(prompt)
    texts = [[*encode(prompt + completion), tokenizer.eos_token_id] for completion in completions]
    start = 0
    while start < len(alone) and all(start < len(ids) - 1 and ids[start] == alone[start] for ids in texts):
        start += 1
    found = []
    for ids in texts:
        with torch.no_grad():
            logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        scored = range(start, len(ids))
        found.append((sum(float(logps[place - 1, ids[place]]) for place in scored), len(scored)))
    return found


def write(path: Path, records: list[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("batch_tokens", [1, 60, 8192], ids=["one-by-one", "some", "all"])
def test_scores_equal_the_plain_computation(batch_tokens: int, folder: Path, tmp_path: Path) -> None:
    rows, refused = read_rows(write(tmp_path / "rows.jsonl", ROWS))
    assert not refused
    results = list(score_rows(load_model(str(folder)), rows, batch_tokens=batch_tokens))
    assert [result.line for result in results] == [1, 2, 3]
    for row, result in zip(rows, results, strict=True):
        assert isinstance(result, Scores)
        expected = plain(folder, row.prompt, row.completions)
        assert result.lengths == [length for _, length in expected]
        np.testing.assert_allclose(result.logps, [logp for logp, _ in expected], rtol=1e-5)


def test_a_token_across_the_boundary_belongs_to_all_completions() -> None:
    """Promise: completions of a row are scored on the same text, so that their sums can be compared."""
    tokenizer = train_tokenizer(["colour " * 50], vocab_size=400)
    joined = tokenizer.encode("colour", add_special_tokens=False)
    apart = tokenizer.encode("col!", add_special_tokens=False)
    assert joined[0] != apart[0]
    tree = prepare(Row(1, "col", ("our", "!")), tokenizer).tree
    assert tree.prompt_ids.tolist() == [tokenizer.bos_token_id]
    assert [ids.tolist() for ids in tree.completions] == [
        [*joined, tokenizer.eos_token_id],
        [*apart, tokenizer.eos_token_id],
    ]


def test_first_and_end_tokens_occur_once() -> None:
    tokenizer = train_tokenizer([TEXT], vocab_size=300)
    written = Row(1, f"{tokenizer.bos_token}so", (f" is{tokenizer.eos_token}",))
    plain_text = Row(1, "so", (" is",))
    one, other = prepare(written, tokenizer).tree, prepare(plain_text, tokenizer).tree
    assert one.prompt_ids.tolist() == other.prompt_ids.tolist()
    assert one.completions[0].tolist() == other.completions[0].tolist()


def test_exported_model_scores_as_before(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([TEXT], vocab_size=300)
    config = LanguageModelConfig(tiny=TinyConfig(hidden=32, layers=1, heads=2, ffn=48))
    model = SoftPromptLM(LanguageModel.from_config(config, tokenizer)).eval()
    rows = [Row(1, "so is", (" red", " green"))]
    before = list(score_rows(model, rows))
    save_model(tmp_path / "export", model, model.language_model, kind="test", settings={}, card="a test")
    assert list(score_rows(load_model(str(tmp_path / "export")), rows)) == before

    with pytest.raises(ValueError, match="keeps its dtype"):
        load_model(str(tmp_path / "export"), dtype="bfloat16")
    (tmp_path / "export" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="hash"):
        load_model(str(tmp_path / "export"))


class TestCommand:
    def test_good_rows_are_scored_and_bad_ones_named(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = [
            ["a", "list"],
            {"prompt": "x"},
            {"prompt": "x", "chosen": "y"},
            {"prompt": [{"role": "user"}], "completions": ["y"]},
            {"prompt": "x", "completions": []},
            {"prompt": "red " * 60, "completions": ["y"]},
        ]
        path = write(tmp_path / "rows.jsonl", [*bad, *ROWS])
        with path.open("a") as stream:
            stream.write("{not json\n")
        out = tmp_path / "scores.jsonl"
        assert main(["score", "--model", str(folder), "--input", str(path), "--out", str(out)]) == 1
        written = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["line"] for row in written] == [7, 8, 9]
        captured = capsys.readouterr()
        assert "3 rows scored, 7 refused" in captured.out
        reasons = captured.err.splitlines()
        for line, words in [
            (1, "a JSON object is needed, not list"),
            (2, "give either completions, or chosen and rejected"),
            (3, "a completion must be text, not None"),
            (4, "render chat messages"),
            (5, "must be a list of texts"),
            (6, "the model reads 64"),
            (10, "not JSON"),
        ]:
            assert any(reason.startswith(f"{path}:{line}: ") and words in reason for reason in reasons), words

    def test_all_good_rows_end_well(self, folder: Path, tmp_path: Path) -> None:
        path, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "scores.jsonl"
        assert main(["score", "--model", str(folder), "--input", str(path), "--out", str(out)]) == 0
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    @pytest.mark.parametrize("content", ["", None], ids=["empty", "missing"])
    def test_nothing_to_score(
        self, content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path, out = tmp_path / "rows.jsonl", tmp_path / "scores.jsonl"
        if content is not None:
            path.write_text(content)
        assert main(["score", "--model", "none", "--input", str(path), "--out", str(out)]) == 2
        assert str(path) in capsys.readouterr().err
        assert not out.exists()
