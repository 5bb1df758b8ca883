"""What recommenders would do with logged sessions: metrics by kind of event, and off-policy estimates.

Letters: B events, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphrec.data import RecommendationData, Rows, Words
from graphrec.offline_rl.estimates import EstimateOptions
from graphrec.offline_rl.event_metrics import event_metrics
from graphrec.offline_rl.fqe import features, fitted_q_evaluation
from graphrec.offline_rl.off_policy import snips
from graphrec.offline_rl.policies import following, popularity, sessions, show
from graphrec.offline_rl.transitions import purchases, rewards
from graphrec.recommender import Recommender
from moltc.bootstrap import Bootstrap, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PolicyReport:
    """Of one recommender.

    Attributes:
        metrics: of its lists, and ``SNIPS`` and ``FQE``, each with an interval over sessions.
        effective: events that the importance-sampling estimate rests on.
        clipped: share of events whose weight was cut.
    """

    metrics: dict[str, Metric]
    effective: float
    clipped: float


def report(
    models: Mapping[str, Recommender],
    data: RecommendationData,
    judge: Recommender,
    options: EstimateOptions | None = None,
) -> dict[str, PolicyReport]:
    """Judge recommenders by the test sessions of the data.

    Args:
        models: by name.
        data: whose test rows are all events of sessions.
        judge: a recommender with vectors that all are judged by: its states and item vectors are the features
            of fitted Q evaluation, its probabilities stand for the policy that was logged. It should be none
            of ``models``.
        options: see :class:`EstimateOptions`.

    Raises:
        ValueError: the rows are no sessions, or the judge has no vectors.
    """
    chosen, rows = options or EstimateOptions(), data.test
    log = _Log.of(rows, data, judge, chosen)
    return {name: log.judged(model, chosen) for name, model in models.items()}


@dataclass(frozen=True)
class _Log:
    """The logged events and what the judge says about them."""

    rows: Rows
    bought: NDArray[np.bool_]
    rewards: Floats
    following: NDArray[np.int64]
    sessions: NDArray[np.int64]
    popularity: Floats
    behaviour: Floats
    states: Floats
    vectors: Floats

    @classmethod
    def of(cls, rows: Rows, data: RecommendationData, judge: Recommender, options: EstimateOptions) -> _Log:
        events = rows.columns.get("event")
        if not isinstance(events, Words):
            raise ValueError(f"{data.folder} does not tell clicks from purchases: it has no column event")
        followers = following(rows)
        parts = [judge.factors(rows.histories[part]) for part in judge.parts(len(rows))]
        if any(part is None for part in parts):
            raise ValueError(f"{judge.name} has no vectors to judge by; name a model such as sasrec")
        states = [part.queries.cpu().numpy() for part in parts if part is not None]
        vectors = next(part.items.cpu().numpy() for part in parts if part is not None)
        return cls(
            rows=rows,
            bought=purchases(events, len(rows)),
            rewards=rewards(
                events, len(rows), click=options.click_reward, purchase=options.purchase_reward
            ).astype(np.float64),
            following=followers,
            sessions=sessions(followers),
            popularity=popularity(data.train.items, data.num_items)[rows.targets],
            behaviour=show(judge, rows).probabilities,
            states=np.concatenate(states).astype(np.float64),
            vectors=vectors.astype(np.float64),
        )

    def judged(self, model: Recommender, options: EstimateOptions) -> PolicyReport:
        """What one recommender would do."""
        shown = show(model, self.rows, temperature=options.temperature, vectors=self.vectors)
        bootstrap = Bootstrap(options.seed, options.resamples)
        metrics = event_metrics(
            shown.ranks,
            self.bought,
            click=options.click_reward,
            purchase=options.purchase_reward,
            popularity=self.popularity,
            sessions=self.sessions,
            bootstrap=bootstrap,
        )
        sampled = snips(
            self.rewards,
            shown.probabilities,
            self.behaviour,
            clip=options.clip,
            sessions=self.sessions,
            bootstrap=bootstrap,
        )
        assert shown.mean_vectors is not None
        fitted = fitted_q_evaluation(
            features(self.states, self.vectors[self.rows.targets]),
            features(self.states, shown.mean_vectors),
            self.following,
            self.rewards,
            gamma=options.gamma,
            ridge=options.ridge,
            sessions=self.sessions,
            bootstrap=Bootstrap(options.seed, options.refits),
        )
        return PolicyReport(
            metrics | {"SNIPS": sampled.value, "FQE": fitted}, sampled.effective, sampled.clipped
        )
