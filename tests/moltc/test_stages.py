"""Training that starts from an exported model: what is carried over, what begins anew, what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from tiny_families import TEXTS
from tiny_pairs import POOLED, build, fit, llama_config, module, tiny_config, write_llama

from moltc.model import MolTC, MolTCConfig
from moltc.pair_table import PairTable
from moltc.pair_towers import PairHeadConfig
from moltc.stages import continued, training_texts
from moltc.task import Task

HEAD = PairHeadConfig(weight=1.0, hidden=(8,))


@pytest.fixture
def exported(pairs, tmp_path):
    """An untrained solvation model with a head, saved; its folder and its configuration."""
    config = tiny_config(head=HEAD)
    model = build(config, pairs("solvation"), seed=8)
    model.save_pretrained(tmp_path / "export")
    return tmp_path / "export", config, model


def tasks_of(table: PairTable) -> tuple[Task, ...]:
    return table.tasks(table.rows("train"))


def shaken(model: MolTC) -> MolTC:
    """Stands for training: no two towers are alike any more."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def assert_equal_towers(model: MolTC, key: str, before: MolTC, other: str) -> None:
    """Every part and adapter of two towers holds the same weights."""
    one, two = model.pair_towers.towers.tower(key), before.pair_towers.towers.tower(other)
    for mine, theirs in ((one.parts, two.parts), (one.adapters, two.adapters)):
        assert mine.keys() == theirs.keys()
        for name in mine:
            found = theirs[name].state_dict()
            assert all(torch.equal(tensor, found[n]) for n, tensor in mine[name].state_dict().items()), name


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
    assert all(part.training for part in continued(config, model.tasks, str(folder)).modules())


# -- from task to task ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharing", "first", "new"),
    [
        ("by_role", "solute", ["drug"]),
        ("adapter", "solute", ["drug"]),
        ("by_task", "tiny-solvation:solute", ["tiny-ddi:drug"]),
    ],
    ids=["by-role", "adapter", "by-task"],
)
def test_towers_of_other_roles_start_as_the_first(pairs, tmp_path, caplog, sharing, first, new):
    """Promise: a tower that the export lacks starts as its first one, and the log says so."""
    config = tiny_config(towers=replace(POOLED, sharing=sharing))
    before = shaken(build(config, pairs("solvation")))
    before.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="moltc.stages"):
        model = continued(config, tasks_of(pairs("ddi")), str(tmp_path))
    assert list(model.pair_towers.towers.keys) == new
    assert_equal_towers(model, new[0], before, first)
    assert f"the tower for {new[0]} starts as that for {first}" in caplog.text


@pytest.mark.parametrize("sharing", ["tied", "by_slot"])
def test_towers_without_roles_fit_another_task(pairs, tmp_path, caplog, sharing):
    config = tiny_config(towers=replace(POOLED, sharing=sharing))
    before = shaken(build(config, pairs("solvation")))
    before.save_pretrained(tmp_path)
    model = continued(config, tasks_of(pairs("ddi")), str(tmp_path))
    for key in before.pair_towers.towers.keys:
        assert_equal_towers(model, key, before, key)
    assert "starts as" not in caplog.text


def test_tower_of_a_new_data_set_starts_as_that_of_its_role(pairs, tmp_path):
    """Promise: with a tower for each data set and role, the solvent of a new set starts as a solvent."""
    config = tiny_config(towers=replace(POOLED, sharing="by_task"))
    before = shaken(build(config, pairs("solvation")))
    before.save_pretrained(tmp_path)
    tasks = [replace(task, dataset="later") for task in tasks_of(pairs("solvation"))]
    model = continued(config, tasks, str(tmp_path))
    for role in ("solute", "solvent"):
        assert_equal_towers(model, f"later:{role}", before, f"tiny-solvation:{role}")


def test_new_tower_beside_a_known_one(pairs, tmp_path):
    """Promise: what is known keeps its own weights, whatever comes beside it."""
    config = tiny_config()
    before = shaken(build(config, pairs("solvation")))
    before.save_pretrained(tmp_path)
    model = continued(config, tasks_of(pairs("solvation", "ddi")), str(tmp_path))
    for key, other in (("solute", "solute"), ("solvent", "solvent"), ("drug", "solute")):
        assert_equal_towers(model, key, before, other)


def test_three_stages_in_a_row(pairs, pairs_folder, tmp_path):
    """Promise: captions, descriptions, then solvation: each stage trains from the last export, the towers go
    along, the vocabulary grows, and what could be written before still can."""
    config, start = tiny_config(), None
    known: dict[str, int] = {}
    for name in ("caption", "description", "solvation"):
        learner = module(config, start_from=start)
        snapshots = fit(learner, pairs_folder(name), tmp_path / name)
        model, tokenizer = learner.moltc, learner.moltc.language_model.tokenizer
        for token, number in known.items():
            assert tokenizer.get_vocab()[token] == number
        assert len(tokenizer) > len(known) or name == "caption"
        known = tokenizer.get_vocab()
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False)
            assert tokenizer.decode(ids) == text
        if start is not None:
            before = MolTC.from_pretrained(start)
            first = before.pair_towers.towers.keys[0]
            for key in model.pair_towers.towers.keys:
                prefix = "lm.towers.towers.parts.proj"
                mine, theirs = (f"{prefix}.{k}.output.weight" for k in (key, first))
                assert torch.equal(snapshots.states[0][mine], before.state_dict()[theirs])
        assert snapshots.moved(0) == set(snapshots.states[0])
        start = str(tmp_path / f"{name}-export")
        learner.export(start)
    assert tuple(model.pair_towers.towers.keys) == ("solute", "solvent")


def test_new_phrases_leave_the_old_entries_alone(pairs, tmp_path):
    """Promise: old embeddings stay; a new phrase is one entry, which starts as the mean of its parts."""
    config = tiny_config()
    before = shaken(build(config, pairs("ddi")))
    before.save_pretrained(tmp_path)
    model = continued(config, tasks_of(pairs("solvation")), str(tmp_path))
    old, new = before.language_model, model.language_model
    tables = [lm.causal_lm.get_input_embeddings().weight for lm in (old, new)]
    count = len(old.tokenizer)
    assert len(new.tokenizer) > count
    assert torch.equal(tables[1][:count], tables[0][:count])
    question = (
        "\nQuestion: What is the solvation free energy of the solute in the solvent, in kcal/mol?\nAnswer:"
    )
    (entry,) = new.tokenizer.encode(question, add_special_tokens=False)
    parts = old.tokenizer.encode(question, add_special_tokens=False)
    torch.testing.assert_close(tables[1][entry], tables[0][torch.tensor(parts)].mean(dim=0))


def test_grown_model_survives_its_folder(pairs, tmp_path):
    """Promise: a model with new entries is saved and loaded whole, and may be continued once more."""
    config = tiny_config()
    build(config, pairs("ddi")).save_pretrained(tmp_path / "first")
    model = continued(config, tasks_of(pairs("solvation")), str(tmp_path / "first"))
    model.save_pretrained(tmp_path / "second")
    loaded = MolTC.from_pretrained(tmp_path / "second")
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in model.state_dict().items())
    again = continued(config, tasks_of(pairs("solvation")), str(tmp_path / "second"))
    assert again.language_model.tokenizer.get_vocab() == model.language_model.tokenizer.get_vocab()


# -- auxiliary heads -----------------------------------------------------------------------------------


def test_head_of_the_same_question_keeps_its_weights_and_scale(exported, pairs):
    """Promise: from computed to measured labels the head goes on saying what it said: the scale goes along,
    the range of answers is that of the new labels."""
    folder, config, before = exported
    (own,) = tasks_of(pairs("measured"))
    model = continued(config, (own,), str(folder))
    assert (model.task.mean, model.task.std) == (before.task.mean, before.task.std) != (own.mean, own.std)
    assert (model.task.low, model.task.high) == (own.low, own.high)
    (mine,), (theirs,) = (m.pair_towers.heads.values() for m in (model, before))
    assert all(torch.equal(t, theirs.state_dict()[name]) for name, t in mine.state_dict().items())


def test_head_of_another_question_starts_anew(exported, pairs):
    folder, config, _ = exported
    (own,) = tasks_of(pairs("ddi"))
    model = continued(config, (own,), str(folder))
    assert model.task == own
    assert list(model.pair_towers.heads) == ["ddi/interaction"]


def test_head_of_another_shape_starts_anew(exported):
    """Promise: the head alone begins again, with the scale of its own labels."""
    folder, config, before = exported
    other = replace(config, head=replace(HEAD, hidden=(4,)))
    model = continued(other, before.tasks, str(folder))
    assert model.pair_towers.heads["solvation/solvation free energy"].out.in_features == 4
    for key in before.pair_towers.towers.keys:
        assert_equal_towers(model, key, before, key)


# -- language models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", ["lora", "full"])
def test_frozen_language_model_may_be_trained_from_now_on(pairs, pairs_folder, llama, tmp_path, training):
    """Promise: towers are aligned to a frozen model first, then both are trained; nothing is lost."""
    before = shaken(build(llama_config(llama, "frozen"), pairs("caption")))
    before.save_pretrained(tmp_path / "export")
    config = llama_config(llama, training)
    learner = module(config, start_from=str(tmp_path / "export"))
    snapshots = fit(learner, pairs_folder("ddi"), tmp_path / "run")
    moved = {name for name in snapshots.moved(0) if name.startswith("lm.language_model")}
    adapters = {name for name in moved if "lora_" in name}
    assert moved
    assert (moved == adapters) == (training == "lora")
    drug = "lm.towers.towers.parts.proj.drug.output.weight"
    assert torch.equal(snapshots.states[0][drug], before.state_dict()[drug])


def test_adapters_are_carried_on(pairs, llama, tmp_path):
    config = llama_config(llama, "lora")
    before = shaken(build(config, pairs("caption")))
    before.save_pretrained(tmp_path)
    model = continued(config, tasks_of(pairs("ddi")), str(tmp_path))
    adapters = {name: p for name, p in model.named_parameters() if "lora_" in name}
    assert adapters
    assert all(torch.equal(p, before.state_dict()[name]) for name, p in adapters.items())


def other_llama(config: MolTCConfig, tmp_path) -> MolTCConfig:
    name = write_llama(tmp_path / "other")
    return replace(config, language_model=replace(config.language_model, name=name))


REFUSED = {
    "adapter-to-frozen": ("lora", lambda c, _: replace_training(c, "frozen")),
    "full-to-adapter": ("full", lambda c, _: replace_training(c, "lora")),
    "other-model": ("frozen", other_llama),
    "other-adapter": ("lora", lambda c, _: replace_rank(c, 2)),
}


def replace_training(config: MolTCConfig, training: str) -> MolTCConfig:
    return replace(config, language_model=replace(config.language_model, training=training))


def replace_rank(config: MolTCConfig, rank: int) -> MolTCConfig:
    settings = config.language_model
    return replace(config, language_model=replace(settings, lora=replace(settings.lora, r=rank)))


@pytest.mark.parametrize("case", REFUSED)
def test_other_language_models_are_refused(pairs, llama, tmp_path, case):
    """Promise: weights that have no place in the new model are never dropped without a word."""
    training, change = REFUSED[case]
    config = llama_config(llama, training)
    model = build(config, pairs("ddi"))
    model.save_pretrained(tmp_path / "export")
    with pytest.raises(ValueError, match="another language model; give the same configuration"):
        continued(change(config, tmp_path), model.tasks, str(tmp_path / "export"))


def test_other_towers_are_refused(exported):
    folder, config, model = exported
    other = replace(config, towers=replace(POOLED, num_queries=5))
    with pytest.raises(ValueError, match="other towers; give the same configuration"):
        continued(other, model.tasks, str(folder))


def test_other_parts_of_the_same_towers_may_be_frozen(exported):
    """Promise: freezing is a choice of each stage."""
    folder, config, before = exported
    frozen = replace(config, towers=replace(POOLED, freeze=("gnn",)))
    model = continued(frozen, before.tasks, str(folder))
    for key in before.pair_towers.towers.keys:
        assert_equal_towers(model, key, before, key)
        assert not any(p.requires_grad for p in model.pair_towers.towers.tower(key).parts["gnn"].parameters())


def test_tokenizer_learns_from_what_the_training_split_holds(pairs):
    """Promise: queries, captions and property texts are among the texts, those of the test split are not."""
    config, table = tiny_config(), pairs("side-effect", "caption", "description")
    rows = table.rows("train")
    texts = set(training_texts(config, tasks_of(table), table, rows))
    assert {"nausea", "a dry mouth", "Interaction: yes", "Interaction: no"} <= texts
    assert set(table.answer[table.rows("train", 1)]) <= texts
    few = set(training_texts(config, tasks_of(table), table, rows[:1]))
    assert len(few) < len(texts)
