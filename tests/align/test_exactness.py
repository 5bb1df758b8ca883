"""Shared, packed and chunked training equals the plain computation: one row per completion, full logits.

The plain side uses nothing of this package but the modules that hold the weights: Hugging Face's own forward
pass for each completion alone, log_softmax over all logits, and the losses as their papers write them.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES, VOCABULARY
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from align.accumulation import Gradients
from align.batch import PreferenceBatch
from align.gap_statistics import FRESH
from align.loss_config import PreferenceLossConfig, build_loss
from align.objective import LossOutput, Step
from align.policy import Policy
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.packing import PackedTrees
from moltc.backbone.projectors import LinearProjector
from moltc.backbone.prompt import PromptTree, SlotRun
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.tokenizer import train_tokenizer

BETA, QUERIES, ENTITIES = 0.3, 3, 5
TOLERANCE = 1e-5
CHUNK = 7
"""Rows of logits that exist at one time; no batch here fits into one chunk."""
COMPLETIONS = (2, 17, 1, 4, 2, 9)
"""Of each prompt, the chosen one included: 1 to 16 rejected ones, and a prompt that has none."""
ADAPTED = {
    "llama": ("q_proj", "v_proj", "o_proj", "down_proj"),
    "qwen3": ("q_proj", "k_proj", "gate_proj"),
    "opt": ("q_proj", "v_proj", "fc1", "fc2"),
    "gpt-neox": ("query_key_value", "dense_4h_to_h"),
    "gemma2": ("q_proj", "v_proj", "up_proj"),
    "gemma3": ("q_proj", "v_proj", "up_proj"),
    "mistral": ("q_proj", "k_proj", "v_proj", "o_proj"),
}
OWN_HEAD = ("llama", "gpt-neox")
"""Architectures whose head is a matrix of its own here, which an adapter may sit on."""


# -- a policy with towers, and examples for it ---------------------------------------------------------------


class TableTower(nn.Module):
    """An entity's vectors from a table, projected to the width of the language model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(ENTITIES, QUERIES * 8)
        self.projector = LinearProjector(8, width)

    def soft(self, entities: Tensor) -> Tensor:
        """long [M] -> [M, Q, H]."""
        return self.projector(self.table(entities).view(-1, QUERIES, 8))

    def forward(self, inputs: Tensor) -> SimpleNamespace:
        return SimpleNamespace(soft_tokens={"item": self.soft(inputs)})


class EntityNumbers:
    """What the tower reads of packed prompts: the number of each distinct entity."""

    trees = ()

    def inputs(self, numbers: np.ndarray, packed: PackedTrees) -> Tensor:
        return torch.tensor(packed.entities["item"])


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["0123456789"], vocab_size=300)


def head_name(model: nn.Module) -> str:
    return next(name for name, part in model.named_modules() if part is model.get_output_embeddings())


def policy_of(architecture: str, trained: str, tokenizer) -> Policy:
    """A random model with a tower in front. ``trained``: "full", "lora", or "lora-and-head" (adapted too)."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(deepcopy(ARCHITECTURES[architecture]))
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.25)  # large enough that differences show
    model = base
    if trained != "full":
        targets = [*ADAPTED[architecture], *([head_name(base)] if trained == "lora-and-head" else [])]
        model = get_peft_model(base, LoraConfig(r=3, lora_alpha=6, target_modules=targets))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # zero at the start, which would hide half of the adapter
                    parameter.normal_(0.0, 0.1)
    config = LanguageModelConfig(
        name=architecture, training="full" if trained == "full" else "lora", logit_chunk=CHUNK
    )
    lm = LanguageModel(config, model.eval(), tokenizer)
    assert lm.sharing == "shared"
    policy = Policy(SoftPromptLM(lm, TableTower(lm.hidden_size)).eval())
    policy.prompts = EntityNumbers()
    return policy


def trees_of(counts: tuple[int, ...] = COMPLETIONS, *, seed: int = 0) -> list[PromptTree]:
    """Prompts with two soft runs (the second prompt has none), completions of one to six tokens."""
    rng = np.random.default_rng(seed)
    trees = []
    for number, count in enumerate(counts):
        slots = tuple(SlotRun(start, QUERIES, "item", int(rng.integers(ENTITIES))) for start in (1, 6))
        lengths = rng.integers(1, 7, size=count)
        lengths[number % count] = 1
        completions = tuple(rng.integers(0, VOCABULARY, size=int(n)) for n in lengths)
        prompt = rng.integers(0, VOCABULARY, size=int(rng.integers(11, 20)))
        trees.append(PromptTree(prompt, completions, () if number == 1 else slots))
    return trees


def batch_of(policy: Policy, trees: list[PromptTree]) -> PreferenceBatch:
    return PreferenceBatch(
        packed=policy.pack(trees),
        trees=trees,
        ids=torch.arange(len(trees)),
        num_completions=torch.tensor([len(tree.completions) for tree in trees]),
        desirable=None,
        rows=np.arange(len(trees)),
    )


class FixedReference:
    """Reference log-probabilities made up for each completion."""

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        return -torch.tensor(
            [3.0 * len(ids) + ids[0] % 5 for tree in batch.trees for ids in tree.completions]
        )


# -- the plain side ------------------------------------------------------------------------------------------


def plain_logps(policy: Policy, tree: PromptTree) -> list[Tensor]:
    """Log-probability of each completion, float64: a forward pass for each, alone, with all its logits."""
    lm, tower, found = policy.language_model, policy.model.towers, []
    for completion in tree.completions:
        ids = torch.from_numpy(np.concatenate([tree.prompt_ids, completion]))
        embeddings = lm.causal_lm.get_input_embeddings()(ids)
        for run in tree.slots:
            soft = tower.soft(torch.tensor([run.entity]))[0]
            embeddings = torch.cat([embeddings[: run.start], soft, embeddings[run.start + run.length :]])
        logits = lm.causal_lm(inputs_embeds=embeddings[None]).logits[0].double()
        scored = range(len(tree.prompt_ids), len(ids))
        every = logits.log_softmax(-1)
        found.append(torch.stack([every[place - 1, ids[place]] for place in scored]).sum())
    return found


def ratios(policy: Policy, trees: list[PromptTree]) -> list[list[Tensor]]:
    """Log-ratios to the reference of those examples that have something to compare."""
    found = []
    for tree in trees:
        reference = FixedReference()(SimpleNamespace(trees=[tree])).double()
        scored = [logp - b for logp, b in zip(plain_logps(policy, tree), reference, strict=True)]
        if len(scored) > 1:
            found.append(scored)
    return found


def plain_sdpo(policy: Policy, trees: list[PromptTree]) -> Tensor:
    """Chen et al., NeurIPS 2024, eq. 11: the softmax over one chosen and all rejected completions."""
    losses = []
    for chosen, *rejected in ratios(policy, trees):
        gaps = torch.stack([BETA * (other - chosen) for other in rejected])
        losses.append(-logsigmoid(-gaps.exp().sum().log()))
    return torch.stack(losses).mean()


def plain_dpo(policy: Policy, trees: list[PromptTree]) -> Tensor:
    """Rafailov et al., NeurIPS 2023, eq. 7."""
    gaps = [chosen - rejected for chosen, rejected in ratios(policy, trees)]
    return torch.stack([-logsigmoid(BETA * gap) for gap in gaps]).mean()


def plain_dr_dpo(policy: Policy, trees: list[PromptTree]) -> Tensor:
    """Wu et al., ICLR 2025, eq. 11: a soft minimum over pairs, at beta' = 1."""
    gaps = [chosen - rejected for chosen, rejected in ratios(policy, trees)]
    return -torch.stack([logsigmoid(BETA * gap) for gap in gaps]).exp().mean().log()


# -- both sides ----------------------------------------------------------------------------------------------


def step(policy: Policy, parts: list[PreferenceBatch], **options: Any) -> LossOutput:
    """The gradient of one optimiser step, left in the weights."""
    loss = build_loss(PreferenceLossConfig(beta=BETA, **options))
    return Gradients(loss, policy, FixedReference()).accumulate(parts, FRESH, Step())


def gradients_of(policy: Policy, loss: Tensor) -> dict[str, Tensor]:
    named = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def taken_gradients(policy: Policy) -> dict[str, Tensor]:
    return {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Every parameter's gradient, relative to its own largest entry."""
    assert found.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert largest > 0
    for name, gradient in wanted.items():
        # a key bias moves all scores of a query alike: its exact gradient is 0 and its rounding has no scale
        keys = name.endswith("k_proj.bias")
        scale = largest if keys else float(gradient.abs().max())
        difference = float((found[name].double() - gradient.double()).abs().max())
        assert difference <= TOLERANCE * scale, f"{name}: {difference / max(scale, 1e-30):.1e}"


CASES = [
    pytest.param(name, trained, id=f"{name}-{trained}")
    for trained, names in (("lora", ARCHITECTURES), ("full", ARCHITECTURES), ("lora-and-head", OWN_HEAD))
    for name in names
]


@pytest.mark.parametrize(("architecture", "trained"), CASES)
def test_a_step_equals_the_plain_computation(architecture: str, trained: str, tokenizer) -> None:
    """Promise: loss, log-probabilities and all gradients (tower, projector, adapter, head where trained) of a
    shared, packed, chunked batch are the plain ones to 1e-5, in float32."""
    policy, trees = policy_of(architecture, trained, tokenizer), trees_of()
    batch = batch_of(policy, trees)
    assert len(batch.packed.tree) < len(trees), "rows hold several prompts"
    assert len(batch.packed.score_label) > 3 * CHUNK

    wanted_logps = torch.stack([logp for tree in trees for logp in plain_logps(policy, tree)]).detach()
    with torch.no_grad():
        logps = policy.score(batch).logps
    assert float(((logps - wanted_logps) / wanted_logps).abs().max()) < TOLERANCE

    plain = plain_sdpo(policy, trees)
    wanted = gradients_of(policy, plain)
    output = step(policy, [batch], method="sdpo")
    assert float(output.loss) == pytest.approx(plain.item(), rel=TOLERANCE)
    found = taken_gradients(policy)
    assert_same(found, wanted)
    assert any("table" in name for name in found)
    assert any("projector" in name for name in found)
    if trained == "lora-and-head":
        head = head_name(policy.language_model.causal_lm)
        assert sum(head in name for name in found) == 2


METHODS: dict[str, Callable[[Policy, list[PromptTree]], Tensor]] = {
    "dpo": plain_dpo,
    "dr_dpo": plain_dr_dpo,
    "sdpo": plain_sdpo,
}


@pytest.mark.parametrize("method", METHODS)
def test_an_accumulated_step_equals_the_plain_computation(method: str, tokenizer) -> None:
    """Promise: also where the batch is cut into micro-batches and the second pass starts from a plan."""
    policy = policy_of("llama", "lora", tokenizer)
    trees = trees_of(COMPLETIONS if method == "sdpo" else (2,) * 6)
    plain = METHODS[method](policy, trees)
    wanted = gradients_of(policy, plain)
    parts = list(batch_of(policy, trees).cut(2, policy.pack))
    output = step(policy, parts, method=method, **({"beta_prime": 1.0} if method == "dr_dpo" else {}))
    assert float(output.loss) == pytest.approx(plain.item(), rel=TOLERANCE)
    assert_same(taken_gradients(policy), wanted)


def test_an_example_without_rejected_completions_weighs_nothing(tokenizer) -> None:
    """Promise: it is scored, and neither loss nor gradient know of it."""
    policy, trees = policy_of("llama", "lora", tokenizer), trees_of()
    kept = [tree for tree in trees if len(tree.completions) > 1]
    assert len(kept) == len(trees) - 1
    alone = step(policy, [batch_of(policy, kept)], method="sdpo")
    wanted = taken_gradients(policy)
    policy.zero_grad()
    output = step(policy, [batch_of(policy, trees)], method="sdpo")
    assert float(output.loss) == pytest.approx(float(alone.loss), rel=1e-6)
    assert output.kept.tolist() == [len(tree.completions) > 1 for tree in trees]
    assert_same(taken_gradients(policy), wanted)
