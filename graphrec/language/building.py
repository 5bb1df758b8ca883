"""A network of the sizes that settings ask for, new or to be filled with saved weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphrec.catalogue import Catalogue
from graphrec.language.config import LanguageSettings
from graphrec.language.network import ItemLanguageModel, Reading
from graphrec.language.titles import all_titles
from graphrec.language.tokenizer import catalogue_tokenizer
from graphrec.language.towers import ItemTower
from moltc.backbone.checkpoint import ARCHITECTURE, TOKENIZER, CheckpointError
from moltc.backbone.language_model import LanguageModel, load_tokenizer


def build_network(
    settings: LanguageSettings,
    catalogue: Catalogue,
    texts: Sequence[str],
    *,
    widths: tuple[int, int],
    saved: Path | None = None,
) -> ItemLanguageModel:
    """A language model with its tower of items.

    Args:
        settings: sizes and forms.
        catalogue: its titles are read; every item needs one.
        texts: what else prompts say.
        widths: of item vectors and of states, 0 where there are none.
        saved: folder of a saved model whose tokenizer and architecture are taken.

    Raises:
        ValueError: an item has no title.
        CheckpointError: the base model of a saved one is not found.
    """
    titles = all_titles(catalogue)
    language_model = _language_model(settings, titles, texts, saved)
    if settings.pretrained is None and settings.tied:
        tie(language_model)
    width, state_width = widths
    tower = ItemTower(
        len(catalogue),
        width,
        language_model.hidden_size,
        kind=settings.projector,
        state_width=state_width,
    )
    reading = Reading(settings.form, settings.end_mark)
    return ItemLanguageModel(language_model, tower, titles, reading, dropout=settings.dropout)


def _language_model(
    settings: LanguageSettings, titles: Sequence[str], texts: Sequence[str], saved: Path | None
) -> LanguageModel:
    config = settings.language_model
    tokenizer: Any = None
    if saved is not None:
        tokenizer = load_tokenizer(saved / TOKENIZER)
    elif settings.pretrained is None:
        tokenizer = catalogue_tokenizer(
            titles, texts, vocabulary=settings.vocabulary, size=settings.vocabulary_size
        )
    architecture = None if saved is None else saved / ARCHITECTURE
    if architecture is not None and not architecture.is_dir():
        architecture = None
    try:
        return LanguageModel.from_config(config, tokenizer, architecture=architecture)
    except OSError as error:
        raise CheckpointError(
            f"the language model {config.name} cannot be loaded ({str(error).splitlines()[0]}); name a "
            "folder or a Hugging Face id that is there"
        ) from error


def tie(language_model: LanguageModel) -> None:
    """Score with the table of token embeddings."""
    causal = language_model.causal_lm
    causal.get_output_embeddings().weight = causal.get_input_embeddings().weight
    causal.config.tie_word_embeddings = True
