"""Embeddings of texts, and the titles of a catalogue that they are compared with.

The embedding of BIGRec (Bao et al., arXiv 2308.08434) is the hidden state of the last layer at the last
token, without adapter and prompt.

Letters: N texts, T distinct titles, I items, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from graphrec.language.network import ItemLanguageModel

TEXTS_AT_ONCE = 256
Embed = Callable[[Sequence[str]], Tensor]
"""Texts to vectors, ``[N, D]``."""


@torch.no_grad()
def text_vectors(network: ItemLanguageModel, texts: Sequence[str]) -> Tensor:
    """Embedding of each text by the base model, float32 ``[N, D]``; short and long ones are read apart.

    Args:
        network: in evaluation mode.
    """
    trees = [network.prompt([text]) for text in texts]
    order = np.argsort([len(tree.prompt_ids) for tree in trees], kind="stable")
    found = torch.zeros(len(texts), network.language_model.hidden_size, device=network.device)
    with network.without_adapter():
        for first in range(0, len(order), TEXTS_AT_ONCE):
            rows = order[first : first + TEXTS_AT_ONCE]
            packed = network.pack([trees[row] for row in rows]).to(network.device)
            states = network.hidden(packed).flatten(0, 1)
            found[torch.from_numpy(rows).to(found.device)] = states[packed.prompt_end].float()
    return found


class TitleTable:
    """The distinct titles of a catalogue, and their embeddings.

    Args:
        titles: of each item, I of them.
        embed: texts to vectors.

    Attributes:
        titles: distinct ones, T of them, in the order of the first item of each.
        of_item: title of each item, ``[I]``.
        vectors: ``[T, D]``.
    """

    def __init__(self, titles: Sequence[str], embed: Embed) -> None:
        self._numbers = {title: number for number, title in enumerate(dict.fromkeys(titles))}
        self._embed = embed
        self.titles = list(self._numbers)
        self.of_item = np.array([self._numbers[title] for title in titles], dtype=np.int64)
        self.vectors = embed(self.titles)

    def __len__(self) -> int:
        return len(self.titles)

    def numbers(self, texts: Sequence[str]) -> np.ndarray:
        """Which title each text is, to the letter, ``[N]``; -1 for none."""
        return np.array([self._numbers.get(text, -1) for text in texts], dtype=np.int64)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Vectors of texts, ``[N, D]``; a title has exactly the table's, and no text is read twice."""
        odd = [text for text in dict.fromkeys(texts) if text not in self._numbers]
        vectors = torch.cat([self.vectors, self._embed(odd)]) if odd else self.vectors
        places = self._numbers | {text: len(self) + place for place, text in enumerate(odd)}
        rows = torch.tensor([places[text] for text in texts], dtype=torch.long, device=vectors.device)
        return vectors[rows]
