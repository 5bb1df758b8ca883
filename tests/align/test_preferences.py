"""The batch that losses read: shapes, masks, pairs of lists, joining."""

from __future__ import annotations

import re

import pytest
import torch
from preference_batches import random_batch

from align.preferences import Preferences, concatenate


class TestLayout:
    def test_flat_completions_become_rows(self) -> None:
        batch = Preferences.from_flat(
            torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0]),
            torch.tensor([1, 2, 3, 4, 5]),
            torch.tensor([3, 2]),
            ref_logps=torch.tensor([-1.5, -2.5, -3.5, -4.5, -5.5]),
        )
        assert batch.policy.tolist() == [[-1, -2, -3], [-4, -5, 0]]
        assert batch.scored.tolist() == [[True, True, True], [True, True, False]]
        assert batch.log_ratios().tolist() == [[0.5, 0.5, 0.5], [0.5, 0.5, 0]]
        assert batch.sums(length_normalize=True)[0].tolist() == [-1, -1, -1]

    def test_half_precision_is_raised(self) -> None:
        batch = Preferences(torch.zeros(1, 2).bfloat16(), torch.ones(1, 2), torch.zeros(1, 2).half())
        assert batch.sums().dtype == batch.ref_sums().dtype == batch.log_ratios().dtype == torch.float32

    def test_usable_rows_have_both_sides(self) -> None:
        lengths = torch.tensor([[3, 2, 0], [0, 1, 1], [2, 0, 0], [1, 0, 5]])
        assert Preferences(-torch.ones(4, 3), lengths).usable.tolist() == [True, False, False, True]

    def test_numbers_at_masked_places_are_not_read(self) -> None:
        policy = torch.tensor([[-1.0, -2.0, float("nan")]], requires_grad=True)
        batch = Preferences(policy, torch.ones(1, 3), mask=torch.tensor([[True, True, False]]))
        batch.sums().sum().backward()
        assert policy.grad is not None and policy.grad.tolist() == [[1, 1, 0]]

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            pytest.param({"policy": torch.zeros(3)}, "chosen first", id="flat-policy"),
            pytest.param({"lengths": torch.ones(2, 3)}, "lengths has shape [2, 3]", id="lengths"),
            pytest.param({"ids": torch.ones(3)}, "ids has shape [3], but policy needs [2]", id="ids"),
        ],
    )
    def test_wrong_shapes_are_named(self, fields: dict[str, torch.Tensor], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            Preferences(**({"policy": torch.zeros(2, 2), "lengths": torch.ones(2, 2)} | fields))

    def test_counts_must_add_up(self) -> None:
        with pytest.raises(ValueError, match="add up to 3, but 2 logps"):
            Preferences.from_flat(torch.zeros(2), torch.ones(2), torch.tensor([3]))

    def test_half_a_reference_is_refused(self) -> None:
        with pytest.raises(ValueError, match="both ref_chosen and ref_rejected"):
            Preferences.from_pairs(*torch.ones(4, 1), ref_chosen=torch.ones(1))


class TestPairs:
    def test_each_rejected_completion_is_a_pair(self) -> None:
        mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
        batch = Preferences(
            -torch.arange(9.0).reshape(3, 3), torch.ones(3, 3), mask=mask, ids=torch.tensor([7, 8, 9])
        )
        pairs = batch.pairs()
        assert pairs.policy.tolist() == [[0, -1], [0, -2], [-3, -4]]
        assert pairs.ids is not None and pairs.ids[0] == 7 and pairs.ids[2] == 8
        assert len(pairs.ids.unique()) == 3

    def test_pairs_stay_as_they_are(self) -> None:
        batch = random_batch()
        assert batch.pairs() is batch


class TestConcatenation:
    def test_pads_to_the_widest(self) -> None:
        narrow, wide = random_batch(rows=2), random_batch(rows=3, rejected=4, ragged=True)
        both = concatenate([narrow, wide])
        assert both.policy.shape == (5, 5)
        assert torch.equal(both.usable, torch.ones(5).bool())
        assert torch.equal(both.rows(slice(0, 2)).scored[:, 2:], torch.zeros(2, 3).bool())
        torch.testing.assert_close(both.rows(slice(2, 5)).sums(), wide.sums())

    def test_a_field_of_some_batches_only_is_refused(self) -> None:
        bare = Preferences(torch.zeros(1, 2), torch.ones(1, 2))
        with pytest.raises(ValueError, match="reference is given in some"):
            concatenate([random_batch(), bare])

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            concatenate([])
