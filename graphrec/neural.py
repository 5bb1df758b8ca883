"""The skeleton of recommenders that are trained by gradients.

A subclass gives a network, its batches, a loss and an optimiser; :mod:`graphrec.module` trains it. Batches
are a pure function of (fitted part, epoch, seed), and the random state of torch is set from (seed, step)
before each loss, so that a resumed run needs to remember nothing but where it stood.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions, RecommendationData
from graphrec.histories import Histories
from graphrec.recommender import FitReport, Floats, Recommender

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from graphrec.trainer import TrainerConfig


class NeuralRecommender(Recommender):
    """A recommender whose weights are those of ``network``.

    Attributes:
        network: built by :meth:`build` when fitting or loading begins.
        loggers: are told of losses and scores beside metrics.csv, where a run has a folder.
    """

    network: nn.Module
    loggers: Sequence[Logger] = ()

    # -- what a model defines --------------------------------------------------------------------------------

    @abstractmethod
    def build(self, catalogue: Catalogue) -> nn.Module:
        """A new network for a catalogue; random weights come from torch's generator, which is seeded."""

    @abstractmethod
    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[Any]:
        """The batches of an epoch, each with ``to(device)``; a pure function of the arguments."""

    @abstractmethod
    def num_batches(self, train: Histories) -> int:
        """How many batches an epoch has."""

    @abstractmethod
    def loss(self, batch: Any, step: int) -> dict[str, Tensor]:
        """What is minimised, as "loss", and further figures to log.

        Dropout, noise and negatives may draw from torch's default generator: it was seeded for this step.
        """

    @abstractmethod
    def optimiser(self) -> torch.optim.Optimizer:
        """A new optimiser for the weights of ``network``."""

    @abstractmethod
    def item_vectors(self) -> Floats:
        """A vector for each item, ``[I, d]``."""

    def prepare(self, fitted: Interactions) -> None:
        """Take what is needed from the fitted part before training: counts, start vectors, events.

        Called once the network is built. What must outlast training belongs into the network's buffers.
        """

    def rate_factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step."""
        return 1.0

    def after_step(self, step: int) -> None:
        """Called after each optimiser step, for target networks and the like."""

    # -- given -----------------------------------------------------------------------------------------------

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
        """Train; the best validated weights are kept, or the last where nothing was validated.

        Args:
            data: what is fitted and validated.
            refit_on_trainval: fit on the validation interactions too; nothing can be validated then.
            trainer: how long, how carefully and where.
            seed: of weights, order, noise and negatives.
            folder: where logs and checkpoints are kept; None: they are not.
            resume: a checkpoint of the same run to go on from.
        """
        from graphrec.module import train

        return train(
            self,
            data,
            refit_on_trainval=refit_on_trainval,
            trainer=trainer,
            seed=seed,
            folder=folder,
            resume=resume,
        )

    def start(self, catalogue: Catalogue, seed: int) -> None:
        """Build the network with random weights of a seed."""
        self.catalogue = catalogue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.build(catalogue)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No dropout and no gradients within; the network's mode is put back."""
        training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.network.train(training)

    def stored_state(self) -> dict[str, Tensor]:
        """What a saved model and a checkpoint hold: all of the network, unless parts are found elsewhere."""
        return self.network.state_dict()

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: _array(tensor) for name, tensor in self.stored_state().items()}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.start(self.catalogue, seed=0)
        state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        self.take_state("the saved weights do not fit this model", state)
        self.network.eval()

    def take_state(
        self, what: str, state: Mapping[str, Tensor], mend: str = "export the model again"
    ) -> None:
        """Fill the network with what :meth:`stored_state` gave.

        Raises:
            CheckpointError: names or shapes differ; it begins with ``what`` and ends in ``mend``.
        """
        from moltc.backbone.checkpoint import check_fit

        places = self.stored_state()
        check_fit(what, places, state, mend=mend)
        with torch.no_grad():
            for name, tensor in state.items():
                places[name].copy_(tensor)


def _array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array; bfloat16, which numpy does not have, as float32."""
    plain = tensor.detach().cpu()
    found: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return found
