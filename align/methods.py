"""The methods as choices of parts and options, with the defaults of this project.

Papers: DPO 2305.18290, cDPO (a note by its first author), robust DPO 2403.00409, IPO 2310.12036,
KTO 2402.01306, SimPO 2405.14734, CPO 2401.08417, ORPO 2403.07691, alpha-DPO 2410.10148, beta-DPO 2407.08639,
Dr. DPO 2407.07880, S-DPO 2406.09215 (all arXiv).
"""

from __future__ import annotations

from typing import Any

Preset = dict[str, Any]

DPO: Preset = {
    "score": "log_ratio",
    "length_normalize": False,
    "pair_loss": "logistic",
    "margin": "none",
    "selector": "all",
    "beta_policy": "fixed",
    "reduction": "mean",
    "beta": 0.1,
}
SIMPO: Preset = DPO | {
    "score": "log_prob",
    "length_normalize": True,
    "margin": "constant",
    "beta": 2.0,
    "gamma_beta_ratio": 0.5,
}

METHODS: dict[str, Preset] = {
    "sft": {"sft_reduction": "token_mean"},
    "dpo": DPO,
    "cdpo": DPO | {"label_smoothing": 0.1},
    "robust_dpo": DPO | {"pair_loss": "robust", "label_smoothing": 0.1},
    "ipo": DPO | {"pair_loss": "square", "length_normalize": True},
    "kto": {"reduction": "mean", "beta": 0.1},
    "kto_pair": DPO | {"pair_loss": "kto_pair"},
    "simpo": SIMPO,
    "cpo": DPO | {"score": "log_prob", "sft_weight": 1.0},
    "orpo": DPO | {"score": "log_odds", "length_normalize": True, "pair_loss": "scaled", "sft_weight": 1.0},
    "alpha_dpo": SIMPO | {"margin": "adaptive", "beta": 10.0, "gamma_beta_ratio": 0.4, "alpha": 0.1},
    "beta_dpo": DPO
    | {"selector": "gaussian", "keep_ratio": 0.8, "beta_policy": "batch_dynamic", "beta_slope": 0.6},
    "dr_dpo": DPO | {"reduction": "dr", "beta_prime": 1.0},
    "sdpo": DPO | {"pair_loss": "softmax", "beta": 1.0},
}

# The published code of alpha-, beta- and Dr. DPO: averages that start at zero, also fed by evaluation, a draw
# by the weights themselves, and each process on its own.
AUTHORS: Preset = {"ema": "authors", "draw": "multinomial", "scope": "local"}
AUTHORS_OF: dict[str, Preset] = {"ipo": {"length_normalize": False}}
