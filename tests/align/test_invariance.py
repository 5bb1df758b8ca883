"""What a loss must not depend on: order, padding, and how a batch is cut into processes and micro-batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_batches import policy_gradient, random_batch, with_gradient
from preference_losses import EVERY, EVERY_LOSS, PAIRED, STEP, WARM, assert_same, run, value_and_gradient

from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import Step
from align.preferences import Preferences, concatenate
from align.ranks import SimulatedRanks
from align.two_pass import plan


class TestInvariance:
    @pytest.mark.parametrize("method", EVERY)
    def test_order_of_rows(self, method: str) -> None:
        """Also of the rows that beta-DPO draws: its noise follows the ids."""
        batch = random_batch(rows=9)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
        loss, gradient = value_and_gradient(batch, method=method)
        assert_same(value_and_gradient(batch.rows(order), method=method), (loss, gradient[order]))

    def test_order_of_rejected_completions(self) -> None:
        batch = random_batch(rejected=4)
        order = torch.tensor([0, 3, 1, 4, 2])
        moved = replace(
            batch,
            policy=batch.policy[:, order],
            reference=None if batch.reference is None else batch.reference[:, order],
        )
        loss, gradient = value_and_gradient(batch, method="sdpo")
        assert_same(value_and_gradient(moved, method="sdpo"), (loss, gradient[:, order]))

    def test_half_smoothing_does_not_know_which_was_chosen(self) -> None:
        batch = random_batch()
        swapped = replace(
            batch,
            policy=batch.policy.flip(1),
            reference=None if batch.reference is None else batch.reference.flip(1),
        )
        there = value_and_gradient(batch, method="cdpo", label_smoothing=0.5)
        back = value_and_gradient(swapped, method="cdpo", label_smoothing=0.5)
        assert_same(there, (back[0], back[1].flip(1)))

    @pytest.mark.parametrize("method", ["dpo", "cdpo", "robust_dpo", "ipo", "beta_dpo", "dr_dpo", "sdpo"])
    @settings(max_examples=8, deadline=None)
    @given(shift=st.floats(-40, 40), seed=st.integers(0, 1000))
    def test_a_constant_added_to_a_row(self, method: str, shift: float, seed: int) -> None:
        batch = random_batch(seed=seed)
        options = {"method": method, "length_normalize": False}
        moved = replace(batch, policy=batch.policy + shift)
        assert_same(value_and_gradient(batch, **options), value_and_gradient(moved, **options), atol=1e-9)

    @pytest.mark.parametrize("method", EVERY)
    def test_padding_to_more_columns(self, method: str) -> None:
        batch = random_batch()
        wide = concatenate([batch, random_batch(rows=0, rejected=3)])
        loss, gradient = value_and_gradient(wide, method=method)
        assert_same((loss, gradient[:, :2]), value_and_gradient(batch, method=method))
        assert not gradient[:, 2:].any()


class TestCuts:
    """However a batch is spread over processes and micro-batches, loss, gradient and state are the same."""

    @pytest.mark.parametrize("size", [2, 4], ids=["two-ranks", "four-ranks"])
    @pytest.mark.parametrize("options", EVERY_LOSS)
    def test_ranks(self, options: dict[str, Any], size: int) -> None:
        batch = random_batch(rows=8, rejected=3 if options["method"] == "sdpo" else 1, ragged=True)
        alone = with_gradient(batch)
        whole = run(alone, **options)
        gradients = []
        for rank in range(size):
            parts = [with_gradient(part) for part in cut(batch, size)]
            output = run(parts[rank], step=replace(STEP, ranks=SimulatedRanks(parts, rank)), **options)
            torch.testing.assert_close(output.loss, whole.loss)
            assert output.state == pytest.approx(whole.state)
            gradients.append(policy_gradient(parts[rank]) / size)  # as averaging over processes does
        torch.testing.assert_close(torch.cat(gradients), policy_gradient(alone), rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("method", [name for name in [*PAIRED, "sdpo"] if name != "kto_pair"])
    def test_parts_with_totals_add_up(self, method: str) -> None:
        batch = random_batch(rows=7)
        loss = build_loss(PreferenceLossConfig(method=method))
        assert not loss.couples_batch
        parts = [with_gradient(part) for part in cut(batch, 3)]
        totals = sum((loss.count(part) for part in parts[1:]), start=loss.count(parts[0]))
        shares = [loss(part, step=Step(totals=totals)).loss for part in parts]
        for share in shares:
            share.backward()
        got = torch.stack(shares).sum().detach(), torch.cat([policy_gradient(part) for part in parts])
        assert_same(got, value_and_gradient(batch, method=method))

    def test_parts_on_two_ranks_add_up(self) -> None:
        """Four micro-batches on two processes: each averages over processes what it accumulated."""
        batch = random_batch(rows=7)
        loss = build_loss(PreferenceLossConfig(method="cpo"))
        parts = [with_gradient(part) for part in cut(batch, 4)]
        for rank, part in enumerate(parts):
            loss(
                part, step=Step(totals=loss.count(batch), ranks=SimulatedRanks(parts[:2], rank % 2))
            ).loss.backward()
        gradient = torch.cat([policy_gradient(part) for part in parts]) / 2
        torch.testing.assert_close(gradient, value_and_gradient(batch, method="cpo")[1])

    @pytest.mark.parametrize("pieces", [1, 2, 8], ids=["one-by-eight", "two-by-four", "eight-by-one"])
    @pytest.mark.parametrize("options", EVERY_LOSS)
    def test_planned_micro_batches(self, options: dict[str, Any], pieces: int) -> None:
        batch = random_batch(rows=8, rejected=3 if options["method"] == "sdpo" else 1)
        alone = with_gradient(batch)
        whole = run(alone, **options)
        planned = plan(build_loss(PreferenceLossConfig(**options)), batch, WARM, STEP)
        parts = [with_gradient(part) for part in cut(batch, pieces)]
        start = 0
        for part in parts:
            planned.surrogate(part, slice(start, start + len(part))).backward()
            start += len(part)
        gradient = torch.cat([policy_gradient(part) for part in parts])
        torch.testing.assert_close(gradient, policy_gradient(alone), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(planned.output.loss, whole.loss.detach())
        assert planned.output.state == whole.state
        assert not planned.active[~planned.output.kept].any()

    def test_local_scope_averages_what_each_process_reduces(self) -> None:
        batch = random_batch(rows=8)
        parts = cut(batch, 2)
        shares = [
            run(
                with_gradient(part),
                method="dr_dpo",
                step=Step(ranks=SimulatedRanks(parts, rank)),
                scope="local",
            )
            for rank, part in enumerate(parts)
        ]
        for part, share in zip(parts, shares, strict=True):
            torch.testing.assert_close(share.loss, run(with_gradient(part), method="dr_dpo").loss)

    def test_totals_are_refused_where_examples_are_weighed_against_each_other(self) -> None:
        loss = build_loss(PreferenceLossConfig(method="dr_dpo"))
        batch = random_batch()
        with pytest.raises(ValueError, match="plan the optimiser batch"):
            loss(batch, step=Step(totals=loss.count(batch)))


def cut(batch: Preferences, pieces: int) -> list[Preferences]:
    return [batch.rows(index) for index in torch.arange(len(batch)).tensor_split(pieces)]
