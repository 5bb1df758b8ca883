"""Windows: packed rows carry what one row for each title would, in every form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_language import listed_data, llara

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.language.windows import title_windows
from graphrec.llara.recommender import Llara

WINDOWS = Histories.from_lists([[1, 2, 3, 4, 5], [7], [3, 3, 9], [20, 11]])
FORMS: dict[str, dict[str, Any]] = {
    "hybrid": {},
    "text": {"form": "text"},
    "token": {"form": "token"},
    "states": {"states": True},
    "token-and-states": {"form": "token", "states": True},
    "pieces-of-words": {"vocabulary": "bpe", "vocabulary_size": 280, "end_mark": "newline", "tied": False},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(params=FORMS)
def model(request: pytest.FixtureRequest, data: RecommendationData) -> Llara:
    return shaken(llara(data, **FORMS[request.param]))


def shaken(model: Llara) -> Llara:
    """Weights large enough that every token matters."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.network.parameters():
            if weight.ndim > 1:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def window_logps(model: Llara, windows: Histories) -> torch.Tensor:
    batch = model.network.windows(windows)
    found: torch.Tensor = model.network(batch.packed, batch.showing(model.shows(0)).inputs).logps
    return found


def one_by_one(model: Llara, windows: Histories) -> torch.Tensor:
    """Each title alone behind its own history."""
    trees = [
        model.prompt(row[:place]).with_completions([model.network.title(item)])
        for row in windows.lists()
        for place, item in enumerate(row)
    ]
    return torch.stack([model.network.log_probs([tree]).logps[0] for tree in trees])


def test_packed_windows_equal_one_row_for_each_title(model: Llara) -> None:
    with torch.no_grad():
        torch.testing.assert_close(
            window_logps(model, WINDOWS), one_by_one(model, WINDOWS), rtol=1e-5, atol=1e-5
        )


def test_gradients_agree_too(model: Llara) -> None:
    weights = torch.linspace(0.5, 1.5, len(WINDOWS.items))
    grads = []
    for logps in (window_logps(model, WINDOWS), one_by_one(model, WINDOWS)):
        model.network.zero_grad()
        (logps * weights).sum().backward()
        grads.append({n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_window_scores_alike_in_any_company(model: Llara) -> None:
    with torch.no_grad():
        together = window_logps(model, WINDOWS)
        apart = torch.cat([window_logps(model, WINDOWS[row : row + 1]) for row in range(len(WINDOWS))])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_text_and_hybrid_windows_have_one_length(data: RecommendationData) -> None:
    forms = ("text", "hybrid", "token")
    shapes = {f: llara(data, form=f).network.windows(WINDOWS).packed.input_ids.shape for f in forms}
    assert shapes["text"] == shapes["hybrid"]
    assert shapes["token"][1] < shapes["text"][1]


def test_placeholders_say_nothing_of_the_items(data: RecommendationData) -> None:
    model = llara(data, form="text")
    before = window_logps(model, WINDOWS)
    model.network.towers.vectors.add_(1.0)
    assert torch.equal(window_logps(model, WINDOWS), before)


def test_token_form_hides_titles_from_what_follows(data: RecommendationData) -> None:
    model = shaken(llara(data, form="token"))
    titles = model.network.titles
    swapped = titles.items.copy()
    at = titles.starts[2]
    swapped[at] = titles.items[titles.starts[8] + 1]  # item 2 is called otherwise

    def logps(of: Histories) -> torch.Tensor:
        network = model.network
        batch = title_windows(WINDOWS[:1], of, start_id=network.start_id, pad_id=network.pad_id, form="token")
        with torch.no_grad():
            found: torch.Tensor = network(batch.packed, batch.inputs).logps
        return found

    before, after = logps(titles), logps(Histories(swapped, titles.ends))
    assert before[1] != after[1]
    assert torch.equal(before[[0, 2, 3, 4]], after[[0, 2, 3, 4]])


def test_targets_are_the_items_of_all_windows(data: RecommendationData) -> None:
    batch = llara(data).network.windows(WINDOWS)
    assert batch.targets.tolist() == WINDOWS.items.tolist()
    assert batch.packed.num_completions.tolist() == WINDOWS.lengths.tolist()
    assert int(batch.packed.lengths.sum()) == len(batch.packed.score_label)
    assert len(batch.packed.slot_index) == len(WINDOWS.items) - len(WINDOWS)


def test_an_empty_window_is_refused(data: RecommendationData) -> None:
    model = llara(data)
    with pytest.raises(ValueError, match="leave empty sequences out"):
        model.network.windows(Histories.from_lists([[1], []]))


def test_batches_are_a_function_of_epoch_and_seed(data: RecommendationData) -> None:
    model = llara(data)

    def made(epoch: int, seed: int) -> list[np.ndarray]:
        return [batch.targets.numpy() for batch in model.batches(data.train, epoch, seed)]

    for one, other in zip(made(1, 4), made(1, 4), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(made(0, 4)) == model.num_batches(data.train)
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(made(0, 4), made(1, 4), strict=True))
