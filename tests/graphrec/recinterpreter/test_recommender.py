"""RecInterpreter end to end on small data: what is trained, what is not, what is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_recommenders import tiny_data
from transformers import AutoModelForCausalLM, LlamaConfig

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.recinterpreter.config import RecInterpreterConfig
from graphrec.recinterpreter.recommender import RecInterpreter
from graphrec.recinterpreter.states import checked_source
from graphrec.recommender import Recommender
from graphrec.registry import MODELS
from graphrec.sequential.config import CaserConfig, SASRecConfig
from graphrec.sequential.recommender import Caser, SASRec
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CONFIG, CheckpointError, sha256
from moltc.backbone.tokenizer import train_tokenizer

SMALL = RecInterpreterConfig(
    length=4, width=16, heads=2, layers=1, language_steps=3, batch_size=64, max_new_tokens=8
)
WINDOWS = Histories.from_lists([[3, 1, 4], [7], []])


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "recinterpreter", "graphrec.recinterpreter.recommender:RecInterpreter")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"), count=40, length=7)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, data: RecommendationData) -> Path:
    folder = tmp_path_factory.mktemp("source") / "export"
    model = SASRec(SASRecConfig(width=8, length=5, dropout=0.5))
    model.fit(data, trainer=TrainerConfig(max_epochs=1, validate_every=0))
    model.save_pretrained(folder)
    return folder


class StoppedError(Exception):
    pass


class Killed(RecInterpreter):
    """An interpreter whose run dies before a step."""

    dies_at: int | None = None

    def loss(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == self.dies_at:
            raise StoppedError
        return super().loss(batch, step)


def fitted(source: Path, data: RecommendationData, steps: int, **settings: Any) -> RecInterpreter:
    options = {name: settings.pop(name) for name in ("folder", "resume") if name in settings}
    dies_at = settings.pop("dies_at", None)
    model = Killed(replace(SMALL, source=str(source), **settings))
    model.dies_at = dies_at
    trainer = TrainerConfig(max_epochs=-1, max_steps=steps, validate_every=0, checkpoint_every=1)
    model.fit(data, trainer=trainer, seed=1, **options)
    return model


@pytest.fixture(scope="module")
def model(source: Path, data: RecommendationData) -> RecInterpreter:
    return fitted(source, data, 6, tasks=("recovery", "residual", "item"))


def weights_of(model: RecInterpreter, part: str) -> dict[str, torch.Tensor]:
    return {n: p.clone() for n, p in model.network.state_dict().items() if n.startswith(part)}


def test_stages_train_their_own_weights_to_the_bit(source: Path, data: RecommendationData) -> None:
    """Titles first, with no state read; then the reader, with the language model as it is."""
    start, titles, states = (fitted(source, data, steps) for steps in (1, 3, 6))

    def same(part: str, one: RecInterpreter, other: RecInterpreter) -> bool:
        ours, theirs = weights_of(one, part), weights_of(other, part)
        assert ours.keys() == theirs.keys()
        assert ours
        return all(torch.equal(ours[name], theirs[name]) for name in ours)

    assert not same("lm.", start, titles)
    assert not same("title_readers.", start, titles)
    assert same("readers.", start, titles)
    assert same("lm.", titles, states)
    assert same("title_readers.", titles, states)
    assert not same("readers.", titles, states)
    assert not same("marks.", titles, states)


def test_everything_is_trained_where_that_is_asked_for(source: Path, data: RecommendationData) -> None:
    titles, states = (fitted(source, data, steps, trains="all") for steps in (3, 5))
    before, after = weights_of(titles, "lm."), weights_of(states, "lm.")
    assert not torch.equal(
        before["lm.language_model.model.model.embed_tokens.weight"],
        after["lm.language_model.model.model.embed_tokens.weight"],
    )


def test_the_source_stays_as_it_is(model: RecInterpreter, source: Path) -> None:
    saved = Recommender.from_pretrained(source)
    assert model.source is not None
    for name, array in saved.arrays().items():
        np.testing.assert_array_equal(model.source.arrays()[name], array)
    np.testing.assert_array_equal(model.scores(WINDOWS), saved.scores(WINDOWS))
    assert model.recommend([["i3"]], k=3) == saved.recommend([["i3"]], k=3)


@pytest.mark.parametrize("dies_at", [2, 4], ids=["titles", "states"])
def test_resumed_training_is_equal(
    dies_at: int, source: Path, data: RecommendationData, tmp_path: Path
) -> None:
    """Within an epoch, before and after the change from titles to states."""
    whole = fitted(source, data, 5)
    with pytest.raises(StoppedError):
        fitted(source, data, 5, folder=tmp_path / "run", dies_at=dies_at)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    resumed = fitted(source, data, 5, folder=tmp_path / "run", resume=last)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_another_source_is_not_resumed(source: Path, data: RecommendationData, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    SASRec.from_pretrained(source).save_pretrained(copy)
    fitted(copy, data, 1, folder=tmp_path / "run")
    other = SASRec(SASRecConfig(width=8, length=5))
    other.fit(data, trainer=TrainerConfig(max_epochs=1, validate_every=0), seed=9)
    other.save_pretrained(copy)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match="is not the recommender that this run began to read"):
        fitted(copy, data, 2, folder=tmp_path / "run", resume=last)


def test_an_export_stands_alone(model: RecInterpreter, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "export")
    loaded = RecInterpreter.from_pretrained(tmp_path / "export")
    evidence, entities = model.evidence(WINDOWS), np.arange(3)[:, None]
    again = loaded.evidence(WINDOWS)
    torch.testing.assert_close(again.states, evidence.states, rtol=0, atol=0)
    completions = [["Item 1", "Item 2"]] * 3
    for ours, theirs in zip(
        model.log_probs("recovery", evidence, entities, completions),
        loaded.log_probs("recovery", again, entities, completions),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.describe([["i1", "i2"], []]) == model.describe([["i1", "i2"], []])
    np.testing.assert_array_equal(loaded.scores(WINDOWS), model.scores(WINDOWS))


@pytest.mark.parametrize(
    "key",
    [
        "readers.sequence.weights",
        "readers.sequence.project.weight",
        "marks.sequence",
        "readers.item.project.bias",
    ],
)
def test_a_missing_key_refuses_to_load(model: RecInterpreter, key: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    del weights[key]
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / CONFIG).read_text())
    config["files"]["model.safetensors"] = sha256(folder / "model.safetensors")
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="do not fit this model: missing"):
        RecInterpreter.from_pretrained(folder)


def test_evidence_is_read_row_by_row(model: RecInterpreter) -> None:
    """A question's answer depends on its own entities, whatever others stand in the batch."""
    evidence = model.evidence(WINDOWS)
    pairs = np.array([[0, 1], [1, 2], [0, 1]])
    found = model.log_probs("residual", evidence, pairs, [["Item 1", "Item 2"]] * 3)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    alone = model.log_probs(
        "residual", model.evidence(WINDOWS[1:3]), np.array([[0, 1]]), [["Item 1", "Item 2"]]
    )
    np.testing.assert_allclose(found[1], alone[0], rtol=1e-4, atol=1e-5)


def test_shared_prompts_score_as_single_ones(model: RecInterpreter) -> None:
    evidence, entities = model.evidence(WINDOWS), np.zeros((1, 1), dtype=np.int64)
    titles = ["Item 1", "Item 2", "Item 17"]
    together = model.log_probs("recovery", evidence, entities, [titles])[0]
    for title, value in zip(titles, together, strict=True):
        np.testing.assert_allclose(
            model.log_probs("recovery", evidence, entities, [[title]])[0], [value], rtol=1e-5, atol=1e-5
        )


def test_calls_by_item_ids(model: RecInterpreter) -> None:
    found = model.describe([["i1", "i2", "i3"], []])
    assert len(found) == 2
    assert {item for one in found for item in one.item_ids} <= set(model.catalogue.item_ids)
    assert len(model.name_added([["i1"]], [["i1", "i2"]])) == 1
    with pytest.raises(ValueError, match="1 histories before and 2 after"):
        model.name_added([["i1"]], [["i1", "i2"], []])


@pytest.mark.parametrize(
    ("settings", "trainer", "message"),
    [
        pytest.param({}, TrainerConfig(max_epochs=1), "give validate_every 0", id="validation"),
        pytest.param(
            {"source": ""}, TrainerConfig(validate_every=0), "name the saved recommender", id="source"
        ),
        pytest.param({"length": 9}, TrainerConfig(validate_every=0), "more than the 5 places", id="length"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    settings: dict, trainer: TrainerConfig, message: str, source: Path, data: RecommendationData
) -> None:
    model = RecInterpreter(replace(SMALL, **{"source": str(source), **settings}))
    with pytest.raises(ValueError, match=message):
        model.fit(data, trainer=trainer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"tasks": ()}, "must be some of", id="no-task"),
        pytest.param({"tasks": ("recovery", "recovery")}, "each once", id="task-twice"),
        pytest.param({"reads": "first"}, "choose from 'all', 'last'", id="reads"),
        pytest.param({"language_steps": 0}, "cannot answer", id="untrained-language-model"),
        pytest.param({"pretrained": "some"}, "stays as it is", id="pretrained-with-stage"),
        pytest.param({"num_layers": 2}, "need pretrained", id="cut-without-architecture"),
        pytest.param({"warmup_from": 0.0}, "share of the learning rate", id="warm-up"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecInterpreterConfig(**settings)


def test_the_learning_rate_rises_in_both_stages() -> None:
    model = RecInterpreter(RecInterpreterConfig(language_steps=10, warmup_steps=4, warmup_from=0.2))
    assert [model.rate_factor(step) for step in (0, 2, 4, 9, 10, 14)] == pytest.approx(
        [0.2, 0.6, 1.0, 1.0, 0.2, 1.0]
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a tokenizer, as Hugging Face stores them."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = train_tokenizer([f"Item {n}, so far. The user has" for n in range(24)], vocab_size=320)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pretrained(llama: Path, source: Path, data: RecommendationData, **settings: Any) -> RecInterpreter:
    config = RecInterpreterConfig.reference(
        pretrained=str(llama), source=str(source), length=4, max_new_tokens=6, **settings
    )
    model = RecInterpreter(config)
    model.fit(data, trainer=TrainerConfig(max_epochs=-1, max_steps=2, validate_every=0), seed=1)
    return model


@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training")
def test_a_pretrained_model_stays_and_is_not_stored(
    llama: Path, source: Path, data: RecommendationData, tmp_path: Path
) -> None:
    """The released settings, on a small Llama in place of LLaMA-7B."""
    model = pretrained(llama, source, data)
    base = AutoModelForCausalLM.from_pretrained(llama).state_dict()
    own = model.network.lm.language_model.causal_lm.state_dict()
    assert all(torch.equal(base[name], own[name]) for name in base)
    stored = model.arrays()
    assert stored.keys() >= {"readers.sequence.weights", "readers.sequence.project.weight", "marks.sequence"}
    assert not [name for name in stored if name.startswith("lm.")]
    model.save_pretrained(tmp_path / "export")
    loaded = RecInterpreter.from_pretrained(tmp_path / "export")
    assert loaded.describe([["i1", "i2"]]) == model.describe([["i1", "i2"]])
    with pytest.raises(ValueError, match="was not trained on titles"):
        model.title_evidence(WINDOWS)


@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training")
def test_a_dry_run_keeps_its_random_weights(
    llama: Path, source: Path, data: RecommendationData, tmp_path: Path
) -> None:
    model = pretrained(llama, source, data, random_init=True, num_layers=1, dtype="bfloat16")
    model.save_pretrained(tmp_path / "export")
    loaded = RecInterpreter.from_pretrained(tmp_path / "export")
    own, again = (one.network.state_dict() for one in (model, loaded))
    assert all(torch.equal(own[name], again[name]) for name in own)


def test_answers_are_cut_where_that_is_asked_for(source: Path, data: RecommendationData) -> None:
    model = RecInterpreter(replace(SMALL, source=str(source), answer_tokens=3, tasks=("recovery",)))
    model.source = checked_source(Recommender.from_pretrained(source), 4)
    model.start(data.catalogue, seed=0)
    batch = next(model.batches(data.train, 0, 0))
    assert batch.packed.lengths.max() == 3


def test_item_vectors_of_another_width_are_refused(data: RecommendationData, tmp_path: Path) -> None:
    """The published Caser has wider states than items."""
    caser = Caser(CaserConfig.reference(width=8, length=5, batch_size=8))
    caser.fit(data, trainer=TrainerConfig(max_epochs=1, validate_every=0))
    caser.save_pretrained(tmp_path / "caser")
    with pytest.raises(ValueError, match="leave it out of tasks"):
        fitted(tmp_path / "caser", data, 1, tasks=("item",))
    assert fitted(tmp_path / "caser", data, 4, tasks=("recovery",)).network.readers.sequence
