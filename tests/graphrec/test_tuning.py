"""Settings chosen on the validation rows."""

from __future__ import annotations

import pytest
from tiny_recommenders import tiny_data

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.neighbours import Cooccurrence, CooccurrenceConfig
from graphrec.ranking import metric_value, protocol_ranks
from graphrec.tuning import fixed_rows, tune


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return tiny_data(tmp_path_factory.mktemp("walks"))


def test_the_best_on_validation_is_left_in_the_model(data: RecommendationData) -> None:
    model = Cooccurrence(CooccurrenceConfig(gap=2))
    trials = tune(model, data, {"decay": (1.0, 0.0), "power": (0.0, 0.5)})
    assert [set(trial.settings) for trial in trials] == [{"decay", "power"}] * 4
    assert [trial.score for trial in trials] == sorted((t.score for t in trials), reverse=True)
    assert (model.config.decay, model.config.power) == tuple(
        trials[0].settings[n] for n in ("decay", "power")
    )
    assert model.config.gap == 2
    for trial in trials:
        again = Cooccurrence(CooccurrenceConfig(gap=2, **trial.settings))
        again.fit(data)
        found = metric_value(data.manifest.metric, protocol_ranks(again, data.valid, data.manifest))
        assert found == trial.score


def test_what_only_changes_scores_is_not_fitted_again(data: RecommendationData) -> None:
    fitted: list[float] = []

    class Counted(Cooccurrence):
        def count(self, train: Histories) -> None:
            fitted.append(self.config.power)
            super().count(train)

    tune(Counted(), data, {"decay": (1.0, 0.7, 0.0), "power": (0.0, 0.5)})
    assert fitted == [0.0, 0.5]


def test_validation_rows_are_the_same_each_time(data: RecommendationData) -> None:
    first, second = (fixed_rows(data.valid, 7, seed=1) for _ in range(2))
    assert first.targets.tolist() == second.targets.tolist()
    assert len(first) == 7
    assert fixed_rows(data.valid, None, seed=1) is data.valid


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        pytest.param({"decai": (1.0,)}, "has no setting decai; it has decay", id="unknown"),
        pytest.param({"decay": ()}, "no value for decay", id="empty"),
    ],
)
def test_refusals(data: RecommendationData, grid: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tune(Cooccurrence(), data, grid)


def test_nothing_to_choose_by(data: RecommendationData) -> None:
    with pytest.raises(ValueError, match="no validation rows"):
        fixed_rows(data.valid.select(data.valid.targets < 0), 5, seed=0)
