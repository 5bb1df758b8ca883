from __future__ import annotations

import pytest
import torch

from graphrec.dreamrec.denoiser import Denoiser, step_waves
from graphrec.dreamrec.plans import ancestral, ddim
from graphrec.dreamrec.sampling import generate, guided, guided_prediction, walk
from graphrec.dreamrec.schedules import Diffusion

LAYERS = pytest.mark.parametrize("num_layers", [1, 2, 3], ids=["linear", "two layers", "three layers"])


@LAYERS
def test_parts_make_the_whole(num_layers: int) -> None:
    network = Denoiser(6, 10, num_layers)
    x_t, condition, t = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 3, 3, 9])
    whole = network(x_t, condition, t)
    parts = network.from_parts(x_t, network.condition_part(condition), network.step_part(t))
    torch.testing.assert_close(whole, parts)


@LAYERS
@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_stacked_pass_is_two_passes(num_layers: int, guidance: float) -> None:
    network, plan = Denoiser(4, 8, num_layers).double(), ancestral(Diffusion.build("sqrt", 8))
    history, null = torch.randn(5, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    start = torch.randn(5, 4, dtype=torch.float64)

    def twice(x: torch.Tensor, position: int) -> torch.Tensor:
        t = plan.steps[position].expand(5)
        return guided(network(x, history, t), network(x, null.expand_as(x), t), guidance)

    with torch.no_grad():
        expected = walk(plan, twice, start, lambda: torch.ones(1, 4, dtype=torch.float64))
        predict = guided_prediction(network, plan, history, null, guidance)
        got = walk(plan, predict, start, lambda: torch.ones(1, 4, dtype=torch.float64))
    torch.testing.assert_close(got, expected)


def test_rows_do_not_depend_on_each_other() -> None:
    """Shared noise: alone, in another order or among others a row gets the same vector."""
    network, plan = Denoiser(4, 8, 2).double(), ddim(Diffusion.build("linear", 8), 4, eta=1.0)
    history, null = torch.randn(6, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    with torch.no_grad():
        together = generate(network, plan, history, null, guidance=1.0, seed=7)
        backwards = generate(network, plan, history.flip(0), null, guidance=1.0, seed=7)
        alone = torch.cat([generate(network, plan, row[None], null, guidance=1.0, seed=7) for row in history])
        other = generate(network, plan, history, null, guidance=1.0, seed=8)
    torch.testing.assert_close(together, backwards.flip(0))
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together, other)


def test_waves_of_the_first_step() -> None:
    assert step_waves(torch.tensor([0]), 6).tolist() == [[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("width", [2, 5])
def test_odd_widths_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"even and at least 4, not {width}"):
        step_waves(torch.tensor([0]), width)
