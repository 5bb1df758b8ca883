"""S-DPO (Chen et al., NeurIPS 2024, arXiv 2406.09215) on any saved recommender that scores titles.

Each row is one prompt with 1 + K titles behind it, the one that came next first; all of them share one pass
over the prompt. The loss is that of :mod:`align`. What is saved is a recommender of the kind of its start.

Letters: B rows of a batch, N rows, K negatives, M items of a pool, C titles of a batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from align.loss_config import PreferenceLossConfig, build_loss
from align.metrics import preference_metrics
from align.objective import PreferenceLoss
from align.policy import without_noise
from align.preferences import Preferences
from graphrec.catalogue import Catalogue
from graphrec.data import Interactions, RecommendationData
from graphrec.histories import Histories, Integers
from graphrec.language.network import ItemLanguageModel
from graphrec.language.recommender import LanguageRecommender
from graphrec.language.titles import all_titles
from graphrec.language.towers import ItemInputs
from graphrec.neural import NeuralRecommender
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.recommender import FitReport, Floats, Recommender
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.leakage import Lists, halves, leakage_probe, told
from graphrec.sdpo.pools import chosen_places
from graphrec.sdpo.reference import CachedScores, OnlineScores, cached_scores, prompt_of
from graphrec.sdpo.rows import PreferenceRows, cut_rows, released_rows
from graphrec.topk import Factors
from moltc.backbone.packing import PackedTrees

if TYPE_CHECKING:
    from graphrec.trainer import TrainerConfig

CACHE = "reference.safetensors"
LOGGED = {
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "rewards/least_margins": "least_margin",
    "rewards/chosen_mass": "chosen_mass",
    "logps/chosen": "chosen",
    "kl/chosen": "chosen_ratio",
}
"""Metrics of align that are logged, and under which names."""


@dataclass(frozen=True)
class SDPOBatch:
    """B rows and the titles they compare.

    Attributes:
        rows: numbers of the rows, ``[B]``.
        places: of their titles among target and pool, the target's 0 first, ``[B, 1 + K]``.
        packed, inputs: prompts with these titles; None where the model chooses them itself.
    """

    rows: Integers
    places: Integers
    packed: PackedTrees | None
    inputs: ItemInputs | None

    def to(self, device: torch.device) -> SDPOBatch:
        """The same on a device."""
        packed = None if self.packed is None else self.packed.to(device)
        inputs = None if self.inputs is None else self.inputs.to(device)
        return replace(self, packed=packed, inputs=inputs)


class SDPO(NeuralRecommender):
    """A saved recommender in preference training.

    >>> model = SDPO(SDPOConfig(start="runs/graphrec/llara/export", num_negatives=3))

    Attributes:
        model: the recommender, whose weights are trained.
        rows: what it is trained on.
        scores_of_start, start_model: the reference, cached or online; None where there is none.
    """

    name = "sdpo"
    config_class = SDPOConfig
    config: SDPOConfig
    network: ItemLanguageModel
    model: LanguageRecommender
    rows: PreferenceRows
    scores_of_start: CachedScores | None = None
    start_model: OnlineScores | None = None
    _seed: int = 0
    _place: Path | None = None

    # -- start -----------------------------------------------------------------------------------------------

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
        """Train the start further; see :meth:`graphrec.neural.NeuralRecommender.fit`.

        The notes tell what the reference cost and what candidate lists give away.
        """
        if self.config.dropout and not self.config.is_plain:
            warnings.warn(
                "dropout is on in the model and off in the reference: its noise counts as reward; give "
                "dropout false",
                stacklevel=2,
            )
        self._place = None if folder is None else Path(folder)
        report = super().fit(
            data,
            refit_on_trainval=refit_on_trainval,
            trainer=trainer,
            seed=seed,
            folder=folder,
            resume=resume,
        )
        return replace(report, notes=(*report.notes, *self._notes(data, report.seconds)))

    def start(self, catalogue: Catalogue, seed: int) -> None:
        self._seed = seed
        super().start(catalogue, seed)

    def build(self, catalogue: Catalogue) -> nn.Module:
        if not self.config.start:
            raise ValueError("name the saved recommender to train further as start, e.g. runs/mine/export")
        found = Recommender.from_pretrained(self.config.start)
        if not isinstance(found, LanguageRecommender):
            raise ValueError(
                f"{self.config.start} holds a {found.name}, which scores no titles: start from a llara or "
                "another recommender on a language model"
            )
        if list(found.catalogue.item_ids) != list(catalogue.item_ids):
            raise ValueError(f"{self.config.start} knows other items than these data: fit it on them first")
        if not any(parameter.requires_grad for parameter in found.network.parameters()):
            raise ValueError(f"nothing of {self.config.start} is trained: give it LoRA or training 'full'")
        self.model = found
        return found.network.train()

    def prepare(self, fitted: Interactions) -> None:
        """Make the rows, and have the start score them where its scores are cached."""
        titles, length = all_titles(self.catalogue), self.model.config.length
        if self.config.released is not None:
            self.rows = released_rows(self.config.released, titles, length)
        else:
            self.rows = cut_rows(fitted.histories, titles, length, self.config, self._seed)
        if self.config.num_negatives > self.rows.pools.shape[1]:
            raise ValueError(
                f"num_negatives {self.config.num_negatives} are more than the {self.rows.pools.shape[1]} "
                "other candidates of a row: lower it"
            )
        self.scores_of_start = self.start_model = None
        if self.config.is_plain:
            return
        if self.config.reference == "online":
            self.start_model = OnlineScores(self.network)
            return
        self.scores_of_start = cached_scores(self.model, self.rows, self._cache_file())

    def _cache_file(self) -> Path | None:
        if self.config.reference_file is not None:
            return Path(self.config.reference_file)
        return None if self._place is None else self._place / CACHE

    # -- batches ---------------------------------------------------------------------------------------------

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[SDPOBatch]:
        order = np.random.default_rng([seed, epoch]).permutation(len(self.rows))
        for first in range(0, len(order), self.config.batch_size):
            rows = order[first : first + self.config.batch_size]
            if self.config.mined and not self.config.is_plain:
                yield SDPOBatch(rows, np.empty((len(rows), 0), dtype=np.int64), None, None)
            else:
                yield self.batch(rows, self._places(rows, epoch if self.config.redraw else 0, seed))

    def num_batches(self, train: Histories) -> int:
        return -(-len(self.rows) // self.config.batch_size)

    def _places(self, rows: Integers, epoch: int, seed: int) -> Integers:
        """Target and drawn negatives, as places among target and pool, ``[B, 1 + K]``."""
        first = np.zeros((len(rows), 1), dtype=np.int64)
        if self.config.is_plain:
            return first
        size, count = self.rows.pools.shape[1], self.config.num_negatives
        chosen = chosen_places(rows, size, count, seed=seed, epoch=epoch)
        return np.concatenate([first, 1 + chosen], axis=1)

    def batch(self, rows: Integers, places: Integers) -> SDPOBatch:
        """Prompts of rows ``[B]`` with the titles in some places, ``[B, 1 + K]``."""
        titles = self.rows.titles
        trees = [
            prompt_of(self.model, self.rows, row).with_completions(
                [self.network.title(item) for item in titles[row, chosen].tolist()]
            )
            for row, chosen in zip(rows.tolist(), places, strict=True)
        ]
        packed = self.network.pack(trees)
        return SDPOBatch(rows, places, packed, self.network.inputs(packed.entities))

    # -- training --------------------------------------------------------------------------------------------

    def loss(self, batch: SDPOBatch, step: int) -> dict[str, Tensor]:
        if not self.config.dropout:
            without_noise(self.network)
        if batch.packed is None:
            batch = self.mined(batch.rows).to(self.device)
        output = self.objective(self.preferences(batch))
        metrics = preference_metrics(output)
        logged = {
            name: metrics[key].total / metrics[key].count for key, name in LOGGED.items() if key in metrics
        }
        return {"loss": output.loss, **logged}

    @property
    def objective(self) -> PreferenceLoss:
        """The loss as align has it."""
        if self.config.is_plain:
            return build_loss(PreferenceLossConfig(method="sft"))
        return build_loss(PreferenceLossConfig(method="sdpo", beta=self.config.beta))

    def preferences(self, batch: SDPOBatch) -> Preferences:
        """Log-probabilities of a batch under the model and its start, titles of a row side by side."""
        assert batch.packed is not None
        reference = self._reference(batch)
        found = self.network(batch.packed, batch.inputs)
        return Preferences.from_flat(
            found.logps,
            found.lengths,
            found.num_completions,
            reference,
            ids=torch.from_numpy(batch.rows).to(found.logps.device),
        )

    def _reference(self, batch: SDPOBatch) -> Tensor | None:
        """Sums under the start, ``[C]``; None where nothing is compared."""
        if self.scores_of_start is not None:
            return self.scores_of_start.of(batch.rows, batch.places).to(self.device)
        if self.start_model is None:
            return None
        assert batch.packed is not None
        return self.start_model(batch.packed, batch.inputs)

    @torch.no_grad()
    def mined(self, rows: Integers) -> SDPOBatch:
        """Rows ``[B]`` with the K of each pool that the model now finds most likely."""
        size = self.rows.pools.shape[1]
        pools = self.batch(rows, np.broadcast_to(np.arange(1, 1 + size), (len(rows), size)))
        assert pools.packed is not None
        with self.inference():
            logps = self.network(
                pools.packed.to(self.device), cast(ItemInputs, pools.inputs).to(self.device)
            ).logps
        hardest = logps.view(len(rows), size).topk(self.config.num_negatives).indices.cpu().numpy()
        return self.batch(rows, np.concatenate([np.zeros((len(rows), 1), np.int64), 1 + hardest], axis=1))

    def optimiser(self) -> torch.optim.Optimizer:
        config = self.config
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )

    def rate_factor(self, step: int) -> float:
        config = self.config
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.decay_steps is None:
            return 1.0
        done = min(1.0, (step - config.warmup_steps) / (config.decay_steps - config.warmup_steps))
        return 0.5 * (1 + math.cos(math.pi * done))

    # -- what is told of a run -------------------------------------------------------------------------------

    def _notes(self, data: RecommendationData, seconds: float) -> Iterator[str]:
        if self.rows.left_out:
            yield f"{self.rows.left_out} released rows name items that the catalogue does not have: left out"
        cached = self.scores_of_start
        if cached is not None and cached.seconds:
            yield (
                f"reference: {cached.sums.size} titles of {len(cached.sums)} rows, {cached.tokens} tokens, "
                f"in {cached.seconds:.1f} s, {cached.seconds / seconds:.0%} of the run"
            )
        if len(data.valid) and data.valid.candidates is not None:
            name, start = data.manifest.metric, Recommender.from_pretrained(self.config.start)
            score = metric_value(name, protocol_ranks(start, data.valid, data.manifest))
            yield f"{name} of the start on validation rows: {score:.4f}"
        yield from self.leakage(data)

    def leakage(self, data: RecommendationData) -> Iterator[str]:
        """What candidate lists give away: those of the data, and those of a released file."""
        lists = [
            Lists(rows.candidates[:, 0], rows.targets)
            for rows in (data.valid, data.test)
            if rows.candidates is not None and len(rows)
        ]
        if len(lists) == 2:
            yield f"test lists: {told(leakage_probe(lists[0], lists[1]))}"
        if self.config.released is not None:
            yield f"released lists: {told(leakage_probe(*halves(Lists(self.rows.shown, self.rows.targets))))}"

    # -- the recommender itself ------------------------------------------------------------------------------

    def scores(self, histories: Histories) -> Floats:
        return self.model.scores(histories)

    def factors(self, histories: Histories) -> Factors | None:
        return self.model.factors(histories)

    def candidate_scores(self, histories: Histories, candidates: Integers) -> Floats:
        return self.model.candidate_scores(histories, candidates)

    def draw_scores(self, histories: Histories, candidates: Integers) -> Floats:
        return self.model.draw_scores(histories, candidates)

    def item_vectors(self) -> Floats:
        return self.model.item_vectors()

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the recommender as what its start was."""
        self.model.save_pretrained(folder)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.model.arrays()

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        raise ValueError("preference training is saved as the recommender that was trained: load that")
