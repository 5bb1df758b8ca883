"""A MolTC model is aligned as any other: its own prompts, soft tokens included, and its own export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pairs import build, tiny_config, train_batch

from align.cli import main
from moltc import PairPredictor
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.saved import load_prompt_model
from moltc.model import MolTC
from moltc.pair_towers import PairHeadConfig
from moltc.preferences import PairAnswerer

PAIR_TOKENS = PairHeadConfig(weight=1.0, pair_tokens=2, hidden=(16,))


@pytest.fixture(scope="module", params=["towers", "pair-tokens"])
def model(request, pairs) -> MolTC:
    parts = {"head": PAIR_TOKENS} if request.param == "pair-tokens" else {}
    return build(tiny_config(**parts), pairs("solvation"))


def asked(model: MolTC, table, rows) -> tuple[list[str], list[list[str]]]:
    """Prompts of table rows, and each row's true answer beside one that is off by one."""
    smiles, task = table.molecules.smiles, model.task
    prompts = [json.dumps({"a": str(smiles[table.mol_a[r]]), "b": str(smiles[table.mol_b[r]])}) for r in rows]
    labels = task.printed(table.label[rows])
    right, wrong = (task.answers(numbers, model.config.cot) for numbers in (labels, labels - 1))
    return prompts, [list(pair) for pair in zip(right, wrong, strict=True)]


def test_prompts_score_as_in_training(model: MolTC, pairs) -> None:
    """Promise: preference training sees the prompts, molecules and answers that MolTC is trained on."""
    table, rows = pairs("solvation"), np.array([3, 0, 7, 3])
    expected = train_batch(model, table, rows[:3])
    wanted = model.lm(expected.packed, expected.inputs).logps
    prompts = PairAnswerer(model).read(*asked(model, table, rows))
    numbers = np.array([2, 0, 1])  # another order than they were read in
    trees = [prompts.trees[n].with_completions(prompts.trees[n].completions[:1]) for n in numbers]
    packed = model.lm.pack(trees)
    found = model.lm(packed, prompts.inputs(numbers, packed)).logps
    torch.testing.assert_close(found, wanted[numbers], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param("CCO and water", "prompt 1 .*JSON object", id="no-json"),
        pytest.param('{"a": "CCO"}', "prompt 1 has .*'a', 'b'", id="one-molecule"),
        pytest.param('{"a": "CCO", "b": "O", "c": 1}', "prompt 1 has", id="too-much"),
        pytest.param('{"a": "CCO", "b": "nonsense"}', "prompt 1: the molecule 'nonsense'", id="no-molecule"),
        pytest.param('{"a": "CCO", "b": "O", "task": "x"}', "prompt 1: .*no task 'x'", id="no-task"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_named(prompt: str, message: str, pairs) -> None:
    answerer = PairAnswerer(build(tiny_config(), pairs("solvation")))
    with pytest.raises(ValueError, match=message):
        answerer.read(['{"a": "CCO", "b": "O"}', prompt], [["x"], ["x"]])


def test_models_are_loaded_by_their_kind(model: MolTC, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "export")
    assert isinstance(load_prompt_model(tmp_path / "export"), PairAnswerer)
    with pytest.raises(CheckpointError, match="no exported model"):
        load_prompt_model(tmp_path / "nowhere")


def test_a_model_is_aligned_and_answers_as_before(model: MolTC, pairs, tmp_path: Path) -> None:
    """Promise: ``align fit`` from a MolTC export trains towers and text, and exports a MolTC model."""
    table = pairs("solvation")
    rows = np.arange(40)
    prompts, _ = asked(model, table, rows)
    low, high = model.task.answers(np.array([-4.0, -2.0]), model.config.cot)
    file = tmp_path / "preferences.jsonl"
    records = [{"prompt": prompt, "chosen": high, "rejected": low} for prompt in prompts]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    model.save_pretrained(tmp_path / "export")
    options = {
        "model.start_from": tmp_path / "export",
        "model.optim.lr": 0.003,
        "model.optim.micro_batch": 3,
        "model.loss.method": "dr_dpo",
        "data.folder": file,
        "data.batch_size": 8,
        "trainer.max_epochs": 3,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
        "trainer.default_root_dir": tmp_path / "run",
        "samples": 1,
        "sample_tokens": 4,
    }
    assert main(["fit", *(f"--{name}={value}" for name, value in options.items())]) == 0
    results = json.loads((tmp_path / "run/test/results.json").read_text())["results"]
    assert results["log_ratio/accuracies"]["value"] == 1
    predictor = PairPredictor.from_pretrained(tmp_path / "run/export")
    assert predictor.predict([("CCO", "O")])[0].valid
    before, after = (dict(m.pair_towers.named_parameters()) for m in (model, predictor.model))
    assert any(not torch.equal(before[name], after[name]) for name in before)
