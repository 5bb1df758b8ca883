"""New entries of the tiny language model: where they start, and what they leave alone."""

from __future__ import annotations

import pytest
import torch

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, TinyConfig
from moltc.backbone.tokenizer import train_tokenizer
from moltc.backbone.vocabulary import extend_vocabulary

TEXTS = ["What is this molecule like?", "It is a kind of alcohol."] * 5
CONFIG = LanguageModelConfig(tiny=TinyConfig(hidden=16, layers=1, heads=2, ffn=16))


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel.from_config(CONFIG, train_tokenizer(TEXTS, vocab_size=300, phrases=["It is a"]))


def tables(model: LanguageModel) -> list[torch.Tensor]:
    """Embeddings in and out, copied."""
    lm = model.causal_lm
    return [
        layer.weight.detach().clone() for layer in (lm.get_input_embeddings(), lm.get_output_embeddings())
    ]


def test_new_phrase_starts_as_the_mean_of_its_tokens(model: LanguageModel) -> None:
    """Promise: one entry each, in and out; the old rows stay bit by bit."""
    phrase = "What is this molecule"
    ids = torch.tensor(model.tokenizer.encode(phrase, add_special_tokens=False))
    before = tables(model)
    assert len(ids) > 1
    assert extend_vocabulary(model, [phrase, "It is a"]) == [phrase]
    (entry,) = model.tokenizer.encode(phrase, add_special_tokens=False)
    for old, new in zip(before, tables(model), strict=True):
        assert torch.equal(new[: len(old)], old)
        torch.testing.assert_close(new[entry], old[ids].mean(dim=0))


def test_overlapping_phrases_start_from_the_tokens_before(model: LanguageModel) -> None:
    """Promise: a phrase within another is no part of it yet; the order of the phrases does not matter."""
    phrases = ["this molecule", "What is this molecule"]
    ids = {p: torch.tensor(model.tokenizer.encode(p, add_special_tokens=False)) for p in phrases}
    (embeddings, _) = tables(model)
    assert set(extend_vocabulary(model, phrases)) == set(phrases)
    (grown, _) = tables(model)
    for phrase in phrases:
        (entry,) = model.tokenizer.encode(phrase, add_special_tokens=False)
        torch.testing.assert_close(grown[entry], embeddings[ids[phrase]].mean(dim=0))


def test_new_entries_can_be_read_and_scored(model: LanguageModel) -> None:
    extend_vocabulary(model, ["What is this molecule"])
    ids = model.tokenizer("What is this molecule like?", return_tensors="pt", add_special_tokens=False)
    logits = model.causal_lm(input_ids=ids["input_ids"]).logits
    assert logits.shape[-1] == len(model.tokenizer) == model.causal_lm.config.vocab_size
    assert torch.isfinite(logits).all()


def test_known_phrases_change_nothing(model: LanguageModel) -> None:
    before = tables(model)
    assert extend_vocabulary(model, ["It is a"]) == []
    for old, new in zip(before, tables(model), strict=True):
        assert torch.equal(old, new)


def test_published_models_keep_their_vocabulary(model: LanguageModel) -> None:
    model.config = LanguageModelConfig(name="published", training="frozen")
    with pytest.raises(ValueError, match="only the built-in tiny model learns new entries"):
        extend_vocabulary(model, ["anything"])
