"""One pass over whole sessions gives what prefix-by-prefix replay gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from graphrec.histories import Histories
from graphrec.offline_rl.batches import Pieces, SessionBatch, session_batches
from graphrec.offline_rl.config import OfflineRLConfig
from graphrec.offline_rl.judging import judge
from graphrec.offline_rl.network import Networks, StateNetwork
from graphrec.offline_rl.objective import Judged, objective_terms
from graphrec.sequential.packing import pack

NUM_ITEMS = 7
SESSIONS = [[1, 2, 3, 4], [5], [0, 6, 0]]
ALL_TERMS: dict[str, Any] = {"method": "mcrl", "negative_td": True, "conservative_sum": "full"}


def setup(**options: Any) -> tuple[OfflineRLConfig, Networks, SessionBatch]:
    config = OfflineRLConfig(**{"width": 8, "dropout": 0.0, "num_negatives": 3} | options)
    torch.manual_seed(3)
    networks = Networks(config, NUM_ITEMS).double()
    sessions = Histories.from_lists(SESSIONS)
    (batch,) = session_batches(
        Pieces.of(sessions, config.length),
        np.linspace(0.1, 1.0, len(sessions.items), dtype=np.float32),
        NUM_ITEMS,
        batch_size=10,
        num_negatives=3,
        outside_session=False,
        rng=np.random.default_rng(0),
    )
    return config, networks, replace(batch, rewards=batch.rewards.double())


def judged_by(config: OfflineRLConfig, networks: Networks, batch: SessionBatch) -> Judged:
    assert networks.second is not None
    shares = torch.full((NUM_ITEMS,), 1 / NUM_ITEMS, dtype=torch.float64)
    return judge(networks.first, networks.second, batch, config.resolved(), popularity=shares)


def state_of(network: StateNetwork, prefix: list[int]) -> torch.Tensor:
    if not prefix:
        return network.empty
    return network.states(*pack(Histories.from_lists([prefix])))[-1]


@pytest.mark.parametrize("bootstrap", ["maximum", "logged"])
@pytest.mark.parametrize("backbone", ["gru4rec", "caser", "nextitnet", "sasrec"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "separate"])
def test_equals_replay(backbone: str, tied: bool, bootstrap: str) -> None:
    config, networks, batch = setup(**ALL_TERMS, backbone=backbone, tied=tied, bootstrap=bootstrap)
    found = judged_by(config, networks, batch)
    main, target = networks.first, networks.second
    assert target is not None and main.value is not None and target.value is not None
    assert main.reward is not None and main.transition is not None
    spans = list(zip(batch.packing.starts, batch.packing.ends, strict=True))
    assert sorted(batch.items[start:end].tolist() for start, end in spans) == sorted(SESSIONS)
    for start, end in spans:
        walk = batch.items[start:end].tolist()
        for place, item in enumerate(walk):
            at = start + place
            before, after = walk[:place], walk[: place + 1]
            state, reached = state_of(main, before), state_of(main, after)
            q_state = main.value(state[None]).all()[0]
            candidates = torch.cat([batch.items[at, None], batch.negatives[at]])

            def best_value(prefix: list[int], logged: int) -> torch.Tensor:
                assert main.value is not None and target is not None and target.value is not None
                chosen = main.value(state_of(main, prefix)[None]).all().argmax()
                chosen = torch.tensor(logged) if bootstrap == "logged" else chosen
                return target.value(state_of(target, prefix)[None]).all()[0, chosen]

            following = walk[min(place + 1, len(walk) - 1)]
            vectors = main.items(candidates)[None]
            expected = {
                "logps": main.policy(state[None]).all().log_softmax(1)[0, item],
                "values": q_state[item],
                "negative_values": q_state[batch.negatives[at]],
                "all_values": q_state,
                "next_values": best_value(after, following),
                "state_values": best_value(before, item),
                "reward_similarities": main.reward(state[None], vectors)[0],
                "transition_similarities": main.transition(state[None], vectors, reached[None])[0],
            }
            for name, values in expected.items():
                torch.testing.assert_close(getattr(found, name)[at], values, msg=f"{name} of {walk}, {place}")


def test_targets_learn_nothing() -> None:
    config, networks, batch = setup(**ALL_TERMS)
    terms = objective_terms(config.resolved(), judged_by(config, networks, batch), step=0)
    terms["loss"].backward()
    assert networks.second is not None
    assert all(weight.grad is None for weight in networks.second.parameters())
    assert all(weight.grad is not None for weight in networks.first.parameters())


def test_dropout_is_off_in_targets_unless_asked_for() -> None:
    found = {}
    for kept in (False, True):
        config, networks, batch = setup(method="sqn", dropout=0.5)
        networks.train()
        assert networks.second is not None
        shares = torch.zeros(NUM_ITEMS)
        draws = [
            judge(
                networks.first,
                networks.second,
                batch,
                config.resolved(),
                popularity=shares,
                dropout_in_targets=kept,
            )
            for _ in range(2)
        ]
        assert networks.first.training and networks.second.training
        assert draws[0].values is not None and draws[1].values is not None
        assert not torch.equal(draws[0].values, draws[1].values)
        assert draws[0].next_values is not None and draws[1].next_values is not None
        found[kept] = torch.equal(draws[0].next_values, draws[1].next_values)
    assert found == {False: True, True: False}
