"""The published networks: what their quirks are, and what they must not depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphrec.sequential.network import Published
from graphrec.sequential.reference.caser import Caser
from graphrec.sequential.reference.gru4rec import GRU4Rec
from graphrec.sequential.reference.sasrec import SASRec

ITEMS, LENGTH, WIDTH = 20, 6, 8
ROWS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 20, 20, 20, 20], [20, 20, 20, 20, 20, 20]])
LENGTHS = torch.tensor([6, 2, 1])


def models() -> list[Published]:
    return [GRU4Rec(ITEMS, WIDTH), Caser(ITEMS, WIDTH, LENGTH, num_filters=3), SASRec(ITEMS, WIDTH, LENGTH)]


@pytest.mark.parametrize("index", range(3), ids=["gru4rec", "caser", "sasrec"])
def test_scores_do_not_depend_on_the_batch(index: int) -> None:
    model = models()[index].eval()
    together: Tensor = model(ROWS, LENGTHS)
    alone = torch.cat([model(ROWS[n : n + 1], LENGTHS[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(together, alone)
    assert together.shape == (3, ITEMS)


@pytest.mark.parametrize("index", range(3), ids=["gru4rec", "caser", "sasrec"])
def test_the_padding_vector_changes_nothing_where_there_is_an_item(index: int) -> None:
    model = models()[index].eval()
    before = model(ROWS[:2], LENGTHS[:2])
    with torch.no_grad():
        model.item_embeddings.weight[ITEMS] += 5
    torch.testing.assert_close(model(ROWS[:2], LENGTHS[:2]), before)


def test_an_empty_history_is_the_bias_of_the_last_normalisation() -> None:
    model = SASRec(ITEMS, WIDTH, LENGTH).eval()
    with torch.no_grad():
        model.ln_3.bias.normal_()
    torch.testing.assert_close(model.encode(ROWS[2:], LENGTHS[2:])[0], model.ln_3.bias)


def test_a_query_that_sums_to_zero_loses_what_it_attends_to_under_the_published_mask() -> None:
    torch.manual_seed(0)
    ours, published = SASRec(ITEMS, 64, LENGTH), SASRec(ITEMS, 64, LENGTH, masking="zero_sum")
    published.load_state_dict(ours.state_dict())
    rows = torch.randint(ITEMS, (200, LENGTH))
    lengths = torch.full((200,), LENGTH)
    with torch.no_grad():
        places = ours.item_embeddings(rows) + ours.positional_embeddings.weight
        lost = ours.ln_1(places).sum(-1)[:, -1] == 0
        differs = (ours.eval().encode(rows, lengths) - published.eval().encode(rows, lengths)).abs().amax(
            1
        ) > 1e-4
    assert 0 < lost.sum() < 200
    assert torch.equal(differs, lost)


def test_several_heads_share_the_scale_of_the_full_width() -> None:
    one, two = (SASRec(ITEMS, WIDTH, LENGTH, num_heads=heads).eval() for heads in (1, 2))
    two.load_state_dict(one.state_dict())
    with torch.no_grad():  # without keys all places weigh alike, however many heads
        for model in (one, two):
            model.mh_attn.linear_k.weight.zero_()
            model.mh_attn.linear_k.bias.zero_()
    torch.testing.assert_close(one(ROWS, LENGTHS), two(ROWS, LENGTHS))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SASRec(ITEMS, WIDTH, LENGTH, num_heads=3), "does not divide"),
        (lambda: SASRec(ITEMS, WIDTH, LENGTH, masking="none"), "choose 'padding' or 'zero_sum'"),
        (lambda: Caser(ITEMS, WIDTH, 3), "between 1 and the length 3"),
    ],
    ids=["heads", "masking", "heights"],
)
def test_impossible_sizes_are_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()
