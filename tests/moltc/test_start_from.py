"""Training that starts from an exported model: what is carried over, and what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_pairs import POOLED, build, fit, module, tiny_config

from moltc.module import continued
from moltc.pair_towers import PairHeadConfig

HEAD = PairHeadConfig(weight=1.0, hidden=(8,))


@pytest.fixture
def exported(pairs, tmp_path):
    """An untrained solvation model with a head, saved; its folder and its configuration."""
    config = tiny_config(head=HEAD)
    model = build(config, pairs("solvation"), seed=8)
    model.save_pretrained(tmp_path / "export")
    return tmp_path / "export", config, model


def test_fine_tuning_starts_from_the_exported_weights(exported, pairs_folder, tmp_path):
    """Promise: start_from carries language model, vocabulary, towers and head over, ready to train."""
    folder, config, model = exported
    learner = module(config, start_from=str(folder), seed=1)
    snapshots = fit(learner, pairs_folder("solvation"), tmp_path / "run")
    before = dict(model.named_parameters())
    assert all(torch.equal(snapshots.states[0][name], parameter) for name, parameter in before.items())
    assert snapshots.moved(0) == before.keys()


def test_model_to_be_fine_tuned_is_in_training_mode(exported):
    """Promise: batch norms and dropout work in fine-tuning as in training from scratch."""
    folder, config, model = exported
    assert all(part.training for part in continued(config, model.task, str(folder)).modules())


def test_head_of_another_shape_starts_anew(exported):
    folder, config, model = exported
    other = replace(config, head=replace(HEAD, hidden=(4,)))
    started = continued(other, model.task, str(folder))
    assert started.pair_towers.out.in_features == 4
    towers = started.pair_towers.towers.state_dict()
    for name, tensor in model.pair_towers.towers.state_dict().items():
        assert torch.equal(towers[name], tensor), name


def test_other_towers_cannot_be_continued(exported):
    folder, config, model = exported
    other = replace(config, towers=replace(POOLED, num_queries=5))
    with pytest.raises(ValueError, match="give the same configuration"):
        continued(other, model.task, str(folder))


@pytest.mark.parametrize(
    ("sharing", "known", "wanted"),
    [
        ("by_role", "solute, solvent", "drug"),
        ("adapter", "solute, solvent", "drug"),
        ("by_task", "tiny-solvation:solute, tiny-solvation:solvent", "tiny-ddi:drug"),
    ],
    ids=["by-role", "adapter", "by-task"],
)
def test_towers_of_other_roles_cannot_be_continued(pairs, tmp_path, sharing, known, wanted):
    """Promise: weights that have no place in the new task are a sentence with the mend, and none is lost."""
    config = tiny_config(towers=replace(POOLED, sharing=sharing))
    build(config, pairs("solvation")).save_pretrained(tmp_path)
    message = f"has towers for {known}, this task needs them for {wanted}; .*tied or by_slot"
    with pytest.raises(ValueError, match=message):
        continued(config, build(config, pairs("ddi")).task, str(tmp_path))


@pytest.mark.parametrize("sharing", ["tied", "by_slot"])
def test_towers_without_roles_fit_another_task(pairs, tmp_path, sharing):
    """Promise: the mend that the message names works."""
    config = tiny_config(towers=replace(POOLED, sharing=sharing))
    before = build(config, pairs("solvation"))
    before.save_pretrained(tmp_path)
    started = continued(config, build(config, pairs("ddi")).task, str(tmp_path))
    towers = started.pair_towers.towers.state_dict()
    for name, tensor in before.pair_towers.towers.state_dict().items():
        assert torch.equal(towers[name], tensor), name
