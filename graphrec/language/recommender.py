"""What recommenders on a language model have in common: building, windows of titles, scores, files.

A subclass may show another prompt (:meth:`LanguageRecommender.prompt`), train on other batches, or with
another loss; scoring, saving and the learning rate stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions
from graphrec.histories import Histories, Integers
from graphrec.language.building import build_network
from graphrec.language.config import LanguageSettings
from graphrec.language.network import ItemLanguageModel
from graphrec.language.scoring import Prompt, Scored, score_titles
from graphrec.language.sources import COOCCURRENCE, SavedSource, Sources
from graphrec.language.start import start_from_vectors
from graphrec.language.windows import TitleBatch
from graphrec.neural import NeuralRecommender
from graphrec.recommender import FitReport, Floats
from graphrec.sequential.examples import expected_windows, windows
from moltc.backbone.checkpoint import ARCHITECTURE, TOKENIZER, CheckpointError, own_state
from moltc.backbone.prompt import PromptTree

SOURCES = "sources"
VECTORS = "towers.vectors"


@dataclass(frozen=True)
class SavedParts:
    """What of a saved folder is no array.

    Attributes:
        folder: of the saved model.
        width: of its item vectors.
    """

    folder: Path
    width: int


class LanguageRecommender(NeuralRecommender):
    """A recommender whose network reads titles and soft tokens of items, and scores titles.

    Attributes:
        sources: of item vectors and states; None for a model without any.
        total_steps: of the planned run.
    """

    config_class = LanguageSettings
    config: LanguageSettings
    network: ItemLanguageModel
    sources: Sources | None = None
    total_steps: int = 1
    _seed: int = 0
    _saved: SavedParts | None = None

    # -- building --------------------------------------------------------------------------------------------

    def texts(self) -> Sequence[str]:
        """What prompts say beside titles, so that the vocabulary of a model from scratch has it."""
        return ()

    def start(self, catalogue: Catalogue, seed: int) -> None:
        self._seed = seed
        super().start(catalogue, seed)

    def build(self, catalogue: Catalogue) -> ItemLanguageModel:
        saved = self._saved
        if saved is None:
            self.sources = self._new_sources(catalogue)
            width = 0 if self.sources is None else self.sources.width
        else:
            self.sources = self._saved_sources(saved.folder, catalogue)
            width = saved.width
        state_width = self.sources.width if self.config.states and self.sources is not None else 0
        network = build_network(
            self.config,
            catalogue,
            self.texts(),
            widths=(width, state_width),
            saved=None if saved is None else saved.folder,
        )
        if state_width:
            network.states = self._states
        return network

    def _new_sources(self, catalogue: Catalogue) -> Sources | None:
        if not self.config.sources:
            return None
        return Sources.named(self.config.sources, catalogue, self.config.vector_width)

    def _saved_sources(self, folder: Path, catalogue: Catalogue) -> Sources | None:
        """Recommenders that were saved within the model; they are needed for states only."""
        if not self.config.states:
            return None
        names = [
            name if name == COOCCURRENCE else str(folder / SOURCES / str(place))
            for place, name in enumerate(self.config.sources)
        ]
        return Sources.named(names, catalogue, self.config.vector_width)

    def _states(self, histories: Histories) -> Tensor:
        """States of the sources after histories, ``[B, d]``, with no gradient."""
        assert self.sources is not None
        with torch.no_grad():
            return self.sources.states(histories, self.network.towers.vectors)

    def prepare(self, fitted: Interactions) -> None:
        """Take item vectors from their sources, and start from them where that is asked for."""
        self.total_steps = self.config.planned_epochs * self.num_batches(fitted.histories)
        if self.sources is None:
            return
        self.network.towers.vectors.copy_(self.sources.vectors(fitted.histories))
        if self.config.token_start == "vectors":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed)
                start_from_vectors(self.network)

    def fit(self, *args: Any, **options: Any) -> FitReport:
        """Train, see :meth:`graphrec.neural.NeuralRecommender.fit`."""
        report = super().fit(*args, **options)
        self._settle()
        return report

    def _settle(self) -> None:
        """A pre-trained model answers on the accelerator where there is one; small ones on the processor."""
        if self.config.pretrained is not None and torch.accelerator.is_available():
            self.network.to(torch.accelerator.current_accelerator())

    # -- batches ---------------------------------------------------------------------------------------------

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[Any]:
        rng = np.random.default_rng([seed, epoch])
        rows = self._windows(train, rng)
        for chosen in np.array_split(rng.permutation(len(rows)), self.num_batches(train)):
            yield self.network.windows(rows.select(chosen))

    def _windows(self, train: Histories, rng: np.random.Generator | None) -> Histories:
        """Rows of at most L + 1 items, each of which is a target."""
        return windows(train, self.config.length, rng)

    def num_batches(self, train: Histories) -> int:
        return math.ceil(expected_windows(train, self.config.length) / self.config.batch_size)

    # -- training --------------------------------------------------------------------------------------------

    def loss(self, batch: Any, step: int) -> dict[str, Tensor]:
        return {"loss": self.title_loss(batch, step)}

    def title_loss(self, batch: TitleBatch, step: int) -> Tensor:
        """Mean negative log-probability of the tokens of all titles, a scalar."""
        found = self.network(batch.packed, batch.showing(self.shows(step)).inputs)
        return -found.token_logps.mean()

    def shows(self, step: int) -> bool:
        """Whether the soft tokens of a training batch are shown."""
        return self.config.form != "text"

    def optimiser(self) -> torch.optim.Optimizer:
        config = self.config
        projector = {id(p) for p in self.network.towers.parameters()}
        trained = [p for p in self.network.parameters() if p.requires_grad]
        decay = config.weight_decay if config.projector_decay is None else config.projector_decay
        groups = [
            {"params": [p for p in trained if id(p) not in projector], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if id(p) in projector], "weight_decay": decay},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=config.lr, betas=config.betas, fused=True
        )

    def rate_factor(self, step: int) -> float:
        config = self.config
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        span = max(1, self.total_steps - config.warmup_steps)
        done = min(1.0, (step - config.warmup_steps) / span)
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * done))

    @property
    def reads_lists(self) -> bool:
        """Whether prompts show the candidates that are chosen from."""
        return False

    # -- answers ---------------------------------------------------------------------------------------------

    def prompt(self, history: Sequence[int], candidates: Sequence[int] | None = None) -> PromptTree:
        """The prompt about a history of item numbers.

        Args:
            candidates: what is chosen from; None: the whole catalogue. Windows do not show candidates.
        """
        return self.network.history(history[-self.config.length :])

    def scores(self, histories: Histories) -> Floats:
        count = len(self.catalogue)
        rows = np.repeat(np.arange(len(histories)), count)
        items = np.tile(np.arange(count), len(histories))
        return self.title_scores(self._prompts(histories), rows, items).reshape(len(histories), count)

    def candidate_scores(self, histories: Histories, candidates: Integers) -> Floats:
        """Scores of given items, ``[B, C]``; an item that stands twice in a row is scored once."""
        count = len(self.catalogue)
        keys = np.arange(len(histories))[:, None] * count + candidates
        distinct, place = np.unique(keys.ravel(), return_inverse=True)
        found = self.title_scores(self._prompts(histories), distinct // count, distinct % count)
        return found[place].reshape(candidates.shape)

    def _prompts(self, histories: Histories) -> Prompt:
        """The prompt of each row."""
        lists = histories.last(self.config.length).lists()
        return lambda row: self.prompt(lists[row])

    def title_scores(self, prompt: Prompt, rows: Integers, items: Integers) -> NDArray[np.float32]:
        """What titles are ranked by after the prompts of their rows, the sum of their tokens'
        log-probabilities, ``[C]``.

        Args:
            prompt: gives the prompt of a row.
            rows, items: which prompt and which item, rows sorted, ``[C]`` each.
        """
        return self.scored(prompt, rows, items).sums

    def scored(self, prompt: Prompt, rows: Integers, items: Integers) -> Scored:
        """The same as sums and lengths."""
        with self.inference():
            return score_titles(self.network, prompt, rows, items)

    def item_vectors(self) -> Floats:
        """The vectors that soft tokens are made from, or the mean of each title's embeddings, ``[I, d]``."""
        towers = self.network.towers
        if towers.vectors.shape[1]:
            found: NDArray[np.float32] = towers.vectors.detach().cpu().numpy().copy()
            return found
        titles, table = self.network.titles, self.network.language_model.causal_lm.get_input_embeddings()
        ids = torch.from_numpy(titles.items).to(self.device)
        with torch.no_grad():
            embedded = table(ids).float()  # [N, D]
            summed = embedded.new_zeros(len(titles), embedded.shape[1])
            summed.index_add_(0, torch.from_numpy(titles.rows).to(self.device), embedded)
        means: NDArray[np.float32] = summed.cpu().numpy() / titles.lengths[:, None].astype(np.float32)
        return means

    # -- saving ----------------------------------------------------------------------------------------------

    def stored_state(self) -> dict[str, Tensor]:
        """Everything but base weights that are not trained."""
        language_model = self.network.language_model
        own = own_state(self.network, language_model)
        if language_model.config.training == "lora":
            state = self.network.state_dict()
            own |= {name: tensor for name, tensor in state.items() if "lora_" in name}
        return own

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if self.folder is None or VECTORS not in arrays:
            raise CheckpointError(f"the saved model lacks {VECTORS}; export the model again")
        self._saved = SavedParts(self.folder, arrays[VECTORS].shape[1])
        try:
            super().set_arrays(arrays)
        finally:
            self._saved = None
        self._settle()

    def file_writer(self) -> Callable[[Path], None] | None:
        return self._write_files

    def _write_files(self, folder: Path) -> None:
        """The tokenizer, the architecture of weights that exist nowhere else, and sources of states."""
        language_model = self.network.language_model
        language_model.tokenizer.save_pretrained(folder / TOKENIZER)
        if language_model.config.owns_weights and not language_model.config.is_tiny:
            language_model.causal_lm.config.save_pretrained(folder / ARCHITECTURE)
        if self.config.states and self.sources is not None:
            for place, source in enumerate(self.sources.parts):
                if isinstance(source, SavedSource):
                    source.recommender.save_pretrained(folder / SOURCES / str(place))
