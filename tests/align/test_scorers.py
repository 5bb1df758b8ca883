"""``align score`` on a molecular model, and with a reference: whole prompts, rewards, refused rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pairs import build, tiny_config, train_batch, write_pairs
from tiny_preferences import policy, write_llama

from align.cli import main
from align.scorers import PromptScorer, Rewards, batches, load_scorer, with_rewards
from align.scoring import Refusal, Row, Scores
from moltc.backbone.checkpoint import CheckpointError
from moltc.model import MolTC
from moltc.pair_table import PairTable

WATER = {"a": "CCO", "b": "O"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PairTable:
    return PairTable.load([write_pairs(tmp_path_factory.mktemp("pairs") / "solvation", "solvation")])


@pytest.fixture(scope="module")
def models(table: PairTable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of a molecular model and of the same with other weights, and a model of text."""
    folder = tmp_path_factory.mktemp("models")
    model = build(tiny_config(), table)
    model.save_pretrained(folder / "before")
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder / "after")
    policy().save_pretrained(folder / "text")
    return {name: folder / name for name in ("before", "after", "text")}


def answers(model: MolTC, table: PairTable, rows: np.ndarray) -> list[dict]:
    """Rows of the table as records: the true answer, and the one that is off by one."""
    smiles, task = table.molecules.smiles, model.task
    labels = task.printed(table.label[rows])
    right, wrong = (task.answers(numbers, model.config.cot) for numbers in (labels, labels - 1))
    return [
        {
            "prompt": {"a": str(smiles[table.mol_a[row]]), "b": str(smiles[table.mol_b[row]])},
            "chosen": good,
            "rejected": bad,
        }
        for row, good, bad in zip(rows, right, wrong, strict=True)
    ]


def score(folder: Path, records: list[dict], model: Path, *options: str) -> tuple[int, list[dict]]:
    """Exit status and lines of ``align score``."""
    source, out = folder / "rows.jsonl", folder / "scores.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    status = main(["score", "--model", str(model), "--input", str(source), "--out", str(out), *options])
    return status, [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []


@pytest.mark.parametrize("batch_tokens", ["1", "8192"], ids=["one-by-one", "all"])
def test_answers_score_as_in_training(
    batch_tokens: str, models: dict[str, Path], table: PairTable, tmp_path: Path
) -> None:
    """Promise: towers and prompts are the model's own; the text side alone would give other numbers."""
    rows = np.array([3, 0, 7])
    model = MolTC.from_pretrained(models["before"]).eval()
    expected = train_batch(model, table, rows)
    with torch.no_grad():
        wanted = model.lm(expected.packed, expected.inputs).logps.tolist()
    records = answers(model, table, rows)
    status, lines = score(tmp_path, records, models["before"], "--batch-tokens", batch_tokens)
    assert status == 0
    assert [line["line"] for line in lines] == [1, 2, 3]
    assert [line["logps"][0] for line in lines] == pytest.approx(wanted, rel=1e-4)
    as_text = [record | {"prompt": json.dumps(record["prompt"])} for record in records]
    again = score(tmp_path, as_text, models["before"])[1]
    assert [line["logps"] for line in again] == [pytest.approx(line["logps"]) for line in lines]


def test_rewards_are_differences_to_the_reference(
    models: dict[str, Path], table: PairTable, tmp_path: Path
) -> None:
    records = answers(MolTC.from_pretrained(models["before"]), table, np.arange(4))
    _, before = score(tmp_path, records, models["before"])
    reference = ["--reference", str(models["before"])]
    status, lines = score(tmp_path, records, models["after"], *reference, "--beta", "0.5")
    assert status == 0
    for line, old in zip(lines, before, strict=True):
        assert line["ref_logps"] == pytest.approx(old["logps"])
        differences = np.array(line["logps"]) - np.array(line["ref_logps"])
        assert line["rewards"] == pytest.approx(0.5 * differences)
        assert np.abs(differences).max() > 1e-3
    _, same = score(tmp_path, records, models["before"], *reference)
    assert all(reward == 0 for line in same for reward in line["rewards"])


def test_only_rows_that_cannot_be_read_are_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"prompt": WATER, "completions": ["-5.0 kcal/mol", "-4.0 kcal/mol"]}
    bad = [
        good | {"prompt": prompt} for prompt in ({"a": "nonsense", "b": "O"}, {"a": "CCO"}, "CCO in water")
    ]
    long = good | {"completions": ["very " * 5000]}
    status, lines = score(tmp_path, [good, *bad, good, long, good], models["before"])
    assert status == 1
    assert [line["line"] for line in lines] == [1, 5, 7]
    assert lines[0]["logps"] == pytest.approx(lines[1]["logps"])
    reasons = capsys.readouterr().err.splitlines()
    said = {2: "the molecule 'nonsense'", 3: "'b'", 4: "JSON object", 6: "the model reads"}
    for line, words in said.items():
        assert any(f":{line}: " in reason and words in reason for reason in reasons), line


def test_objects_ask_no_model_of_text(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"prompt": WATER, "completions": ["x"]}, {"prompt": "so is", "completions": [" red"]}]
    status, lines = score(tmp_path, records, models["text"])
    assert (status, [line["line"] for line in lines]) == (1, [2])
    assert "must be text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--beta", "0.2"], "need a --reference", id="beta-alone"),
        pytest.param(["--reference", "{text}", "--beta", "0"], "above zero", id="no-beta"),
        pytest.param(["--reference", "{llama}"], "another tokenizer", id="another-family"),
        pytest.param(["--dtype", "bfloat16"], "keeps its dtype", id="dtype"),
    ],
)
def test_what_cannot_be_honoured_is_one_line(
    options: list[str],
    words: str,
    models: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = write_llama(tmp_path / "llama")
    named = [option.format(text=models["text"], llama=other) for option in options]
    model = models["before"] if words == "another tokenizer" else models["text"]
    status, lines = score(tmp_path, [{"prompt": "so is", "completions": [" red"]}], model, *named)
    assert (status, lines) == (2, [])
    assert words in capsys.readouterr().err


def test_a_molecular_model_is_loaded_whole_or_not_at_all(models: dict[str, Path], tmp_path: Path) -> None:
    assert isinstance(load_scorer(str(models["before"])), PromptScorer)
    with pytest.raises(ValueError, match="keeps its dtype"):
        load_scorer(str(models["before"]), dtype="bfloat16")
    broken = shutil.copytree(models["before"], tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="hash"):
        load_scorer(str(broken))


def test_a_refusal_of_either_model_refuses_the_row() -> None:
    scores = [Scores(1, [-2.0, -3.0], [2, 2]), Refusal(2, "bad"), Scores(3, [-1.0], [1])]
    reference = [Scores(1, [-1.0, -5.0], [2, 2]), Scores(2, [-1.0], [1]), Refusal(3, "too long")]
    found = list(with_rewards(scores, reference, beta=0.5))
    assert found == [
        Rewards(1, [-2.0, -3.0], [2, 2], [-1.0, -5.0], [-0.5, 1.0]),
        Refusal(2, "bad"),
        Refusal(3, "too long"),
    ]


def test_other_tokens_are_no_reference() -> None:
    with pytest.raises(ValueError, match="line 4"):
        list(with_rewards([Scores(4, [-1.0], [2])], [Scores(4, [-1.0], [3])], beta=1.0))


def test_batches_hold_what_fits_in_order() -> None:
    found = [part.tolist() for part in batches([3, 4, 9, 1, 1, 2], 7)]
    assert found == [[0, 1], [2], [3, 4, 5]]
    assert list(batches([], 7)) == []


def test_rows_are_read_in_their_order(models: dict[str, Path]) -> None:
    scorer = load_scorer(str(models["before"]))
    rows = [Row(n, json.dumps(WATER if n % 2 else {"a": "?", "b": "O"}), ("x",)) for n in range(1, 8)]
    found = list(scorer.score(rows, batch_tokens=100))
    assert [one.line for one in found] == list(range(1, 8))
    assert [isinstance(one, Refusal) for one in found] == [n % 2 == 0 for n in range(1, 8)]
