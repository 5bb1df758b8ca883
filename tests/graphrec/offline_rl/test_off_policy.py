"""Off-policy estimates against processes whose values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphrec.offline_rl.fqe import features, fitted_q, fitted_q_evaluation
from graphrec.offline_rl.off_policy import snips
from moltc.bootstrap import Bootstrap

VALUE_ONLY = Bootstrap(resamples=0)


class TestSnips:
    def test_by_hand(self) -> None:
        found = snips(np.array([1.0, 0.0]), np.array([0.2, 0.2]), np.array([0.1, 0.2]), bootstrap=VALUE_ONLY)
        assert found.value.value == pytest.approx(2 / 3)  # weights 2 and 1
        assert found.effective == pytest.approx(9 / 5)
        assert found.clipped == 0.0

    def test_the_logged_policy_itself_gives_the_mean_reward(self) -> None:
        rewards, shown = np.random.default_rng(0).random((2, 50)) + 0.1
        found = snips(rewards, shown, shown)
        assert found.value.value == pytest.approx(rewards.mean())
        assert found.effective == pytest.approx(50)

    def test_the_interval_covers_what_another_policy_earns(self) -> None:
        generator = np.random.default_rng(1)
        logged, wanted, worth = (
            np.array([0.7, 0.2, 0.1]),
            np.array([0.1, 0.3, 0.6]),
            np.array([0.1, 0.5, 0.9]),
        )
        shown = generator.choice(3, size=4000, p=logged)
        rewards = (generator.random(4000) < worth[shown]).astype(float)
        found = snips(rewards, wanted[shown], logged[shown])
        assert found.value.low < (wanted * worth).sum() < found.value.high
        assert found.value.high - found.value.low < 0.1

    def test_large_weights_are_cut_and_counted(self) -> None:
        found = snips(
            np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.5), np.array([0.001, 0.5, 0.5, 0.5]), clip=3.0
        )
        assert found.value.value == pytest.approx(0.5)
        assert found.clipped == 0.25

    @pytest.mark.parametrize(
        ("target", "behaviour", "clip", "message"),
        [
            pytest.param(0.5, 0.0, 10.0, "event 0 has probability 0", id="never-logged"),
            pytest.param(0.0, 0.5, 10.0, "never shows", id="never-shown"),
            pytest.param(0.5, 0.5, 0.0, "largest weight", id="clip"),
        ],
    )
    def test_refusals(self, target: float, behaviour: float, clip: float, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            snips(np.ones(2), np.full(2, target), np.full(2, behaviour), clip=clip)


def chain(policy: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Events of sessions over two states and two actions: action a leads to state a, and is worth 1 when it
    changes the state. Taken and mean features are one-hot over (state, action). Returns them, what follows,
    the rewards."""
    generator = np.random.default_rng(4)
    states, actions, following = [], [], []
    for _ in range(1500):
        state, length = int(generator.integers(2)), int(generator.geometric(0.3))
        for place in range(length):
            action = int(generator.integers(2))
            states.append(state)
            actions.append(action)
            following.append(-1 if place == length - 1 else len(states))
            state = action
    state_of, taken = np.array(states), np.array(actions)
    one_hot = np.eye(4)
    mean = np.zeros((len(state_of), 4))
    for action in range(2):
        mean += policy[state_of, action][:, None] * one_hot[2 * state_of + action]
    return one_hot[2 * state_of + taken], mean, np.array(following), (state_of != taken).astype(float)


class TestFittedQ:
    def test_known_process(self) -> None:
        """Sessions go on with probability 0.7 whatever is done: always changing the state earns
        1 / (1 - 0.7 gamma)."""
        gamma = 0.5
        always = np.array([[0.0, 1.0], [1.0, 0.0]])
        taken, mean, following, rewards = chain(always, gamma)
        found = fitted_q_evaluation(
            taken, mean, following, rewards, gamma=gamma, ridge=1e-6, bootstrap=VALUE_ONLY
        )
        assert found.value == pytest.approx(1 / (1 - 0.7 * gamma), abs=0.05)
        never = 1.0 - always
        taken, mean, following, rewards = chain(never, gamma)
        found = fitted_q_evaluation(
            taken, mean, following, rewards, gamma=gamma, ridge=1e-6, bootstrap=VALUE_ONLY
        )
        assert found.value == pytest.approx(0.0, abs=0.01)

    def test_the_interval_is_around_the_value(self) -> None:
        taken, mean, following, rewards = chain(np.full((2, 2), 0.5), 0.5)
        sessions = np.cumsum(np.concatenate([[True], following[:-1] < 0])) - 1
        found = fitted_q_evaluation(
            taken, mean, following, rewards, gamma=0.5, sessions=sessions, bootstrap=Bootstrap(resamples=40)
        )
        goes_on = (following >= 0).mean()
        assert found.low < 0.5 / (1 - 0.5 * goes_on) < found.high
        assert found.high - found.low < 0.1

    def test_without_discount_it_is_a_regression(self) -> None:
        generator = np.random.default_rng(0)
        taken, rewards = generator.random((40, 3)), generator.random(40)
        fit = fitted_q(
            taken, np.full((40, 3), math.nan), rewards, np.ones(40, dtype=bool), gamma=0.0, ridge=1e-9
        )
        np.testing.assert_allclose(fit, np.linalg.lstsq(taken, rewards, rcond=None)[0], rtol=1e-5)

    def test_drawing_an_event_twice_is_having_it_twice(self) -> None:
        generator = np.random.default_rng(0)
        taken, following, rewards = generator.random((6, 2)), generator.random((6, 2)), generator.random(6)
        done = np.zeros(6, dtype=bool)
        weights = np.array([2.0, 1, 1, 1, 1, 0])
        rows = np.array([0, 0, 1, 2, 3, 4])
        weighted = fitted_q(taken, following, rewards, done, gamma=0.3, weights=weights)
        repeated = fitted_q(taken[rows], following[rows], rewards[rows], done, gamma=0.3)
        np.testing.assert_allclose(weighted, repeated)

    def test_divergence_is_an_error(self) -> None:
        taken, following = np.ones((5, 1)), np.full((5, 1), 3.0)
        with pytest.raises(ValueError, match="has not settled"):
            fitted_q(taken, following, np.ones(5), np.zeros(5, dtype=bool), gamma=0.9, ridge=1e-6)

    def test_mean_features_are_features_of_the_mean(self) -> None:
        states, vectors, policy = np.ones((1, 3)) * 2, np.eye(3), np.array([0.2, 0.3, 0.5])
        each = features(np.repeat(states, 3, axis=0), vectors)
        np.testing.assert_allclose(policy @ each, features(states, (policy @ vectors)[None])[0])
