"""FSDP2 on two CPU processes: weights are spread, training is that of one process, files are its files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from parallel_runs import assert_same, train
from processes import moltc_together, together
from safetensors.torch import load_file
from tiny_pairs import QFORMER, arguments, character_tokenizer, tiny_config
from transformers import AutoModelForCausalLM, OPTConfig

from moltc.backbone.language_model import LanguageModelConfig, LoraSettings
from moltc.cli import main
from moltc.model import MolTC
from moltc.optim import OptimConfig
from moltc.pair_towers import PairHeadConfig
from moltc.predictor import PairPredictor
from moltc.shards import read_predictions

pytestmark = pytest.mark.distributed
SHARDED = {"devices": 2, "strategy": "fsdp2"}


@pytest.fixture(scope="module")
def run(pairs_folder):
    """A run in float64 whose first epoch trains towers and head alone."""
    head = PairHeadConfig(weight=1.0, pair_tokens=1)
    return {
        "config": tiny_config(head=head),
        "module": {"optim": OptimConfig(pretrain_epochs=1)},
        "data": {"folder": str(pairs_folder("solvation"))},
    }


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory):
    """Folder of the run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(run, folder)
    return folder


def test_sharded_training_is_that_of_one_process(run, alone, tmp_path):
    """Promise: each process holds half of the weights; losses, validation and final weights are those of one
    process."""
    sharded = run | {"trainer": SHARDED}
    together(train, sharded, tmp_path / "whole", logs=tmp_path / "logs")
    assert_same(tmp_path / "whole", alone)
    assert json.loads((tmp_path / "whole/losses.json").read_text())["share"] == pytest.approx(0.5, abs=0.02)


def test_checkpoint_of_a_sharded_run_is_resumed_anywhere(run, alone, tmp_path):
    """Promise: a run that crashed goes on, sharded or in one process, as if nothing had happened."""
    stop = 7
    sharded = run | {"trainer": SHARDED}
    together(train, sharded, tmp_path / "sharded", None, stop, logs=tmp_path / "logs")
    assert_same(tmp_path / "sharded", alone, first=stop)
    train(run, tmp_path / "one", resume=tmp_path / "sharded/crashed.ckpt")
    assert_same(tmp_path / "one", alone, first=stop)


def write_opt(folder: Path) -> str:
    """A local OPT folder, whose embeddings are its head too; gives its name."""
    tokenizer = character_tokenizer()
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_adapters_on_tied_embeddings_train_sharded(pairs_folder, tmp_path):
    """Promise: LoRA with gradient checkpointing on a model whose head is its embeddings trains as in one
    process, and the export holds the adapter that was trained."""
    language_model = LanguageModelConfig(
        name=write_opt(tmp_path / "opt"),
        training="lora",
        lora=LoraSettings(r=4, alpha=8, dropout=0.0),
        gradient_checkpointing=True,
    )
    run = {
        "config": tiny_config(language_model=language_model, towers=QFORMER),
        "data": {"folder": str(pairs_folder("solvation"))},
    }
    train(run, tmp_path / "one")
    together(train, run | {"trainer": SHARDED}, tmp_path / "two", logs=tmp_path / "logs")
    assert_same(tmp_path / "two", tmp_path / "one")
    adapters = [load_file(tmp_path / n / "export/adapter/adapter_model.safetensors") for n in ("one", "two")]
    assert adapters[0].keys() == adapters[1].keys() and len(adapters[0]) == 8
    for name, weight in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], weight, rtol=1e-6, atol=1e-8)
    MolTC.from_pretrained(tmp_path / "two/export")


def test_command_line_run_is_tested_exported_and_asked(pairs_folder, tmp_path):
    """Promise: fit under fsdp2 leaves what a run in one process leaves, and one process reads it."""
    folder, root = pairs_folder("solvation"), tmp_path / "run"
    sharded = {"trainer__devices": 2, "trainer__strategy": "fsdp2"}
    moltc_together(arguments("fit", folder, root, **sharded), logs=tmp_path / "logs")
    expected = pl.read_parquet(root / "test/predictions.parquet")
    best = root / "checkpoints/best.ckpt"
    assert main(arguments("predict", folder, tmp_path / "one", ckpt_path=best)) == 0
    found = read_predictions(tmp_path / "one/predictions").collect()
    assert found["text"].equals(expected["text"])
    predictor = PairPredictor.from_pretrained(root / "export")
    answers = predictor.predict(list(expected.select("smiles_a", "smiles_b").iter_rows()))
    assert [answer.text for answer in answers] == expected["text"].to_list()


def test_adapters_on_a_bfloat16_model_train_sharded(pairs_folder, tmp_path):
    """Promise: base weights and adapters of two types are spread together, and the export is asked."""
    folder, root = pairs_folder("solvation"), tmp_path / "run"
    options = {
        "trainer__devices": 2,
        "trainer__strategy": "fsdp2",
        "trainer__max_epochs": 1,
        "model__language_model__name": write_opt(tmp_path / "opt"),
        "model__language_model__training": "lora",
        "model__language_model__dtype": "bfloat16",
    }
    moltc_together(arguments("fit", folder, root, **options), logs=tmp_path / "logs")
    adapter = load_file(root / "export/adapter/adapter_model.safetensors")
    assert any(bool(weight.any()) for name, weight in adapter.items() if "lora_B" in name), (
        "nothing was trained"
    )
    (answer,) = PairPredictor.from_pretrained(root / "export").predict([("CCO", "O")])
    assert answer.valid


def test_several_tasks_are_refused(pairs_folder, tmp_path):
    """Promise: what sharded training cannot do is said before it begins."""
    folders = f"[{pairs_folder('solvation')},{pairs_folder('ddi')}]"
    command = arguments("fit", folders, tmp_path / "run", trainer__strategy="fsdp2", trainer__devices=1)
    told = moltc_together(command, logs=tmp_path / "logs", count=1, status=2)
    assert "under fsdp2 one task is trained; train several under ddp" in told
