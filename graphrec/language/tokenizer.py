"""The tokenizer of a model from scratch: every word of the titles is a token, or pieces of words, or titles.

With words as tokens most titles own a word, so that an embedding can start from the vector of its item.
With whole titles as tokens all do, and a word that two titles share says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from moltc.backbone.prompt import PromptBuilder
from moltc.backbone.tokenizer import SPECIAL, train_tokenizer, wrap

UNKNOWN = "<unknown>"


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words of some texts, told apart by blanks.

    Decoded words are joined by single blanks. Words that no text holds are ``UNKNOWN``, which
    :class:`KnownText` refuses.
    """
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = wrap(tokenizer)
    wrapped.unk_token = UNKNOWN
    return wrapped


def title_tokenizer(titles: Iterable[str], texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer to which every title is one token, and so is every word of other texts."""
    wrapped = word_tokenizer(texts)
    wrapped.add_tokens([AddedToken(t, single_word=True, normalized=False) for t in sorted(set(titles))])
    return wrapped


def catalogue_tokenizer(
    titles: Sequence[str], texts: Sequence[str] = (), *, vocabulary: str = "words", size: int = 2000
) -> PreTrainedTokenizerFast:
    """The tokenizer of a catalogue.

    Args:
        titles: of its items.
        texts: what else is written around them.
        vocabulary: "words", "titles" or "bpe".
        size: tokens learnt by "bpe".
    """
    if vocabulary == "words":
        return word_tokenizer([*titles, *texts])
    if vocabulary == "titles":
        return title_tokenizer(titles, texts)
    return train_tokenizer([*titles, *texts], vocab_size=size)


class KnownText(PromptBuilder):
    """A prompt builder that refuses words its tokenizer does not know, instead of hiding them."""

    def _encode(self, text: str) -> np.ndarray:
        ids = super()._encode(text)
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown != self.tokenizer.bos_token_id and (ids == unknown).any():
            words = text.split()
            vocabulary = self.tokenizer.get_vocab()
            odd = next((word for word in words if word not in vocabulary), text)
            raise ValueError(
                f"the vocabulary of the titles has no word {odd!r}, in {text[:60]!r}; use vocabulary 'bpe' "
                "to read texts of any words"
            )
        return ids
