"""Losses on numbers worked out by hand, and what theory promises of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from graphrec.sequential import losses

POSITIVE = torch.tensor([0.5, -1.0], dtype=torch.float64)
NEGATIVES = torch.tensor([[0.0, 1.0, -2.0], [2.0, 0.3, 0.3]], dtype=torch.float64)


def log_sigmoid(score: float) -> float:
    return -math.log(1 + math.exp(-score))


def test_binary_cross_entropy_by_hand() -> None:
    expected = -(log_sigmoid(0.5) + log_sigmoid(0.0) + log_sigmoid(-1.0) + log_sigmoid(2.0)) / 4
    assert losses.binary_cross_entropy(POSITIVE, NEGATIVES)[0].item() == pytest.approx(expected)


def test_gbce_without_calibration_is_binary_cross_entropy() -> None:
    beta = losses.gbce_beta(3, 100, 0.0)
    assert beta == pytest.approx(1)
    torch.testing.assert_close(
        losses.gbce(POSITIVE, NEGATIVES, beta), losses.binary_cross_entropy(POSITIVE, NEGATIVES)
    )


def test_full_calibration_takes_the_sampling_rate_as_power() -> None:
    assert losses.gbce_beta(3, 100, 1.0) == pytest.approx(3 / 99)


@pytest.mark.parametrize("beta", [0.03, 0.5, 1.0])
def test_the_transformed_logit_gives_the_same_loss(beta: float) -> None:
    logit = losses.gbce_logit(POSITIVE, beta)
    torch.testing.assert_close(
        losses.binary_cross_entropy(logit, NEGATIVES), losses.gbce(POSITIVE, NEGATIVES, beta)
    )


def test_excluded_negatives_weigh_nothing() -> None:
    barred = NEGATIVES.clone()
    barred[:, 1] = -torch.inf
    fewer = NEGATIVES[:, [0, 2]]
    torch.testing.assert_close(
        losses.sampled_softmax(POSITIVE, barred), losses.sampled_softmax(POSITIVE, fewer)
    )
    torch.testing.assert_close(losses.gbce(POSITIVE, barred, 0.4) * 4, losses.gbce(POSITIVE, fewer, 0.4) * 3)


def test_sampled_softmax_over_all_others_is_the_full_one() -> None:
    scores = torch.cat([POSITIVE.unsqueeze(1), NEGATIVES], dim=1)
    expected = torch.nn.functional.cross_entropy(scores, torch.zeros(2, dtype=torch.long), reduction="none")
    torch.testing.assert_close(losses.sampled_softmax(POSITIVE, NEGATIVES), expected)


def test_the_correction_makes_the_sampled_sum_right_on_average() -> None:
    scores = torch.randn(50, dtype=torch.float64)
    share = torch.softmax(torch.randn(50, dtype=torch.float64), 0)
    drawn = torch.multinomial(share, 200_000, replacement=True)
    estimate = (scores[drawn] - share[drawn].log() - math.log(200_000)).logsumexp(0)
    assert estimate.item() == pytest.approx(scores.logsumexp(0).item(), abs=0.02)
    loss = losses.sampled_softmax(
        scores[:1], scores[drawn].unsqueeze(0), correction=share[drawn].log() + math.log(200_000)
    )
    expected = torch.logaddexp(scores[0], scores.logsumexp(0)) - scores[0]
    assert loss.item() == pytest.approx(expected.item(), abs=0.02)


def test_contrast_by_hand() -> None:
    first, second = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    loss = losses.info_nce(first, second, temperature=0.5)
    # view 1 of sequence 1 against its partner (1), and the views of sequence 2 (0 and 0), over 0.5
    assert loss[0].item() == pytest.approx(math.log(math.exp(2) + 2) - 2)
    assert loss.shape == (4,)


def test_contrast_falls_as_partners_agree() -> None:
    views = torch.randn(6, 4)
    views = views / views.norm(dim=1, keepdim=True)
    agreeing = losses.info_nce(views, views, temperature=0.1).mean()
    assert agreeing < losses.info_nce(views, views.roll(1, 0), temperature=0.1).mean()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: losses.gbce_beta(3, 100, 1.5), "calibration"),
        (lambda: losses.gbce_beta(100, 100, 0.5), "negatives out of 100 items"),
        (lambda: losses.info_nce(torch.eye(2), torch.eye(2), temperature=0), "temperature"),
    ],
    ids=["calibration", "negatives", "temperature"],
)
def test_impossible_settings_are_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
