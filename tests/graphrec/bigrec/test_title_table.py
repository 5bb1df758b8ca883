"""Embeddings of texts: the last token's state, alike in any company; exact titles at distance zero."""

from __future__ import annotations

import numpy as np
import torch

from graphrec.bigrec.recommender import BigRec
from graphrec.bigrec.title_table import TitleTable, text_vectors

TEXTS = ["Item 3", "Item", "Item 4 5 6", "Item 3"]


def hidden(model: BigRec, text: str) -> torch.Tensor:
    """States of one text by itself, ``[tokens, D]``, the start token's first."""
    lm = model.network.language_model
    ids = torch.tensor([[lm.tokenizer.bos_token_id, *lm.tokenizer.encode(text, add_special_tokens=False)]])
    return lm.decoder(input_ids=ids).last_hidden_state[0]


@torch.no_grad()
def test_a_text_is_embedded_as_by_itself(model: BigRec) -> None:
    for text, vector in zip(TEXTS, text_vectors(model.network, TEXTS), strict=True):
        torch.testing.assert_close(vector, hidden(model, text)[-1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_text_without_words_has_the_start_token(model: BigRec) -> None:
    found = text_vectors(model.network, ["", "Item 1"])
    torch.testing.assert_close(found[0], hidden(model, "")[0], rtol=1e-4, atol=1e-5)


def test_titles_have_the_vectors_of_the_table() -> None:
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> torch.Tensor:
        asked.append(list(texts))
        return torch.tensor([[float(len(text)), float(len(asked))] for text in texts])

    table = TitleTable(["b", "aa", "b", "cccc"], embed)
    assert table.titles == ["b", "aa", "cccc"]
    assert table.of_item.tolist() == [0, 1, 0, 2]
    assert table.numbers(["aa", "B", "cccc"]).tolist() == [1, -1, 2]
    found = table.embed(["aa", "xxx", "b", "xxx"])
    assert found.tolist() == [[2, 1], [3, 2], [1, 1], [3, 2]]
    assert asked == [["b", "aa", "cccc"], ["xxx"]]
    assert np.shape(table.embed([])) == (0, 2)
