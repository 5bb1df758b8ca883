"""BIGRec: a language model writes the title of the next item, and grounding ranks the catalogue around it.

Bao et al., arXiv 2308.08434. With ``reweight`` the training samples count so that groups of targets weigh as
much as those of histories, which is the first half of IFairLRS (Jiang et al., WWW 2024, arXiv 2402.15215);
the second half, reranking, is :mod:`graphrec.fairness` and works on every recommender.

Letters: B rows, I items, G groups, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graphrec.bigrec.answers import Prompts, Writer
from graphrec.bigrec.config import BigRecConfig
from graphrec.bigrec.grounding import Weights
from graphrec.bigrec.prompt import bigrec_prompt
from graphrec.bigrec.samples import Samples
from graphrec.bigrec.text_grounding import TextGrounding
from graphrec.bigrec.title_table import TitleTable, text_vectors
from graphrec.bigrec.weights import collaborative_weights, popularity_weights
from graphrec.catalogue import Catalogue
from graphrec.data import Interactions, RecommendationData
from graphrec.fairness.groups import ItemGroups, groups_by_name
from graphrec.fairness.reweighting import Reweighting, reweight, weighted_loss
from graphrec.histories import Histories, Integers
from graphrec.language.network import ItemLanguageModel
from graphrec.language.recommender import LanguageRecommender
from graphrec.language.sources import SavedSource
from graphrec.language.titles import all_titles
from graphrec.language.windows import TitleBatch
from graphrec.recommender import FitReport, Floats, Recommender
from graphrec.topk import best_by_scores
from moltc.backbone.prompt import PromptTree

if TYPE_CHECKING:
    from graphrec.trainer import TrainerConfig

POPULARITY = "popularity"
COUNTS = "popularity"
"""Buffer of training interactions of each item."""
WEIGHTING = "weighting"
"""Folder within a saved model for the recommender whose scores move distances."""
SHOWN = 4_000
"""Histories whose first recommendation is counted."""
REMEMBERED = 200_000
"""Answers that are kept until the weights change."""


class BigRec(LanguageRecommender):
    """Titles are written and grounded.

    Attributes:
        reweighting: of the training samples; None where they count alike.
        collaborator: its scores move distances; None where they do not.
    """

    name = "bigrec"
    config_class = BigRecConfig
    scoring_settings = ("gamma",)
    config: BigRecConfig
    reweighting: Reweighting | None = None
    collaborator: Recommender | None = None

    def __init__(self, config: BigRecConfig | None = None) -> None:
        super().__init__(config)
        self._item_weights: Tensor | None = None
        self._samples: Samples | None = None
        self._asking: Prompts | None = None
        self._table: TitleTable | None = None
        self._written: dict[tuple[int, ...], str] = {}

    # -- building --------------------------------------------------------------------------------------------

    def texts(self) -> Sequence[str]:
        if self.config.layout == "windows":
            return ()
        return [bigrec_prompt([title], self.config.domain) for title in all_titles(self.catalogue)]

    def build(self, catalogue: Catalogue) -> ItemLanguageModel:
        folder = None if self._saved is None else self._saved.folder
        network = super().build(catalogue)
        network.register_buffer(COUNTS, torch.zeros(len(catalogue)))
        if self.config.weighting not in ("none", POPULARITY):
            source = self.config.weighting if folder is None else folder / WEIGHTING
            self.collaborator = SavedSource.load(source, catalogue).recommender
        self._asking = None
        self._forget()
        return network.train()  # a pre-trained model comes in evaluation mode

    def prepare(self, fitted: Interactions) -> None:
        config, histories = self.config, fitted.histories
        samples = Samples.of(histories, config.length).drawn(config.samples, np.random.default_rng(0))
        self._samples = samples if config.layout == "instructions" else None
        super().prepare(fitted)
        counts = np.bincount(histories.items, minlength=len(self.catalogue))
        self.network.get_buffer(COUNTS).copy_(torch.from_numpy(counts))
        if config.reweight is not None:
            groups = groups_by_name(config.reweight, self.catalogue, histories, config.counting)
            shown = self._shown(histories) if config.reweight_model else None
            self.reweighting = reweight(
                groups, samples.histories, samples.targets, shown=shown, power=config.reweight_power
            )
            self._item_weights = torch.from_numpy(self.reweighting.item_weights).float()

    def _shown(self, histories: Histories) -> Integers:
        """Lists of the model that weights oppose, ``[B, 10]``, for some of the fitted users as they are now.

        Nothing of their whole histories is offered again, and with many items gone other groups are left than
        after a few.
        """
        model = SavedSource.load(str(self.config.reweight_model), self.catalogue).recommender
        order = np.random.default_rng(0).permutation(len(histories))
        some = histories.select(np.sort(order[:SHOWN]))
        parts = [
            best_by_scores(model.scores(some[part]), 10, seen=some[part])[0]
            for part in model.parts(len(some))
        ]
        return np.concatenate(parts)

    @property
    def prompts(self) -> Prompts:
        """Prompts as they are trained and asked."""
        if self._asking is None:
            config = self.config
            self._asking = Prompts(
                self.network,
                all_titles(self.catalogue),
                config.length,
                config.domain if config.layout == "instructions" else None,
                learn_instruction=config.learn_instruction,
            )
        return self._asking

    def prompt(self, history: Sequence[int], candidates: Sequence[int] | None = None) -> PromptTree:
        return self.prompts.of(history)

    # -- training --------------------------------------------------------------------------------------------

    def num_batches(self, train: Histories) -> int:
        if self._samples is None:
            return super().num_batches(train)
        return -(-len(self._samples) // self.config.batch_size)

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[TitleBatch]:
        samples, prompts = self._samples, self.prompts
        if samples is None:
            yield from super().batches(train, epoch, seed)
            return
        order = np.random.default_rng([seed, epoch]).permutation(len(samples))
        for chosen in np.array_split(order, self.num_batches(train)):
            part = samples.select(chosen)
            rows = zip(part.histories.lists(), part.targets.tolist(), strict=True)
            packed, inputs = self.network.batch([prompts.sample(history, item) for history, item in rows])
            yield TitleBatch(packed, inputs, torch.from_numpy(part.targets))

    def title_loss(self, batch: TitleBatch, step: int) -> Tensor:
        """Mean over samples of weight times mean cross-entropy of its title's tokens, a scalar."""
        found = self.network(batch.packed, batch.showing(self.shows(step)).inputs)
        weights = self._item_weights
        if weights is not None:
            weights = weights.to(found.logps.device)[batch.targets]
        return weighted_loss(found.logps, found.lengths, weights)

    def after_step(self, step: int) -> None:
        self._forget()

    def _forget(self) -> None:
        """Drop what the weights had written."""
        self._table = None
        self._written.clear()

    def fit(
        self,
        data: RecommendationData,
        *,
        refit_on_trainval: bool = False,
        trainer: TrainerConfig | None = None,
        seed: int = 0,
        folder: str | Path | None = None,
        resume: str | Path | None = None,
    ) -> FitReport:
        validated = not refit_on_trainval and len(data.valid) > 0
        if self.config.gammas and not validated:
            raise ValueError("gammas are tried on validation rows, and there are none apart: give one gamma")
        report = super().fit(
            data,
            refit_on_trainval=refit_on_trainval,
            trainer=trainer,
            seed=seed,
            folder=folder,
            resume=resume,
        )
        self._forget()
        notes = [*report.notes, *self._weights_told()]
        if validated and self.config.ranking == "grounding":
            notes.append(self._answers_told(data))
            if self.config.gammas:
                notes.append(self._choose_gamma(data))
        return replace(report, notes=tuple(notes))

    def _weights_told(self) -> Iterator[str]:
        found = self.reweighting
        if found is None:
            return
        yield (
            f"reweighted by {self.config.reweight}: {found.effective_samples:.0f} of {len(found.weights)} "
            f"samples are effective ({found.effective_share:.1%}), weights from {found.weights.min():.3g} to "
            f"{found.weights.max():.3g}"
        )
        if found.unseen:
            yield f"no target is in {', '.join(found.unseen)}: their weights are 1 and not used"
        if found.without_group:
            yield f"{found.without_group} samples have a target without group and weigh 1"

    def _answers_told(self, data: RecommendationData) -> str:
        texts = self.written(data.valid.histories)
        exact = float((self.table.numbers(texts) >= 0).mean())
        return f"{exact:.1%} of the {len(texts)} titles written on validation rows are in the catalogue"

    def _choose_gamma(self, data: RecommendationData) -> str:
        config, rows = self.config, data.valid
        grounding = self._grounding(rows.histories)
        found = grounding.best_gamma(self.written(rows.histories), rows, config.gammas, data.manifest)
        self.config = replace(config, gamma=found.gamma)
        return (
            f"gamma {found.gamma:g} of {len(found.values)} is best on validation, NDCG@10 "
            f"{found.values[found.gamma]:.4f}"
        )

    # -- answers ---------------------------------------------------------------------------------------------

    @property
    def table(self) -> TitleTable:
        """Titles and their embeddings by the weights as they are."""
        if self._table is None:
            titles = all_titles(self.catalogue)
            with self.inference():
                self._table = TitleTable(titles, self._vectors)
        return self._table

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        with self.inference():
            return text_vectors(self.network, texts)

    def written(self, histories: Histories) -> list[str]:
        """The title that is written after each history, B texts; histories that were asked are remembered."""
        asked = [tuple(row) for row in histories.last(self.config.length).lists()]
        if len(self._written) + len(asked) > REMEMBERED:
            self._written.clear()
        new = [row for row in dict.fromkeys(asked) if row not in self._written]
        if new:
            self._written |= dict(zip(new, self._write(new), strict=True))
        return [self._written[row] for row in asked]

    def _write(self, histories: Sequence[Sequence[int]]) -> list[str]:
        writer = Writer(self.prompts, self.config.most_tokens)
        with self.inference():
            if self.config.decoding == "free":
                return writer.free(histories)
            found = writer.among(histories, self._one_for_each_title(np.arange(len(self.catalogue))))
        return [str(self.catalogue.title(item)) for item in found.tolist()]

    def _one_for_each_title(self, items: Integers) -> Integers:
        """The first of the items that share a title, for every title of some items."""
        return items[np.unique(self.table.of_item[items], return_index=True)[1]]

    def scores(self, histories: Histories) -> Floats:
        """Minus the scaled distance of each title to the written one, or its log-probability, ``[B, I]``."""
        if self.config.ranking == "likelihood":
            return super().scores(histories)
        return self._grounding(histories).scores(self.written(histories))

    def candidate_scores(self, histories: Histories, candidates: Integers) -> Floats:
        if self.config.ranking == "likelihood":
            return super().candidate_scores(histories, candidates)
        return Recommender.candidate_scores(self, histories, candidates)

    def _grounding(self, histories: Histories) -> TextGrounding:
        return TextGrounding(self.table, self._moving(histories), self.config.gamma)

    def _moving(self, histories: Histories) -> Floats | Weights | None:
        """Weights of items, of some rows where another recommender gives them."""
        if self.config.weighting == "none":
            return None
        collaborator = self.collaborator
        if collaborator is None:
            return popularity_weights(self.network.get_buffer(COUNTS).cpu().numpy())
        return lambda part: collaborative_weights(collaborator.scores(histories[part]))

    # -- answers held to groups ------------------------------------------------------------------------------

    def group_answers(
        self, histories: Histories, groups: ItemGroups, *, exclude_seen: bool
    ) -> tuple[Integers, Floats]:
        """The item that is written when only titles of a group may be, and its log-probability.

        Args:
            groups: G of them.
            exclude_seen: items of the history may not be written.

        Returns:
            Items and log-probabilities, ``[B, G]`` each; -1 and -inf where no title is found.
        """
        rows = histories.last(self.config.length).lists()
        seen = [set(row) for row in histories.lists()] if exclude_seen else [set() for _ in rows]
        writer = Writer(self.prompts, self.config.most_tokens)
        items = np.full((len(rows), len(groups)), -1, dtype=np.int64)
        with self.inference():
            for group in np.flatnonzero(groups.sizes):
                members = self._one_for_each_title(groups.members(int(group)))
                items[:, group] = writer.unseen(rows, members, seen)
            return items, writer.logps(rows, items)

    def scores_of_answers(self, histories: Histories, answers: Integers) -> Floats:
        """Scores if the titles of these items ``[B]`` had been written, ``[B, I]``."""
        texts = [str(self.catalogue.title(item)) for item in answers.tolist()]
        return self._grounding(histories).scores(texts)

    # -- saving ----------------------------------------------------------------------------------------------

    def _write_files(self, folder: Path) -> None:
        super()._write_files(folder)
        if self.collaborator is not None:
            self.collaborator.save_pretrained(folder / WEIGHTING)
