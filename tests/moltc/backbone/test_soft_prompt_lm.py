"""Shared, packed and chunked scoring equals the plain computation: one row per completion, full logits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, TableTower, build, random_trees, tower_inputs

from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree, SlotRun
from moltc.backbone.soft_prompt_lm import SoftPromptLM

every_architecture = pytest.mark.parametrize("soft_model", sorted(ARCHITECTURES), indirect=True)


def plain_logps(model: SoftPromptLM, trees: list[PromptTree]) -> torch.Tensor:
    """One unpadded row per completion, full logits, log_softmax: of the packed path only the towers."""
    lm, out = model.language_model, []
    for tree in trees:
        for completion in tree.completions:
            ids = torch.from_numpy(np.concatenate([tree.prompt_ids, completion]))
            embeds = lm.causal_lm.get_input_embeddings()(ids)
            for run in tree.slots:
                soft = model.towers({run.tower: torch.tensor([run.entity])}).soft_tokens[run.tower][0]
                embeds = torch.cat([embeds[: run.start], soft.to(embeds), embeds[run.start + run.length :]])
            logits = lm.causal_lm(inputs_embeds=embeds[None]).logits[0].double()
            start = len(tree.prompt_ids) - 1
            logps = logits.log_softmax(-1)[torch.arange(start, len(ids) - 1), ids[start + 1 :]]
            out.append(logps.sum())
    return torch.stack(out)


def assert_close(
    actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5, floor: float = 1e-12
) -> None:
    scale = max(float(expected.detach().abs().max()), floor)
    assert float((actual - expected).detach().abs().max()) / scale < tolerance


@every_architecture
@pytest.mark.parametrize("sharing", ["shared", "expanded"])
def test_logps_and_gradients_equal_the_plain_computation(soft_model, sharing):
    trees = random_trees()
    assert soft_model.language_model.sharing == "shared"
    packed = pack(trees, sharing=sharing)
    weights = torch.linspace(-1, 1, int(packed.num_completions.sum()))

    def gradients(logps: torch.Tensor) -> dict[str, torch.Tensor]:
        soft_model.zero_grad()
        (logps * weights.to(logps)).sum().backward()
        return {n: p.grad.clone() for n, p in soft_model.named_parameters() if p.grad is not None}

    expected = plain_logps(soft_model, trees)
    expected_grads = gradients(expected)
    actual = soft_model(packed, tower_inputs(packed)).logps
    actual_grads = gradients(actual)
    assert_close(actual.double(), expected)
    assert actual_grads.keys() == expected_grads.keys()
    largest = max(float(g.abs().max()) for g in expected_grads.values())
    for name, grad in expected_grads.items():
        # the softmax ignores a key bias: its exact gradient is 0, so its rounding has no scale of its own
        floor = largest if name.endswith("k_proj.bias") else 1e-12
        assert_close(actual_grads[name].double(), grad.double(), floor=floor)


@every_architecture
def test_alone_padded_packed_and_reordered_agree(soft_model):
    trees = random_trees(seed=3)
    together = soft_model.logps(trees, tower_inputs(pack(trees))).logps
    start = 0
    for tree in trees:
        packed = pack([tree])
        alone = soft_model.logps([tree], tower_inputs(packed)).logps
        wide = soft_model(pack([tree], row_tokens=150), tower_inputs(packed)).logps
        assert_close(alone, together[start : start + len(alone)])
        assert_close(wide, together[start : start + len(alone)])
        start += len(alone)
    order = [3, 0, 4, 2, 1]
    shuffled = [trees[i] for i in order]
    moved = soft_model.logps(shuffled, tower_inputs(pack(shuffled))).logps
    parts = torch.split(together, [len(t.completions) for t in trees])
    assert_close(moved, torch.cat([parts[i] for i in order]))


@pytest.mark.parametrize("soft_model", ["llama"], indirect=True)
def test_soft_tokens_land_in_their_slots(soft_model):
    trees = random_trees()
    packed = soft_model.pack(trees)
    encoded = soft_model.encode(tower_inputs(packed))
    embeddings = soft_model.embed(packed, encoded).flatten(0, 1)
    plain = soft_model.language_model.embed(packed.input_ids).flatten(0, 1)
    at = 0
    for tree in trees:
        for run in tree.slots:
            row = packed.entities[run.tower].index(run.entity)
            here = packed.slot_index[at : at + run.length]
            assert torch.equal(embeddings[here], encoded.soft_tokens[run.tower][row])
            at += run.length
    assert at == len(packed.slot_index)
    untouched = torch.ones(len(plain), dtype=torch.bool)
    untouched[packed.slot_index] = False
    assert torch.equal(embeddings[untouched], plain[untouched])


@pytest.mark.parametrize("soft_model", ["llama"], indirect=True)
def test_swapping_the_entities_changes_the_answer(soft_model):
    tree = random_trees()[0]
    packed = soft_model.pack([tree])
    inputs = tower_inputs(packed)
    other = {k: v + 1 for k, v in inputs.items()}
    assert not torch.allclose(soft_model(packed, inputs).logps, soft_model(packed, other).logps, atol=1e-3)


def test_many_packed_rows_hold_several_trees(tokenizer):
    lm = build("llama", tokenizer)
    model = SoftPromptLM(lm, TableTower({"drug": 10, "solvent": 10}, 3, lm.hidden_size)).eval()
    trees = random_trees(seed=5, counts=(1, 2, 1, 1, 2, 1, 3))
    packed = pack(trees, row_tokens=90)
    assert packed.tree.shape[0] < len(trees)
    assert not packed.causal
    assert_close(model(packed, tower_inputs(packed)).logps.double(), plain_logps(model, trees))


def test_missing_towers_are_an_error(tokenizer):
    model = SoftPromptLM(build("llama", tokenizer))
    with pytest.raises(ValueError, match="no towers encoded"):
        model.logps(random_trees())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 32), r"the prompts need \[3, 3, 32\]"),
        ((3, 2, 32), r"the prompts need \[\d, 3, 32\]"),
        ((3, 3, 64), r"gave soft tokens \[3, 3, 64\]"),
    ],
    ids=["entities", "queries", "width"],
)
def test_soft_tokens_of_another_shape_are_an_error(tokenizer, shape, message):
    model = SoftPromptLM(build("llama", tokenizer)).eval()
    tree = PromptTree(np.arange(20), (), tuple(SlotRun(3 * n, 3, "drug", n) for n in range(3)))
    packed = model.pack([tree])
    assert model.embed(packed, SimpleNamespace(soft_tokens={"drug": torch.zeros(3, 3, 32)})).shape == (
        1,
        20,
        32,
    )
    with pytest.raises(ValueError, match=message):
        model.embed(packed, SimpleNamespace(soft_tokens={"drug": torch.zeros(shape)}))
    with pytest.raises(ValueError, match="no tower encodes 'drug'; the towers are .'item'."):
        model.embed(packed, SimpleNamespace(soft_tokens={"item": torch.zeros(3, 3, 32)}))


def test_what_the_model_cannot_read_is_an_error(tokenizer):
    model = SoftPromptLM(build("opt", tokenizer)).eval()
    assert model.language_model.max_positions == 128
    assert model.logps([PromptTree(np.arange(120), (np.arange(9), np.arange(5)))]).logps.shape == (2,)
    with pytest.raises(ValueError, match="path of 129 tokens, the model reads 128"):
        model.logps([PromptTree(np.arange(120), (np.arange(10),))])


@every_architecture
def test_prompts_alone_have_no_scores(soft_model):
    trees = random_trees(counts=(0, 0))
    scored = soft_model.logps(trees, tower_inputs(pack(trees)))
    assert scored.logps.shape == scored.token_logps.shape == (0,)
    assert [part.shape for part in scored.padded()] == [(2, 0), (2, 0)]


@pytest.mark.parametrize("soft_model", ["llama", "gemma3"], indirect=True)
def test_completions_of_one_token(soft_model):
    trees = [t.with_completions([np.array([5]), np.array([9])]) for t in random_trees(counts=(1, 1))]
    packed = pack(trees)
    assert packed.causal  # nothing but prompts is stored
    assert_close(soft_model(packed, tower_inputs(packed)).logps.double(), plain_logps(soft_model, trees))


def test_padded_view(tokenizer):
    model = SoftPromptLM(build("llama", tokenizer)).eval()
    trees = [PromptTree(t.prompt_ids, t.completions) for t in random_trees()]
    scored = model.logps(trees)
    padded, mask = scored.padded()
    assert padded.shape == (5, 16)
    assert torch.equal(padded[mask], scored.logps)
    assert mask.sum(1).tolist() == [2, 1, 3, 16, 1]


def test_an_architecture_that_cannot_share_says_so(tokenizer, caplog):
    from transformers import AutoModelForCausalLM, MambaConfig

    from moltc.backbone.language_model import LanguageModel, LanguageModelConfig

    torch.manual_seed(0)
    mamba = AutoModelForCausalLM.from_config(
        MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4, time_step_rank=4)
    ).eval()
    with caplog.at_level("WARNING"):
        lm = LanguageModel(LanguageModelConfig(name="mamba"), mamba, tokenizer)
    assert lm.sharing == "expanded"
    assert "cannot share a prompt" in caplog.text
    model = SoftPromptLM(lm).eval()
    trees = [PromptTree(t.prompt_ids, t.completions) for t in random_trees(counts=(2, 3))]
    assert_close(model.logps(trees).logps.double(), plain_logps(model, trees), 1e-4)
    with pytest.raises(ValueError, match="sharing: expanded"):
        LanguageModel(LanguageModelConfig(name="mamba", sharing="shared"), mamba, tokenizer)
