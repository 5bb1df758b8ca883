"""New entries for the built-in tiny language model: a later stage repeats phrases that an earlier one did
not know."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moltc.backbone.language_model import LanguageModel
from moltc.backbone.tokenizer import add_phrases


def extend_vocabulary(language_model: LanguageModel, phrases: Sequence[str]) -> list[str]:
    """Give each phrase that is no vocabulary entry yet one of its own; returns those.

    An entry's embeddings, in and out, start as the mean over the tokens that its phrase had until now.

    Raises
    ------
    ValueError : the model is not the tiny one; a published model keeps its vocabulary.
    """
    if not language_model.config.is_tiny:
        raise ValueError("only the built-in tiny model learns new entries")
    tokenizer, lm = language_model.tokenizer, language_model.causal_lm
    before = {phrase: tokenizer.encode(phrase, add_special_tokens=False) for phrase in phrases}
    added = add_phrases(tokenizer, phrases)
    if not added:
        return added
    first = language_model.embedding_rows
    lm.resize_token_embeddings(first + len(added), mean_resizing=False)
    with torch.no_grad():
        for layer in (lm.get_input_embeddings(), lm.get_output_embeddings()):
            for row, phrase in enumerate(added, start=first):
                layer.weight[row] = layer.weight[torch.tensor(before[phrase])].mean(dim=0)
    return added
