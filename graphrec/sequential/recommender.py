"""GRU4Rec, Caser and SASRec as recommenders: networks, batches and losses behind the common face."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.repeats import check_no_repeats, seen_behind
from graphrec.sequential.config import CaserConfig, GRU4RecConfig, SASRecConfig, SequentialConfig
from graphrec.sequential.convolution import Convolution
from graphrec.sequential.examples import (
    Prefixes,
    SequenceBatch,
    expected_windows,
    window_batches,
    windows,
    with_start,
)
from graphrec.sequential.memory import PREFIX, Memory
from graphrec.sequential.network import Published, ReferenceNetwork, SequenceNetwork, StrongNetwork
from graphrec.sequential.objective import Objective
from graphrec.sequential.recurrent import Recurrent
from graphrec.sequential.reference import caser, gru4rec, sasrec
from graphrec.sequential.start_vectors import cooccurrence_vectors, saved_vectors, scaled
from graphrec.sequential.transformer import Transformer
from graphrec.topk import Factors

STRONG_STD = 0.02


class SequentialRecommender(NeuralRecommender):
    """What they share; a subclass gives the strong encoder and the reference network."""

    config_class = SequentialConfig
    config: SequentialConfig
    network: SequenceNetwork
    objective: Objective
    memory: Memory | None = None
    scoring_settings = ("memory_weight", "memory_decay")
    extra_tokens = 0

    @abstractmethod
    def encoder(self) -> nn.Module:
        """The strong network's encoder: vectors ``[P, d]`` and packing to states ``[P, d]``."""

    @abstractmethod
    def reference(self, num_items: int) -> Published:
        """The network of published comparisons."""

    def build(self, catalogue: Catalogue) -> SequenceNetwork:
        config = self.config
        if config.network == "reference":
            return ReferenceNetwork(self.reference(len(catalogue)), config.length)
        return StrongNetwork(
            len(catalogue),
            config.width,
            config.length,
            self.encoder(),
            tied=config.tied,
            std=config.item_std or STRONG_STD,
            extra_tokens=self.extra_tokens,
        )

    def prepare(self, fitted: Interactions) -> None:
        """Count items, for negatives, and pairs, for the memory; fill the table if it starts from vectors."""
        if self.config.seen_last:
            check_no_repeats(fitted.histories, self.catalogue)
        counts = np.bincount(fitted.histories.items, minlength=len(self.catalogue))
        self.objective = Objective(self.config, torch.from_numpy(counts))
        if self.config.start_vectors != "random":
            table = self.network.inputs
            with torch.no_grad():
                table.copy_(scaled(self._start_vectors(fitted.histories), float(table.std())))
        if self.config.memory_weight:
            self.memory = Memory(self.catalogue)
            self.memory.fit(fitted.histories, self.config.memory_recent)

    def _start_vectors(self, fitted: Histories) -> Tensor:
        num_items, width = len(self.catalogue), self.config.width
        if self.config.start_vectors == "cooccurrence":
            return cooccurrence_vectors(fitted, num_items, width, seed=0)
        return saved_vectors(self.config.start_vectors, num_items, width)

    # -- batches ---------------------------------------------------------------------------------------------

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[Any]:
        rng = np.random.default_rng([seed, epoch])
        if self.config.rows == "prefixes":
            yield from self._prefix_batches(train, rng)
        else:
            yield from window_batches(self.windows_of(train, rng), self.num_batches(train), rng)

    def windows_of(self, train: Histories, rng: np.random.Generator) -> Histories:
        """Rows of at most L + 1 tokens, every one of which but the first is a target."""
        cut = rng if self.config.rows == "windows" else None
        return windows(self._whole(train), self.config.length, cut)

    def num_batches(self, train: Histories) -> int:
        size = self.config.batch_size
        if self.config.rows == "prefixes":
            rows = len(Prefixes.of(train, first_items=self.config.first_items))
            return rows // size if self.config.order == "draws" else -(-rows // size)
        return math.ceil(expected_windows(self._whole(train), self.config.length) / size)

    def _whole(self, train: Histories) -> Histories:
        """Sequences to cut windows from."""
        whole = with_start(train, len(self.catalogue)) if self.config.first_items else train
        return whole.last(self.config.length + 1) if self.config.rows == "latest" else whole

    def _prefix_batches(self, train: Histories, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        prefixes = Prefixes.of(train, first_items=self.config.first_items)
        size, length, start = self.config.batch_size, self.config.length, len(self.catalogue)
        order = rng.permutation(len(prefixes))
        for batch in range(self.num_batches(train)):
            if self.config.order == "draws":
                chosen = rng.choice(len(prefixes), size, replace=False)
            else:
                chosen = order[batch * size : (batch + 1) * size]
            yield prefixes.batch(chosen, length, start, always=self.network.shows_start)

    # -- training --------------------------------------------------------------------------------------------

    def loss(self, batch: Any, step: int) -> dict[str, Tensor]:
        return {"loss": self.next_item_loss(batch)}

    def next_item_loss(self, batch: SequenceBatch) -> Tensor:
        """Loss of the trained places against what came next, a scalar."""
        network = self.network
        if batch.places is None:
            states = network.all_states(batch.tokens, batch.packing)
        else:
            states = network.last_states(batch.tokens, batch.packing)
        return self.objective(states, batch.targets, network.outputs)

    def optimiser(self) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if self.config.optimiser == "adamw" else torch.optim.Adam
        return kind(
            self.network.parameters(),
            lr=self.config.lr,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay,
            fused=True,
        )

    def rate_factor(self, step: int) -> float:
        config = self.config
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if not config.decay_steps:
            return 1.0
        done = min(1.0, (step - config.warmup_steps) / (config.decay_steps - config.warmup_steps))
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * done))

    # -- answers ---------------------------------------------------------------------------------------------

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """The network's scores, with what the memory adds to them, ``[B, I]``.

        With a memory, empty histories are answered by it.
        """
        scores = self._products(histories).scores()
        if self.config.memory_weight:
            remembered = self._memory().log_scores(histories, self.config.memory_decay)
            scores += self.config.memory_weight * remembered
        return seen_behind(scores, histories) if self.config.seen_last else scores

    def factors(self, histories: Histories) -> Factors | None:
        """Vectors whose products are the scores; with a memory or ``seen_last`` there are none."""
        config = self.config
        return None if config.memory_weight or config.seen_last else self._products(histories)

    def _memory(self) -> Memory:
        if self.memory is None:
            raise ValueError("memory_weight was 0 when this model was fitted: fit it with a weight above 0")
        return self.memory

    def _products(self, histories: Histories) -> Factors:
        vectors, biases = self.network.outputs
        with self.inference():
            states = self.network.encode(histories)
        if self.config.memory_weight or not self.config.first_items:  # empty histories: level, but for biases
            states = states * torch.from_numpy(histories.lengths > 0).to(states).unsqueeze(1)
        return Factors(states, vectors.detach(), None if biases is None else biases.detach())

    def states(self, histories: Histories) -> NDArray[np.float32]:
        """The state after each history, ``[B, d]``; its product with the output vectors is the score."""
        with self.inference():
            found: NDArray[np.float32] = self.network.encode(histories).cpu().numpy()
        return found

    def all_states(self, histories: Histories) -> tuple[NDArray[np.float32], Histories]:
        """The state at every place that is read, ``[P, d]``, and the tokens there, row after row.

        Token I is the start of a sequence. Only strong networks have these states.
        """
        rows = self.network.rows(histories)
        with self.inference():
            tokens, packing = self.network.pack(rows)
            states = self.network.all_states(tokens, packing).cpu().numpy()
        back = Histories.from_lengths(np.arange(len(states)), packing.lengths).select(
            np.argsort(packing.order)
        )
        found: NDArray[np.float32] = states[back.items]
        return found, rows

    def item_vectors(self) -> NDArray[np.float32]:
        """What is read, what scores, or their mean, as ``config.vectors`` says, ``[I, d]``."""
        inputs, outputs = self.network.inputs, self.network.outputs[0]
        if self.config.vectors == "mean":
            chosen = (inputs + outputs) / 2
        else:
            chosen = inputs if self.config.vectors == "input" else outputs
        found: NDArray[np.float32] = chosen.detach().cpu().numpy().copy()
        return found

    # -- saving ----------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        return super().arrays() | ({} if self.memory is None else self.memory.arrays())

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().set_arrays({name: array for name, array in arrays.items() if not name.startswith(PREFIX)})
        if self.config.memory_weight:
            self.memory = Memory(self.catalogue)
            self.memory.set_arrays(arrays)


class SASRec(SequentialRecommender):
    """Attention over the latest items: Kang & McAuley, ICDM 2018."""

    name = "sasrec"
    config_class = SASRecConfig
    config: SASRecConfig

    def encoder(self) -> nn.Module:
        config = self.config
        return Transformer(
            config.width,
            config.length,
            num_blocks=config.num_blocks,
            num_heads=config.num_heads,
            inner=config.inner,
            dropout=config.dropout,
        )

    def reference(self, num_items: int) -> Published:
        config = self.config
        return sasrec.SASRec(
            num_items,
            config.width,
            config.length,
            num_heads=config.num_heads,
            dropout=config.dropout,
            masking=config.masking,
            **_std(config),
        )


class GRU4Rec(SequentialRecommender):
    """A recurrent network over the latest items: Hidasi et al., ICLR 2016."""

    name = "gru4rec"
    config_class = GRU4RecConfig
    config: GRU4RecConfig

    def encoder(self) -> nn.Module:
        config = self.config
        return Recurrent(
            config.width, num_layers=config.num_layers, hidden=config.hidden, dropout=config.dropout
        )

    def reference(self, num_items: int) -> Published:
        return gru4rec.GRU4Rec(num_items, self.config.width, **_std(self.config))


class Caser(SequentialRecommender):
    """Convolutions over the latest items: Tang & Wang, WSDM 2018."""

    name = "caser"
    config_class = CaserConfig
    config: CaserConfig

    def encoder(self) -> nn.Module:
        config = self.config
        return Convolution(
            config.width,
            config.window or config.length,
            heights=config.heights,
            num_filters=config.num_filters,
            num_vertical=config.num_vertical,
            dropout=config.dropout,
        )

    def reference(self, num_items: int) -> Published:
        config = self.config
        return caser.Caser(
            num_items,
            config.width,
            config.length,
            num_filters=config.num_filters,
            heights=config.heights,
            dropout=config.dropout,
            **_std(config),
        )


def _std(config: SequentialConfig) -> dict[str, Any]:
    """The start of the item table, where it is set."""
    return {} if config.item_std is None else {"item_std": config.item_std}
