"""Query transformer: its size, its mask, its dropout."""

from __future__ import annotations

import pytest
import torch

from moltc.backbone.qformer import Float32LayerNorm, GraphReader, QFormer, QFormerConfig, QueryTokens

TINY = QFormerConfig(hidden=16, layers=3, heads=2, ffn=32)


@pytest.fixture
def reader() -> GraphReader:
    return GraphReader(TINY, encoder_dim=6).eval()


def test_parameters_of_the_language_model_stage() -> None:
    with torch.device("meta"):
        reader = GraphReader(QFormerConfig(), encoder_dim=300)
    assert sum(parameter.numel() for parameter in reader.qformer.parameters()) == 94_926_336
    assert sum(parameter.numel() for parameter in reader.norm.parameters()) == 600


def test_what_is_masked_does_not_matter(reader: GraphReader) -> None:
    queries, states = torch.randn(4, 16), torch.randn(2, 5, 6)
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    padded = reader(queries, states, mask)
    spoiled = torch.where(mask.unsqueeze(-1), states, 1e3)
    assert torch.equal(reader(queries, spoiled, mask), padded)
    alone = reader(queries, states[:1, :2], mask[:1, :2])
    torch.testing.assert_close(alone, padded[:1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(reader(queries, states, torch.ones_like(mask))[0], padded[0], atol=1e-3)


def test_order_of_states_does_not_matter(reader: GraphReader) -> None:
    queries, states, mask = torch.randn(4, 16), torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    read = reader(queries, states, mask)
    torch.testing.assert_close(reader(queries, states.flip(1), mask), read, rtol=1e-5, atol=1e-5)


def test_queries_may_differ_between_molecules() -> None:
    qformer = QFormer(TINY, encoder_dim=6).eval()
    queries, states, mask = torch.randn(4, 16), torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    same = qformer(queries, states, mask)
    assert torch.equal(qformer(queries.expand(2, -1, -1), states, mask), same)
    other = qformer(torch.stack([queries, -queries]), states, mask)
    torch.testing.assert_close(other[0], same[0])
    assert not torch.allclose(other[1], same[1], atol=1e-3)


def test_dropout_is_off_in_evaluation_and_when_frozen(reader: GraphReader) -> None:
    arguments = torch.randn(4, 16), torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    calm = reader(*arguments)
    assert torch.equal(reader(*arguments), calm)
    assert not torch.equal(reader.train()(*arguments), calm)
    assert torch.equal(reader.freeze().train()(*arguments), calm)


def test_norm_computes_in_float32_and_keeps_the_type() -> None:
    norm = Float32LayerNorm(64)
    x = 100 + torch.randn(3, 64)
    low = norm.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert low.dtype == torch.bfloat16
    expected = torch.nn.functional.layer_norm(x.to(torch.bfloat16).float(), (64,))
    torch.testing.assert_close(low, expected.to(torch.bfloat16))


def test_queries_start_small() -> None:
    assert QueryTokens(8, 768)().std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"heads": 5}, "no multiple of 5 heads"), ({"layers": 0}, "layers"), ({"dropout": 1.0}, "dropout < 1")],
    ids=["heads", "layers", "dropout"],
)
def test_impossible_configs_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QFormerConfig(**options)
