"""Diffusion of item vectors against values computed by DreamRec's own code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from vector_files import assert_close, tensor

from graphrec.dreamrec.closed_form import compose
from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.denoiser import LinearParts, step_waves
from graphrec.dreamrec.network import DreamRecNetwork
from graphrec.dreamrec.plans import ancestral
from graphrec.dreamrec.sampling import guided, walk
from graphrec.dreamrec.schedules import Diffusion

Values = dict[str, Any]

SHAPES = {
    # the files' words for the parameters of a schedule -> ours
    "linear": {"beta_start": "first", "beta_end": "last"},
    "exp": {"beta_min": "low", "beta_max": "high"},
    "cosine": {"s": "offset", "clip": ("least", "most")},
    "sqrt": {"offset": "offset", "max_beta": "most"},
}

PARTS = {
    # the published names of weights -> ours, by their beginnings
    "none_embedding.weight": "null",
    "step_mlp.1": "denoiser.steps.widen",
    "step_mlp.3": "denoiser.steps.narrow",
    "diffuser.0": "denoiser.first",
    "diffuser.2": "denoiser.rest.0",
}


def test_schedule(graphrec_diffusion_schedules: Values) -> None:
    case = graphrec_diffusion_schedules
    got = coefficients(Diffusion.build(case["type"], case["T"], **shape_of(case)))
    at = {name: values[case["t"]] for name, values in got.items()}
    sums = {name: values.sum() for name, values in got.items()}
    assert_close(case["id"], at, case["ref_f64"], rtol=1e-8, atol=1e-10)
    assert_close(case["id"], sums, case["sum_f64"], rtol=1e-8, atol=1e-10)
    assert_close(case["id"], at, case["ref_float32"], rtol=2e-3, atol=1e-6)


def shape_of(case: Values) -> dict[str, float]:
    """Parameters of a schedule in our words."""
    shape: dict[str, float] = {}
    for name, value in case["params"].items():
        ours = SHAPES[case["type"]][name]
        shape.update({ours: value} if isinstance(ours, str) else zip(ours, value, strict=True))
    return shape


def coefficients(diffusion: Diffusion) -> dict[str, Tensor]:
    """Our coefficients by the names of the files."""
    return {
        "betas": diffusion.betas,
        "alphas_cumprod": diffusion.alpha_bars,
        "alphas_cumprod_prev": diffusion.alpha_bars_before,
        "sqrt_alphas_cumprod": diffusion.signal_scales,
        "sqrt_one_minus_alphas_cumprod": diffusion.noise_scales,
        "posterior_mean_coef1": diffusion.clean_weights,
        "posterior_mean_coef2": diffusion.noisy_weights,
        "posterior_variance": diffusion.variances,
    }


def diffusion_of(case: Values) -> Diffusion:
    """The schedule of a case; the range belongs to the linear one only."""
    first, last = case["linear_range"]
    shape = {"first": first, "last": last} if case["type"] == "linear" else {}
    return Diffusion.build(case["type"], case["T"], **shape)


def double(value: Any) -> Tensor:
    return tensor(value, torch.float64)


def test_noising(graphrec_q_sample: Values) -> None:
    case = graphrec_q_sample
    noised = diffusion_of(case).noised(double(case["x0"]), torch.tensor(case["t"]), double(case["noise"]))
    assert_close(case["id"], noised, case["x_t"], rtol=1e-4, atol=1e-5)


def test_one_step_back(graphrec_p_sample: Values) -> None:
    case = graphrec_p_sample
    x_t, t = double(case["x_t"]), torch.tensor(case["t"])
    diffusion = diffusion_of(case)
    x0 = guided(double(case["x0_cond"]), double(case["x0_uncond"]), case["w"])
    mean, variance = diffusion.posterior(x0, x_t, t)
    at_zero, no_variance = diffusion.posterior(x0, x_t, torch.zeros_like(t))
    got = {
        "x0_guided": x0,
        "posterior_mean": mean,
        "posterior_variance": variance,
        "x_prev_with_noise": mean + variance.sqrt()[:, None] * double(case["z"]),
        "x_prev_at_t0": at_zero,
    }
    assert_close(case["id"], got, {name: case[name] for name in got}, rtol=1e-4, atol=1e-5)
    assert not no_variance.any()


def test_step_waves(graphrec_timestep_embedding: Values) -> None:
    case = graphrec_timestep_embedding
    waves = step_waves(torch.tensor(case["t"]), case["dim"])
    assert_close("waves", waves, case["embedding"], rtol=1e-4, atol=5e-4)


def test_forward(graphrec_dreamrec_forward: Values) -> None:
    case = graphrec_dreamrec_forward
    network = published(case).eval()
    rows, lengths = torch.tensor(case["seq"]), torch.tensor(case["len_seq"])
    x_t, t = tensor(case["x_t"], torch.float32), torch.tensor(case["t"])
    with torch.no_grad():
        history = network.encode(rows)
        got = {
            "guidance": history,
            "x0_cond": network.denoiser(x_t, history, t),
            "x0_uncond": network.denoiser(x_t, network.null.expand_as(x_t), t),
            "scores_if_oracle_equals_guidance": history @ network.table.T,
        }
        whole_block = network.encoder(rows, lengths)
    assert_close(case["id"], got, {name: case[name] for name in got}, rtol=1e-4, atol=1e-5)
    assert_close(case["id"], whole_block, case["guidance"], rtol=1e-4, atol=1e-5)


def published(case: Values) -> DreamRecNetwork:
    """A network with the weights of a case; every name has to fit."""
    config = DreamRecConfig.reference(
        width=case["hidden"],
        length=case["seq_len"],
        num_heads=case["num_heads"],
        num_steps=max(2, max(case["t"]) + 1),
        denoiser_layers={"mlp1": 1, "mlp2": 2}[case["denoiser"]],
        sampler="ancestral",
    )
    network = DreamRecNetwork(config, case["item_num"])
    weights = {ours(name): tensor(value, torch.float32) for name, value in case["state_dict"].items()}
    weights["null"] = weights["null"].squeeze(0)
    network.load_state_dict(weights)
    return network


def ours(name: str) -> str:
    """Our name of a published weight."""
    for beginning, part in PARTS.items():
        if name.startswith(beginning):
            return part + name.removeprefix(beginning)
    return f"encoder.{name}"


def test_whole_sampler(graphrec_reverse_process_affine: Values) -> None:
    """Step by step and in closed form."""
    case = graphrec_reverse_process_affine
    plan = ancestral(diffusion_of(case))
    parts = LinearParts(double(case["A"]), double(case["B"]), double(case["u_t"]))
    history, null, start = (double(case[name]) for name in ("h", "null", "x_T"))

    def predict(x: Tensor, position: int) -> Tensor:
        conditional, unconditional = (
            x @ parts.state.T + condition @ parts.condition.T + parts.offsets[plan.steps[position]]
            for condition in (history, null)
        )
        return guided(conditional, unconditional, case["w"])

    walked = walk(plan, predict, start, lambda: torch.zeros_like(start))
    assert_close(case["id"], walked, case["x_0_zero_noise"], rtol=1e-4, atol=1e-5)
    sampler = compose(plan, parts)
    mean = sampler.mean(history, null, case["w"])
    assert_close(case["id"], mean + start @ sampler.carry.T, case["x_0_zero_noise"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean + start @ sampler.carry.T, walked, rtol=1e-10, atol=1e-10)


def test_wrong_weight_is_noticed(graphrec_dreamrec_forward: Values) -> None:
    """The names of a case decide everything: a file with another layout is no silent success."""
    case = dict(graphrec_dreamrec_forward)
    case["state_dict"] = {
        name: value for name, value in case["state_dict"].items() if not name.startswith("diffuser.0")
    }
    with pytest.raises(RuntimeError, match="denoiser.first"):
        published(case)
