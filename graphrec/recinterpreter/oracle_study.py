"""DreamRec's oracle items in words: what the vector of the ideal next item is called.

How the authors of RecInterpreter (arXiv 2310.20487) read oracle items was not published; both ways are
reconstructions. *A* reads the vector itself, as if it were an item's; *B* reads the state before and after it
was added to the history. Beside them stands the title of the nearest item, which needs no language model.

Letters: B rows, H width of the language model, k nearest items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graphrec.data import RecommendationData
from graphrec.dreamrec.recommender import DreamRec
from graphrec.histories import Histories
from graphrec.llara.matching import plain_title
from graphrec.recinterpreter.mentions import TitleIndex
from graphrec.recinterpreter.metrics import estimates
from graphrec.recinterpreter.network import Evidence
from graphrec.recinterpreter.oracle import nearest_items, with_oracle
from graphrec.recinterpreter.recommender import RecInterpreter
from graphrec.recinterpreter.states import place_states
from graphrec.recinterpreter.study import StudyOptions, studied_rows
from moltc.backbone.bootstrap import Metric, mean_statistic

ITEM_READER, RESIDUAL_READER, NEAREST = "A, item reader", "B, residual reader", "nearest item"
NEAR = 20
"""How many nearest items a title may be one of."""


class OracleStudy(NamedTuple):
    """What oracle items were called.

    Attributes:
        texts: by arm, B each.
        metrics: by arm, and paired gains of the first arm over the others. "nearest": the title of the
            nearest item; "among 20": of one of the 20 nearest; "target": of what came next; "similarity": to
            that title, cosine of mean token embeddings; "novel": no title of the catalogue.
    """

    texts: dict[str, list[str]]
    metrics: dict[str, dict[str, Metric]]


def oracle_study(model: RecInterpreter, data: RecommendationData, options: StudyOptions) -> OracleStudy:
    """Read the oracle items of the rows of a split, by each way that the interpreter was trained for.

    Raises:
        ValueError: the interpreter reads no DreamRec, or was trained for neither way.
    """
    source = model.source
    if not isinstance(source, DreamRec):
        raise ValueError("only DreamRec generates oracle items: train an interpreter whose source is one")
    rows, _ = studied_rows(data.rows(options.split), options)
    oracles = source.oracle_vectors(rows.histories)
    texts = {}
    if "item" in model.config.tasks:
        evidence = Evidence.of_items(oracles, model.config.length).to(model.device)
        texts[ITEM_READER] = model.answers("item", evidence, np.arange(len(rows))[:, None])
    if "residual" in model.config.tasks:
        texts[RESIDUAL_READER] = _residual(model, source, rows.histories, oracles)
    if not texts:
        raise ValueError("oracle items are read by the tasks item and residual: train one of them")
    near = nearest_items(source, oracles, min(NEAR, len(model.titles)))
    near_titles = [[model.titles[number] for number in row] for row in near.tolist()]
    texts[NEAREST] = [titles[0] for titles in near_titles]
    targets = [model.titles[number] for number in rows.targets.tolist()]
    scorer = _Scorer(model, near_titles, targets)
    statistics = {arm: mean_statistic(scorer.columns(said)) for arm, said in texts.items()}
    return OracleStudy(texts, estimates(statistics, next(iter(texts)), len(rows), options.bootstrap))


def _residual(
    model: RecInterpreter, source: DreamRec, histories: Histories, oracles: NDArray[np.float32]
) -> list[str]:
    length = model.config.length
    before, after = place_states(source, histories, length), with_oracle(source, histories, oracles, length)
    states, mask = (np.concatenate(parts) for parts in zip(before, after, strict=True))
    evidence = Evidence.of_histories(states, mask).to(model.device)
    return model.answers("residual", evidence, np.arange(2 * len(histories)).reshape(2, -1).T)


class _Scorer:
    """What a text is worth, row by row."""

    def __init__(self, model: RecInterpreter, near: Sequence[Sequence[str]], targets: Sequence[str]) -> None:
        self.model, self.index = model, TitleIndex(model.titles)
        self.near = [[plain_title(title) for title in titles] for titles in near]
        self.targets = targets

    def columns(self, texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Metrics of each row, ``[B]``."""
        said = [plain_title(text) for text in texts]
        found = {
            "nearest": [text == near[0] for text, near in zip(said, self.near, strict=True)],
            f"among {NEAR}": [text in near for text, near in zip(said, self.near, strict=True)],
            "target": [text == plain_title(t) for text, t in zip(said, self.targets, strict=True)],
            "novel": [text not in self.index.items for text in said],
        }
        similar = self._similarities(texts)
        return {name: np.array(column, dtype=np.float64) for name, column in found.items()} | {
            "similarity": similar
        }

    def _similarities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Cosine of each text's mean token embedding and its target's, ``[B]``; 0 for an empty text."""
        ours, theirs = self._embedded(texts), self._embedded(self.targets)
        return torch.nn.functional.cosine_similarity(ours, theirs).double().cpu().numpy()

    def _embedded(self, texts: Sequence[str]) -> torch.Tensor:
        """Mean token embeddings ``[B, H]``."""
        rows = Histories.from_lists([self.model.asker.builder.ids(text) for text in texts])
        table = self.model.network.embeddings.detach()
        ids, starts = (torch.from_numpy(part).to(table.device) for part in (rows.items, rows.starts))
        return torch.nn.functional.embedding_bag(ids, table, starts, mode="mean").float()
