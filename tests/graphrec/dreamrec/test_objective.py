from __future__ import annotations

from typing import Any

import pytest
import torch

from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.losses import consistency, preference, reconstruction
from graphrec.dreamrec.network import DreamRecNetwork
from graphrec.dreamrec.objective import Objective
from graphrec.dreamrec.prefixes import PrefixBatch

ITEMS = 12
BATCH = PrefixBatch(torch.tensor([[1, 2], [3, 12], [12, 12], [4, 5]]), torch.tensor([3, 0, 7, 7]))


def network(**changes: Any) -> DreamRecNetwork:
    torch.manual_seed(0)
    settings = {"width": 8, "length": 3, "num_steps": 6, "dropout": 0.0, **changes}
    return DreamRecNetwork(DreamRecConfig.reference(**settings), ITEMS)


def gradients(model: DreamRecNetwork) -> dict[str, float]:
    """Size of each weight's gradient after one batch."""
    Objective(model, model.config)(BATCH)["loss"].backward()
    return {
        name: 0.0 if weight.grad is None else float(weight.grad.abs().sum())
        for name, weight in model.named_parameters()
    }


def test_history_always_kept_leaves_the_null_condition_alone() -> None:
    found = gradients(network(null_rate=0.0))
    assert found["null"] == 0
    assert found["encoder.mh_attn.linear_v.weight"] > 0


def test_history_always_replaced_leaves_the_encoder_alone() -> None:
    found = gradients(network(null_rate=1.0))
    assert found["null"] > 0
    encoder = {name: size for name, size in found.items() if name.startswith("encoder.")}
    assert encoder.pop("encoder.item_embeddings.weight") > 0  # as targets
    assert not any(encoder.values())


def rows_moved(**changes: Any) -> list[int]:
    """Items whose vector gets a gradient."""
    model = network(**changes)
    Objective(model, model.config)(BATCH)["loss"].backward()
    gradient = model.encoder.item_embeddings.weight.grad
    return [] if gradient is None else gradient.abs().sum(1).nonzero().flatten().tolist()


def test_gradient_reaches_histories_and_targets() -> None:
    assert rows_moved(null_rate=0.0) == [0, 1, 2, 3, 4, 5, 7]


def test_detached_target_moves_histories_only() -> None:
    assert rows_moved(null_rate=0.0, detached_target=True) == [1, 2, 3, 4, 5]


def test_frozen_table_stays() -> None:
    assert rows_moved(start_vectors="cooccurrence", frozen_table=True) == []


def test_normalised_rows_have_one_length() -> None:
    model = network(normalised=True)
    with torch.no_grad():
        model.encoder.item_embeddings.weight.mul_(torch.rand(ITEMS + 1, 1) + 0.1)
    torch.testing.assert_close(model.table.norm(dim=1), torch.full((ITEMS + 1,), 8**0.5))


@pytest.mark.parametrize("retrieval", ["inner", "cosine", "distance"])
@pytest.mark.parametrize("ranked", ["generated", "denoised"])
def test_cross_entropy_moves_all_items(ranked: str, retrieval: str) -> None:
    moved = rows_moved(cross_entropy=0.5, ranked=ranked, retrieval=retrieval)
    assert moved == list(range(ITEMS)), "every item competes, and the padding row does not"


@pytest.mark.parametrize("sampler", ["closed_form", "ancestral", "ddim", "one_step"])
def test_generated_vectors_can_be_trained_on(sampler: str) -> None:
    steps = 3 if sampler == "ddim" else None
    model = network(cross_entropy=0.5, sampler=sampler, sampler_steps=steps)
    terms = Objective(model, model.config)(BATCH)
    terms["cross_entropy"].backward()
    assert terms["cross_entropy"].item() > 0


def test_terms_add_up() -> None:
    model = network(cross_entropy=0.3, preference=0.5, consistency=0.7, negatives=3)
    terms = Objective(model, model.config)(BATCH)
    parts = [terms.pop(name) for name in ("reconstruction", "cross_entropy", "preference", "consistency")]
    assert not parts[0].isnan()
    torch.testing.assert_close(terms.pop("loss"), sum(parts))
    assert not terms


def test_weights_scale_their_terms() -> None:
    def terms(weight: float) -> dict[str, torch.Tensor]:
        model = network(preference=weight, consistency=weight)
        torch.manual_seed(3)
        return Objective(model, model.config)(BATCH)

    one, two = terms(1.0), terms(2.0)
    torch.testing.assert_close(two["preference"], 2 * one["preference"])
    torch.testing.assert_close(two["consistency"], 2 * one["consistency"])
    torch.testing.assert_close(two["reconstruction"], one["reconstruction"])


def test_reconstruction_by_hand() -> None:
    assert reconstruction(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])).item() == 2.5


def test_preference_by_hand() -> None:
    """Errors of 1 and 4: -log sigmoid(3); equal errors: log 2."""
    zeros = torch.zeros(1, 2)
    assert preference(zeros + 1, zeros, zeros + 2, zeros).item() == pytest.approx(0.04858735)
    assert preference(zeros + 1, zeros, zeros - 1, zeros).item() == pytest.approx(0.69314718)


def test_consistency_by_hand() -> None:
    """The first step has none before it."""
    now, before = torch.tensor([[1.0, 1.0], [5.0, 5.0]]), torch.zeros(2, 2)
    assert consistency(now, before, torch.tensor([True, False])).item() == 0.5
