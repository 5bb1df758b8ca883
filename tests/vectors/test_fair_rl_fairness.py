"""Fairness and grounding against values of the authors' code and of the papers' formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from graphrec.bigrec.distances import TitleDistances
from graphrec.bigrec.grounding import ground
from graphrec.bigrec.weights import (
    collaborative_weights,
    min_max,
    popularity_weights,
    weighted_distances,
)
from graphrec.bigrec.windows import Windows, windows
from graphrec.fairness.groups import ItemGroups, popularity_groups
from graphrec.fairness.punishment import cutoff_weights, group_punishment, item_punishment
from graphrec.fairness.reranking import punished
from graphrec.fairness.reweighting import group_weights, reweight, weighted_loss
from graphrec.fairness.unfairness import history_target, unfairness
from graphrec.histories import Histories
from graphrec.topk import best_by_scores

Case = dict[str, Any]


def test_group_metrics(fair_rl_fair_group_metrics: Case) -> None:
    given, expected = fair_rl_fair_group_metrics["inputs"], fair_rl_fair_group_metrics["expected"]
    close = near(fair_rl_fair_group_metrics)
    histories = Histories.from_lists(given["histories"])
    lists, ks = np.array(given["recommendations"]), given["ks"]
    for counting, wanted in expected.items():
        groups = groups_of(given, counting)
        found = unfairness(groups, history_target(groups, histories), lists, ks)
        close(groups.counts(histories.items), wanted["history_counts"])
        close(found.target, wanted["GH"])
        counts = groups.list_counts(lists, ks).sum(axis=0)
        for place, k in enumerate(ks):
            at_k = wanted["at_k"][str(k)]
            close(counts[place], at_k["counts"])
            close(found.shares[place], at_k["GP"])
            close(found.gaps[place], at_k["GU"])
            close(found.mgu[place], at_k["MGU"])
            close(found.dgu[place], at_k["DGU"])


def test_group_weights(fair_rl_fair_group_weights: Case) -> None:
    given, expected = fair_rl_fair_group_weights["inputs"], fair_rl_fair_group_weights["expected"]
    close = near(fair_rl_fair_group_weights)
    groups, targets = groups_of(given), np.array(given["sample_targets"])
    histories = Histories.from_lists(given["sample_histories"])
    found = reweight(groups, histories, targets)
    close(groups.counts(histories.items), expected["history_counts"])
    close(groups.counts(targets), expected["target_counts"])
    close(found.history_shares, expected["GH_train_history"])
    close(found.target_shares, expected["GH_train_target"])
    close(found.group_weights, expected["group_weights"])
    close(found.weights, expected["sample_weights"])


def test_group_weights_from_counts(fair_rl_fair_group_weights_from_counts: Case) -> None:
    case = fair_rl_fair_group_weights_from_counts
    counts = [np.array(case["inputs"][name]) for name in ("history_counts", "target_counts")]
    near(case)(group_weights(*counts), case["expected"]["group_weights"])


def test_weighted_loss(fair_rl_fair_weighted_loss: Case) -> None:
    given, expected = fair_rl_fair_weighted_loss["inputs"], fair_rl_fair_weighted_loss["expected"]
    close = near(fair_rl_fair_weighted_loss)
    logits = torch.tensor(given["logits"], dtype=torch.float64)[:, :-1]
    labels = torch.tensor(given["labels"])[:, 1:]
    weights = torch.tensor(given["weights"], dtype=torch.float64)
    scored = labels != given["ignore_index"]
    picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    logps, lengths = torch.where(scored, picked, 0.0).sum(1), scored.sum(1)
    close((-logps / lengths).numpy(), expected["per_sample_nll"])
    loss = float(weighted_loss(logps, lengths, weights))
    close(loss, expected["loss"])
    if len(weights) > 1:  # the value of a mean over the batch, which weighs nothing, is another one
        assert loss != pytest.approx(expected["loss_authors_code"], abs=1e-6)


def test_popularity_groups(fair_rl_fair_popularity_groups: Case) -> None:
    given, expected = fair_rl_fair_popularity_groups["inputs"], fair_rl_fair_popularity_groups["expected"]
    counts = np.array(given["counts"])
    assert popularity_groups(counts, given["n_groups"]).tolist() == expected["group_of_item"]
    assert ItemGroups.by_popularity(counts, given["n_groups"]).sizes.tolist() == expected["group_sizes"]


def test_punishment(fair_rl_fair_punishment: Case) -> None:
    given, expected = fair_rl_fair_punishment["inputs"], fair_rl_fair_punishment["expected"]
    close, ks = near(fair_rl_fair_punishment), given["ks"]
    gaps = np.array([given["GU_at_k"][str(k)] for k in ks])
    close(cutoff_weights(ks), [expected["gamma"][str(k)] for k in ks])
    close(cutoff_weights(ks) @ gaps, expected["U_group"])
    of_groups = group_punishment(gaps, ks)
    close(of_groups, expected["U_hat_group"])
    close(item_punishment(groups_of(given), of_groups), expected["U_hat_item"])


def test_rerank(fair_rl_fair_rerank: Case) -> None:
    given, expected = fair_rl_fair_rerank["inputs"], fair_rl_fair_rerank["expected"]
    close = near(fair_rl_fair_rerank)
    away, punishment = np.array(given["distances"]), np.array(given["U_hat_item"])
    close(min_max(away), expected["D_norm"])
    for alpha, forms in expected["by_alpha"].items():
        for form, wanted in forms.items():
            found = punished(away, punishment, float(alpha), form)
            close(found, wanted["scores"])
            assert_same_lists(found, best_by_scores(-found, given["k"])[0], wanted["topk"])


def test_grounding(fair_rl_bigrec_grounding: Case) -> None:
    given, expected = fair_rl_bigrec_grounding["inputs"], fair_rl_bigrec_grounding["expected"]
    close = near(fair_rl_bigrec_grounding)
    titles, texts = (
        torch.tensor(given[name], dtype=torch.float64) for name in ("item_embeddings", "query_embeddings")
    )
    away = TitleDistances(titles)(texts).numpy()
    close(away, expected["distances"])
    close(min_max(away), expected["D_norm"])
    weights: dict[str, Any] = {
        "popularity": popularity_weights(np.array(given["item_counts"])),
        "cf": collaborative_weights(np.array(given["cf_scores"])),
    }
    close(weights["popularity"], expected["popularity_weight"])
    close(weights["cf"], expected["cf_weight"])
    runs = [("plain", None, 0.0, expected["plain"])]
    for kind, values in weights.items():
        runs += [(kind, values, float(gamma), wanted) for gamma, wanted in expected[kind].items()]
    targets = np.array(given["targets"])
    for _, values, gamma, wanted in runs:
        k = len(wanted["topk"][0])
        found = ground(texts, titles, k, weights=values, gamma=gamma, targets=targets)
        moved = min_max(away) if values is None else weighted_distances(min_max(away), values, gamma)
        if "scores" in wanted:
            close(moved, wanted["scores"])
        assert_same_lists(moved, found.items, wanted["topk"])
        for name in ("NDCG", "HR"):
            for cutoff, value in wanted[name].items():
                close(found.metric(name, int(cutoff)), value)


def test_windows(fair_rl_bigrec_windows: Case) -> None:
    given, expected = fair_rl_bigrec_windows["inputs"], fair_rl_bigrec_windows["expected"]
    users = given["users"]
    histories = Histories.from_lists([user["items"] for user in users])
    times = np.concatenate([user["times"] for user in users])
    for name, variant in (("movie_variant", "movie"), ("game_variant", "game")):
        wanted = expected[name]
        empty = any(not sample["history"] for sample in wanted["samples"])
        found = windows(histories, times, window=given["window"], variant=variant, keep_empty=empty)
        assert samples(found, [user["user"] for user in users]) == wanted["samples"]
        sizes = (found.num_train, found.num_valid, found.num_test)
        assert sizes == (wanted["n_train"], wanted["n_valid"], wanted["n_test"])


def groups_of(given: Case, counting: Any = "full") -> ItemGroups:
    names = [str(number) for number in range(given["n_groups"])]
    return ItemGroups.from_lists(given["item_groups"], names, counting)


def near(case: Case) -> Any:
    """An assertion within the case's own tolerance."""

    def close(found: Any, expected: Any) -> None:
        np.testing.assert_allclose(found, expected, rtol=0, atol=case["tol"] + 1e-15)

    return close


def assert_same_lists(costs: NDArray[np.floating], lists: Any, expected: Any) -> None:
    """The same items place by place, where items of one cost may change places."""
    rows = np.arange(len(costs))[:, None]
    np.testing.assert_allclose(costs[rows, lists], costs[rows, np.array(expected)], rtol=0, atol=1e-12)
    assert all(len(set(row)) == len(row) for row in lists.tolist())


def samples(found: Windows, names: list[str]) -> list[Case]:
    columns = zip(
        found.users, found.histories.lists(), found.targets.tolist(), found.times.tolist(), strict=True
    )
    return [
        {"user": names[user], "history": history, "target": target, "time": time}
        for user, history, target, time in columns
    ]
