"""GRU4Rec, Caser, SASRec and their losses against values computed by the authors' own code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from vector_files import assert_close, tensor

from graphrec.sequential import losses
from graphrec.sequential.network import Published
from graphrec.sequential.reference.caser import Caser
from graphrec.sequential.reference.gru4rec import GRU4Rec
from graphrec.sequential.reference.sasrec import SASRec

Values = dict[str, Any]


def test_forward(graphrec_traditional_forward: Values) -> None:
    case = graphrec_traditional_forward
    model = built(case).eval()
    with torch.no_grad():
        logits = model(torch.tensor(case["seq"]), torch.tensor(case["len_seq"]))
    assert_close(case["model"], logits, case["logits"], rtol=1e-4, atol=1e-5)


def built(case: Values) -> Published:
    """The model of a case with its published weights; every name has to fit."""
    weights = {name: tensor(value, torch.float32) for name, value in case["state_dict"].items()}
    items, hidden, length = case["item_num"], case["hidden"], case["seq_len"]
    model: Published
    if case["model"] == "GRU4Rec":
        model = GRU4Rec(items, hidden)
    elif case["model"] == "Caser":
        kernels = [value for name, value in weights.items() if _is_horizontal(name)]
        heights = [kernel.shape[2] for kernel in kernels]
        model = Caser(items, hidden, length, num_filters=len(kernels[0]), heights=heights)
    elif case["model"] == "SASRec":
        model = SASRec(items, hidden, length, num_heads=case.get("num_heads", 1))
    else:
        pytest.fail(f"no model is known as {case['model']!r}")
    model.load_state_dict(weights)
    return model


def _is_horizontal(name: str) -> bool:
    return name.startswith("horizontal_cnn") and name.endswith("weight")


def test_losses(graphrec_losses: tuple[str, Values]) -> None:
    name, case = graphrec_losses
    positive, negatives = (tensor(case[part], torch.float64) for part in ("pos", "neg"))
    if name == "bce_one_negative":
        got = losses.binary_cross_entropy(positive, negatives.unsqueeze(1)).mean()
        assert_close(name, got, case["loss"], rtol=1e-6)
    elif name == "gbce":
        rate = negatives.shape[1] / (case["num_items"] - 1)
        beta = losses.gbce_beta(negatives.shape[1], case["num_items"], case["t"])
        transformed = losses.gbce_logit(positive[:, 0], beta)
        assert_close("alpha", rate, case["alpha"], rtol=1e-8)
        assert_close("beta", beta, case["beta"], rtol=1e-8)
        assert_close("logit", transformed, case["pos_logit_transformed"], rtol=1e-8)
        got = losses.gbce(positive[:, 0], negatives, beta).mean()
        assert_close(name, got, case["loss"], rtol=1e-8)
    else:
        pytest.fail(f"no loss is known as {name!r}")
