"""A saved model answers as before; a folder that is not whole answers nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_pairs import build, collator, llama_config, tiny_config

from moltc.answering import Answers, answer
from moltc.backbone.checkpoint import CheckpointError
from moltc.chain_of_thought import ChainOfThought
from moltc.families import DDI, SOLVATION
from moltc.model import MolTC, MolTCConfig
from moltc.pair_towers import PairHeadConfig

REASONED = ChainOfThought(properties=True)


def asked(model: MolTC, table) -> Answers:
    """Answers to the test split."""
    return answer(model.eval(), collator(model, table)(table.rows("test").tolist()))


def assert_same_answers(first: Answers, second: Answers) -> None:
    for name in Answers.__dataclass_fields__:
        values = getattr(first, name)
        if isinstance(values, list):
            assert values == getattr(second, name), name
        else:
            np.testing.assert_array_equal(values, getattr(second, name), err_msg=name)


def shake(model: MolTC) -> MolTC:
    """Stands for training: every trained weight, and the statistics of batch norms, move."""
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if "running_" in name:
                buffer.add_(torch.rand_like(buffer))
    model.calibration = {name: {"note": 1.5} for name in model.names}
    return model.eval()


def configuration(kind: str, llama: str, **parts) -> MolTCConfig:
    """A model whose language model is the tiny one, or a local Llama trained in some way."""
    return tiny_config(**parts) if kind == "tiny" else llama_config(llama, kind, **parts)


@pytest.mark.parametrize("kind", ["tiny", "lora", "frozen", "full"])
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_loaded_model_gives_identical_answers(pairs, llama, tmp_path, family, kind):
    """Promise: save and load change no answer, adapters and head included, also after the folder moved."""
    table = pairs(family)
    head = PairHeadConfig(weight=1.0, pair_tokens=1, hidden=(8,))
    model = shake(build(configuration(kind, llama, head=head), table))
    model.save_pretrained(tmp_path / "export")
    shutil.move(tmp_path / "export", tmp_path / "moved")
    torch.manual_seed(99)
    loaded = MolTC.from_pretrained(tmp_path / "moved")
    assert not loaded.training
    assert (loaded.task, loaded.config, loaded.calibration) == (model.task, model.config, model.calibration)
    assert_same_answers(asked(model, table), asked(loaded, table))


def test_loaded_model_reasons_identically(pairs, tmp_path):
    """Promise: the written property step survives saving as well."""
    table = pairs("solvation")
    model = shake(build(tiny_config(cot=REASONED), table))
    model.save_pretrained(tmp_path / "export")
    assert_same_answers(asked(model, table), asked(MolTC.from_pretrained(tmp_path / "export"), table))


def test_adapter_changes_the_answers(pairs, llama):
    """The round trip with LoRA would prove nothing if the adapter had no effect."""
    table = pairs("ddi")
    model = shake(build(llama_config(llama, "lora"), table))
    with_adapter = asked(model, table).log_odds
    with model.language_model.model.disable_adapter():
        assert np.abs(asked(model, table).log_odds - with_adapter).max() > 1e-3


def test_base_weights_are_not_copied_into_a_lora_export(pairs, llama, tmp_path):
    """Promise: an export holds what was trained and what is no language model, plus the adapter."""
    build(llama_config(llama, "lora"), pairs("ddi")).save_pretrained(tmp_path / "export")
    with safe_open(tmp_path / "export/model.safetensors", "pt") as stored:
        assert all(name.startswith("lm.towers.") for name in stored.keys())  # noqa: SIM118 - no mapping
    assert (tmp_path / "export/adapter/adapter_model.safetensors").is_file()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def edit(*path: str | int, value: object):
    """Change one value of config.json."""

    def change(file: Path) -> None:
        config = json.loads(file.read_text())
        place = config
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        file.write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("adapter/adapter_model.safetensors", Path.unlink, "incomplete: the adapter, without which"),
        ("adapter/adapter_model.safetensors", cut, "not the file that was saved"),
        ("model.safetensors", Path.unlink, "model.safetensors is missing; copy the whole folder"),
        ("model.safetensors", cut, "not the file that was saved"),
        ("tokenizer/tokenizer.json", cut, "not the file that was saved"),
        ("config.json", Path.unlink, "config.json is missing"),
        ("config.json", cut, "not valid JSON"),
        ("config.json", edit("kind", value="recommender"), "recommender"),
        ("config.json", edit("format", value=99), "not written by this version"),
        ("config.json", edit("settings", "config", "towers", "num_queries", value=5), "shape"),
        ("config.json", edit("settings", "config", "towers", "sharing", value="by_slot"), "does not fit"),
        (
            "config.json",
            edit("settings", "config", "towers", "sharing", value="any"),
            "do not describe a model",
        ),
        ("config.json", edit("settings", "config", "head", "unknown", value=1), "do not describe a model"),
        ("config.json", edit("settings", "tasks", value=None), "do not describe a model"),
        ("config.json", edit("settings", "tasks", 0, "family", value="alchemy"), "do not describe a model"),
    ],
    ids=[
        "no-adapter",
        "adapter-cut",
        "no-weights",
        "weights-cut",
        "tokenizer-cut",
        "no-config",
        "config-cut",
        "other-kind",
        "newer-format",
        "other-size",
        "other-sharing",
        "unknown-sharing",
        "unknown-setting",
        "no-tasks",
        "unknown-family",
    ],
)
def test_damaged_folder_is_refused(pairs, llama, tmp_path, file, damage, message):
    """Promise: a model without its adapter, a half-written or an altered folder never answers."""
    build(llama_config(llama, "lora"), pairs("ddi")).save_pretrained(tmp_path / "export")
    damage(tmp_path / "export" / file)
    with pytest.raises(CheckpointError, match=message):
        MolTC.from_pretrained(tmp_path / "export")


def test_card_says_what_the_model_is(pairs, tmp_path):
    table = pairs("solvation")
    model = build(tiny_config(), table)
    model.tasks = (replace(model.task, computed=True),)
    model.save_pretrained(tmp_path / "export", results={"rmse": [0.5, 0.4, 0.6]})
    card = (tmp_path / "export/README.md").read_text()
    assert "computed from a formula, not measured" in card
    assert '"rmse"' in card
    assert SOLVATION.question_template() in card
    assert DDI.question_template() not in card
