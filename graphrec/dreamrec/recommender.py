"""DreamRec (Yang et al., NeurIPS 2023, arXiv 2310.20453) behind the common face of recommenders.

The vector of the ideal next item, the oracle item, is generated from noise under the guidance of the history;
items are ranked by what lies along it.

Letters: B rows, I items, d width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions, RecommendationData
from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.diagnostics import Collapse, collapse, write_collapse
from graphrec.dreamrec.network import DreamRecNetwork
from graphrec.dreamrec.objective import Objective
from graphrec.dreamrec.prefixes import PrefixBatch, num_batches, padded_rows, prefix_batches
from graphrec.dreamrec.retrieval import retrieval_factors
from graphrec.dreamrec.start_vectors import ease_vectors
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.recommender import FitReport, Floats
from graphrec.repeats import check_no_repeats, seen_behind
from graphrec.sequential.start_vectors import cooccurrence_vectors, saved_vectors
from graphrec.topk import Factors

if TYPE_CHECKING:
    from graphrec.trainer import TrainerConfig

Vectors = NDArray[np.float32]


class DreamRec(NeuralRecommender):
    """Guided diffusion of item vectors.

    >>> model = DreamRec(DreamRecConfig.reference(schedule="linear", guidance=4.0, lr=1e-2))
    """

    name = "dreamrec"
    config_class = DreamRecConfig
    grid = {"guidance": (0.0, 1.0, 2.0, 4.0, 8.0)}
    scoring_settings = ("guidance", "sampler", "sampler_steps", "eta", "noise_seed", "retrieval")
    config: DreamRecConfig
    network: DreamRecNetwork

    def build(self, catalogue: Catalogue) -> DreamRecNetwork:
        return DreamRecNetwork(self.config, len(catalogue))

    def prepare(self, fitted: Interactions) -> None:
        """Fill the item table where it does not start at random."""
        if self.config.seen_last:
            check_no_repeats(fitted.histories, self.catalogue)
        vectors = self._start_vectors(fitted.histories)
        if vectors is None:
            return
        with torch.no_grad():
            table = self.network.encoder.item_embeddings.weight
            table[: len(vectors)] = vectors / vectors.square().mean().sqrt()

    def _start_vectors(self, fitted: Histories) -> Tensor | None:
        num_items, width = len(self.catalogue), self.config.width
        if self.config.start_vectors == "random":
            return None
        if self.config.start_vectors == "ease":
            return ease_vectors(fitted, num_items, width, self.config.ridge)
        if self.config.start_vectors == "cooccurrence":
            return cooccurrence_vectors(fitted, num_items, width, seed=0)
        return saved_vectors(self.config.start_vectors, num_items, width)

    # -- training --------------------------------------------------------------------------------------------

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[PrefixBatch]:
        config = self.config
        rng = np.random.default_rng([seed, epoch])
        yield from prefix_batches(
            train, config.batch_size, config.length, len(self.catalogue), order=config.order, rng=rng
        )

    def num_batches(self, train: Histories) -> int:
        return num_batches(len(train.items), self.config.batch_size, self.config.order)

    def loss(self, batch: PrefixBatch, step: int) -> dict[str, Tensor]:
        return Objective(self.network, self.config)(batch)

    def optimiser(self) -> torch.optim.Optimizer:
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        return torch.optim.AdamW(
            trained, lr=self.config.lr, weight_decay=self.config.weight_decay, eps=1e-8, fused=True
        )

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
        """Train, and say how the item table came out of it (``collapse.json`` and ``.png`` in ``folder``)."""
        report = super().fit(
            data,
            refit_on_trainval=refit_on_trainval,
            trainer=trainer,
            seed=seed,
            folder=folder,
            resume=resume,
        )
        found = self.collapse()
        if folder is not None:
            write_collapse(Path(folder), found)
        note = f"item table: effective rank {found.effective_rank:.1f}, mean cosine {found.mean_cosine:.3f}"
        if found.sampling_share is not None:
            note += f", variance of sampling {found.sampling_share:.1e} of that between items"
        return replace(report, notes=(*report.notes, note))

    def collapse(self) -> Collapse:
        """How the item vectors lie, and how far generated vectors spread where that is known."""
        with self.inference():
            linear = self.network.denoiser.is_linear
            covariance = self.network.affine(self.config).covariance.cpu().numpy() if linear else None
        return collapse(self.item_vectors(), covariance)

    # -- answers ---------------------------------------------------------------------------------------------

    def scores(self, histories: Histories) -> Floats:
        scores = self._products(histories).scores()
        return seen_behind(scores, histories) if self.config.seen_last else scores

    def factors(self, histories: Histories) -> Factors | None:
        """Vectors whose products are the scores; with ``seen_last`` there are none."""
        return None if self.config.seen_last else self._products(histories)

    def _products(self, histories: Histories) -> Factors:
        with self.inference():
            table = self.network.table.detach()[:-1]
            return retrieval_factors(self._oracles(histories), table, self.config.retrieval)

    def oracle_vectors(self, histories: Histories) -> Vectors:
        """The generated vectors of the ideal next items, ``[B, d]``; they lie where item vectors lie."""
        with self.inference():
            found: Vectors = self._oracles(histories).cpu().numpy()
        return found

    def states(self, histories: Histories) -> Vectors:
        """The conditions that generation is guided by: encoded histories, ``[B, d]``."""
        with self.inference():
            found: Vectors = self._conditions(histories).cpu().numpy()
        return found

    def item_vectors(self) -> Vectors:
        """The item table, ``[I, d]``."""
        with self.inference():
            found: Vectors = self.network.table[:-1].cpu().numpy().copy()
        return found

    def _conditions(self, histories: Histories) -> Tensor:
        rows = padded_rows(histories, self.config.length, len(self.catalogue)).to(self.device)
        return self.network.encode(rows)

    def _oracles(self, histories: Histories) -> Tensor:
        if self.config.sampler == "closed_form":
            return self.network.generate(self._conditions(histories), self.config)
        rows = padded_rows(histories, self.config.length, len(self.catalogue))
        distinct, back = rows.unique(dim=0, return_inverse=True)  # many steps: each history once
        oracles = self.network.generate(self.network.encode(distinct.to(self.device)), self.config)
        return oracles[back.to(self.device)]
