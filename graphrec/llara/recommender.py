"""LLaRA: a language model that reads each item as its title and one soft token from a recommender's vector.

Liao et al., SIGIR 2024, arXiv 2312.02445. Training goes from text-only to hybrid prompts. Two layouts of a
row: as published, a question about a list of candidates; and windows of a sequence in which every title is a
target, which trains a small model many times faster.

Letters: B rows, D draws of candidates, C candidates of a draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.data import Interactions, RecommendationData
from graphrec.histories import Histories, Integers
from graphrec.language.recommender import LanguageRecommender
from graphrec.language.scoring import Prompt, Scored
from graphrec.language.windows import TitleBatch
from graphrec.llara.candidates import drawn_candidates
from graphrec.llara.config import LlaraConfig
from graphrec.llara.curriculum import Curriculum, uniform
from graphrec.llara.rates import LlaraRates
from graphrec.llara.shares import DrawnShare
from graphrec.llara.templates import TEMPLATES, Shown, drawn_wording
from graphrec.recommender import FitReport, Floats, FurtherReport
from graphrec.sequential.examples import Prefixes, spans
from moltc.backbone.bootstrap import Bootstrap
from moltc.backbone.prompt import PromptTree

OPEN = 0x09E4
"""Keeps draws of open prompts apart from others of the same seed and step."""
COUNTED = 100
"""A vocabulary of words has the numbers up to this one, for prompts that state how many titles they list."""


class Llara(LanguageRecommender):
    """LLaRA in its forms, layouts and curricula, see :class:`graphrec.llara.config.LlaraConfig`."""

    name = "llara"
    config_class = LlaraConfig
    config: LlaraConfig
    scoring_settings = ("mean_token", "prior_share")
    epoch_steps: int = 1
    curriculum: Curriculum | None = None
    _drawn: DrawnShare | None = None
    _steps: int = 0

    # -- prompts ---------------------------------------------------------------------------------------------

    def texts(self) -> Sequence[str]:
        if self.config.layout == "windows":
            return ()
        counts = map(str, range(1, COUNTED + 1))
        said = [text for wording in TEMPLATES for text in self.config.template(wording).texts()]
        return [*said, *counts, str(self.config.stated_count or "")]

    def prompt(
        self,
        history: Sequence[int],
        candidates: Sequence[int] | None = None,
        *,
        wording: str | None = None,
    ) -> PromptTree:
        """The prompt about a history of item numbers.

        Args:
            candidates: in the order shown; None: the whole catalogue is asked for. Windows show none.
            wording: of the candidates layout; None: the one that answers are asked with.
        """
        if self.config.layout == "windows":
            return super().prompt(history)
        template, form = self.config.template(wording), self.config.form
        shown = [self._shown(item) for item in history[-self.config.length :]]
        if candidates is None:
            asked = template.open_prompt(shown, form)
        else:
            asked = template.prompt(shown, [self._shown(item) for item in candidates], form)
        entities: dict[int, Any] = dict(asked.entities)
        if self._reads_states:
            past = [item.number for item in shown]
            entities |= {slot: tuple(past[:slot]) for slot in range(1, len(past) + 1)}
        return self.network.prompt(asked.pieces, entities)

    @property
    def _reads_states(self) -> bool:
        return self.config.states and self.config.form != "text"

    @property
    def reads_lists(self) -> bool:
        return self.config.layout == "candidates"

    def _shown(self, item: int) -> Shown:
        return Shown(item, str(self.catalogue.title(item)))

    # -- batches ---------------------------------------------------------------------------------------------

    def prepare(self, fitted: Interactions) -> None:
        super().prepare(fitted)
        self.epoch_steps = self.num_batches(fitted.histories)
        self.curriculum = self.config.schedule(self.epoch_steps)
        self._drawn = None if self.curriculum is None else DrawnShare(self._is_hybrid)

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[Any]:
        if self.config.layout == "windows":
            yield from super().batches(train, epoch, seed)
            return
        prefixes = Prefixes.of(train, first_items=False)
        order = np.random.default_rng([seed, epoch]).permutation(len(prefixes))
        count = self.num_batches(train)
        for number, chosen in enumerate(np.array_split(order, count)):
            yield self._question_batch(prefixes, chosen, seed, epoch * count + number)

    def num_batches(self, train: Histories) -> int:
        if self.config.layout == "windows":
            return super().num_batches(train)
        return -(-len(Prefixes.of(train, first_items=False)) // self.config.batch_size)

    def _question_batch(self, prefixes: Prefixes, chosen: Integers, seed: int, step: int) -> TitleBatch:
        """Questions about some prefixes: their wording, and whether they list candidates, by (seed, step)."""
        sequences, ends = prefixes.sequences, prefixes.targets[chosen]
        seen = spans(sequences, ends - sequences.positions[ends], ends)
        targets = sequences.items[ends]
        wording = drawn_wording(seed, step) if self.config.wording == "drawn" else None
        lists: list[list[int]] | list[None] = [None] * len(targets)
        if uniform(seed ^ OPEN, step) >= self.config.open_share:
            size = self.config.num_candidates
            lists = drawn_candidates(targets, seen, len(self.catalogue), size, seed=seed, step=step).tolist()
        histories = seen.last(self.config.length).lists()
        trees = [
            self.prompt(history, shown, wording=wording).with_completions([self.network.title(target)])
            for history, shown, target in zip(histories, lists, targets.tolist(), strict=True)
        ]
        packed = self.network.pack(trees)
        inputs = self.network.inputs(packed.entities)
        return TitleBatch(packed, inputs, torch.from_numpy(targets.copy()))

    # -- training --------------------------------------------------------------------------------------------

    def loss(self, batch: Any, step: int) -> dict[str, Tensor]:
        parts = super().loss(batch, step)
        self._steps = step + 1
        if self.curriculum is None or self._drawn is None:
            return parts
        share = self.curriculum.share(self._within(step), self.total_steps)
        return parts | {
            "hybrid": torch.tensor(float(self.shows(step))),
            "curriculum": torch.tensor(share),
            "hybrid_share": torch.tensor(self._drawn.until(step + 1)),
        }

    def shows(self, step: int) -> bool:
        if self.curriculum is None:
            return super().shows(step)
        return self._is_hybrid(step)

    def _is_hybrid(self, step: int) -> bool:
        assert self.curriculum is not None
        return self.curriculum.is_hybrid(self._within(step), self.total_steps, self._seed)

    def _within(self, step: int) -> int:
        """Steps beyond the planned run are like its last."""
        return min(step, self.total_steps - 1)

    def rate_factor(self, step: int) -> float:
        if self.config.rates == "cosine":
            return super().rate_factor(step)
        peak = self.config.lr
        rates = LlaraRates(peak, peak / 100, peak / 100, self.total_steps, self.total_steps // 20)
        return rates.rate(min(step, self.total_steps), step // self.epoch_steps) / peak

    def fit(self, *args: Any, **options: Any) -> FitReport:
        """Train, see :meth:`graphrec.neural.NeuralRecommender.fit`; the notes tell the share of hybrid
        batches."""
        report = super().fit(*args, **options)
        if self._drawn is None:
            return report
        share, planned = self._drawn.until(self._steps), self.total_steps
        note = f"{share:.1%} of {self._steps} batches were hybrid; the curriculum is planned for {planned}"
        return replace(report, notes=(*report.notes, note))

    # -- answers ---------------------------------------------------------------------------------------------

    def candidate_scores(self, histories: Histories, candidates: Integers) -> Floats:
        """Scores of given items, ``[B, C]``; prompts of the candidates layout show them, in this order."""
        if self.config.layout == "windows":
            return super().candidate_scores(histories, candidates)
        count, size = candidates.shape
        asked = Histories.from_lengths(candidates.ravel(), np.full(count, size))
        return self._shown_scores(histories, asked).reshape(candidates.shape)

    def list_scores(self, histories: Histories, asked: Histories) -> list[Floats]:
        if self.config.layout == "windows":
            return super().list_scores(histories, asked)
        return np.split(self._shown_scores(histories, asked), asked.ends[:-1])

    def _shown_scores(self, histories: Histories, asked: Histories) -> NDArray[np.float32]:
        """Scores of the items of all lists, each list shown in its row's prompt."""
        lists, shown = histories.last(self.config.length).lists(), asked.lists()
        return self.title_scores(lambda row: self.prompt(lists[row], shown[row]), asked.rows, asked.items)

    def title_scores(self, prompt: Prompt, rows: Integers, items: Integers) -> NDArray[np.float32]:
        values = self._ranked_by(self.scored(prompt, rows, items))
        if not self.config.prior_share:
            return values
        distinct, place = np.unique(items, return_inverse=True)
        prior = self.scored(lambda row: self.prompt(()), np.zeros_like(distinct), distinct)
        return values - self.config.prior_share * self._ranked_by(prior)[place]

    def _ranked_by(self, scored: Scored) -> NDArray[np.float32]:
        return scored.means() if self.config.mean_token else scored.sums

    def further_reports(
        self, data: RecommendationData, split: str, *, label: str | None = None, seed: int = 0
    ) -> Mapping[str, FurtherReport]:
        """The answers that the model writes, where the rows have candidates."""
        from graphrec.llara.report import answer_report

        if data.rows(split).candidates is None:
            return {}
        boot = Bootstrap(seed=seed)
        return {
            "answers": answer_report(
                self, data, split, label=label, reads_lists=self.reads_lists, bootstrap=boot
            )
        }

    def draw_scores(self, histories: Histories, candidates: Integers) -> Floats:
        if self.config.layout == "windows":
            return super().draw_scores(histories, candidates)
        rows, draws, size = candidates.shape
        repeated = histories.select(np.repeat(np.arange(rows), draws))
        return self.candidate_scores(repeated, candidates.reshape(-1, size)).reshape(candidates.shape)
