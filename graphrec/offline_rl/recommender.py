"""A recommender learnt offline from logged sessions and rewards: the SQN line and an MCRL-style learner.

One pass of an encoder over a session gives the states before and after each of its events, for the network
that learns and, without gradient, for the one that gives it targets. Lists come from the policy head of the
first network, or from its action values.

Letters: P events of a batch, N negatives, B rows, I items, w state width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from graphrec.catalogue import Catalogue
from graphrec.data import Interactions, Words
from graphrec.histories import Histories
from graphrec.neural import NeuralRecommender
from graphrec.offline_rl.batches import Pieces, SessionBatch, session_batches
from graphrec.offline_rl.config import OfflineRLConfig
from graphrec.offline_rl.contrast import top_one
from graphrec.offline_rl.judging import judge
from graphrec.offline_rl.network import Networks
from graphrec.offline_rl.objective import Judged, objective_terms
from graphrec.offline_rl.transitions import rewards
from graphrec.recommender import Floats
from graphrec.sequential.packing import pack
from graphrec.topk import Factors


class OfflineRL(NeuralRecommender):
    """Offline reinforcement learning over sessions; see :mod:`graphrec.offline_rl.methods`."""

    name = "offline_rl"
    config_class = OfflineRLConfig
    config: OfflineRLConfig
    network: Networks

    def __init__(self, config: OfflineRLConfig | None = None) -> None:
        super().__init__(config)
        self.objective = self.config.resolved()

    # -- training --------------------------------------------------------------------------------------------

    def build(self, catalogue: Catalogue) -> Networks:
        return Networks(self.config, len(catalogue))

    def prepare(self, fitted: Interactions) -> None:
        events = fitted.columns.get("event")
        if events is not None and not isinstance(events, Words):
            raise ValueError("the column event holds numbers; name each event click or purchase")
        sessions, objective = fitted.histories, self.objective
        self._rewards = rewards(
            events, len(sessions.items), click=objective.click_reward, purchase=objective.purchase_reward
        )
        counts = np.bincount(sessions.items, minlength=len(self.catalogue))
        self._popularity = torch.from_numpy((counts / counts.sum()).astype(np.float32))

    def num_batches(self, train: Histories) -> int:
        return -(-len(Pieces.of(train, self.config.length)) // self.config.batch_size)

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[SessionBatch]:
        return session_batches(
            Pieces.of(train, self.config.length),
            self._rewards,
            len(self.catalogue),
            batch_size=self.config.batch_size,
            num_negatives=self.objective.num_negatives,
            outside_session=self.objective.negatives == "outside_session",
            rng=np.random.default_rng([seed, epoch]),
        )

    def loss(self, batch: SessionBatch, step: int) -> dict[str, Tensor]:
        main, target = self.network.roles()
        judged = judge(
            main,
            target,
            batch,
            self.objective,
            popularity=self._popularity.to(self.device),
            policy_samples=self.config.policy_samples,
            dropout_in_targets=self.config.dropout_in_targets,
        )
        return objective_terms(self.objective, judged, step=step) | _watched(judged)

    def optimiser(self) -> torch.optim.Optimizer:
        learning = [weight for weight in self.network.parameters() if weight.requires_grad]
        adam = torch.optim.Adam(
            learning, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, foreach=True
        )
        adam.register_step_post_hook(lambda *_: self.network.follow())  # before any checkpoint of the step
        return adam

    def rate_factor(self, step: int) -> float:
        later = self.config.learning_rate_after_warmup
        if later is None or step < self.objective.warmup_steps:
            return 1.0
        return later / self.config.learning_rate

    # -- ranking ---------------------------------------------------------------------------------------------

    def states(self, histories: Histories) -> Tensor:
        """State after each history, ``[B, w]``; its latest ``length`` items count."""
        network = self.network.first
        recent = histories.last(self.config.length)
        rows = np.flatnonzero(recent.lengths)
        with self.inference():
            if not len(rows):
                return network.empty.expand(len(recent), -1)
            items, packing = pack(recent.select(rows))
            after = network.states(items.to(self.device), packing)
            places = np.zeros(len(recent), dtype=np.int64)
            places[rows] = packing.last.numpy() + 1
            return after[torch.from_numpy(places).to(self.device)]

    def factors(self, histories: Histories) -> Factors:
        network, rank_by = self.network.first, self.config.rank_by
        states = self.states(histories)
        if rank_by == "policy":
            return Factors(*network.policy(states).detached())
        value = network.values()(states).detached()
        if rank_by == "value":
            return Factors(*value)
        # log softmax(y) + share Q, but for a constant of the row
        policy, share = network.policy(states).detached(), self.config.value_share
        return Factors(
            torch.cat([policy.queries, share * value.queries], 1),
            torch.cat([policy.rows, value.rows], 1),
            policy.biases + share * value.biases,
        )

    def item_vectors(self) -> Floats:
        return self.network.first.items.weight.detach().cpu().numpy()


def _watched(judged: Judged) -> dict[str, Tensor]:
    """Figures that tell whether the learner behaves: values of what was taken and of random items, and how
    often the transition model tells the taken action from the negatives."""
    watched = {}
    if judged.values is not None and judged.negative_values is not None:
        watched = {"value": judged.values.mean(), "negative_value": judged.negative_values.mean()}
    if judged.transition_similarities is not None:
        watched["transition_top1"] = top_one(judged.transition_similarities).float().mean()
    return {name: figure.detach() for name, figure in watched.items()}
